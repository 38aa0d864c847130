//! GANs on points of the plane, small enough to train in seconds and to draw completely, and the
//! simplest two-player game.
//!
//! [`run`] trains two multilayer perceptrons on a [`Mixture`] of Gaussians by the training step of
//! images; it counts the modes found ([`Coverage`]) and takes [`Frame`]s, which [`frame_plot`]
//! draws. [`saddle`] simulates x·y under ten update rules.
//!
//! ```
//! use train::toy::{ToyDataset, ToySettings, run};
//!
//! let changes = [("train.steps", "20"), ("generator.width", "8"), ("discriminator.width", "8")];
//! let changes = changes.map(|(key, value)| (key.to_owned(), value.to_owned()));
//! let settings = ToySettings::new(ToyDataset::Ring, 7, 1, &changes).unwrap();
//! let outcome = run(&settings, &tensor::Device::Cpu, 1, 0, &mut |_| ()).unwrap();
//! assert_eq!(outcome.last.step, 20);
//! assert!(outcome.last.coverage.modes <= 8);
//! ```

mod coverage;
pub mod frame_plot;
mod landscape;
mod mixture;
mod run;
pub mod saddle;
pub mod saddle_plot;
mod settings;
mod trainer;

pub use coverage::{Coverage, NUM_SAMPLES};
pub use landscape::Landscape;
pub use mixture::Mixture;
pub use run::{ToyEvent, ToyMeasurement, ToyOutcome, run, sweep};
pub use settings::{ToyDataset, ToySettings};
pub use trainer::{Frame, ToyTrainer};
