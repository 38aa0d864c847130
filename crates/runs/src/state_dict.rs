//! State dicts: named tensors without a checkpoint's metadata, for weights of other programs,
//! latents and raw images. Safetensors files and files of `torch.save` are read, safetensors files
//! are written.

use crate::ArtifactError;
use crate::container::{self, Container, TensorInfo};
use crate::pytorch::{PyTorchFile, PyTorchProblem, UnreadEntry};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use tensor::HostTensor;

/// An open file of state dicts.
pub struct StateDictFile(Kind);

enum Kind {
    Safetensors(Container),
    PyTorch(PyTorchFile),
}

/// One dict of tensors in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StateDictInfo {
    /// The keys that lead to it, joined by dots, such as `state_dict`; empty if the file is the
    /// dict.
    pub key: String,
    /// Names, types and shapes, sorted by name.
    pub tensors: Vec<TensorInfo>,
}

impl StateDictFile {
    /// Opens a safetensors file, also a checkpoint, or a file of `torch.save`, by its content.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or is neither, and
    /// [`ArtifactError::PyTorchFile`] with the reason for a file of PyTorch that is not read.
    pub fn open(path: &Path) -> Result<Self, ArtifactError> {
        let mut start = Vec::new();
        let file = file_io::open(path).map_err(ArtifactError::read(path))?;
        file.take(262).read_to_end(&mut start).map_err(ArtifactError::read(path))?;
        if start.ends_with(b"ustar") {
            let problem = PyTorchProblem::Tar;
            return Err(ArtifactError::PyTorchFile { path: path.to_owned(), problem });
        }
        Ok(Self(match container::is_pytorch(&start) {
            true => Kind::PyTorch(PyTorchFile::open(path)?),
            false => Kind::Safetensors(Container::open(path)?),
        }))
    }

    /// The format, as text for people.
    pub fn format(&self) -> &'static str {
        match &self.0 {
            Kind::Safetensors(_) => "safetensors",
            Kind::PyTorch(file) => file.format(),
        }
    }

    /// Size of the file in bytes.
    pub fn bytes(&self) -> u64 {
        match &self.0 {
            Kind::Safetensors(container) => container.bytes,
            Kind::PyTorch(file) => file.bytes,
        }
    }

    /// The dicts of tensors. A file of PyTorch has several if it nests them, such as
    /// `{"netG": …, "netD": …}`.
    pub fn dicts(&self) -> Vec<StateDictInfo> {
        match &self.0 {
            Kind::Safetensors(container) => {
                vec![StateDictInfo { key: String::new(), tensors: container.infos() }]
            }
            Kind::PyTorch(file) => file
                .dicts()
                .map(|(key, tensors)| StateDictInfo { key: key.to_owned(), tensors })
                .collect(),
        }
    }

    /// What the file holds beside tensors, such as an optimizer's settings. None of it is read.
    pub fn into_unread(self) -> Vec<UnreadEntry> {
        match self.0 {
            Kind::Safetensors(_) => Vec::new(),
            Kind::PyTorch(file) => file.into_unread(),
        }
    }

    /// Reads the dict of this key, one of [`dicts`](Self::dicts).
    ///
    /// F32 and I64 are kept; F64, F16 and BF16 become F32 (F64 rounds to nearest), other integers
    /// of PyTorch become I64.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read, is truncated, or holds another element type.
    pub fn read(self, key: &str) -> Result<BTreeMap<String, HostTensor>, ArtifactError> {
        match self.0 {
            Kind::Safetensors(container) => Ok(container.read_tensors()?.0),
            Kind::PyTorch(file) => file.read_tensors(key),
        }
    }
}

/// Reads the tensors of a file that holds one dict of them: a safetensors file, also a checkpoint,
/// or a file of `torch.save` as [`StateDictFile`] reads it.
///
/// # Errors
/// Returns the errors of [`StateDictFile::open`] and [`StateDictFile::read`], and
/// [`ArtifactError::SeveralDicts`] if there are several.
pub fn read_state_dict(path: &Path) -> Result<BTreeMap<String, HostTensor>, ArtifactError> {
    let file = StateDictFile::open(path)?;
    let keys: Vec<String> = file.dicts().into_iter().map(|dict| dict.key).collect();
    match &keys[..] {
        [key] => file.read(key),
        _ => Err(ArtifactError::SeveralDicts { path: path.to_owned(), keys }),
    }
}

/// Writes a plain safetensors file, atomically; PyTorch's `safetensors.torch.load_file` reads it.
///
/// # Errors
/// Returns an error if a tensor does not fill its shape, or the file cannot be written.
pub fn write_state_dict(
    path: &Path,
    arrays: &BTreeMap<String, HostTensor>,
) -> Result<(), ArtifactError> {
    container::write(path, &BTreeMap::new(), arrays)
}
