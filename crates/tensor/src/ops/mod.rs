//! The operations, each with its gradient beside it. A new one is a function here, a CPU kernel, a WGSL entry, and a
//! row in the tables of `tests/golden.rs` and `tests/gradients.rs`.

pub(crate) mod conv;
mod distance;
mod elementwise;
pub(crate) mod function;
mod loss;
mod matmul;
mod movement;
mod norm;
mod optim;
mod pool;
mod reduce;

pub use conv::{
    WeightCache, conv_transpose2d, conv_transpose2d_cached, conv2d, conv2d_input_grad,
    conv2d_weight_grad,
};
pub use movement::concat;
pub use norm::{Activation, BatchNorm};
pub use optim::{EmaUpdate, FiniteCheck, ParamUpdate, lerp, update};
