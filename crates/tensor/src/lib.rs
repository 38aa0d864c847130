//! Tensors with reverse-mode differentiation, for convolutional GANs.
//!
//! A [`Tensor`] is a contiguous, row-major array of `f32` of at most five axes; images are `[N, H, W, C]`. Operations are methods
//! (`x.relu()`, `a.add(&b)`) or, for the convolution family, functions that take a [`ConvGeom`]. An operation on
//! tensors made by [`Tensor::leaf`] joins the graph of [`autograd`]; gradients are themselves differentiable.
//!
//! Shape misuse is a programmer's bug: operations panic, naming themselves and the shapes.

#![deny(unsafe_code)]

pub mod autograd;
// SIMD, aligned storage, and tasks that write disjoint parts of one result.
#[allow(unsafe_code)]
mod cpu;
mod device;
mod geom;
pub mod gpu;
mod ops;
pub mod rng;
mod shape;
mod tensor;

pub use cpu::buffer::{fresh_blocks, memory, reset_peak};
pub use cpu::choice::{CONV_VARIABLE, algorithm_table, conv_algorithm_from_env, per_image};
pub use cpu::optim::{Rule, UpdateStep};
pub use cpu::peak::{fma_peak, fma_rate};
pub use cpu::{ISA_VARIABLE, Isa, isa, isa_from_env};
pub use device::{Device, DeviceChoice};
pub use geom::ConvGeom;
pub use ops::{
    Activation, Average, BatchNorm, Guard, UpdateSlot, WeightCache, concat, conv_transpose2d,
    conv_transpose2d_cached, conv2d, conv2d_input_grad, conv2d_weight_grad, lerp, update,
};
pub use shape::{MAX_RANK, Shape};
pub use tensor::{Reading, Tensor, read_later};
