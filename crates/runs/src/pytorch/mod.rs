//! Files of `torch.save`: a pickle of names, shapes and references to storages, and the storages.
//!
//! Two formats exist. The zip archive (PyTorch 1.6 and later) has the pickle as `NAME/data.pkl` and
//! a stored entry `NAME/data/KEY` for each storage. The legacy format is five pickles (a magic
//! number, the protocol, the machine, the object, the storages' keys), then each storage as its
//! length and its raw values. Source: `torch/serialization.py`.
//!
//! Nothing in a pickle is called (`pickle`); what is not a tensor is listed as not read.

mod contents;
mod problem;
mod storages;

pub use contents::UnreadEntry;
pub use problem::PyTorchProblem;

use crate::ArtifactError;
use crate::container::{TensorInfo, le_chunks};
use contents::{Contents, ElementType, StoredTensor};
use half::{bf16, f16};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use storages::Storages;
use tensor::{HostTensor, TensorData};

/// All tensors of a file may have this many bytes for each byte of it: views of one storage may
/// overlap, and a stride of 0 repeats a value, but not without a limit.
const MAX_EXPANSION: u64 = 256;

/// An open file whose pickle was read.
pub(crate) struct PyTorchFile {
    path: PathBuf,
    /// Size of the whole file in bytes.
    pub bytes: u64,
    storages: Storages,
    contents: Contents,
}

impl PyTorchFile {
    /// Opens a file and reads everything but its storages.
    pub fn open(path: &Path) -> Result<Self, ArtifactError> {
        let file = file_io::open(path).map_err(ArtifactError::read(path))?;
        let bytes = file.metadata().map_err(ArtifactError::read(path))?.len();
        let (storages, contents) =
            storages::open(file, bytes).map_err(|failure| match failure {
                storages::Failure::Io(error) => ArtifactError::read(path)(error),
                storages::Failure::Problem(problem) => {
                    ArtifactError::PyTorchFile { path: path.to_owned(), problem }
                }
            })?;
        let file = Self { path: path.to_owned(), bytes, storages, contents };
        file.check()?;
        Ok(file)
    }

    /// `zip` or `legacy`.
    pub fn format(&self) -> &'static str {
        self.storages.format()
    }

    /// The dicts of tensors with the keys that lead to them, joined by dots.
    pub fn dicts(&self) -> impl Iterator<Item = (&str, Vec<TensorInfo>)> {
        self.contents.dicts.iter().map(|(key, tensors)| {
            let info = |(name, tensor): (&String, &StoredTensor)| TensorInfo {
                name: name.clone(),
                dtype: tensor.element.name().to_owned(),
                shape: tensor.shape.clone(),
            };
            (key.as_str(), tensors.iter().map(info).collect())
        })
    }

    /// What is not a tensor.
    pub fn into_unread(self) -> Vec<UnreadEntry> {
        self.contents.unread
    }

    /// Reads the tensors of a dict: floating-point numbers as F32, integers as I64.
    pub fn read_tensors(
        mut self,
        key: &str,
    ) -> Result<BTreeMap<String, HostTensor>, ArtifactError> {
        let tensors = self.contents.dicts.remove(key).unwrap_or_default();
        // Each storage is read once.
        let mut by_storage: BTreeMap<&str, Vec<(&String, &StoredTensor)>> = BTreeMap::new();
        for (name, tensor) in &tensors {
            by_storage.entry(&tensor.storage).or_default().push((name, tensor));
        }
        let mut state = BTreeMap::new();
        for (storage, views) in by_storage {
            let name = views.first().map_or("", |(name, _)| name);
            let stored = self.storages.read(storage).map_err(|failure| match failure {
                storages::Failure::Io(error) => ArtifactError::read(&self.path)(error),
                storages::Failure::Problem(problem) => self.problem(problem),
            })?;
            let stored = stored.ok_or_else(|| {
                self.memory(name, self.storages.bytes(storage).unwrap_or(0) as usize)
            })?;
            for (name, tensor) in views {
                state.insert(name.clone(), self.read_one(name, tensor, &stored)?);
            }
        }
        Ok(state)
    }

    /// Checks that every tensor is inside its storage, and the size of all of them.
    fn check(&self) -> Result<(), ArtifactError> {
        let mut total = 0u64;
        for (name, tensor) in self.contents.dicts.values().flatten() {
            let refused =
                |problem| self.problem(PyTorchProblem::Tensor { name: name.clone(), problem });
            let bytes = self
                .storages
                .bytes(&tensor.storage)
                .ok_or_else(|| refused(format!("its storage {:?} is missing", tensor.storage)))?;
            let size = tensor.element.bytes();
            if !bytes.is_multiple_of(size) {
                return Err(refused(format!(
                    "its storage has {bytes} bytes, which is not a whole number of elements of \
                     {size} bytes"
                )));
            }
            let stored = bytes / size;
            let (count, end) = tensor
                .extent()
                .ok_or_else(|| refused("its shape, strides and offset are too large".into()))?;
            if end > stored {
                return Err(refused(format!("it needs {end} elements of a storage of {stored}")));
            }
            total = total.saturating_add(count.saturating_mul(8));
        }
        if total > self.bytes.saturating_mul(MAX_EXPANSION) {
            let problem = PyTorchProblem::Expansion { total, bytes: self.bytes };
            return Err(self.problem(problem));
        }
        Ok(())
    }

    fn read_one(
        &self,
        name: &str,
        tensor: &StoredTensor,
        stored: &[u8],
    ) -> Result<HostTensor, ArtifactError> {
        let element = tensor.element;
        let (count, _) = tensor.extent().unwrap_or_default();
        let memory = || self.memory(name, (count as usize).saturating_mul(8));
        let bytes = tensor.row_major(stored).ok_or_else(memory)?;
        let data = match element {
            ElementType::F64 => floats(&bytes, |b| f64::from_le_bytes(b) as f32),
            ElementType::F32 => floats(&bytes, f32::from_le_bytes),
            ElementType::F16 => floats(&bytes, |b| f16::from_le_bytes(b).to_f32()),
            ElementType::BF16 => floats(&bytes, |b| bf16::from_le_bytes(b).to_f32()),
            ElementType::I64 => integers(&bytes, i64::from_le_bytes),
            ElementType::I32 => integers(&bytes, |b| i32::from_le_bytes(b).into()),
            ElementType::I16 => integers(&bytes, |b| i16::from_le_bytes(b).into()),
            ElementType::I8 => integers(&bytes, |[b]: [u8; 1]| i64::from(b as i8)),
            ElementType::U8 => integers(&bytes, |[b]: [u8; 1]| b.into()),
            ElementType::Bool => {
                return Err(ArtifactError::Dtype {
                    path: self.path.clone(),
                    tensor: name.to_owned(),
                    dtype: element.name().to_owned(),
                });
            }
        };
        Ok(HostTensor { shape: tensor.shape.clone(), data: data.ok_or_else(memory)? })
    }

    fn problem(&self, problem: PyTorchProblem) -> ArtifactError {
        ArtifactError::PyTorchFile { path: self.path.clone(), problem }
    }

    fn memory(&self, name: &str, bytes: usize) -> ArtifactError {
        ArtifactError::Memory { path: self.path.clone(), tensor: name.to_owned(), bytes }
    }
}

impl StoredTensor {
    /// The number of elements, and the number of elements that the storage must have: one past the
    /// largest index into it, or without elements the offset. `None` if they overflow.
    fn extent(&self) -> Option<(u64, u64)> {
        let count =
            self.shape.iter().try_fold(1u64, |product, &n| product.checked_mul(n as u64))?;
        if count == 0 {
            return Some((0, self.offset));
        }
        let last =
            self.shape.iter().zip(&self.strides).try_fold(self.offset, |at, (&n, &stride)| {
                (n as u64 - 1).checked_mul(stride)?.checked_add(at)
            })?;
        Some((count, last.checked_add(1)?))
    }

    /// The elements in row-major order, from a storage that was checked to hold them; `None`
    /// without memory for a copy.
    fn row_major<'a>(&self, stored: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        let size = self.element.bytes() as usize;
        let (count, _) = self.extent().unwrap_or_default();
        let mut stride = 1u64;
        let contiguous = self.shape.iter().zip(&self.strides).rev().all(|(&n, &own)| {
            let fits = n == 1 || own == stride;
            stride = stride.saturating_mul(n as u64);
            fits
        });
        let start = self.offset as usize * size;
        if contiguous || count == 0 {
            let end = start + count as usize * size;
            return Some(Cow::Borrowed(stored.get(start..end).unwrap_or_default()));
        }
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(count as usize * size).ok()?;
        let mut index = vec![0; self.shape.len()];
        for _ in 0..count {
            let at = index.iter().zip(&self.strides).fold(self.offset, |at, (&i, &s)| at + i * s);
            let at = at as usize * size;
            bytes.extend_from_slice(stored.get(at..at + size).unwrap_or_default());
            for (i, &n) in index.iter_mut().zip(&self.shape).rev() {
                *i += 1;
                if *i < n as u64 {
                    break;
                }
                *i = 0;
            }
        }
        Some(Cow::Owned(bytes))
    }
}

/// The elements as F32; `None` without memory for them.
fn floats<const N: usize>(bytes: &[u8], of: impl Fn([u8; N]) -> f32) -> Option<TensorData> {
    let mut values = Vec::new();
    values.try_reserve_exact(bytes.len() / N).ok()?;
    values.extend(le_chunks(bytes).map(of));
    Some(TensorData::F32(values))
}

/// The elements as I64; `None` without memory for them.
fn integers<const N: usize>(bytes: &[u8], of: impl Fn([u8; N]) -> i64) -> Option<TensorData> {
    let mut values = Vec::new();
    values.try_reserve_exact(bytes.len() / N).ok()?;
    values.extend(le_chunks(bytes).map(of));
    Some(TensorData::I64(values))
}
