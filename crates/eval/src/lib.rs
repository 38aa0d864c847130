//! Metrics, and the DCGAN paper's experiments on trained networks.
//!
//! Nothing here prints: long work tells how far it is through [`Progress`], which can also stop it.

#![forbid(unsafe_code)]

mod checkpoint_discriminator;
mod error;
pub mod feature_network;
pub mod images;
pub mod interpret;
pub mod latent;
pub mod memorization;
pub mod metrics;
mod progress;
pub mod representation;

pub use error::EvalError;
pub use progress::Progress;
