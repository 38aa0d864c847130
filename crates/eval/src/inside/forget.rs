//! Making a generator forget an object: the feature maps that tell where it is are dropped (Radford et al. 2016, section 6.3.1).

use super::generator::Generator;
use super::logistic::Logistic;
use super::regions::{Judge, Region};
use super::sheet::Sheet;
use crate::{EvalError, Progress};
use std::collections::BTreeMap;
use tensor::Tensor;
use tensor::rng::Philox;

/// Philox streams of the positions without the object, and of the maps that are dropped to compare.
const POSITIONS: u64 = 0x666f_7267;
const CONTROLS: u64 = 0x666f_7268;

/// Where the positions without the object come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Against {
    /// Random positions of the same pictures, outside the boxes, as in the paper.
    Same,
    /// The same positions of pictures without the object: for objects that fill their pictures, or are always in one place. It takes a judge.
    Others,
}

/// How it is done.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Where the positions without the object come from.
    pub against: Against,
    /// The weight of the data in the regression ([`Logistic::fit`]).
    pub c: f64,
    /// How often as many maps, drawn at random, are dropped to compare.
    pub controls: usize,
    /// Of all that is random.
    pub seed: u64,
}

/// What came of it.
pub struct Forgotten {
    /// The maps with a positive weight, ascending.
    pub dropped: Vec<usize>,
    /// The positions with and without the object that the regression saw.
    pub positions: [usize; 2],
    /// The share of them that it tells rightly.
    pub accuracy: f64,
    /// All pictures as they were, without the maps, and without as many random ones (the first control), `[N, H, W, C]` in [−1, 1].
    pub pictures: [Tensor; 3],
    /// Mean absolute change of a pixel, on the scale of 255, inside the boxes and elsewhere in the same pictures: for the maps, and as the mean
    /// of the controls.
    pub changes: [[f64; 2]; 2],
    /// How often the judge sees the object, where there is one.
    pub rates: Option<Rates>,
}

/// Shares of pictures in which the judge sees the object.
#[derive(Clone, Debug, PartialEq)]
pub struct Rates {
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
/// Boxes that hold no position of the layer, or all of them; no map, or every map, with a positive weight; [`Against::Others`] without a judge
/// or without pictures that lack the object; the judge's; the device; or the user stops it.
pub fn forget(
    g: &Generator,
    (latents, condition): (&Tensor, Option<&Tensor>),
    regions: &[Region],
    options: Options,
    judge: Option<&Judge<'_>>,
    progress: Progress<'_>,
) -> Result<Forgotten, EvalError> {
    let steps = 3 + options.controls;
    let tell = |done| progress.tell("forgetting", done, steps);
    let before = g.draw(latents, condition, &[])?;
    tell(1)?;
    let verdicts = judge.map(|judge| judge(&before)).transpose()?;
    let (rows, truths) = examples(g, (latents, condition), regions, options, verdicts.as_deref())?;
    let maps = g.layer().shape[2];
    let model = Logistic::fit(&rows, &truths, maps, options.c);
    let dropped: Vec<usize> = (0..maps).filter(|&map| model.weights[map] > 0.0).collect();
    if dropped.is_empty() || dropped.len() == maps {
        let which = if dropped.is_empty() { "no" } else { "every" };
        return Err(EvalError::Mismatch(format!(
            "{which} map of layer {} has a positive weight: choose another layer",
            g.layer()
        )));
    }
    tell(2)?;
    let share = |pictures: &Tensor| judge.map(|judge| Ok::<_, EvalError>(rate(&judge(pictures)?))).transpose();
    let after = g.draw(latents, condition, &dropped)?;
    let (own, gone) = (changes(&before, &after, regions), share(&after)?);
    tell(3)?;
    let mut random = Philox::new(options.seed, CONTROLS);
    let (mut first, mut sums, mut rates) = (None, [0.0; 2], Vec::new());
    for i in 0..options.controls {
        let control = g.draw(latents, condition, &choose(dropped.len(), maps, &mut random))?;
        let change = changes(&before, &control, regions);
        sums = [0, 1].map(|k| sums[k] + change[k] / options.controls as f64);
        rates.extend(share(&control)?);
        first.get_or_insert(control);
        tell(4 + i)?;
    }
    let rates = verdicts.zip(gone).map(|(verdicts, after)| Rates { before: rate(&verdicts), after, controls: rates });
    let positive = truths.iter().filter(|truth| **truth).count();
    Ok(Forgotten {
        dropped,
        positions: [positive, truths.len() - positive],
        accuracy: model.accuracy(&rows, &truths),
        pictures: [before, after.clone(), first.unwrap_or(after)],
        changes: [own, sums],
        rates,
    })
}

/// The share of verdicts above one half.
pub fn rate(verdicts: &[f32]) -> f64 {
    verdicts.iter().filter(|verdict| **verdict > 0.5).count() as f64 / verdicts.len().max(1) as f64
}

/// `count` different numbers below `of`, ascending.
fn choose(count: usize, of: usize, random: &mut Philox) -> Vec<usize> {
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
    g: &Generator,
    (latents, condition): (&Tensor, Option<&Tensor>),
    regions: &[Region],
    options: Options,
    verdicts: Option<&[f32]>,
) -> Result<(Vec<f32>, Vec<bool>), EvalError> {
    let ([h, w, width], [image_h, image_w, _]) = (g.layer().shape, g.shape());
    let inside = |region: &Region, at: usize| region.holds([at / w, at % w], [h, w], [image_h, image_w]);
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
        return Err(EvalError::Mismatch(format!("no position of layer {} has its middle in one of the boxes", g.layer())));
    }
    let without: Vec<(usize, usize)> = match options.against {
        Against::Same if free.is_empty() => {
            return Err(EvalError::Mismatch(
                "the boxes fill their pictures: compare with other pictures (others), or give smaller boxes".into(),
            ));
        }
        Against::Same => {
            let chosen = choose(with.len().min(free.len()), free.len(), &mut random);
            chosen.into_iter().map(|i| free[i]).collect()
        }
        Against::Others => {
            let lacking = |(i, verdict): (usize, &f32)| (*verdict < 0.5).then_some(i);
            let others: Vec<usize> = verdicts.unwrap_or_default().iter().enumerate().filter_map(lacking).collect();
            if others.is_empty() {
                return Err(EvalError::Mismatch("there are no pictures without the object to compare with".into()));
            }
            with.iter().map(|&(_, at)| (others[random.below(others.len() as u32) as usize], at)).collect()
        }
    };
    let mut wanted: Vec<usize> = with.iter().chain(&without).map(|(sample, _)| *sample).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let maps = g.maps(&latents.index_select(&wanted), condition.map(|rows| rows.index_select(&wanted)).as_ref())?.to_vec();
    let row = |&(sample, at): &(usize, usize)| {
        // Every sample is among the wanted.
        let picture = wanted.partition_point(|own| *own < sample);
        maps[(picture * h * w + at) * width..][..width].iter().copied()
    };
    let rows = with.iter().chain(&without).flat_map(row).collect();
    let truths = with.iter().map(|_| true).chain(without.iter().map(|_| false)).collect();
    Ok((rows, truths))
}

/// Mean absolute change of a pixel inside the boxes and elsewhere in their pictures, on the scale of 255.
fn changes(before: &Tensor, after: &Tensor, regions: &[Region]) -> [f64; 2] {
    let [h, w, c] = [before.shape()[1], before.shape()[2], before.shape()[3]];
    let mut samples: Vec<usize> = regions.iter().map(|region| region.sample).collect();
    samples.sort_unstable();
    samples.dedup();
    let (mut sums, mut counts) = ([0.0; 2], [0usize; 2]);
    for sample in samples {
        let own: Vec<&Region> = regions.iter().filter(|region| region.sample == sample).collect();
        let [old, new] = [before, after].map(|pictures| pictures.narrow(0, sample, 1).to_vec());
        for (at, (old, new)) in old.chunks_exact(c).zip(new.chunks_exact(c)).enumerate() {
            let outside = usize::from(!own.iter().any(|region| region.holds([at / w, at % w], [h, w], [h, w])));
            sums[outside] += old.iter().zip(new).map(|(a, b)| f64::from((a - b).abs())).sum::<f64>() / c as f64;
            counts[outside] += 1;
        }
    }
    [0, 1].map(|i| sums[i] / counts[i].max(1) as f64 * 127.5)
}

impl Forgotten {
    /// These samples in blocks of three rows: as they were, without the maps, and without as many random ones.
    pub fn sheet(&self, samples: &[usize], columns: usize) -> Sheet {
        let shape = self.pictures[0].shape();
        let cell = [shape[1], shape[2], shape[3]];
        let size: usize = cell.iter().product();
        let all = self.pictures.each_ref().map(Tensor::to_vec);
        let mut sheet = Sheet::new(cell, columns);
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
            let chosen = choose(4, 10, &mut random);
            assert!(chosen.len() == 4 && chosen.windows(2).all(|pair| pair[0] < pair[1]));
            chosen.iter().for_each(|&map| counts[map] += 1);
        }
        // 400 each, σ = 15.
        assert!(counts.iter().all(|count| (320..480).contains(count)), "{counts:?}");
    }

    #[test]
    fn changes_are_told_apart_by_the_boxes() {
        let before = Tensor::zeros([2, 2, 2, 1]);
        let after = Tensor::from_slice(&[9.0, 9.0, 9.0, 9.0, 1.0, 0.0, 0.5, 0.0], [2, 2, 2, 1]);
        let region = Region { sample: 1, x: [0.0, 1.0], y: [0.0, 1.0] };
        assert_eq!(changes(&before, &after, &[region]), [127.5, 0.5 / 3.0 * 127.5]);
    }
}
