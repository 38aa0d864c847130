//! Named numbers as files hold them: a shape and its values in row-major order.

use crate::ArtifactError;
use tensor::{HostTensor, TensorData};

/// The values of an [`Array`].
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// 32-bit floating point: weights, moments, latents.
    F32(Vec<f32>),
    /// 64-bit integers: counters such as `num_batches_tracked`.
    I64(Vec<i64>),
}

/// A tensor on its way to or from a file, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Extents, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
    /// One value per element of `shape`.
    pub data: Data,
}

impl Array {
    /// An array of 32-bit floats. The lengths are compared when it is written.
    pub fn f32(shape: impl Into<Vec<usize>>, data: Vec<f32>) -> Self {
        Self { shape: shape.into(), data: Data::F32(data) }
    }

    /// An integer scalar, shape `[]`.
    pub fn scalar_i64(value: i64) -> Self {
        Self { shape: Vec::new(), data: Data::I64(vec![value]) }
    }

    /// The floats, or `None` for an integer array.
    pub fn as_f32(&self) -> Option<&[f32]> {
        match &self.data {
            Data::F32(values) => Some(values),
            Data::I64(_) => None,
        }
    }

    /// The floats by value, or `None` for an integer array.
    pub fn into_f32(self) -> Option<Vec<f32>> {
        match self.data {
            Data::F32(values) => Some(values),
            Data::I64(_) => None,
        }
    }

    /// The integers, or `None` for a float array.
    pub fn as_i64(&self) -> Option<&[i64]> {
        match &self.data {
            Data::I64(values) => Some(values),
            Data::F32(_) => None,
        }
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        match &self.data {
            Data::F32(values) => values.len(),
            Data::I64(values) => values.len(),
        }
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the values fill the shape exactly.
    pub(crate) fn check(&self, name: &str) -> Result<(), ArtifactError> {
        let elements =
            self.shape.iter().try_fold(1usize, |product, &extent| product.checked_mul(extent));
        if elements == Some(self.len()) {
            return Ok(());
        }
        Err(ArtifactError::Shape {
            name: name.to_owned(),
            shape: self.shape.clone(),
            len: self.len(),
        })
    }

    /// Bytes on disk.
    pub(crate) fn bytes(&self) -> usize {
        match &self.data {
            Data::F32(values) => std::mem::size_of_val(values.as_slice()),
            Data::I64(values) => std::mem::size_of_val(values.as_slice()),
        }
    }

    /// The values as little-endian bytes, handed to `sink` in pieces that need no second copy of
    /// the whole.
    pub(crate) fn write_le<E>(
        &self,
        mut sink: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if cfg!(target_endian = "little") {
            return match &self.data {
                Data::F32(values) => sink(bytemuck::cast_slice(values)),
                Data::I64(values) => sink(bytemuck::cast_slice(values)),
            };
        }
        match &self.data {
            Data::F32(values) => values.iter().try_for_each(|value| sink(&value.to_le_bytes())),
            Data::I64(values) => values.iter().try_for_each(|value| sink(&value.to_le_bytes())),
        }
    }
}

impl From<HostTensor> for Array {
    fn from(HostTensor { shape, data }: HostTensor) -> Self {
        let data = match data {
            TensorData::F32(data) => Data::F32(data),
            TensorData::I64(data) => Data::I64(data),
        };
        Self { shape, data }
    }
}

impl From<Array> for HostTensor {
    fn from(Array { shape, data }: Array) -> Self {
        let data = match data {
            Data::F32(data) => TensorData::F32(data),
            Data::I64(data) => TensorData::I64(data),
        };
        Self { shape, data }
    }
}
