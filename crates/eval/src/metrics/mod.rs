//! Metrics of generated images: Fréchet distance (FID), kernel distance (KID), precision and
//! recall, density and coverage, inception score, memorization.
//!
//! Each metric is a [`Metric`] in a file of its own, and [`METRICS`] lists all of them. Metrics
//! compare [features](crate::features::Features), whatever they were extracted by; [`ImageSource`]
//! extracts them from images with a
//! [`FeatureExtractor`](crate::feature_network::FeatureExtractor). docs/eval.md explains what the
//! values mean and what they do not.
//!
//! ```
//! use eval::Progress;
//! use eval::features::Features;
//! use eval::metrics::{FeatureSet, Options, Subsets, compare, find};
//! use tensor::{Device, rng::Philox};
//!
//! let set = |seed| FeatureSet {
//!     features: Features::new(4, Philox::new(seed, 0).normal([50, 4], 0.0, 1.0).to_vec()),
//!     classes: None,
//! };
//! let options = Options {
//!     metrics: vec![find("fid").unwrap(), find("pr").unwrap()],
//!     neighbors: 3,
//!     subsets: Subsets::default(),
//!     bootstrap: 0,
//!     seed: 0,
//! };
//! let report = compare(&set(1), &set(2), None, &options, &Device::Cpu, Progress::SILENT)?;
//! assert!(report.get("frechet").unwrap().value < 1.0);
//! assert!(report.get("precision").unwrap().value > 0.5);
//! # Ok::<(), eval::EvalError>(())
//! ```

pub mod density_coverage;
pub mod frechet;
pub mod inception_score;
pub mod kid;
pub mod memorization_score;
pub mod precision_recall;

mod feature_cache;
mod image_source;
mod metric;
mod statistics;
mod train_neighbors;

pub mod manifold;
pub mod pairwise;

pub(crate) use image_source::conditions_of;
pub use image_source::{ConditionSampling, ImageSource};
pub use metric::{
    Direction, FeatureSet, Metric, MetricInputs, MetricReport, MetricValue, MetricWarning, Needs,
    Options, Subsets,
};
pub use statistics::Statistics;
pub use train_neighbors::{Memorization, TrainNeighborIndex};

use crate::features::require_comparable;
use crate::{EvalError, Progress};
use std::cell::OnceCell;
use tensor::Device;

/// All metrics, in the order of reports.
pub static METRICS: &[&Metric] = &[
    &frechet::METRIC,
    &kid::METRIC,
    &precision_recall::METRIC,
    &density_coverage::METRIC,
    &inception_score::METRIC,
    &memorization_score::METRIC,
];

/// The metrics that need no more of the real images than [`Statistics`] of their features.
pub static WITH_STATISTICS: &[&Metric] = &[&frechet::METRIC, &inception_score::METRIC];

/// The metric with this short name, such as `fid`.
pub fn find(name: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|metric| metric.name == name).copied()
}

/// Computes the metrics of a generated set against a real one. `train` indexes all training
/// images, for metrics with [`Needs::TrainSet`].
///
/// # Errors
/// Returns an error if the features have different widths, a set has too few images, a metric
/// lacks the class probabilities or the training set it needs, or the device fails;
/// [`EvalError::Stopped`] if `progress` cancels.
pub fn compare(
    real: &FeatureSet,
    fake: &FeatureSet,
    train: Option<&TrainNeighborIndex<'_>>,
    options: &Options,
    device: &Device,
    progress: Progress<'_>,
) -> Result<MetricReport, EvalError> {
    require_comparable(&real.features, &fake.features, 2, "a comparison")?;
    let inputs =
        MetricInputs { real, fake, train, options, device, progress, manifold: OnceCell::new() };
    let mut report = MetricReport::default();
    for metric in METRICS.iter().filter(|metric| options.metrics.contains(metric)) {
        let own = (metric.compute)(&inputs)?;
        report.values.extend(own.values);
        report.warnings.extend(own.warnings);
    }
    Ok(report)
}

/// Computes metrics of a generated set against the statistics of a real one: those of
/// [`WITH_STATISTICS`], without values of real images.
///
/// # Errors
/// Returns an error for another metric, if the features have different widths, the set has too few
/// images, or there are no class probabilities; [`EvalError::Stopped`] if `progress` cancels.
pub fn compare_with_statistics(
    real: &Statistics,
    fake: &FeatureSet,
    options: &Options,
    progress: Progress<'_>,
) -> Result<MetricReport, EvalError> {
    let mut report = MetricReport::default();
    for metric in METRICS.iter().filter(|metric| options.metrics.contains(metric)) {
        let own = match metric.name {
            "fid" => frechet::with_statistics(real, &fake.features, progress)?,
            "is" => inception_score::of_set(fake, options)?.into(),
            _ => return Err(EvalError::NeedsRealImages { metric: metric.name }),
        };
        report.values.extend(own.values);
        report.warnings.extend(own.warnings);
    }
    Ok(report)
}
