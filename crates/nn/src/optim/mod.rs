//! Optimizers, learning rate schedules and clipping.

mod clip;
mod optimizer;
mod schedule;

pub use clip::{clip_gradients, clip_weights};
pub use optimizer::{Optimizer, OptimizerOptions};
pub use schedule::Schedule;
pub use tensor::OptimizerKind;
