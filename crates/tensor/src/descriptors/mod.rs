//! Descriptions of operations without tensors or kernels: geometries, elementwise functions,
//! optimizers and random distributions. Both back ends and the operations share them; this module
//! imports only shapes.

mod conv;
mod elementwise;
mod optim;

pub use conv::ConvGeom;
pub(crate) use conv::{ConvParams, LossScaledOperand};
pub(crate) use elementwise::{Binary, Unary, binary_table, merged_axes, unary_table};
pub(crate) use optim::StepConstants;
pub use optim::{OptimizerKind, UpdateStep};

use crate::shape::MAX_RANK;
use serde::{Deserialize, Serialize};
use std::cell::Cell;

/// An elementwise function that a normalization or a bias applies to its result.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// x.
    None,
    /// max(x, 0).
    Relu,
    /// x for x > 0, else slope · x.
    LeakyRelu(f32),
    /// Hyperbolic tangent.
    Tanh,
    /// 1 / (1 + e⁻ˣ).
    Sigmoid,
}

/// The distribution of independent random values.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Distribution {
    /// U(low, high); `high` is excluded but for rounding.
    Uniform {
        /// The smallest value.
        low: f32,
        /// The upper bound.
        high: f32,
    },
    /// N(mean, std²), by the Box–Muller transform of pairs of words.
    Normal {
        /// The mean.
        mean: f32,
        /// The standard deviation.
        std: f32,
    },
    /// `value` with probability `keep`, else 0: a dropout mask when `value = 1 / keep`.
    Bernoulli {
        /// The probability of `value`.
        keep: f32,
        /// The value that is not 0.
        value: f32,
    },
}

/// The sizes of a pooling operation: input `[n, h, w, c]`, output `[n, oh, ow, c]`, no padding.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PoolParams {
    pub input: [usize; 4],
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
}

impl PoolParams {
    pub(crate) fn output(&self) -> [usize; 4] {
        let [n, h, w, c] = self.input;
        [n, (h - self.kernel[0]) / self.stride[0] + 1, (w - self.kernel[1]) / self.stride[1] + 1, c]
    }
}

/// One side of a strided copy: the index of element 0, and the step along each axis.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Strided {
    pub offset: usize,
    pub strides: [usize; MAX_RANK],
}

thread_local! {
    static BATCH_INVARIANT: Cell<bool> = const { Cell::new(false) };
}

/// Calls `f` with batch-invariant kernels: each image's result is bit-identical whatever else is in
/// its batch.
///
/// On the CPU, convolutions use the direct algorithm, whose order of additions does not depend on
/// the batch size; on a GPU, sums are not split by the batch size. Only operations called on this
/// thread are affected. Training, whose batch size is fixed, does not need it.
///
/// ```
/// use tensor::{ConvGeom, Tensor, batch_invariant, conv2d};
/// let (images, weight) = (Tensor::ones([8, 4, 4, 3]), Tensor::ones([3, 3, 3, 2]));
/// let geom = ConvGeom::square([4, 4], 3, 1, 1);
/// let all = batch_invariant(|| conv2d(&images, &weight, &geom));
/// let one = batch_invariant(|| conv2d(&images.narrow(0, 0, 1), &weight, &geom));
/// assert_eq!(all.narrow(0, 0, 1).to_vec(), one.to_vec());
/// ```
pub fn batch_invariant<T>(f: impl FnOnce() -> T) -> T {
    struct RestoreFlag(bool);
    impl Drop for RestoreFlag {
        fn drop(&mut self) {
            BATCH_INVARIANT.set(self.0);
        }
    }
    let _restore = RestoreFlag(BATCH_INVARIANT.replace(true));
    f()
}

/// Whether the caller runs inside [`batch_invariant`].
pub(crate) fn is_batch_invariant() -> bool {
    BATCH_INVARIANT.get()
}
