//! What a linear machine gets out of features, and how features lie to each other, as pictures.

mod bars;
mod scatter;

pub use bars::{Bar, bars};
pub use scatter::{ClassLabels, MAX_POINTS, scatter};
