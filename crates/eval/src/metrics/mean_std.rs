//! How sure a figure is.

use super::features::Features;
use super::frechet::{Frechet, MomentSums};
use crate::{EvalError, Progress};
use rayon::prelude::*;
use tensor::rng::Philox;

/// Philox streams: of resampled pictures, and of resampled groups.
const PICTURES: u64 = 60;
const GROUPS: u64 = 61;
/// Groups that a set is divided into by chance for the bootstrap of the Fréchet distance.
const GROUPS_OF_A_SET: usize = 50;
/// Standard deviations to either side of a 95 % interval of a normal number.
const NORMAL: f64 = 1.959_963_984_540_054;

/// Mean and standard deviation of some numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MeanStd {
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation, divided by their number as `numpy.std`.
    pub deviation: f64,
}

impl MeanStd {
    /// Of these numbers.
    #[must_use]
    pub fn of(values: &[f64]) -> Self {
        let count = values.len().max(1) as f64;
        let mean = values.iter().sum::<f64>() / count;
        Self {
            mean,
            deviation: (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / count).sqrt(),
        }
    }

    /// The 95 % interval of a normal number of this standard deviation, times `shrunk`.
    #[must_use]
    pub fn interval(&self, shrunk: f64) -> [f64; 2] {
        around(self.mean, self.deviation * shrunk)
    }
}

fn around(value: f64, deviation: f64) -> [f64; 2] {
    [value - NORMAL * deviation, value + NORMAL * deviation]
}

/// The 95 % bootstrap interval (percentiles; Efron 1979) of the mean of one number per picture, over `replicates` resamples of the pictures.
#[must_use]
pub fn interval_of_mean(values: &[f64], replicates: usize, seed: u64) -> Option<[f64; 2]> {
    let count = u32::try_from(values.len()).ok().filter(|&count| count > 0 && replicates > 1)?;
    let replicate = |number: usize| {
        let mut rng = Philox::new(seed, stream(PICTURES, number));
        let drawn = (0..count).filter_map(|_| values.get(rng.below(count) as usize));
        drawn.sum::<f64>() / f64::from(count)
    };
    let mut means: Vec<f64> = (0..replicates).into_par_iter().map(replicate).collect();
    means.sort_by(f64::total_cmp);
    let at = |share: f64| means.get((share * (means.len() - 1) as f64).round() as usize).copied();
    Some([at(0.025)?, at(0.975)?])
}

/// The 95 % interval of the Fréchet distance `value`: each set is divided by chance into 50 groups, which are drawn again with repetition; the interval is
/// `value` ± 1.96 standard deviations of the distances so found. Not their percentiles: repeated pictures move every replicate up. It does not go below 0.
///
/// # Errors
/// [`EvalError::Stopped`].
pub fn interval_of_frechet(
    value: f64,
    [real, fake]: [&Features; 2],
    replicates: usize,
    seed: u64,
    progress: Progress<'_>,
) -> Result<Option<[f64; 2]>, EvalError> {
    let groups = GROUPS_OF_A_SET.min(real.len()).min(fake.len());
    if groups < 2 || replicates < 2 {
        return Ok(None);
    }
    let of = |rows, salt| grouped(rows, groups, seed, salt);
    let (real, fake) = (of(real, 0), of(fake, 1));
    let replicate = |number: usize| {
        let mut rng = Philox::new(seed, stream(GROUPS, number));
        let mut drawn = |groups: &[MomentSums]| {
            let count = groups.len() as u32;
            MomentSums::sum((0..count).filter_map(|_| groups.get(rng.below(count) as usize)))
                .statistics()
        };
        let (real, fake) = (drawn(&real)?, drawn(&fake)?);
        Frechet::to(real).distance(&fake).ok()
    };
    // A few at a time, to tell how far it is.
    let mut distances = Vec::with_capacity(replicates);
    for start in (0..replicates).step_by(8) {
        progress.report("resampling", start, replicates)?;
        distances
            .par_extend((start..(start + 8).min(replicates)).into_par_iter().filter_map(replicate));
    }
    let [low, high] = around(value, MeanStd::of(&distances).deviation);
    Ok(Some([low.max(0.0), high]))
}

/// MomentSums of groups that pictures fall into by chance.
fn grouped(rows: &Features, groups: usize, seed: u64, salt: u64) -> Vec<MomentSums> {
    let len = u32::try_from(rows.len()).unwrap_or(u32::MAX);
    let order = data::permutation(seed, u64::MAX - 2 - salt, len);
    let mean = rows.mean();
    (0..groups)
        .into_par_iter()
        .map(|group| {
            let own = &order[rows.len() * group / groups..rows.len() * (group + 1) / groups];
            MomentSums::of(
                &rows.select(&own.iter().map(|&index| index as usize).collect::<Vec<_>>()),
                &mean,
            )
        })
        .collect()
}

/// A stream for each replicate: they are drawn side by side.
fn stream(of: u64, replicate: usize) -> u64 {
    of + ((replicate as u64 + 1) << 16)
}
