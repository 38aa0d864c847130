//! What single features of a discriminator answer to: the pictures of a set with the strongest responses, and their guided gradients
//! (Springenberg et al. 2015; figure 5 of Radford et al. 2016).

use super::image_sheet::{ImageSheet, signed};
use super::inspected_discriminator::InspectedDiscriminator;
use crate::images::evenly_spaced;
use crate::{EvalError, Progress};
use data::Dataset;
use nn::{ForwardCtx, Mode, Network};
use std::cmp::Ordering;
use tensor::{Tensor, autograd};

/// Pictures that go through the network together.
const BATCH: usize = 128;

/// The guided gradient of one unit `[y, x, feature]` of `layer`, whose results are maps, for each of the inputs `[N, H, W, C]`, of the same shape:
/// what goes back from a 1 at the unit, through rectifiers only where it is positive and their input was.
///
/// # Panics
/// When there is no such layer or unit.
#[track_caller]
pub fn guided_gradient(
    network: &Network,
    input: &Tensor,
    condition: Option<&Tensor>,
    layer: &str,
    units: &[[usize; 3]],
) -> Tensor {
    let input = input.leaf();
    let pass = ForwardCtx::from(Mode::SAMPLE).with_condition(condition).with_guidance();
    tensor::batch_invariant(|| {
        let (_, found) = network.features(&input, pass, &[layer]);
        let shape = *found[0].shape();
        let mut seed = vec![0.0; found[0].len()];
        let [_, h, w, k] = shape[..] else {
            panic!("guided: features of shape {shape:?} are no maps")
        };
        for (i, &[y, x, feature]) in units.iter().enumerate() {
            assert!(
                y < h && x < w && feature < k,
                "guided: no unit {:?} in maps {:?}",
                [y, x, feature],
                [h, w, k]
            );
            seed[((i * h + y) * w + x) * k + feature] = 1.0;
        }
        let seed = Tensor::from_slice(&seed, shape).to_device(&input.device());
        let keys: Vec<_> = input.id().into_iter().collect();
        let found =
            autograd::grad(&[(&found[0], &seed)], &keys, false).into_iter().flatten().next();
        // Nothing at all comes back from a layer that does not depend on the input.
        found.unwrap_or_else(|| input.detach().scale(0.0))
    })
}

/// What of a set is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The first so many features, as the paper has it: an axis of the space of features each, not a direction in it.
    pub maps: usize,
    /// So many pictures with the strongest responses, each picture once.
    pub top: usize,
    /// At most so many pictures, spread evenly over the set.
    pub pictures: usize,
}

/// A feature's strongest response in one picture.
#[derive(Clone, Debug)]
pub struct Response {
    /// The picture's number in the set.
    pub picture: usize,
    /// Row and column in the map.
    pub at: [usize; 2],
    /// The activation.
    pub value: f32,
    /// The guided gradient, `[H, W, C]`.
    pub gradient: Vec<f32>,
}

/// A feature.
#[derive(Clone, Debug)]
pub struct Feature {
    /// Its number among the maps.
    pub index: usize,
    /// The strongest responses, strongest first; of equal ones the earlier picture's.
    pub top: Vec<Response>,
    /// Mean and standard deviation of the strongest response in each picture.
    pub spread: [f64; 2],
}

impl Feature {
    /// How many standard deviations the mean of the strongest responses lies above that of all pictures; 0 for a dead feature.
    pub fn selectivity(&self) -> f64 {
        let mean = self.top.iter().map(|response| f64::from(response.value)).sum::<f64>()
            / self.top.len().max(1) as f64;
        if self.spread[1] > 0.0 { (mean - self.spread[0]) / self.spread[1] } else { 0.0 }
    }

    /// The most frequent class among the pictures with the strongest responses, and how many are of it; `None` without labels.
    pub fn class(&self, dataset: &Dataset) -> Option<(u32, usize)> {
        let labels: Vec<u32> =
            self.top.iter().filter_map(|response| dataset.label(response.picture)).collect();
        let count = |label: u32| labels.iter().filter(|other| **other == label).count();
        // Of equally frequent ones the first.
        labels.iter().rev().map(|&label| (label, count(label))).max_by_key(|&(_, count)| count)
    }
}

/// The features of a discriminator, with the gradients of their strongest responses.
///
/// # Errors
/// More features than there are, or none; pictures that cannot be decoded; the device; or the user stops it.
pub fn features(
    d: &InspectedDiscriminator,
    options: Options,
    what: &str,
    progress: Progress<'_>,
) -> Result<Vec<Feature>, EvalError> {
    let Options { maps, top, pictures } = options;
    let chosen = evenly_spaced(d.dataset().len(), pictures);
    let mut found: Vec<Vec<Strongest>> = vec![Vec::with_capacity(chosen.len()); maps];
    for (k, part) in chosen.chunks(BATCH).enumerate() {
        let responses = d.features(part)?;
        let channels = responses.shape()[3];
        if !(1..=channels).contains(&maps) {
            return Err(EvalError::Setting(format!(
                "{maps} features were asked for: layer {} of the discriminator has {channels}",
                d.layer()
            )));
        }
        let (shape, values) = (*responses.shape(), responses.narrow(3, 0, maps).to_vec());
        let size = shape[1] * shape[2] * maps;
        for (&picture, map) in part.iter().zip(values.chunks_exact(size)) {
            for (feature, all) in found.iter_mut().enumerate() {
                all.push(Strongest::of(picture, map.iter().copied().skip(feature).step_by(maps)));
            }
        }
        progress.report(what, k * BATCH + part.len(), chosen.len())?;
    }
    let width = d.features(&chosen[..1])?.shape()[2];
    found.into_iter().enumerate().map(|(index, all)| feature(d, index, all, width, top)).collect()
}

/// The strongest response of a map.
#[derive(Clone, Copy)]
struct Strongest {
    picture: usize,
    position: usize,
    value: f32,
}

impl Strongest {
    fn of(picture: usize, map: impl Iterator<Item = f32>) -> Self {
        let first = Self { picture, position: 0, value: f32::NEG_INFINITY };
        map.enumerate().fold(first, |best, (position, value)| {
            if value > best.value { Self { position, value, ..best } } else { best }
        })
    }

    fn order(&self, other: &Self) -> Ordering {
        other.value.total_cmp(&self.value).then(self.picture.cmp(&other.picture))
    }
}

fn feature(
    d: &InspectedDiscriminator,
    index: usize,
    mut all: Vec<Strongest>,
    width: usize,
    top: usize,
) -> Result<Feature, EvalError> {
    let n = all.len() as f64;
    let mean = all.iter().map(|s| f64::from(s.value)).sum::<f64>() / n;
    let variance = all.iter().map(|s| (f64::from(s.value) - mean).powi(2)).sum::<f64>() / n;
    all.sort_unstable_by(Strongest::order);
    all.truncate(top);
    let at = |s: &Strongest| [s.position / width, s.position % width];
    let pictures: Vec<usize> = all.iter().map(|s| s.picture).collect();
    let units: Vec<[usize; 3]> = all.iter().map(|s| [at(s)[0], at(s)[1], index]).collect();
    let gradients = d.guided(&pictures, &units)?.to_vec();
    let size = gradients.len() / all.len().max(1);
    let response = |(s, gradient): (&Strongest, &[f32])| Response {
        picture: s.picture,
        at: at(s),
        value: s.value,
        gradient: gradient.to_vec(),
    };
    let top = all.iter().zip(gradients.chunks_exact(size)).map(response).collect();
    Ok(Feature { index, top, spread: [mean, variance.sqrt()] })
}

/// For each feature a row of what its strongest responses see and one of their guided gradients, left of the untrained network, right of the
/// trained one. All are cut to the part that gradients reach; each gradient has its own scale, 0 being middle grey.
///
/// # Errors
/// A picture that cannot be decoded any more.
pub fn sheet(
    d: &InspectedDiscriminator,
    untrained: &[Feature],
    trained: &[Feature],
) -> Result<ImageSheet, EvalError> {
    let image = d.dataset().shape();
    let size = reach(image, untrained.iter().chain(trained).flat_map(|feature| &feature.top));
    let top = untrained.iter().chain(trained).map(|feature| feature.top.len()).max().unwrap_or(0);
    let mut sheet = ImageSheet::new([size[0], size[1], image[2]], 2 * top + 1);
    let mut pixels = vec![0.0; image.iter().product()];
    for pair in untrained.iter().zip(trained) {
        let (mut seen, mut gradients) = (Vec::new(), Vec::new());
        for (side, feature) in [pair.0, pair.1].into_iter().enumerate() {
            for response in &feature.top {
                let corner = corner(image, size, &response.gradient);
                d.dataset().write(response.picture, &mut pixels)?;
                seen.push(Some(cut(&pixels, image, corner, size)));
                gradients.push(Some(signed(&cut(&response.gradient, image, corner, size), None)));
            }
            // A gap between the two halves, and before it what a half lacks.
            let filled = if side == 0 { top + 1 } else { 2 * top + 1 };
            seen.resize(filled, None);
            gradients.resize(filled, None);
        }
        for row in [&seen, &gradients] {
            sheet.row(row.iter().map(Option::as_deref));
        }
    }
    Ok(sheet)
}

/// First and last row and column of a picture `[H, W, C]` that are not 0 throughout: `[[top, bottom], [left, right]]`.
fn bounds(image: [usize; 3], gradient: &[f32]) -> Option<[[usize; 2]; 2]> {
    let [_, w, c] = image;
    let mut found: Option<[[usize; 2]; 2]> = None;
    for (p, _) in gradient
        .chunks_exact(c)
        .enumerate()
        .filter(|(_, pixel)| pixel.iter().any(|value| *value != 0.0))
    {
        let at = [p / w, p % w];
        let so_far = found.unwrap_or([[at[0]; 2], [at[1]; 2]]);
        found = Some([0, 1].map(|i| [so_far[i][0].min(at[i]), so_far[i][1].max(at[i])]));
    }
    found
}

/// Height and width of the largest part of a picture that one of the gradients reaches; of the whole where there is none.
fn reach<'a>(image: [usize; 3], responses: impl Iterator<Item = &'a Response>) -> [usize; 2] {
    let mut sizes = [0, 0];
    for [rows, columns] in responses.filter_map(|response| bounds(image, &response.gradient)) {
        sizes = [sizes[0].max(rows[1] + 1 - rows[0]), sizes[1].max(columns[1] + 1 - columns[0])];
    }
    if sizes == [0, 0] { [image[0], image[1]] } else { sizes }
}

/// Where the part of this size begins that has a gradient in its middle, within the picture.
fn corner(image: [usize; 3], size: [usize; 2], gradient: &[f32]) -> [usize; 2] {
    let ends = bounds(image, gradient).unwrap_or([[0, image[0] - 1], [0, image[1] - 1]]);
    [0, 1].map(|i| {
        ((ends[i][0] + ends[i][1] + 1).saturating_sub(size[i]) / 2).min(image[i] - size[i])
    })
}

fn cut(
    picture: &[f32],
    [_, w, c]: [usize; 3],
    [top, left]: [usize; 2],
    [height, width]: [usize; 2],
) -> Vec<f32> {
    (top..top + height)
        .flat_map(|y| picture[(y * w + left) * c..][..width * c].iter().copied())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradients_are_cut_out_with_a_margin_that_fits() {
        let image = [4, 5, 1];
        let mut gradient = vec![0.0; 20];
        (gradient[7], gradient[13]) = (1.0, -1.0);
        assert_eq!(bounds(image, &gradient), Some([[1, 2], [2, 3]]));
        let response =
            |gradient: Vec<f32>| Response { picture: 0, at: [0, 0], value: 1.0, gradient };
        let mut corner_one = vec![0.0; 20];
        corner_one[19] = 2.0;
        let all =
            [response(gradient.clone()), response(corner_one.clone()), response(vec![0.0; 20])];
        assert_eq!(reach(image, all.iter()), [2, 2]);
        assert_eq!(
            [corner(image, [2, 2], &gradient), corner(image, [2, 2], &corner_one)],
            [[1, 2], [2, 3]]
        );
        assert_eq!(cut(&gradient, image, [1, 2], [2, 2]), [1.0, 0.0, 0.0, -1.0]);
        assert_eq!(reach(image, all[2..].iter()), [4, 5]);
        assert_eq!(corner(image, [4, 5], &all[2].gradient), [0, 0]);
    }

    #[test]
    fn the_strongest_come_first_and_of_equals_the_earlier() {
        let map = |picture, values: [f32; 3]| Strongest::of(picture, values.into_iter());
        let mut all = [map(0, [0.0, 2.0, 2.0]), map(1, [3.0, 1.0, 0.0]), map(2, [-1.0, -2.0, 2.0])];
        all.sort_unstable_by(Strongest::order);
        assert_eq!(all.map(|s| (s.picture, s.position)), [(1, 0), (0, 1), (2, 2)]);
    }
}
