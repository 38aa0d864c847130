//! Makes a generator forget an object: the feature maps that detect it are dropped (an ablation;
//! Radford et al. 2016, section 6.3.1).
//!
//! ```
//! use eval::interpret::forget::detection_rate;
//!
//! assert_eq!(detection_rate(&[0.9, 0.2, 0.7, 0.4]), 0.5);
//! ```

use super::inspected_generator::InspectedGenerator;
use super::logistic_regression::LogisticRegression;
use super::regions::{Region, Scorer};
use crate::image_sheet::ImageSheet;
use crate::{EvalError, Progress};
use serde::Serialize;
use std::collections::BTreeMap;
use tensor::Tensor;
use tensor::rng::Philox;

/// Philox streams of negative positions, and of the control maps.
const POSITION_STREAM: u64 = 0x666f_7267;
const CONTROL_STREAM: u64 = 0x666f_7268;

/// How negative examples, positions without the object, are sampled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum NegativeSampling {
    /// Random positions of the same images, outside the boxes, as in the paper.
    #[cfg_attr(feature = "clap", value(name = "same"))]
    SameImages,
    /// The same positions of images without the object: for objects that fill their images or are
    /// always in one place. Needs a scorer.
    #[cfg_attr(feature = "clap", value(name = "others"))]
    OtherImages,
}

/// Options of the ablation.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How negative examples are sampled.
    pub negatives: NegativeSampling,
    /// The inverse regularization strength of the regression ([`LogisticRegression::fit`]).
    pub c: f64,
    /// The number of controls, in which as many random maps are dropped.
    pub controls: usize,
    /// Seed of negative examples and controls.
    pub seed: u64,
}

/// The result of dropping maps.
pub struct AblationResult {
    /// The maps with a positive weight, ascending.
    pub dropped: Vec<usize>,
    /// The number of positive and of negative positions in the regression.
    pub positions: [usize; 2],
    /// The fraction of them that the regression classifies correctly.
    pub accuracy: f64,
    /// All images with all maps, without the dropped maps, and without random ones (the first
    /// control), `[N, H, W, C]` in [−1, 1].
    pub images: [Tensor; 3],
    /// The effect on the images with boxes: of the dropped maps, and the mean of the controls.
    pub effects: [AblationEffect; 2],
    /// How often the scorer detects the object, if there is a scorer.
    pub rates: Option<DetectionRates>,
}

/// The effect on images, inside the boxes and outside.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AblationEffect {
    /// Mean absolute change of a pixel, in gray levels of 255.
    pub change: [f64; 2],
    /// The remaining contrast: the standard deviation within each part of each image, pooled,
    /// relative to the original one.
    pub contrast: [f64; 2],
}

/// Fractions of images in which the scorer detects the object.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DetectionRates {
    /// The rate with all feature maps.
    pub before: f64,
    /// The rate without the dropped maps.
    pub after: f64,
    /// The rate without as many random maps, for each control.
    pub controls: Vec<f64>,
}

/// Fits a logistic regression on the feature maps, drops the maps with positive weights, and
/// generates the images again. `latents` `[N, latent]` and `condition` are those of the images that
/// `regions` are in.
///
/// # Errors
/// Returns an error if the boxes contain no position of the layer or all of them, no map or every
/// map has a positive weight, there are no negative examples, the scorer fails, or the device
/// fails; [`EvalError::Stopped`] if `progress` cancels.
pub fn forget(
    g: &InspectedGenerator,
    (latents, condition): (&Tensor, Option<&Tensor>),
    regions: &[Region],
    options: Options,
    scorer: Option<&Scorer<'_>>,
    progress: Progress<'_>,
) -> Result<AblationResult, EvalError> {
    let generate =
        |dropped: &[usize], task: &str| g.generate(latents, condition, dropped, (task, progress));
    let before = generate(&[], "generating")?;
    let scores = scorer.map(|scorer| scorer(&before)).transpose()?;
    let (rows, labels) =
        examples(g, (latents, condition), regions, options, scores.as_deref(), progress)?;
    let maps = g.layer().shape[2];
    let model = LogisticRegression::fit(&rows, &labels, maps, options.c);
    let dropped: Vec<usize> = (0..maps).filter(|&map| model.weights[map] > 0.0).collect();
    if dropped.is_empty() || dropped.len() == maps {
        let layer = g.layer().to_string();
        return Err(EvalError::UselessMaps { layer, positive: dropped.len() });
    }
    let rate = |images: &Tensor| {
        scorer.map(|scorer| Ok::<_, EvalError>(detection_rate(&scorer(images)?))).transpose()
    };
    let after = generate(&dropped, "generating without the maps")?;
    let (effect, rate_after) = (AblationEffect::of(&before, &after, regions), rate(&after)?);
    let mut rng = Philox::new(options.seed, CONTROL_STREAM);
    let (mut first, mut effects, mut rates) = (None, Vec::new(), Vec::new());
    for i in 0..options.controls {
        let task = format!("generating without random maps, {} of {}", i + 1, options.controls);
        let control = generate(&random_indices(dropped.len(), maps, &mut rng), &task)?;
        effects.push(AblationEffect::of(&before, &control, regions));
        rates.extend(rate(&control)?);
        first.get_or_insert(control);
    }
    let rates = scores.zip(rate_after).map(|(scores, after)| DetectionRates {
        before: detection_rate(&scores),
        after,
        controls: rates,
    });
    let positive = labels.iter().filter(|label| **label).count();
    Ok(AblationResult {
        dropped,
        positions: [positive, labels.len() - positive],
        accuracy: model.accuracy(&rows, &labels),
        images: [before, after.clone(), first.unwrap_or(after)],
        effects: [effect, AblationEffect::mean(&effects)],
        rates,
    })
}

/// The fraction of scores above one half.
pub fn detection_rate(scores: &[f32]) -> f64 {
    scores.iter().filter(|score| **score > 0.5).count() as f64 / scores.len().max(1) as f64
}

/// `count` different indices below `of`, ascending.
fn random_indices(count: usize, of: usize, rng: &mut Philox) -> Vec<usize> {
    let mut chosen = rng.sample_without_replacement(of, count);
    chosen.sort_unstable();
    chosen
}

/// The features at positive positions, then at as many negative ones, and their labels.
fn examples(
    g: &InspectedGenerator,
    (latents, condition): (&Tensor, Option<&Tensor>),
    regions: &[Region],
    options: Options,
    scores: Option<&[f32]>,
    progress: Progress<'_>,
) -> Result<(Vec<f32>, Vec<bool>), EvalError> {
    let ([h, w, width], [image_h, image_w, _]) = (g.layer().shape, g.shape());
    let inside = |region: &Region, at: usize| {
        region.contains_cell([at / w, at % w], [h, w], [image_h, image_w])
    };
    // For each image with boxes, which positions are in one of them.
    let mut images: BTreeMap<usize, Vec<bool>> = BTreeMap::new();
    for region in regions {
        let cells = images.entry(region.sample).or_insert_with(|| vec![false; h * w]);
        cells.iter_mut().enumerate().for_each(|(at, cell)| *cell |= inside(region, at));
    }
    let positions = |wanted: bool| -> Vec<(usize, usize)> {
        let of = |(&sample, cells): (&usize, &Vec<bool>)| -> Vec<(usize, usize)> {
            (0..h * w).filter(|&at| cells[at] == wanted).map(|at| (sample, at)).collect()
        };
        images.iter().flat_map(of).collect()
    };
    let mut rng = Philox::new(options.seed, POSITION_STREAM);
    let (positive, outside) = (positions(true), positions(false));
    if positive.is_empty() {
        return Err(EvalError::NoPositionInBoxes { layer: g.layer().to_string() });
    }
    let negative: Vec<(usize, usize)> = match options.negatives {
        NegativeSampling::SameImages if outside.is_empty() => {
            return Err(EvalError::BoxesFillImages);
        }
        NegativeSampling::SameImages => {
            let count = positive.len().min(outside.len());
            let chosen = random_indices(count, outside.len(), &mut rng);
            chosen.into_iter().map(|i| outside[i]).collect()
        }
        NegativeSampling::OtherImages => {
            let lacking = |(i, score): (usize, &f32)| (*score < 0.5).then_some(i);
            let others: Vec<usize> =
                scores.unwrap_or_default().iter().enumerate().filter_map(lacking).collect();
            if others.is_empty() {
                return Err(EvalError::NoNegativeImages);
            }
            positive
                .iter()
                .map(|&(_, at)| (others[rng.below(others.len() as u32) as usize], at))
                .collect()
        }
    };
    // Only images with examples go through the generator again.
    let mut needed: Vec<usize> =
        positive.iter().chain(&negative).map(|(sample, _)| *sample).collect();
    needed.sort_unstable();
    needed.dedup();
    let condition = condition.map(|rows| rows.index_select(&needed));
    let maps = g.maps(&latents.index_select(&needed), condition.as_ref(), progress)?.to_vec();
    let row = |&(sample, at): &(usize, usize)| {
        let image = needed.partition_point(|own| *own < sample);
        maps[(image * h * w + at) * width..][..width].iter().copied()
    };
    let rows = positive.iter().chain(&negative).flat_map(row).collect();
    let labels = positive.iter().map(|_| true).chain(negative.iter().map(|_| false)).collect();
    Ok((rows, labels))
}

/// Sums over a part of images, inside the boxes or outside.
#[derive(Clone, Copy, Default)]
struct RegionSums {
    pixels: usize,
    change: f64,
    /// Sums of squared deviations from the part's mean, before and after.
    energy: [f64; 2],
}

impl AblationEffect {
    fn of(before: &Tensor, after: &Tensor, regions: &[Region]) -> Self {
        let [h, w, c] = [before.shape()[1], before.shape()[2], before.shape()[3]];
        let mut samples: Vec<usize> = regions.iter().map(|region| region.sample).collect();
        samples.sort_unstable();
        samples.dedup();
        let mut sums = [RegionSums::default(); 2];
        for sample in samples {
            let own: Vec<&Region> =
                regions.iter().filter(|region| region.sample == sample).collect();
            let inside = |at: usize| {
                own.iter().any(|region| region.contains_cell([at / w, at % w], [h, w], [h, w]))
            };
            let images = [before, after].map(|images| images.narrow(0, sample, 1).to_vec());
            for (sums, wanted) in sums.iter_mut().zip([true, false]) {
                let pixels: Vec<usize> = (0..h * w).filter(|&at| inside(at) == wanted).collect();
                sums.pixels += pixels.len();
                for channel in 0..c {
                    let [old, new] = [0, 1].map(|i| {
                        pixels
                            .iter()
                            .map(|at| f64::from(images[i][at * c + channel]))
                            .collect::<Vec<_>>()
                    });
                    sums.change +=
                        old.iter().zip(&new).map(|(a, b)| (a - b).abs()).sum::<f64>() / c as f64;
                    sums.energy = [sums.energy[0] + energy(&old), sums.energy[1] + energy(&new)];
                }
            }
        }
        let contrast =
            |[before, after]: [f64; 2]| if before > 0.0 { (after / before).sqrt() } else { 1.0 };
        Self {
            change: sums.map(|own| own.change / own.pixels.max(1) as f64 * 127.5),
            contrast: sums.map(|own| contrast(own.energy)),
        }
    }

    fn mean(all: &[Self]) -> Self {
        let mean = |of: fn(&Self) -> [f64; 2]| {
            [0, 1].map(|i| all.iter().map(|own| of(own)[i]).sum::<f64>() / all.len().max(1) as f64)
        };
        Self { change: mean(|own| own.change), contrast: mean(|own| own.contrast) }
    }
}

/// The sum of squared deviations from the mean.
fn energy(values: &[f64]) -> f64 {
    let mean = crate::stats::mean(values);
    values.iter().map(|value| (value - mean).powi(2)).sum()
}

impl AblationResult {
    /// These samples in blocks of three rows: with all maps, without the dropped maps, and without
    /// as many random ones.
    pub fn sheet(&self, samples: &[usize], columns: usize) -> ImageSheet {
        let shape = self.images[0].shape();
        let cell = [shape[1], shape[2], shape[3]];
        let size: usize = cell.iter().product();
        let all = self.images.each_ref().map(Tensor::to_vec);
        let mut sheet = ImageSheet::new(cell, columns);
        for block in samples.chunks(columns) {
            for images in &all {
                sheet.row(block.iter().map(|&sample| Some(&images[sample * size..][..size])));
            }
        }
        sheet
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_indices_are_ascending() {
        let mut rng = Philox::new(3, CONTROL_STREAM);
        for _ in 0..100 {
            let chosen = random_indices(4, 10, &mut rng);
            assert!(chosen.len() == 4 && chosen.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }

    #[test]
    fn effects_are_separated_by_the_boxes() {
        let before = Tensor::from_slice(&[0.0, 0.0, 0.0, 0.0, 0.5, -0.5, 0.5, 0.0], [2, 2, 2, 1]);
        let after = Tensor::from_slice(&[9.0, 9.0, 9.0, 9.0, 0.25, -0.25, 0.5, 1.0], [2, 2, 2, 1]);
        let region = Region { sample: 1, x: [0.0, 2.0], y: [0.0, 1.0] };
        let found = AblationEffect::of(&before, &after, &[region]);
        let (change, contrast) = ([0.25 * 127.5, 0.5 * 127.5], [0.5, 1.0]);
        assert_eq!(found, AblationEffect { change, contrast });
        let other = AblationEffect { change: [0.0; 2], contrast: [1.0; 2] };
        assert_eq!(AblationEffect::mean(&[found, other]).contrast, [0.75, 1.0]);
    }
}
