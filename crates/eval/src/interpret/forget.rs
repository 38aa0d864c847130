//! Making a generator forget an object: the feature maps that tell where it is are dropped (Radford et al. 2016, section 6.3.1).

use super::image_sheet::ImageSheet;
use super::inspected_generator::InspectedGenerator;
use super::logistic_regression::LogisticRegression;
use super::regions::{Region, Scorer};
use crate::{EvalError, Progress};
use std::collections::BTreeMap;
use tensor::Tensor;
use tensor::rng::Philox;

/// Philox streams of the positions without the object, and of the maps that are dropped to compare.
const POSITIONS: u64 = 0x666f_7267;
const CONTROLS: u64 = 0x666f_7268;

/// Where the positions without the object come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NegativeSampling {
    /// Random positions of the same pictures, outside the boxes, as in the paper.
    Same,
    /// The same positions of pictures without the object: for objects that fill their pictures, or are always in one place. It takes a scorer.
    Others,
}

/// How it is done.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Where the positions without the object come from.
    pub negatives: NegativeSampling,
    /// The weight of the data in the regression ([`LogisticRegression::fit`]).
    pub c: f64,
    /// How often as many maps, drawn at random, are dropped to compare.
    pub controls: usize,
    /// Of all that is random.
    pub seed: u64,
}

/// What came of it.
pub struct AblationResult {
    /// The maps with a positive weight, ascending.
    pub dropped: Vec<usize>,
    /// The positions with and without the object that the regression saw.
    pub positions: [usize; 2],
    /// The share of them that it tells rightly.
    pub accuracy: f64,
    /// All pictures as they were, without the maps, and without as many random ones (the first control), `[N, H, W, C]` in [−1, 1].
    pub pictures: [Tensor; 3],
    /// What it does to the pictures with boxes: of the maps, and as the mean of the controls.
    pub effects: [AblationEffect; 2],
    /// How often the scorer sees the object, where there is one.
    pub rates: Option<DetectionRates>,
}

/// What becomes of pictures, inside the boxes and elsewhere.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AblationEffect {
    /// Mean absolute change of a pixel, on the scale of 255.
    pub change: [f64; 2],
    /// What is left of the contrast: the standard deviation within each part of each picture, taken together, relative to what it was.
    pub contrast: [f64; 2],
}

/// Shares of pictures in which the scorer sees the object.
#[derive(Clone, Debug, PartialEq)]
pub struct DetectionRates {
    /// Among the pictures as they are.
    pub before: f64,
    /// Without the maps.
    pub after: f64,
    /// Without as many random ones, for each control.
    pub controls: Vec<f64>,
}

/// Fits, drops and redraws. `latents` `[N, latent]` and `condition` are of the pictures that `regions` are in; all of them are redrawn and judged.
///
/// # Errors
/// Boxes that hold no position of the layer, or all of them; no map, or every map, with a positive weight; [`NegativeSampling::Others`] without a scorer
/// or without pictures that lack the object; the scorer's; the device; or the user stops it.
pub fn forget(
    g: &InspectedGenerator,
    (latents, condition): (&Tensor, Option<&Tensor>),
    regions: &[Region],
    options: Options,
    scorer: Option<&Scorer<'_>>,
    progress: Progress<'_>,
) -> Result<AblationResult, EvalError> {
    let before = g.draw(latents, condition, &[], ("drawing", progress))?;
    let scores = scorer.map(|scorer| scorer(&before)).transpose()?;
    let (rows, truths) =
        examples(g, (latents, condition), regions, options, scores.as_deref(), progress)?;
    let maps = g.layer().shape[2];
    let model = LogisticRegression::fit(&rows, &truths, maps, options.c);
    let dropped: Vec<usize> = (0..maps).filter(|&map| model.weights[map] > 0.0).collect();
    if dropped.is_empty() || dropped.len() == maps {
        let which = if dropped.is_empty() { "no" } else { "every" };
        return Err(EvalError::Mismatch(format!(
            "{which} map of layer {} has a positive weight: choose another layer",
            g.layer()
        )));
    }
    let share = |pictures: &Tensor| {
        scorer.map(|scorer| Ok::<_, EvalError>(rate(&scorer(pictures)?))).transpose()
    };
    let after = g.draw(latents, condition, &dropped, ("drawing without the maps", progress))?;
    let (own, gone) = (AblationEffect::of(&before, &after, regions), share(&after)?);
    let mut random = Philox::new(options.seed, CONTROLS);
    let (mut first, mut effects, mut rates) = (None, Vec::new(), Vec::new());
    for i in 0..options.controls {
        let what = format!("drawing without random maps, {} of {}", i + 1, options.controls);
        let control = g.draw(
            latents,
            condition,
            &sample_maps(dropped.len(), maps, &mut random),
            (&what, progress),
        )?;
        effects.push(AblationEffect::of(&before, &control, regions));
        rates.extend(share(&control)?);
        first.get_or_insert(control);
    }
    let rates = scores.zip(gone).map(|(scores, after)| DetectionRates {
        before: rate(&scores),
        after,
        controls: rates,
    });
    let positive = truths.iter().filter(|truth| **truth).count();
    Ok(AblationResult {
        dropped,
        positions: [positive, truths.len() - positive],
        accuracy: model.accuracy(&rows, &truths),
        pictures: [before, after.clone(), first.unwrap_or(after)],
        effects: [own, AblationEffect::mean(&effects)],
        rates,
    })
}

/// The share of scores above one half.
pub fn rate(scores: &[f32]) -> f64 {
    scores.iter().filter(|verdict| **verdict > 0.5).count() as f64 / scores.len().max(1) as f64
}

/// `count` different numbers below `of`, ascending.
fn sample_maps(count: usize, of: usize, random: &mut Philox) -> Vec<usize> {
    let mut all: Vec<usize> = (0..of).collect();
    for i in 0..count {
        all.swap(i, i + random.below((of - i) as u32) as usize);
    }
    all.truncate(count);
    all.sort_unstable();
    all
}

/// The features at positions with the object, then at as many without it, and which they are.
fn examples(
    g: &InspectedGenerator,
    (latents, condition): (&Tensor, Option<&Tensor>),
    regions: &[Region],
    options: Options,
    scores: Option<&[f32]>,
    progress: Progress<'_>,
) -> Result<(Vec<f32>, Vec<bool>), EvalError> {
    let ([h, w, width], [image_h, image_w, _]) = (g.layer().shape, g.shape());
    let inside =
        |region: &Region, at: usize| region.holds([at / w, at % w], [h, w], [image_h, image_w]);
    let mut pictures: BTreeMap<usize, Vec<bool>> = BTreeMap::new();
    for region in regions {
        let cells = pictures.entry(region.sample).or_insert_with(|| vec![false; h * w]);
        cells.iter_mut().enumerate().for_each(|(at, cell)| *cell |= inside(region, at));
    }
    let cells = |wanted: bool| -> Vec<(usize, usize)> {
        let of = |(&sample, cells): (&usize, &Vec<bool>)| -> Vec<(usize, usize)> {
            (0..h * w).filter(|&at| cells[at] == wanted).map(|at| (sample, at)).collect()
        };
        pictures.iter().flat_map(of).collect()
    };
    let mut random = Philox::new(options.seed, POSITIONS);
    let (with, free) = (cells(true), cells(false));
    if with.is_empty() {
        return Err(EvalError::Mismatch(format!(
            "no position of layer {} has its middle in one of the boxes",
            g.layer()
        )));
    }
    let without: Vec<(usize, usize)> = match options.negatives {
        NegativeSampling::Same if free.is_empty() => {
            return Err(EvalError::Mismatch(
                "the boxes fill their pictures: compare with other pictures (others), or give smaller boxes".into(),
            ));
        }
        NegativeSampling::Same => {
            let chosen = sample_maps(with.len().min(free.len()), free.len(), &mut random);
            chosen.into_iter().map(|i| free[i]).collect()
        }
        NegativeSampling::Others => {
            let lacking = |(i, verdict): (usize, &f32)| (*verdict < 0.5).then_some(i);
            let others: Vec<usize> =
                scores.unwrap_or_default().iter().enumerate().filter_map(lacking).collect();
            if others.is_empty() {
                return Err(EvalError::Mismatch(
                    "there are no pictures without the object to compare with".into(),
                ));
            }
            with.iter()
                .map(|&(_, at)| (others[random.below(others.len() as u32) as usize], at))
                .collect()
        }
    };
    let mut wanted: Vec<usize> = with.iter().chain(&without).map(|(sample, _)| *sample).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let told = condition.map(|rows| rows.index_select(&wanted));
    let maps = g.maps(&latents.index_select(&wanted), told.as_ref(), progress)?.to_vec();
    let row = |&(sample, at): &(usize, usize)| {
        // Every sample is among the wanted.
        let picture = wanted.partition_point(|own| *own < sample);
        maps[(picture * h * w + at) * width..][..width].iter().copied()
    };
    let rows = with.iter().chain(&without).flat_map(row).collect();
    let truths = with.iter().map(|_| true).chain(without.iter().map(|_| false)).collect();
    Ok((rows, truths))
}

/// What a part of the pictures was, inside the boxes or elsewhere.
#[derive(Clone, Copy, Default)]
struct RegionSums {
    pixels: usize,
    change: f64,
    /// Squared distances of the numbers from their mean over the part, before and after.
    energy: [f64; 2],
}

impl AblationEffect {
    fn of(before: &Tensor, after: &Tensor, regions: &[Region]) -> Self {
        let [h, w, c] = [before.shape()[1], before.shape()[2], before.shape()[3]];
        let mut samples: Vec<usize> = regions.iter().map(|region| region.sample).collect();
        samples.sort_unstable();
        samples.dedup();
        let mut parts = [RegionSums::default(); 2];
        for sample in samples {
            let own: Vec<&Region> =
                regions.iter().filter(|region| region.sample == sample).collect();
            let inside =
                |at: usize| own.iter().any(|region| region.holds([at / w, at % w], [h, w], [h, w]));
            let pictures = [before, after].map(|pictures| pictures.narrow(0, sample, 1).to_vec());
            for (part, wanted) in parts.iter_mut().zip([true, false]) {
                let pixels: Vec<usize> = (0..h * w).filter(|&at| inside(at) == wanted).collect();
                part.pixels += pixels.len();
                for channel in 0..c {
                    let [old, new] = [0, 1].map(|i| {
                        pixels
                            .iter()
                            .map(|at| f64::from(pictures[i][at * c + channel]))
                            .collect::<Vec<_>>()
                    });
                    part.change +=
                        old.iter().zip(&new).map(|(a, b)| (a - b).abs()).sum::<f64>() / c as f64;
                    part.energy = [part.energy[0] + energy(&old), part.energy[1] + energy(&new)];
                }
            }
        }
        let kept =
            |[before, after]: [f64; 2]| if before > 0.0 { (after / before).sqrt() } else { 1.0 };
        Self {
            change: parts.map(|part| part.change / part.pixels.max(1) as f64 * 127.5),
            contrast: parts.map(|part| kept(part.energy)),
        }
    }

    fn mean(all: &[Self]) -> Self {
        let mean = |of: fn(&Self) -> [f64; 2]| {
            [0, 1].map(|i| all.iter().map(|own| of(own)[i]).sum::<f64>() / all.len().max(1) as f64)
        };
        Self { change: mean(|own| own.change), contrast: mean(|own| own.contrast) }
    }
}

/// The sum of squared distances from the mean.
fn energy(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
    values.iter().map(|value| (value - mean).powi(2)).sum()
}

impl AblationResult {
    /// These samples in blocks of three rows: as they were, without the maps, and without as many random ones.
    pub fn sheet(&self, samples: &[usize], columns: usize) -> ImageSheet {
        let shape = self.pictures[0].shape();
        let cell = [shape[1], shape[2], shape[3]];
        let size: usize = cell.iter().product();
        let all = self.pictures.each_ref().map(Tensor::to_vec);
        let mut sheet = ImageSheet::new(cell, columns);
        for block in samples.chunks(columns) {
            for pictures in &all {
                sheet.row(block.iter().map(|&sample| Some(&pictures[sample * size..][..size])));
            }
        }
        sheet
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_different_maps_are_chosen() {
        let mut random = Philox::new(3, CONTROLS);
        let mut counts = [0; 10];
        for _ in 0..1000 {
            let chosen = sample_maps(4, 10, &mut random);
            assert!(chosen.len() == 4 && chosen.windows(2).all(|pair| pair[0] < pair[1]));
            chosen.iter().for_each(|&map| counts[map] += 1);
        }
        // 400 each, σ = 15.
        assert!(counts.iter().all(|count| (320..480).contains(count)), "{counts:?}");
    }

    #[test]
    fn effects_are_told_apart_by_the_boxes() {
        let before = Tensor::from_slice(&[0.0, 0.0, 0.0, 0.0, 0.5, -0.5, 0.5, 0.0], [2, 2, 2, 1]);
        let after = Tensor::from_slice(&[9.0, 9.0, 9.0, 9.0, 0.25, -0.25, 0.5, 1.0], [2, 2, 2, 1]);
        let region = Region { sample: 1, x: [0.0, 2.0], y: [0.0, 1.0] };
        let found = AblationEffect::of(&before, &after, &[region]);
        assert_eq!(
            found,
            AblationEffect { change: [0.25 * 127.5, 0.5 * 127.5], contrast: [0.5, 1.0] }
        );
        let other = AblationEffect { change: [0.0; 2], contrast: [1.0; 2] };
        assert_eq!(AblationEffect::mean(&[found, other]).contrast, [0.75, 1.0]);
    }
}
