//! Metrics, and the DCGAN paper's experiments on trained networks.
//!
//! Nothing here prints: long work tells how far it is through [`Progress`], which can also stop it.

#![forbid(unsafe_code)]

mod discriminator;
mod error;
pub mod inside;
pub mod latent;
pub mod memory;
pub mod metrics;
pub mod network;
pub mod pictures;
mod progress;
pub mod represent;

pub use error::EvalError;
pub use progress::Progress;
