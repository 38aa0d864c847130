//! Tensors with reverse-mode differentiation, for convolutional GANs.
//!
//! A [`Tensor`] is a contiguous, row-major array of `f32` with at most five axes; images are
//! `[N, H, W, C]`. Operations are methods (`x.relu()`, `a.add(&b)`) or, for the convolution family,
//! functions that take a [`ConvGeom`]. An operation on tensors made by [`Tensor::leaf`] joins the
//! graph of [`autograd`]; gradients are themselves differentiable.
//!
//! Shape misuse is a programmer's bug: operations panic with their name and the shapes.
//!
//! ```
//! use tensor::{ConvGeom, Tensor, conv2d};
//! let image = Tensor::ones([1, 4, 4, 1]);
//! let weight = Tensor::ones([3, 3, 1, 1]).leaf();
//! let y = conv2d(&image, &weight, &ConvGeom::square([4, 4], 3, 1, 0));
//! assert_eq!(y.to_vec(), [9.0; 4]);
//! let gradients = y.sum_all().backward();
//! assert_eq!(gradients.of(&weight).unwrap().to_vec(), [4.0; 9]);
//! ```
//!
//! The modules form floors; but for tests, each imports only modules to its right: `rng` and `ops`
//! → `distributed` → `tensor` → `storage` → `device` → `cpu` and `gpu` → `descriptors` → `shape`.
//! `host_tensor` imports none.

#![deny(unsafe_code)]

// SIMD, aligned storage, and tasks that write disjoint parts of one result.
#[allow(unsafe_code)]
mod cpu;
mod descriptors;
mod device;
pub mod distributed;
pub mod gpu;
mod host_tensor;
mod ops;
pub mod rng;
mod shape;
mod storage;
mod tensor;

pub use self::tensor::{PendingRead, Tensor, autograd, read_async};
pub use cpu::buffer::{
    MemoryStats, OutOfMemory, catch_out_of_memory, fake_tensor_mode, memory_stats,
    reset_peak_memory_stats,
};
pub use cpu::conv_algo::{ConvAlgorithm, ConvAlgorithmError, numerics_version, set_conv_algorithm};
pub use cpu::isa::{Isa, IsaError, isa, set_isa};
pub use cpu::peak::{fma_peak, fma_rate};
pub use descriptors::{Activation, ConvGeom, OptimizerKind, UpdateStep, batch_invariant};
pub use device::{Device, DeviceSpec};
pub use host_tensor::{HostTensor, TensorData};
pub use ops::{
    BatchNorm, EmaUpdate, FiniteCheck, ParamUpdate, WeightCache, concat, conv_transpose2d,
    conv_transpose2d_cached, conv2d, conv2d_bias_activation, conv2d_input_grad, conv2d_weight_grad,
    lerp, update,
};
pub use shape::{MAX_RANK, Shape};

/// The table of elementwise operations, for the tests of this crate.
#[doc(hidden)]
pub mod op_table {
    pub use crate::ops::{Domain, UNARY_OPS, UnaryOp};
}

#[cfg(test)]
#[allow(unsafe_code)]
#[path = "../tests/common/numerics_env.rs"]
mod numerics_env;
