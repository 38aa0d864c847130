//! Strongest responses of a discriminator's single features: the images of a dataset that cause
//! them, and their guided gradients (guided backpropagation; Springenberg et al. 2015; figure 5 of
//! Radford et al. 2016).
//!
//! ```
//! use data::{Dataset, Preprocess, Split};
//! use eval::Progress;
//! use eval::interpret::InspectedDiscriminator;
//! use eval::interpret::guided_backprop::{Options, features};
//! use nn::Recipe;
//! use std::sync::Arc;
//! use tensor::Device;
//!
//! let size = Preprocess::new([28, 28], 1);
//! let dataset = Arc::new(Dataset::open("fashion-mnist", Split::Test, &size, &|_| ())?);
//! let (recipe, silent) = (Recipe::preset("small")?, Progress::SILENT);
//! let d = InspectedDiscriminator::untrained(&recipe, 0, &dataset, &Device::Cpu, silent)?;
//! let found = features(&d, Options { maps: 2, top: 3, images: 20 }, "searching", silent)?;
//! assert_eq!((found.len(), found[0].top.len()), (2, 3));
//! assert!(found[0].top[0].value >= found[0].top[1].value);
//! # Ok::<(), eval::EvalError>(())
//! ```

use super::inspected_discriminator::InspectedDiscriminator;
use super::signed_image;
use crate::image_sheet::ImageSheet;
use crate::images::evenly_spaced;
use crate::stats::MeanStd;
use crate::{EvalError, Progress};
use data::Dataset;
use runs::GridOptions;
use std::cmp::Ordering;

/// Images in a forward pass.
const BATCH: usize = 128;

/// Which features and images are searched.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The number of features, from the first: axes of the feature space, as in the paper, not
    /// directions in it.
    pub maps: usize,
    /// The number of strongest responses of each feature, at most one in each image.
    pub top: usize,
    /// The most images that are searched, evenly spaced in the dataset.
    pub images: usize,
}

/// A feature's strongest response in one image.
#[derive(Clone, Debug)]
pub struct Response {
    /// The image's index in the dataset.
    pub image: usize,
    /// Row and column in the map.
    pub at: [usize; 2],
    /// The activation.
    pub value: f32,
    /// The guided gradient, `[H, W, C]`.
    pub gradient: Vec<f32>,
}

/// A feature and its strongest responses.
#[derive(Clone, Debug)]
pub struct Feature {
    /// The feature's index among the maps.
    pub index: usize,
    /// The strongest responses, strongest first; equal ones in the order of the images.
    pub top: Vec<Response>,
    /// Mean and standard deviation of the strongest response in each image.
    pub responses: MeanStd,
}

impl Feature {
    /// The number of standard deviations by which the mean of the strongest responses is above the
    /// mean over all images; 0 for a dead feature.
    pub fn selectivity(&self) -> f64 {
        let values: Vec<f64> = self.top.iter().map(|response| f64::from(response.value)).collect();
        let MeanStd { mean, std } = self.responses;
        if std > 0.0 { (crate::stats::mean(&values) - mean) / std } else { 0.0 }
    }

    /// The most frequent class among the images with the strongest responses, and their number;
    /// `None` without labels.
    pub fn class(&self, dataset: &Dataset) -> Option<(u32, usize)> {
        let labels: Vec<u32> =
            self.top.iter().filter_map(|response| dataset.label(response.image)).collect();
        let count = |label: u32| labels.iter().filter(|other| **other == label).count();
        // `max_by_key` takes the last of equally frequent ones: here the first.
        labels.iter().rev().map(|&label| (label, count(label))).max_by_key(|&(_, count)| count)
    }
}

/// The first features of a discriminator, with their strongest responses and guided gradients.
///
/// # Errors
/// Returns an error if there are not as many features, an image cannot be decoded, or the device
/// fails; [`EvalError::Stopped`] if `progress` cancels.
pub fn features(
    d: &InspectedDiscriminator,
    options: Options,
    task: &str,
    progress: Progress<'_>,
) -> Result<Vec<Feature>, EvalError> {
    let Options { maps, top, images } = options;
    let chosen = evenly_spaced(d.dataset().len(), images);
    let mut found: Vec<Vec<PeakResponse>> = vec![Vec::with_capacity(chosen.len()); maps];
    for (k, part) in chosen.chunks(BATCH).enumerate() {
        let responses = d.features(part)?;
        let channels = responses.shape()[3];
        if !(1..=channels).contains(&maps) {
            let layer = d.layer().to_owned();
            return Err(EvalError::FeatureCount { layer, wanted: maps, channels });
        }
        let (shape, values) = (*responses.shape(), responses.narrow(3, 0, maps).to_vec());
        let size = shape[1] * shape[2] * maps;
        for (&image, map) in part.iter().zip(values.chunks_exact(size)) {
            for (feature, all) in found.iter_mut().enumerate() {
                all.push(PeakResponse::of(image, map.iter().copied().skip(feature).step_by(maps)));
            }
        }
        progress.report(task, k * BATCH + part.len(), chosen.len())?;
    }
    let width = d.features(&chosen[..1])?.shape()[2];
    found.into_iter().enumerate().map(|(index, all)| feature(d, index, all, width, top)).collect()
}

/// The strongest response of a map.
#[derive(Clone, Copy)]
struct PeakResponse {
    image: usize,
    position: usize,
    value: f32,
}

impl PeakResponse {
    fn of(image: usize, map: impl Iterator<Item = f32>) -> Self {
        let first = Self { image, position: 0, value: f32::NEG_INFINITY };
        map.enumerate().fold(first, |best, (position, value)| {
            if value > best.value { Self { position, value, ..best } } else { best }
        })
    }

    fn order(&self, other: &Self) -> Ordering {
        other.value.total_cmp(&self.value).then(self.image.cmp(&other.image))
    }
}

fn feature(
    d: &InspectedDiscriminator,
    index: usize,
    mut all: Vec<PeakResponse>,
    width: usize,
    top: usize,
) -> Result<Feature, EvalError> {
    let responses = MeanStd::of(&all.iter().map(|peak| f64::from(peak.value)).collect::<Vec<_>>());
    all.sort_unstable_by(PeakResponse::order);
    all.truncate(top);
    let at = |peak: &PeakResponse| [peak.position / width, peak.position % width];
    let images: Vec<usize> = all.iter().map(|peak| peak.image).collect();
    let units: Vec<[usize; 3]> = all.iter().map(|peak| [at(peak)[0], at(peak)[1], index]).collect();
    let gradients = d.guided(&images, &units)?.to_vec();
    let size = gradients.len() / all.len().max(1);
    let response = |(peak, gradient): (&PeakResponse, &[f32])| Response {
        image: peak.image,
        at: at(peak),
        value: peak.value,
        gradient: gradient.to_vec(),
    };
    let top = all.iter().zip(gradients.chunks_exact(size)).map(response).collect();
    Ok(Feature { index, top, responses })
}

/// A sheet with two rows for each feature: the receptive fields of its strongest responses, and
/// their guided gradients; on the left for the untrained discriminator, on the right for the
/// trained one. All are cropped to the region that gradients reach; each gradient has its own
/// scale, with 0 as middle gray.
///
/// # Errors
/// Returns an error if an image cannot be decoded.
pub fn sheet(
    d: &InspectedDiscriminator,
    untrained: &[Feature],
    trained: &[Feature],
) -> Result<ImageSheet, EvalError> {
    let shape = d.dataset().shape();
    let all = || untrained.iter().chain(trained);
    let size = receptive_field(shape, all().flat_map(|feature| &feature.top));
    let top = all().map(|feature| feature.top.len()).max().unwrap_or(0);
    let mut sheet = ImageSheet::new([size[0], size[1], shape[2]], 2 * top + 1);
    let mut pixels = vec![0.0; shape.iter().product()];
    for pair in untrained.iter().zip(trained) {
        let (mut images, mut gradients) = (Vec::new(), Vec::new());
        for (side, feature) in [pair.0, pair.1].into_iter().enumerate() {
            for response in &feature.top {
                let corner = corner(shape, size, &response.gradient);
                d.dataset().write(response.image, &mut pixels)?;
                let gradient = crop(&response.gradient, shape, corner, size);
                images.push(Some(crop(&pixels, shape, corner, size)));
                gradients.push(Some(signed_image(&gradient, None)));
            }
            // A gap between the two halves, and in front of it the cells that a half lacks.
            let filled = if side == 0 { top + 1 } else { 2 * top + 1 };
            images.resize(filled, None);
            gradients.resize(filled, None);
        }
        for row in [&images, &gradients] {
            sheet.row(row.iter().map(Option::as_deref));
        }
    }
    Ok(sheet)
}

/// Checks, before responses are searched, that their [`sheet`] can be drawn at its largest: with
/// cells of whole images, or enlarged ones.
///
/// # Errors
/// Returns an error if it would be too large.
pub fn check_sheet(dataset: &Dataset, options: Options) -> Result<(), EvalError> {
    let [h, w, c] = dataset.shape();
    let top = options.top.min(options.images).min(dataset.len());
    let columns = 2 * top + 1;
    let [height, width] = [h, w].map(|side| side.max(GridOptions::ENLARGED_SIDE));
    ImageSheet::new([height, width, c], columns).check_size(2 * options.maps * columns)
}

/// The bounding box of the pixels of `[H, W, C]` that are not 0: `[[top, bottom], [left, right]]`,
/// inclusive.
fn bounds(shape: [usize; 3], gradient: &[f32]) -> Option<[[usize; 2]; 2]> {
    let [_, w, c] = shape;
    let nonzero = |(_, pixel): &(usize, &[f32])| pixel.iter().any(|value| *value != 0.0);
    let mut found: Option<[[usize; 2]; 2]> = None;
    for (p, _) in gradient.chunks_exact(c).enumerate().filter(nonzero) {
        let at = [p / w, p % w];
        let so_far = found.unwrap_or([[at[0]; 2], [at[1]; 2]]);
        found = Some([0, 1].map(|i| [so_far[i][0].min(at[i]), so_far[i][1].max(at[i])]));
    }
    found
}

/// The largest height and width of the gradients' bounding boxes; those of the image if there are
/// none.
fn receptive_field<'a>(
    shape: [usize; 3],
    responses: impl Iterator<Item = &'a Response>,
) -> [usize; 2] {
    let mut sizes = [0, 0];
    for [rows, columns] in responses.filter_map(|response| bounds(shape, &response.gradient)) {
        sizes = [sizes[0].max(rows[1] + 1 - rows[0]), sizes[1].max(columns[1] + 1 - columns[0])];
    }
    if sizes == [0, 0] { [shape[0], shape[1]] } else { sizes }
}

/// The upper left corner of the region of this size, within the image, whose center is that of the
/// gradient.
fn corner(shape: [usize; 3], size: [usize; 2], gradient: &[f32]) -> [usize; 2] {
    let ends = bounds(shape, gradient).unwrap_or([[0, shape[0] - 1], [0, shape[1] - 1]]);
    [0, 1].map(|i| {
        ((ends[i][0] + ends[i][1] + 1).saturating_sub(size[i]) / 2).min(shape[i] - size[i])
    })
}

fn crop(
    image: &[f32],
    [_, w, c]: [usize; 3],
    [top, left]: [usize; 2],
    [height, width]: [usize; 2],
) -> Vec<f32> {
    (top..top + height)
        .flat_map(|y| image[(y * w + left) * c..][..width * c].iter().copied())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradients_are_cropped_to_one_size() {
        let shape = [4, 5, 1];
        let mut gradient = vec![0.0; 20];
        (gradient[7], gradient[13]) = (1.0, -1.0);
        assert_eq!(bounds(shape, &gradient), Some([[1, 2], [2, 3]]));
        let response = |gradient: Vec<f32>| Response { image: 0, at: [0, 0], value: 1.0, gradient };
        let mut last_pixel = vec![0.0; 20];
        last_pixel[19] = 2.0;
        let all =
            [response(gradient.clone()), response(last_pixel.clone()), response(vec![0.0; 20])];
        assert_eq!(receptive_field(shape, all.iter()), [2, 2]);
        assert_eq!(
            [corner(shape, [2, 2], &gradient), corner(shape, [2, 2], &last_pixel)],
            [[1, 2], [2, 3]]
        );
        assert_eq!(crop(&gradient, shape, [1, 2], [2, 2]), [1.0, 0.0, 0.0, -1.0]);
        assert_eq!(receptive_field(shape, all[2..].iter()), [4, 5]);
        assert_eq!(corner(shape, [4, 5], &all[2].gradient), [0, 0]);
    }

    #[test]
    fn strongest_responses_come_first() {
        let map = |image, values: [f32; 3]| PeakResponse::of(image, values.into_iter());
        let mut all = [map(0, [0.0, 2.0, 2.0]), map(1, [3.0, 1.0, 0.0]), map(2, [-1.0, -2.0, 2.0])];
        all.sort_unstable_by(PeakResponse::order);
        assert_eq!(all.map(|peak| (peak.image, peak.position)), [(1, 0), (0, 1), (2, 2)]);
    }
}
