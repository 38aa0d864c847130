//! What the networks minimise: objectives of logits, and what may be added to them.
//!
//! Everything here is a scalar tensor in the graph, a mean over the batch and unweighted: the caller multiplies and adds.

mod objective;

pub use objective::Objective;
