//! Evaluation of GANs: metrics (Fréchet distance (FID), kernel distance (KID), precision and
//! recall, …) and the DCGAN paper's experiments on trained networks.
//!
//! Nothing here prints. Long work reports to a [`Progress`], which can also cancel it.

#![forbid(unsafe_code)]

pub mod checkpoint_discriminator;
mod error;
pub mod feature_network;
pub mod features;
pub mod image_sheet;
pub mod images;
pub mod inception;
pub mod interpret;
pub mod latent;
pub mod memorization;
pub mod metrics;
mod progress;
pub mod representation;
mod shared_work;
pub mod stats;

pub use error::{BoxProblem, EvalError};
pub use progress::Progress;
