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
mod host_tensor;
mod ops;
pub mod rng;
mod shape;
mod tensor;

pub use cpu::buffer::{memory_stats, num_allocs, reset_peak_memory_stats};
pub use cpu::conv_algo::{
    CONV_VARIABLE, batch_invariant, conv_algorithm_from_env, numerics_version,
};
pub use cpu::optim::{OptimizerKind, UpdateStep};
pub use cpu::peak::{fma_peak, fma_rate};
pub use cpu::{ISA_VARIABLE, Isa, isa, isa_from_env};
pub use device::{Device, DeviceSpec};
pub use geom::ConvGeom;
pub use host_tensor::{HostTensor, TensorData};
pub use ops::{
    Activation, BatchNorm, EmaUpdate, FiniteCheck, ParamUpdate, WeightCache, concat,
    conv_transpose2d, conv_transpose2d_cached, conv2d, conv2d_input_grad, conv2d_weight_grad, lerp,
    update,
};
pub use shape::{MAX_RANK, Shape};
pub use tensor::{PendingRead, Tensor, read_async};
