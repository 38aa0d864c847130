//! Statistics of results: mean and standard deviation, normal and Wilson 95 % confidence
//! intervals, bootstrap intervals.
//!
//! ```
//! use eval::stats::{MeanStd, wilson_interval};
//!
//! let accuracies = MeanStd::of(&[0.8, 0.9, 0.7]);
//! assert!((accuracies.mean - 0.8).abs() < 1e-12);
//! // 15 successes in 148 trials (Newcombe 1998, table I).
//! let [low, high] = wilson_interval(148.0, 15.0 / 148.0);
//! assert!((low - 0.0624).abs() < 1e-4 && (high - 0.1605).abs() < 1e-4);
//! ```

use rayon::prelude::*;
use tensor::rng::Philox;

/// Standard deviations on either side of the mean in a 95 % interval of a normal distribution
/// (1.96 in the DCGAN authors' evaluation code).
pub const Z_95: f64 = 1.959_963_984_540_054;
/// Philox stream of bootstrap resamples of images.
const RESAMPLES: u64 = 60;

/// Mean and standard deviation of some values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MeanStd {
    /// The mean.
    pub mean: f64,
    /// The population standard deviation (divided by N, as `numpy.std`).
    pub std: f64,
}

impl MeanStd {
    /// Mean and standard deviation of `values`; both are 0 without values.
    pub fn of(values: &[f64]) -> Self {
        let count = values.len().max(1) as f64;
        let mean = mean(values);
        let squares = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>();
        Self { mean, std: (squares / count).sqrt() }
    }

    /// The 95 % interval of a normal distribution with this mean and `scale` times this standard
    /// deviation.
    pub fn interval(&self, scale: f64) -> [f64; 2] {
        normal_interval(self.mean, self.std * scale)
    }
}

/// The mean of `values`; 0 without values.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// The fraction of flags that are true, in [0, 1].
pub fn fraction(flags: &[bool]) -> f64 {
    flags.iter().filter(|&&flag| flag).count() as f64 / flags.len().max(1) as f64
}

/// Flags as values 0 and 1.
pub(crate) fn indicators(flags: &[bool]) -> Vec<f64> {
    flags.iter().map(|&flag| f64::from(u8::from(flag))).collect()
}

/// The 95 % interval of a normal distribution.
pub fn normal_interval(mean: f64, std: f64) -> [f64; 2] {
    [mean - Z_95 * std, mean + Z_95 * std]
}

/// The 95 % confidence interval of a proportion `p` observed in `n` independent trials (Wilson
/// 1927). `n` may be fractional: an effective sample size.
pub fn wilson_interval(n: f64, p: f64) -> [f64; 2] {
    let z = Z_95;
    let (middle, denominator) = (p + z * z / (2.0 * n), 1.0 + z * z / n);
    let half = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    [((middle - half) / denominator).max(0.0), ((middle + half) / denominator).min(1.0)]
}

/// Half the width of the normal 95 % interval of a proportion `p` observed in `count` trials.
pub fn binomial_half_width(p: f64, count: usize) -> f64 {
    Z_95 * (p * (1.0 - p) / count as f64).sqrt()
}

/// Mean of repeated proportions and half the width of their 95 % interval: [`Z_95`] sample standard
/// deviations over the repetitions, as in the DCGAN authors' code; for a single repetition the
/// [`binomial_half_width`] of `count` trials.
pub(crate) fn repeated_proportion(proportions: &[f64], count: usize) -> [f64; 2] {
    let n = proportions.len() as f64;
    let mean = proportions.iter().sum::<f64>() / n;
    let half = match proportions.len() {
        1 => binomial_half_width(mean, count),
        _ => {
            let squares = proportions.iter().map(|p| (p - mean).powi(2)).sum::<f64>();
            Z_95 * (squares / (n - 1.0)).sqrt()
        }
    };
    [mean, half]
}

/// The 95 % bootstrap interval (percentiles; Efron 1979) of the mean of `values`, one value per
/// image, over `replicates` resamples with replacement. `None` without values or with fewer than
/// two replicates. The same seed gives the same bits, whatever the number of threads.
pub fn bootstrap_mean(values: &[f64], replicates: usize, seed: u64) -> Option<[f64; 2]> {
    let count = u32::try_from(values.len()).ok().filter(|&count| count > 0 && replicates > 1)?;
    let replicate = |number: usize| {
        let mut rng = Philox::new(seed, replicate_stream(RESAMPLES, number));
        let drawn = (0..count).filter_map(|_| values.get(rng.below(count) as usize));
        drawn.sum::<f64>() / f64::from(count)
    };
    let mut means: Vec<f64> = (0..replicates).into_par_iter().map(replicate).collect();
    means.sort_by(f64::total_cmp);
    let at = |share: f64| means.get((share * (means.len() - 1) as f64).round() as usize).copied();
    Some([at(0.025)?, at(0.975)?])
}

/// The Philox stream of one bootstrap replicate. Replicates run in parallel, so each has a stream
/// of its own and none depends on the order in which they finish.
pub(crate) fn replicate_stream(base: u64, replicate: usize) -> u64 {
    base + ((replicate as u64 + 1) << 16)
}
