//! Evaluation of a discriminator's features as an unsupervised representation, by a linear probe
//! (Radford et al. 2016, section 5).
//!
//! A [`Representation`] turns images into rows of values: D's features, those of an untrained D,
//! pixels, or the single-layer K-means features of Coates & Ng. A linear [`svm`] is trained on them
//! as a [`LinearProbeConfig`] says.
//!
//! ```
//! use eval::representation::{DiscriminatorFeatures, Representation};
//! use nn::Recipe;
//! use tensor::{Device, rng::Philox};
//!
//! let d = DiscriminatorFeatures::random(&Recipe::preset("small")?, 0, &Device::Cpu)?;
//! let images = Philox::new(1, 0).uniform([2, 28, 28, 1], -1.0, 1.0);
//! // 64 + 128 channels, each max-pooled to 4 × 4.
//! assert_eq!(d.rows(&images).shape()[..], [2, 16 * (64 + 128)]);
//! # Ok::<(), eval::EvalError>(())
//! ```

mod cost_search;
mod discriminator_features;
mod extract;
mod kmeans;
mod linear_probe;
mod scatter_plot;
mod supervised;
pub mod svm;

pub use cost_search::{C_GRID, SelectedSvm, select_cost};
pub use discriminator_features::{BnStatistics, DiscriminatorFeatures, FeatureLayer};
pub use extract::extract;
pub use kmeans::{KMeans, KMeansOptions};
pub use linear_probe::{LinearProbeConfig, ProbeResult, SplitIndices};
pub use scatter_plot::{MAX_POINTS, PlotClasses, scatter};
pub use supervised::{SupervisedResult, TrialSettings, supervised};

use crate::EvalError;
use tensor::Tensor;

/// A representation of images by rows of values.
pub trait Representation: Sync {
    /// The number of values D in a row.
    fn width(&self) -> usize;

    /// The rows `[N, D]` of images `[N, H, W, C]` in [−1, 1], both on the CPU. An image's row does
    /// not depend on the other images.
    fn rows(&self, images: &Tensor) -> Tensor;

    /// Checks that the latest rows are valid.
    ///
    /// # Errors
    /// Returns an error if the device failed; then the rows mean nothing.
    fn check(&self) -> Result<(), EvalError> {
        Ok(())
    }
}

/// Pixels as a representation: images `[H, W, C]` in [−1, 1], flattened.
pub struct PixelFeatures {
    shape: [usize; 3],
}

impl PixelFeatures {
    /// Pixels of images `[H, W, C]`.
    pub fn new(shape: [usize; 3]) -> Self {
        Self { shape }
    }
}

impl Representation for PixelFeatures {
    fn width(&self) -> usize {
        self.shape.iter().product()
    }

    fn rows(&self, images: &Tensor) -> Tensor {
        images.reshape([images.shape()[0], self.width()])
    }
}
