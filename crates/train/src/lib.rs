//! Training of a GAN: the training step, the loop around it, the training monitor, and sampling
//! from what a run saves.
//!
//! Nothing here prints: a run emits [`Event`]s. A checkpoint holds the whole state of the loop, so
//! a run that is killed at any instant and resumed ends with the same bits as one that was never
//! killed (on one kind of machine).
//!
//! [`Trainer`] runs one step after the other; [`run()`] is the loop with its files. [`TrainState`]
//! is the step alone, without datasets and files:
//!
//! ```
//! use nn::Recipe;
//! use std::sync::Arc;
//! use tensor::rng::Philox;
//! use tensor::{Device, Tensor};
//! use train::{DeviceBatch, TrainState};
//!
//! let mut recipe = Recipe::preset("torch")?;
//! recipe.image.size = [16, 16];
//! (recipe.generator.width, recipe.discriminator.width, recipe.train.batch) = (4, 4, 2);
//! let mut state = TrainState::new(Arc::new(recipe), 7, 10, &Device::Cpu)?;
//! let real: Tensor = Philox::new(1, 0).uniform([2, 16, 16, 3], -1.0, 1.0);
//! let metrics = state.train_step(&[DeviceBatch::new(real, None)], false).wait()?;
//! assert!(metrics.d_loss > 0.0 && metrics.g_loss > 0.0);
//! assert_eq!(state.steps_done(), 1);
//! # Ok::<(), train::TrainError>(())
//! ```

#![forbid(unsafe_code)]

mod checkpoint_state;
pub mod condition;
mod condition_error;
mod error;
mod evaluate;
mod event;
mod fixed_latents;
mod html_page;
mod import_export;
mod memory_estimate;
pub mod monitor;
mod rng_streams;
mod run;
mod run_summary;
mod sampler;
mod settings;
mod step;
pub mod toy;
mod trainer;

pub use error::TrainError;
pub use evaluate::{CheckpointScore, EvalConfig, EvalFn, EvalResult};
pub use event::Event;
pub use html_page::{THEME_CSS, WeightPrecision, html_page};
pub use import_export::{export, export_generator, export_onnx, import, import_newmu_svhn};
pub use memory_estimate::estimate_memory;
pub use run::{RunControls, RunOutcome, run, run_with_eval};
pub use run_summary::{RunSummary, checkpoint_alerts};
pub use sampler::{
    BatchNormMode, Sampler, batches, generator_condition, latents, load_discriminator,
    load_generator, truncate,
};
pub use settings::{ResumeOverride, Settings};
pub use step::{DeviceBatch, PendingMetrics, RealBatch, StepMetrics, TrainState};
pub use trainer::Trainer;
