//! State dicts: plain safetensors files without metadata or checksum, for weights of other
//! programs, latents and raw images.

use crate::ArtifactError;
use crate::container::{self, Container};
use std::collections::BTreeMap;
use std::path::Path;
use tensor::HostTensor;

/// Reads every tensor of a safetensors file, also of a checkpoint.
///
/// F32 and I64 are kept; F64, F16 and BF16 become F32 (F64 rounds to nearest).
///
/// # Errors
/// Returns an error if the file cannot be read, is not a safetensors file, is truncated, or holds
/// another element type.
pub fn read_state_dict(path: &Path) -> Result<BTreeMap<String, HostTensor>, ArtifactError> {
    Ok(Container::open(path)?.read_tensors()?.0)
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
