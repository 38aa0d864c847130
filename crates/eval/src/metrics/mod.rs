//! How near generated pictures are to real ones, by numbers.
//!
//! Every function takes features, row by row ([`Features`]), and does not care where they come from; [`ImageSource`] makes them of pictures, with an
//! [`FeatureExtractor`](crate::feature_network::FeatureExtractor). docs/eval.md tells what the numbers mean, and what they do not.

mod feature_cache;
mod features;
pub mod frechet;
mod image_source;
pub mod inception_score;
pub mod kid;
pub mod manifold;
pub mod mean_std;
pub mod pairwise;
mod report;

pub use features::Features;
pub use image_source::{ConditionSampling, ImageSource};
pub use kid::Subsets;
pub use manifold::TrainNeighborIndex;
pub use report::{Direction, FeatureSet, Metric, MetricValue, Options, Report, compare};
