//! Inception score (Salimans et al. 2016, section 4) with any classifier:
//! exp E KL(p(y|x) ‖ p(y)), from 1 to the number of classes.
//!
//! It does not look at real images, and measures the classifier as much as the images.
//!
//! ```
//! use eval::features::Features;
//! use eval::metrics::inception_score;
//!
//! // Confident predictions, both classes equally frequent: the score is the number of classes.
//! let probabilities = Features::new(2, vec![1.0, 0.0, 0.0, 1.0]);
//! assert!((inception_score::scores(&probabilities, 1)?[0] - 2.0).abs() < 1e-12);
//! # Ok::<(), eval::EvalError>(())
//! ```

use super::metric::{
    Direction, FeatureSet, Metric, MetricInputs, MetricReport, MetricValue, Needs, Options,
};
use crate::EvalError;
use crate::features::Features;
use crate::stats::MeanStd;
use data::permutation;

/// The inception score.
pub const METRIC: Metric = Metric {
    name: "is",
    help: "Inception score by the feature network, in 10 parts",
    key: "inception_score",
    needs: Needs::ClassProbabilities,
    default: true,
    compute,
};

/// Parts over which the score is averaged, as its authors did.
const SPLITS: usize = 10;
/// The epoch number whose permutation shuffles the images.
const SHUFFLE: u64 = u64::MAX - 4;

fn compute(inputs: &MetricInputs<'_>) -> Result<MetricReport, EvalError> {
    let value = of_set(inputs.fake, inputs.options)?;
    // In the same number of parts, because a score of fewer images is lower.
    let expected = Some(mean_of_parts(inputs.real, inputs.options.seed)?.mean);
    Ok(MetricValue { expected, ..value }.into())
}

/// The score of a set alone.
pub(super) fn of_set(set: &FeatureSet, options: &Options) -> Result<MetricValue, EvalError> {
    let found = mean_of_parts(set, options.seed)?;
    let value =
        MetricValue::new("inception_score", "Inception score", found.mean, Direction::Higher);
    let interval = (options.bootstrap > 0).then(|| found.interval(1.0 / (SPLITS as f64).sqrt()));
    Ok(MetricValue { interval, deviation: Some(found.std), ..value })
}

fn mean_of_parts(set: &FeatureSet, seed: u64) -> Result<MeanStd, EvalError> {
    // A dataset may be sorted by class, so parts of it must be random.
    let len = u32::try_from(set.features.len()).unwrap_or(u32::MAX);
    let order = permutation(seed, SHUFFLE, len);
    let order: Vec<usize> = order.into_iter().map(|index| index as usize).collect();
    let classes = set.classes.as_ref();
    let classes = classes.ok_or(EvalError::NeedsClassProbabilities { metric: METRIC.name })?;
    Ok(MeanStd::of(&scores(&classes.select(&order), SPLITS)?))
}

/// The score of each of `splits` consecutive parts of class probabilities `[N, K]`. The rows must
/// be in random order.
///
/// # Errors
/// Returns an error if there are fewer images than parts, or no parts.
pub fn scores(probabilities: &Features, splits: usize) -> Result<Vec<f64>, EvalError> {
    let count = probabilities.len();
    if splits == 0 || count < splits {
        return Err(EvalError::TooFewImages {
            purpose: "the inception score".into(),
            set: "set".into(),
            needed: splits.max(1),
            found: count,
        });
    }
    Ok((0..splits)
        .map(|i| score(probabilities, count * i / splits, count * (i + 1) / splits))
        .collect())
}

fn score(probabilities: &Features, start: usize, end: usize) -> f64 {
    let count = (end - start) as f64;
    let mut mean = vec![0.0; probabilities.width()];
    for row in start..end {
        mean.iter_mut()
            .zip(probabilities.row(row))
            .for_each(|(sum, &p)| *sum += f64::from(p) / count);
    }
    let divergence = |row: usize| -> f64 {
        let each = probabilities.row(row).iter().zip(&mean);
        // p ln p tends to 0 with p, where ln p alone is −∞.
        each.filter(|(p, _)| **p > 0.0)
            .map(|(&p, q)| f64::from(p) * (f64::from(p).ln() - q.ln()))
            .sum()
    };
    ((start..end).map(divergence).sum::<f64>() / count).exp()
}
