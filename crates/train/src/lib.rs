//! Training of a DCGAN: the adversarial loop, what it leaves on disk, and sampling from what it leaves.
//!
//! Nothing here prints: a run tells what happens through [`Event`]s. The whole state of the loop is in a checkpoint, so a run
//! killed at any instant and resumed ends with the same bits as one that was never killed (on one kind of machine).

#![forbid(unsafe_code)]

mod checkpoint_state;
pub mod condition;
mod error;
mod evaluate;
mod event;
mod fixed_latents;
mod import_export;
pub mod monitor;
mod rng_streams;
mod run;
mod sampler;
mod settings;
mod step;
pub mod toy;
mod trainer;

pub use error::TrainError;
pub use evaluate::{CheckpointScore, EvalConfig, EvalFn, EvalResult};
pub use event::Event;
pub use import_export::{export, export_generator, import, import_newmu_svhn};
pub use run::{RunOutcome, run, run_with_eval};
pub use sampler::{
    BatchNormMode, Sampler, generator_condition, latents, load_discriminator, load_generator,
    truncate,
};
pub use settings::{ResumeOverride, Settings};
pub use step::{DeviceBatch, PendingMetrics, RealBatch, StepMetrics, TrainState};
pub use trainer::Trainer;
