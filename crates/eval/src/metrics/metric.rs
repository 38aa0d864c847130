//! Definition of a metric (name, requirements, function of two feature sets), its options and its
//! values.

use super::manifold::{Manifold, manifold};
use super::train_neighbors::TrainNeighborIndex;
use crate::features::Features;
use crate::{EvalError, Progress};
use serde::Serialize;
use std::cell::OnceCell;
use std::fmt;
use tensor::Device;

/// A registered metric, or a family of metrics that are computed together.
///
/// [`METRICS`](super::METRICS) lists all of them; reports and the command line read that list.
pub struct Metric {
    /// The metric's short name, such as `fid`.
    pub name: &'static str,
    /// One sentence for help texts.
    pub help: &'static str,
    /// The [key](MetricValue::key) of its value, or of the first of several.
    pub key: &'static str,
    /// The metric's requirements in addition to the features of both sets.
    pub needs: Needs,
    /// Whether the metric is computed when no metrics are named.
    pub default: bool,
    /// Computes its values.
    pub compute: fn(&MetricInputs<'_>) -> Result<MetricReport, EvalError>,
}

impl PartialEq for Metric {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl fmt::Debug for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Requirements of a metric in addition to the features of both sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// No further requirement.
    Features,
    /// Class probabilities of both sets, from a feature network that was trained on classes.
    ClassProbabilities,
    /// The features of all training images.
    TrainSet,
}

/// Which metrics are computed, and their parameters.
#[derive(Clone, Debug)]
pub struct Options {
    /// The metrics to compute.
    pub metrics: Vec<&'static Metric>,
    /// k of the k nearest neighbors in precision, recall, density and coverage.
    pub neighbors: usize,
    /// The subsets that KID compares.
    pub subsets: Subsets,
    /// Bootstrap replicates for 95 % intervals; 0 for no intervals.
    pub bootstrap: usize,
    /// Seed of subsets and replicates.
    pub seed: u64,
}

/// The random subsets that KID compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subsets {
    /// The number of subsets.
    pub count: usize,
    /// Images in a subset of each set; fewer if a set has no more.
    pub size: usize,
}

impl Default for Subsets {
    fn default() -> Self {
        Self { count: 100, size: 1000 }
    }
}

/// The features of a set of images.
#[derive(Clone, Debug)]
pub struct FeatureSet {
    /// `[N, D]`.
    pub features: Features,
    /// Class probabilities `[N, K]`, if the feature network has classes.
    pub classes: Option<Features>,
}

/// Inputs of a metric, with intermediate results that several metrics share.
pub struct MetricInputs<'a> {
    /// The features of the real images.
    pub real: &'a FeatureSet,
    /// The features of the generated images.
    pub fake: &'a FeatureSet,
    /// The training set, which metrics with [`Needs::TrainSet`] use.
    pub train: Option<&'a TrainNeighborIndex<'a>>,
    /// Parameters.
    pub options: &'a Options,
    /// Where distances are computed.
    pub device: &'a Device,
    /// Receives progress reports.
    pub progress: Progress<'a>,
    pub(super) manifold: OnceCell<Manifold>,
}

impl MetricInputs<'_> {
    /// The features of both sets: real, generated.
    pub fn features(&self) -> [&Features; 2] {
        [&self.real.features, &self.fake.features]
    }

    /// The k-nearest-neighbor manifolds of both sets. Precision and recall, density and coverage
    /// share them, because the distances take most of the time.
    ///
    /// # Errors
    /// Returns the errors of [`manifold`].
    pub fn manifold(&self) -> Result<&Manifold, EvalError> {
        if let Some(found) = self.manifold.get() {
            return Ok(found);
        }
        let [real, fake] = self.features();
        let found = manifold(real, fake, self.options.neighbors, self.device, self.progress)?;
        Ok(self.manifold.get_or_init(|| found))
    }
}

/// One value of a metric.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MetricValue {
    /// A short name for programs, such as `frechet`.
    #[serde(skip)]
    pub key: &'static str,
    /// A name for people.
    pub name: &'static str,
    /// The metric's value.
    pub value: f64,
    /// The 95 % interval, if one is known.
    pub interval: Option<[f64; 2]>,
    /// The standard deviation over subsets or splits, if the value is a mean over some.
    pub deviation: Option<f64>,
    /// The value that real images have, if that says what to expect.
    #[serde(rename = "real")]
    pub expected: Option<f64>,
    /// Which direction is better.
    #[serde(skip)]
    pub better: Direction,
}

impl MetricValue {
    /// A value without interval, deviation or expectation.
    pub fn new(key: &'static str, name: &'static str, value: f64, better: Direction) -> Self {
        Self { key, name, value, interval: None, deviation: None, expected: None, better }
    }

    /// A score by which values of this metric are ranked: the lower, the better.
    pub fn score(&self) -> f64 {
        match (self.better, self.expected) {
            (Direction::Higher, _) => -self.value,
            (Direction::Expected, Some(expected)) => (self.value - expected).abs(),
            (Direction::Lower | Direction::Expected, _) => self.value,
        }
    }
}

/// Which direction of a metric is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Lower values are better.
    Lower,
    /// Higher values are better.
    Higher,
    /// Values near the expected one.
    Expected,
}

/// Metric values and warnings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetricReport {
    /// The values in the order of [`METRICS`](super::METRICS).
    pub values: Vec<MetricValue>,
    /// Limitations of the values.
    pub warnings: Vec<MetricWarning>,
}

impl MetricReport {
    /// The value with this key, if it was computed.
    pub fn get(&self, key: &str) -> Option<&MetricValue> {
        self.values.iter().find(|value| value.key == key)
    }
}

impl From<MetricValue> for MetricReport {
    fn from(value: MetricValue) -> Self {
        Self { values: vec![value], warnings: Vec::new() }
    }
}

/// A limitation of a metric's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetricWarning {
    /// A covariance has no full rank: there are not more images than features.
    RankDeficient {
        /// `real` or `generated`.
        set: &'static str,
        /// Images in that set.
        images: usize,
        /// Values in a feature vector.
        width: usize,
    },
    /// KID's subsets are smaller than requested: there are no more images.
    SmallSubsets {
        /// Images in a subset.
        size: usize,
        /// Images requested.
        wanted: usize,
    },
}

impl fmt::Display for MetricWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RankDeficient { set, images, width } => write!(
                f,
                "{images} {set} images for features of {width} values: their covariance has no \
                 full rank, and the Fréchet distance depends more on the number of images than on \
                 the images"
            ),
            Self::SmallSubsets { size, wanted } => write!(
                f,
                "the kernel distance is over subsets of {size} images, not {wanted}: there are no \
                 more images"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn best_value_has_lowest_score() {
        let metric = |value, better, expected| MetricValue {
            expected,
            ..MetricValue::new("x", "x", value, better)
        };
        // A kernel distance may be below 0 by chance.
        assert_eq!(metric(-0.25, Direction::Lower, None).score(), -0.25);
        assert_eq!(metric(0.5, Direction::Higher, None).score(), -0.5);
        let memorized = |value| metric(value, Direction::Expected, Some(0.5)).score();
        assert_eq!(memorized(0.25), memorized(0.75));
        assert!(memorized(0.5) < memorized(0.25) && memorized(0.25) < memorized(1.0));
    }
}
