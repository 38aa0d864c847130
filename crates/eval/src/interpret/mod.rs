//! Interpretation of trained networks: filters, guided backpropagation through a discriminator's
//! features (Radford et al. 2016, section 6.2), and forgetting an object by dropping feature maps
//! of a generator (section 6.3.1).
//!
//! ```
//! use eval::interpret::LogisticRegression;
//!
//! // A single value that separates the classes: its weight is positive.
//! let model = LogisticRegression::fit(&[1.0, -1.0], &[true, false], 1, 1.0);
//! assert!(model.weights[0] > 0.0 && model.bias.abs() < 1e-9);
//! ```

pub mod filters;
pub mod forget;
pub mod guided_backprop;
mod guided_gradient;
mod inspected_discriminator;
mod inspected_generator;
mod logistic_regression;
pub mod regions;

pub use guided_gradient::guided_gradient;
pub use inspected_discriminator::InspectedDiscriminator;
pub use inspected_generator::{InspectedGenerator, MapLayer};
pub use logistic_regression::LogisticRegression;

/// Signed values as an image in [−1, 1] in which 0 is middle gray: divided by their largest
/// magnitude, or by `largest` if that is given.
fn signed_image(values: &[f32], largest: Option<f32>) -> Vec<f32> {
    let largest = largest.unwrap_or_else(|| max_abs(values));
    let factor = if largest > 0.0 { 1.0 / largest } else { 0.0 };
    values.iter().map(|value| value * factor).collect()
}

fn max_abs(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |most: f32, value| most.max(value.abs()))
}
