//! How good a discriminator's features are for telling classes apart (Radford et al. 2016, section 5).
//!
//! A [`Representation`] turns pictures into rows of numbers: D's features, those of a D that was never trained, pixels, or the single-layer
//! K-means of Coates & Ng. A linear [`svm`] on top of it is judged by a [`LinearProbeConfig`].

mod cost_search;
mod discriminator_features;
mod extract;
mod kmeans;
mod linear_probe;
mod plots;
mod supervised;
pub mod svm;

pub use cost_search::{C_GRID, SelectedSvm, select_cost};
pub use discriminator_features::{BnStatistics, DiscriminatorFeatures, FeatureLayer};
pub use extract::extract;
pub use kmeans::{KMeans, KMeansOptions};
pub use linear_probe::{LinearProbeConfig, PixelFeatures, ProbeResult, SplitIndices, share};
pub use plots::{Bar, ClassLabels, MAX_POINTS, bars, scatter};
pub use supervised::{SupervisedResult, TrialSettings, supervised};

use tensor::Tensor;

/// Numbers that stand for pictures.
pub trait Representation: Sync {
    /// How many numbers stand for a picture.
    fn width(&self) -> usize;

    /// The rows, `[N, width]` on the CPU, of images `[N, H, W, C]` in [−1, 1] on the CPU. A picture's row does not depend on the others.
    fn rows(&self, images: &Tensor) -> Tensor;

    /// Whether what computed the latest rows is still sound.
    ///
    /// # Errors
    /// The device failed: the rows mean nothing.
    fn check(&self) -> Result<(), crate::EvalError> {
        Ok(())
    }
}
