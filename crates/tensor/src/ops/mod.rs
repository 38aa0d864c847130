//! The operations: shape checks, the choice of a kernel, and the gradient, written in operations
//! again.
//!
//! docs/architecture.md lists the places that a new operation takes.

mod collective;
mod conv;
mod distance;
mod elementwise;
mod loss;
mod matmul;
mod movement;
mod norm;
mod optim;
mod pool;
mod reduce;

pub use conv::{
    WeightCache, conv_transpose2d, conv_transpose2d_cached, conv2d, conv2d_bias_activation,
    conv2d_input_grad, conv2d_weight_grad,
};
pub use elementwise::{Domain, UNARY_OPS, UnaryOp};
pub use movement::concat;
pub use norm::BatchNorm;
pub use optim::{EmaUpdate, FiniteCheck, ParamUpdate, lerp, update};

/// `kernel!(name, shape; a, b; cpu |out| …, gpu …)`: a tensor of `shape` outside the graph. The
/// CPU expression writes all elements of the slice `out`; the GPU expression returns a buffer.
macro_rules! kernel {
    ($name:expr, $shape:expr; $($x:ident),+; cpu |$out:ident| $cpu:expr, gpu $gpu:expr) => {{
        let shape: $crate::shape::Shape = $shape;
        $crate::storage::on_device!($name; $($x),+;
            cpu => {
                let mut buffer = $crate::cpu::buffer::Buffer::uninit(shape.len());
                let $out = &mut buffer[..];
                $cpu;
                $crate::tensor::Tensor::from_buffer(buffer, shape)
            },
            gpu => $crate::tensor::Tensor::from_gpu_buffer($gpu, shape)
        )
    }};
}
use kernel;
