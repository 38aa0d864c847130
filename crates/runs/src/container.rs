//! The safetensors container: eight bytes of header length, a JSON header, then the raw tensors.
//!
//! The header is parsed and validated by the `safetensors` crate. The tensors are streamed here
//! rather than through its whole-file buffer, so that a load or save needs no second copy of the
//! weights, and a header with false sizes is rejected before anything is allocated for it.

use crate::{ArtifactError, write_atomic};
use safetensors::tensor::{Dtype, Metadata, TensorInfo as RawInfo};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use tensor::{HostTensor, TensorData};

/// The limit of the `safetensors` crate for a header; a longer one is garbage read as a length.
const MAX_HEADER: u64 = 100_000_000;
const METADATA: &str = "__metadata__";

/// One tensor of a file's header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TensorInfo {
    /// The tensor's name, such as `generator.main.0.weight`.
    pub name: String,
    /// The element type as safetensors spells it: `F32`, `I64`, …
    #[serde(rename = "type")]
    pub dtype: String,
    /// The shape, outermost extent first.
    pub shape: Vec<usize>,
}

/// The bytes of a container: a file, or a slice compiled into this program.
type ByteSource = Box<dyn Read + Send>;

/// An open file whose header is valid and whose length is what the header declares.
pub(crate) struct Container {
    path: PathBuf,
    reader: BufReader<ByteSource>,
    /// The `__metadata__` strings; empty where there are none.
    pub metadata: BTreeMap<String, String>,
    /// Name and header entry, in file order.
    tensors: Vec<(String, RawInfo)>,
    /// Size of the whole file in bytes.
    pub bytes: u64,
}

impl Container {
    /// Opens a file and reads its header only.
    pub fn open(path: &Path) -> Result<Self, ArtifactError> {
        let file = file_io::open(path).map_err(ArtifactError::read(path))?;
        let bytes = file.metadata().map_err(ArtifactError::read(path))?.len();
        Self::read(path, Box::new(file), bytes)
    }

    /// Reads the header of `bytes` bytes from `source`, which errors call `path`.
    pub fn read(path: &Path, source: ByteSource, bytes: u64) -> Result<Self, ArtifactError> {
        let foreign =
            |reason: String| ArtifactError::NotSafetensors { path: path.to_owned(), reason };
        if bytes < 10 {
            return Err(foreign(format!("it has only {bytes} bytes")));
        }
        let mut reader = BufReader::with_capacity(1 << 20, source);
        let mut start = [0; 9];
        reader.read_exact(&mut start).map_err(ArtifactError::read(path))?;
        if is_pytorch(&start) {
            return Err(ArtifactError::PyTorch { path: path.to_owned() });
        }
        let [length @ .., brace] = start;
        let length = u64::from_le_bytes(length);
        if brace != b'{' || length > MAX_HEADER {
            let reason = match &start[..] {
                [b'<', ..] => "it is a web page",
                [b'v', b'e', b'r', b's', b'i', b'o', b'n', b' ', ..] => "it is a Git LFS pointer",
                _ => "it does not begin with a header",
            };
            return Err(foreign(reason.to_owned()));
        }
        let data_start = 8 + length;
        if data_start > bytes {
            return Err(ArtifactError::Size {
                path: path.to_owned(),
                expected: data_start,
                actual: bytes,
            });
        }
        let mut header = vec![0; length as usize];
        if let Some(first) = header.first_mut() {
            *first = brace;
        }
        reader
            .read_exact(header.get_mut(1..).unwrap_or_default())
            .map_err(ArtifactError::read(path))?;
        let parsed: Metadata = serde_json::from_slice(&header)
            .map_err(|error| foreign(format!("its header is malformed: {error}")))?;
        drop(header);
        let expected = data_start.saturating_add(parsed.data_len() as u64);
        if expected != bytes {
            return Err(ArtifactError::Size { path: path.to_owned(), expected, actual: bytes });
        }
        let metadata = parsed
            .metadata()
            .iter()
            .flatten()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let tensors = parsed
            .offset_keys()
            .into_iter()
            .filter_map(|name| parsed.info(&name).cloned().map(|info| (name, info)))
            .collect();
        Ok(Self { path: path.to_owned(), reader, metadata, tensors, bytes })
    }

    /// Names, types and shapes, sorted by name.
    pub fn infos(&self) -> Vec<TensorInfo> {
        let mut infos: Vec<_> = self
            .tensors
            .iter()
            .map(|(name, info)| TensorInfo {
                name: name.clone(),
                dtype: format!("{:?}", info.dtype),
                shape: info.shape.clone(),
            })
            .collect();
        infos.sort_by(|a, b| a.name.cmp(&b.name));
        infos
    }

    /// Reads every tensor: F32 and I64 unchanged, F16, BF16 and F64 as F32. Returns them with the
    /// fingerprint of the bytes that were read.
    pub fn read_tensors(
        mut self,
    ) -> Result<(BTreeMap<String, HostTensor>, Fingerprint), ArtifactError> {
        let mut arrays = BTreeMap::new();
        let mut fingerprint = Fingerprint::default();
        for (name, info) in std::mem::take(&mut self.tensors) {
            let (data, crc) = self.read_one(&name, &info)?;
            let array = HostTensor { shape: info.shape, data };
            fingerprint.add(&name, matches!(array.data, TensorData::I64(_)), &array.shape, crc);
            arrays.insert(name, array);
        }
        Ok((arrays, fingerprint))
    }

    /// The fingerprint that [`read_tensors`](Self::read_tensors) would return, in the memory of one
    /// buffer.
    pub fn fingerprint(mut self) -> Result<Fingerprint, ArtifactError> {
        let mut fingerprint = Fingerprint::default();
        for (name, info) in &self.tensors {
            let mut left = info.data_offsets.1 - info.data_offsets.0;
            let mut crc = 0;
            while left > 0 {
                let buffer = self.reader.fill_buf().map_err(ArtifactError::read(&self.path))?;
                let part = buffer.get(..left).unwrap_or(buffer);
                if part.is_empty() {
                    return Err(ArtifactError::read(&self.path)(
                        io::ErrorKind::UnexpectedEof.into(),
                    ));
                }
                crc = crc32c::crc32c_append(crc, part);
                let read = part.len();
                self.reader.consume(read);
                left -= read;
            }
            fingerprint.add(name, info.dtype == Dtype::I64, &info.shape, crc);
        }
        Ok(fingerprint)
    }

    /// Reads one tensor at the reader's position, and computes the CRC of its bytes.
    fn read_one(&mut self, name: &str, info: &RawInfo) -> Result<(TensorData, u32), ArtifactError> {
        let bytes = info.data_offsets.1 - info.data_offsets.0;
        let converted = |bytes: &[u8]| -> Option<Vec<f32>> {
            Some(match info.dtype {
                Dtype::F64 => le_chunks(bytes).map(|b| f64::from_le_bytes(b) as f32).collect(),
                Dtype::F16 => {
                    le_chunks(bytes).map(|b| half::f16::from_le_bytes(b).to_f32()).collect()
                }
                Dtype::BF16 => {
                    le_chunks(bytes).map(|b| half::bf16::from_le_bytes(b).to_f32()).collect()
                }
                _ => return None,
            })
        };
        match info.dtype {
            Dtype::F32 => {
                let mut values: Vec<f32> = self.zeros(name, bytes / 4)?;
                let crc = self.fill(bytemuck::cast_slice_mut(&mut values))?;
                if cfg!(target_endian = "big") {
                    values
                        .iter_mut()
                        .for_each(|value| *value = f32::from_bits(value.to_bits().swap_bytes()));
                }
                Ok((TensorData::F32(values), crc))
            }
            Dtype::I64 => {
                let mut values: Vec<i64> = self.zeros(name, bytes / 8)?;
                let crc = self.fill(bytemuck::cast_slice_mut(&mut values))?;
                if cfg!(target_endian = "big") {
                    values.iter_mut().for_each(|value| *value = value.swap_bytes());
                }
                Ok((TensorData::I64(values), crc))
            }
            dtype => {
                let mut raw: Vec<u8> = self.zeros(name, bytes)?;
                let crc = self.fill(&mut raw)?;
                let values = converted(&raw).ok_or_else(|| ArtifactError::Dtype {
                    path: self.path.clone(),
                    tensor: name.to_owned(),
                    dtype: format!("{dtype:?}"),
                })?;
                Ok((TensorData::F32(values), crc))
            }
        }
    }

    fn zeros<T: Copy + Default>(&self, name: &str, len: usize) -> Result<Vec<T>, ArtifactError> {
        let mut values = Vec::new();
        values.try_reserve_exact(len).map_err(|_| ArtifactError::Memory {
            path: self.path.clone(),
            tensor: name.to_owned(),
            bytes: len.saturating_mul(size_of::<T>()),
        })?;
        values.resize(len, T::default());
        Ok(values)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<u32, ArtifactError> {
        self.reader.read_exact(bytes).map_err(ArtifactError::read(&self.path))?;
        Ok(crc32c::crc32c(bytes))
    }
}

/// Whether a file that begins so is a zip archive, which holds a pickle, or a pickle.
pub(crate) fn is_pytorch(start: &[u8]) -> bool {
    matches!(start, [b'P', b'K', 3, 4, ..] | [0x80, 2..=5, ..]) && start.get(8) != Some(&b'{')
}

pub(crate) fn le_chunks<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> + '_ {
    bytes.as_chunks::<N>().0.iter().copied()
}

/// The input of the checksum: each tensor's name, type, shape and CRC, independent of the order in
/// the file.
#[derive(Default)]
pub(crate) struct Fingerprint(BTreeMap<String, (bool, Vec<usize>, u32)>);

impl Fingerprint {
    fn add(&mut self, name: &str, integer: bool, shape: &[usize], crc: u32) {
        self.0.insert(name.to_owned(), (integer, shape.to_owned(), crc));
    }

    /// The fingerprint of arrays in memory.
    pub fn of(arrays: &BTreeMap<String, HostTensor>) -> Self {
        let mut fingerprint = Self::default();
        for (name, array) in arrays {
            let mut crc = 0;
            let Ok(()) = write_le::<std::convert::Infallible>(array, |bytes| {
                crc = crc32c::crc32c_append(crc, bytes);
                Ok(())
            });
            fingerprint.add(name, matches!(array.data, TensorData::I64(_)), &array.shape, crc);
        }
        fingerprint
    }

    /// The checksum of the tensors together with `text`, as written into the header.
    pub fn checksum(&self, text: &str) -> String {
        let mut crc = crc32c::crc32c(text.as_bytes());
        let mut add = |bytes: &[u8]| crc = crc32c::crc32c_append(crc, bytes);
        for (name, (integer, shape, tensor)) in &self.0 {
            // Lengths are included, so that no two different lists give the same bytes.
            add(&(name.len() as u64).to_le_bytes());
            add(name.as_bytes());
            add(&[u8::from(*integer)]);
            add(&(shape.len() as u64).to_le_bytes());
            shape.iter().for_each(|&extent| add(&(extent as u64).to_le_bytes()));
            add(&tensor.to_le_bytes());
        }
        format!("crc32c:{crc:08x}")
    }
}

#[derive(Serialize)]
struct FileHeader<'a> {
    #[serde(rename = "__metadata__", skip_serializing_if = "BTreeMap::is_empty")]
    metadata: &'a BTreeMap<&'a str, String>,
    #[serde(flatten)]
    tensors: BTreeMap<&'a str, RawInfo>,
}

/// Writes a container atomically. Equal contents give equal bytes.
pub(crate) fn write(
    path: &Path,
    metadata: &BTreeMap<&str, String>,
    arrays: &BTreeMap<String, HostTensor>,
) -> Result<(), ArtifactError> {
    // Widest type first, as the format requires, so that every tensor is aligned to its type.
    let (integers, floats): (Vec<_>, Vec<_>) =
        arrays.iter().partition(|(_, array)| matches!(array.data, TensorData::I64(_)));
    let mut offset = 0;
    let mut tensors = BTreeMap::new();
    for (name, array) in integers.iter().chain(&floats) {
        check_shape(name, array)?;
        let end = offset + array.num_bytes();
        let dtype = if matches!(array.data, TensorData::I64(_)) { Dtype::I64 } else { Dtype::F32 };
        tensors.insert(
            name.as_str(),
            RawInfo { dtype, shape: array.shape.clone(), data_offsets: (offset, end) },
        );
        offset = end;
    }
    if tensors.contains_key(METADATA) {
        return Err(ArtifactError::write(path)(io::Error::other(
            "no tensor may be named __metadata__",
        )));
    }
    let mut header = serde_json::to_vec(&FileHeader { metadata, tensors })
        .map_err(|error| ArtifactError::write(path)(error.into()))?;
    header.resize(header.len().next_multiple_of(8), b' ');
    write_atomic(path, |writer| {
        writer.write_all(&(header.len() as u64).to_le_bytes())?;
        writer.write_all(&header)?;
        integers
            .iter()
            .chain(&floats)
            .try_for_each(|(_, array)| write_le(array, |bytes| writer.write_all(bytes)))
    })
}

/// Checks that the values fill the shape exactly.
fn check_shape(name: &str, tensor: &HostTensor) -> Result<(), ArtifactError> {
    if tensor.fills_shape() {
        return Ok(());
    }
    Err(ArtifactError::Shape {
        name: name.to_owned(),
        shape: tensor.shape.clone(),
        len: tensor.len(),
    })
}

/// Passes the values as little-endian bytes to `sink`, without a second copy of the whole.
fn write_le<E>(tensor: &HostTensor, mut sink: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
    match &tensor.data {
        TensorData::F32(values) if cfg!(target_endian = "little") => {
            sink(bytemuck::cast_slice(values))
        }
        TensorData::I64(values) if cfg!(target_endian = "little") => {
            sink(bytemuck::cast_slice(values))
        }
        TensorData::F32(values) => values.iter().try_for_each(|value| sink(&value.to_le_bytes())),
        TensorData::I64(values) => values.iter().try_for_each(|value| sink(&value.to_le_bytes())),
    }
}

/// Size of a file in bytes, 0 if it cannot be read.
pub(crate) fn file_bytes(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |status| status.len())
}
