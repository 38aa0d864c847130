//! How good a discriminator's features are for telling classes apart (Radford et al. 2016, section 5).
//!
//! A [`Representation`] turns pictures into rows of numbers: D's features, those of a D that was never trained, pixels, or the single-layer
//! K-means of Coates & Ng. A linear [`svm`] on top of it is judged by a [`Protocol`].

mod charts;
mod choice;
mod discriminator;
mod extract;
mod kmeans;
mod protocol;
mod supervised;
pub mod svm;

pub use charts::{Bar, Classes, SHOWN, bars, scatter};
pub use choice::{COSTS, Chosen, choose};
pub use discriminator::{DiscriminatorFeatures, FeatureLayer, FeatureStatistics};
pub use extract::extract;
pub use kmeans::{KMeans, KMeansOptions};
pub use protocol::{Judged, Part, Pixels, Protocol, share};
pub use supervised::{Supervised, Trial, supervised};

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
