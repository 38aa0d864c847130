//! GAN building blocks: layers, losses, optimizers, and the generators and discriminators that a
//! [`Recipe`] describes.
//!
//! A [`Network`] is a list of named layers. [`Recipe::build`] creates a generator and a
//! discriminator, and [`Recipe::summary`] reports their structure beforehand. Internally, images
//! are `[N, H, W, C]`; a [state dict](Network::state_dict) has PyTorch's names and layouts, so that
//! it can be exchanged with the well-known PyTorch DCGAN example. This crate does no file I/O.
//!
//! ```
//! use nn::{Mode, Recipe};
//! use tensor::Device;
//! use tensor::rng::Philox;
//!
//! let recipe = Recipe::preset("small")?;
//! let mut rng = Philox::new(0, 0);
//! let (generator, discriminator) = recipe.build(&mut rng)?;
//! let z = recipe.sample_z(&mut rng, 2, &Device::Cpu);
//! let images = generator.forward(&z, Mode::BATCH);
//! assert_eq!(images.shape()[..], [2, 28, 28, 1]);
//! assert_eq!(discriminator.forward(&images, Mode::BATCH).shape()[..], [2]);
//! # Ok::<(), nn::NnError>(())
//! ```

#![forbid(unsafe_code)]

pub mod augment;
mod d_output;
mod ema;
mod error;
pub mod export;
mod fold;
mod inference_layer;
pub mod layers;
mod layout;
pub mod loss;
mod mode;
mod network;
mod newmu_compat;
pub mod optim;
mod param;
pub mod recipe;
mod state;

pub use d_output::DiscriminatorOutput;
pub use ema::Ema;
pub use error::{NnError, TensorProblem, ValueProblem};
pub use inference_layer::InferenceLayer;
pub use layers::Layer;
pub use mode::{BatchNormStats, ForwardCtx, Mode, NoiseRng};
pub use network::Network;
pub use newmu_compat::newmu_svhn_state;
pub use optim::{Optimizer, OptimizerKind, OptimizerOptions};
pub use param::Param;
pub use recipe::{LayerSummary, ModelSummary, Recipe};
pub use state::StateDict;
pub use tensor::Activation;
