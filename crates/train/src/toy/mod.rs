//! A laboratory in the plane: GANs small enough to train in seconds and to see whole, and the smallest game of all.
//!
//! [`run`] trains two multilayer perceptrons on a [`Mixture`] of Gaussians, on the same tensor core, losses and optimisers as
//! pictures; it counts the modes found ([`Coverage`]) and takes [`Frame`]s, which [`picture`] draws. [`saddle`] plays x·y by
//! every way of stepping there is.

mod coverage;
mod lab;
mod landscape;
mod mixture;
mod networks;
pub mod picture;
mod run;
pub mod saddle;
pub mod saddle_picture;
mod settings;

pub use coverage::{Coverage, SAMPLES};
pub use lab::{Frame, Lab};
pub use landscape::Landscape;
pub use mixture::Mixture;
pub use run::{Event, Measured, Outcome, run, sweep};
pub use settings::{Settings, Target};
