//! Training of a DCGAN: the adversarial loop, what it leaves on disk, and sampling from what it leaves.
//!
//! Nothing here prints: a run tells what happens through [`Event`]s. The whole state of the loop is in a checkpoint, so a run
//! killed at any instant and resumed ends with the same bits as one that was never killed (on one kind of machine).

#![forbid(unsafe_code)]

pub mod condition;
mod error;
mod evaluate;
mod event;
mod exchange;
mod run;
mod sample;
mod settings;
mod step;
pub mod toy;
mod trainer;
pub mod watchdog;

pub use error::TrainError;
pub use evaluate::{Evaluate, Measure, Measurement, Scored};
pub use event::Event;
pub use exchange::{export, export_generator, import, import_newmu_svhn};
pub use run::{Outcome, run, run_measured};
pub use sample::{BatchNormMode, Sampler, discriminator, generator, latents, told, truncate};
pub use settings::{Change, Settings};
pub use step::Given;
pub use trainer::{Losses, Measured, Trainer};
