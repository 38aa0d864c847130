//! Named arrays in host memory, as state dicts, checkpoints and files hold them.
//!
//! ```
//! use tensor::{HostTensor, TensorData};
//!
//! let weight = HostTensor::f32([2, 3], vec![0.0; 6]);
//! assert_eq!((weight.shape.as_slice(), weight.len()), (&[2, 3][..], 6));
//! assert_eq!(weight.as_f32().map(<[f32]>::len), Some(6));
//! let steps = HostTensor::scalar_i64(7);
//! assert!(steps.shape.is_empty() && matches!(steps.data, TensorData::I64(_)));
//! ```

/// The elements of a [`HostTensor`].
#[derive(Clone, Debug, PartialEq)]
pub enum TensorData {
    /// 32-bit floating point: weights, optimizer state, latents.
    F32(Vec<f32>),
    /// 64-bit integers: counters such as `num_batches_tracked`.
    I64(Vec<i64>),
}

/// A tensor in host memory, row-major and outside the graph: one entry of a state dict or of a
/// file.
///
/// Half-precision files are widened to `f32` when they are read, so two element types suffice.
#[derive(Clone, Debug, PartialEq)]
pub struct HostTensor {
    /// Lengths of the axes, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
    /// One element per position of `shape`; see [`fills_shape`](Self::fills_shape).
    pub data: TensorData,
}

impl HostTensor {
    /// A tensor of 32-bit floats. The number of elements is not compared with the shape here.
    pub fn f32(shape: impl Into<Vec<usize>>, data: Vec<f32>) -> Self {
        Self { shape: shape.into(), data: TensorData::F32(data) }
    }

    /// A tensor of 64-bit integers. The number of elements is not compared with the shape here.
    pub fn i64(shape: impl Into<Vec<usize>>, data: Vec<i64>) -> Self {
        Self { shape: shape.into(), data: TensorData::I64(data) }
    }

    /// An integer scalar, shape `[]`.
    pub fn scalar_i64(value: i64) -> Self {
        Self::i64([], vec![value])
    }

    /// The floats, or `None` for an integer tensor.
    pub fn as_f32(&self) -> Option<&[f32]> {
        match &self.data {
            TensorData::F32(values) => Some(values),
            TensorData::I64(_) => None,
        }
    }

    /// The floats by value, or `None` for an integer tensor.
    pub fn into_f32(self) -> Option<Vec<f32>> {
        match self.data {
            TensorData::F32(values) => Some(values),
            TensorData::I64(_) => None,
        }
    }

    /// The integers, or `None` for a float tensor.
    pub fn as_i64(&self) -> Option<&[i64]> {
        match &self.data {
            TensorData::I64(values) => Some(values),
            TensorData::F32(_) => None,
        }
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        match &self.data {
            TensorData::F32(values) => values.len(),
            TensorData::I64(values) => values.len(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is exactly one element per position of the shape.
    pub fn fills_shape(&self) -> bool {
        let positions = self.shape.iter().try_fold(1usize, |n, &axis| n.checked_mul(axis));
        positions == Some(self.len())
    }

    /// The size of the elements in bytes.
    pub fn num_bytes(&self) -> usize {
        match &self.data {
            TensorData::F32(values) => size_of_val(&values[..]),
            TensorData::I64(values) => size_of_val(&values[..]),
        }
    }
}
