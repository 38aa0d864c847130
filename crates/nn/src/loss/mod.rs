//! What the networks minimise: objectives of logits, and what may be added to them.
//!
//! Every loss is a scalar tensor in the graph, a mean over the batch and unweighted: the caller multiplies and adds.

mod classes;
mod features;
mod history;
mod labels;
mod objective;
mod penalty;

pub use classes::{
    ClassTargets, auxiliary_classifier, labelled, labelled_some, real_logit, unlabelled,
};
pub use features::{Norm, feature_matching};
pub use history::HistoricalAverage;
pub use labels::Labels;
pub use objective::Objective;
pub use penalty::{gradient_penalty, gradients, r1};
