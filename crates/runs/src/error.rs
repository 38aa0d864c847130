//! Errors of reading and writing a run's files.

use crate::PyTorchProblem;
use std::io;
use std::path::{Path, PathBuf};

/// A failure to read or write a file of a run, or to draw an image of one.
///
/// The message names the file and the values that do not fit. It knows no command line: what a user
/// can do about it depends on the program and is added there.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages show what the fields are")]
pub enum ArtifactError {
    /// The operating system refused a write: full disk, no permission, missing folder.
    #[error("cannot write {path:?}: {source} (older files are untouched)")]
    Write { path: PathBuf, source: io::Error },
    /// The operating system refused a read.
    #[error("cannot read {path:?}: {source}")]
    Read { path: PathBuf, source: io::Error },
    /// The file is shorter or longer than its header declares.
    #[error(
        "{path:?} has {actual} bytes where its header declares {expected}: it is truncated or \
         damaged"
    )]
    Size { path: PathBuf, expected: u64, actual: u64 },
    /// The file does not start with a safetensors header.
    #[error("{path:?} is not a safetensors file: {reason}")]
    NotSafetensors { path: PathBuf, reason: String },
    /// Weights or other objects that PyTorch or Python saved, where a checkpoint belongs.
    #[error("{path:?} is a PyTorch or pickle file, not a checkpoint")]
    PyTorch { path: PathBuf },
    /// A file of PyTorch that is damaged, or that is not read.
    #[error("cannot read {path:?} as a PyTorch file: {problem}")]
    PyTorchFile { path: PathBuf, problem: PyTorchProblem },
    /// A file of PyTorch with several dicts of tensors where one belongs.
    #[error("{path:?} holds several dicts of tensors: {}", keys_text(.keys))]
    SeveralDicts { path: PathBuf, keys: Vec<String> },
    /// A well-formed safetensors file without a checkpoint's metadata.
    #[error("{path:?} is a plain safetensors file, not a checkpoint")]
    NotCheckpoint { path: PathBuf },
    /// The checkpoint was written by a later version of this program.
    #[error(
        "{path:?} was written by a newer version (schema {found}, this program reads {supported})"
    )]
    NewerSchema { path: PathBuf, found: u32, supported: u32 },
    /// The bytes are not those that were written.
    #[error("{path:?} is damaged: its checksum is {actual}, it was written with {expected}")]
    Checksum { path: PathBuf, expected: String, actual: String },
    /// The checkpoint's metadata cannot be parsed.
    #[error("{path:?} is damaged: {reason}")]
    Damaged { path: PathBuf, reason: String },
    /// A tensor of an element type that is not supported.
    #[error("{path:?} holds {tensor:?} as {dtype}; F32, F64, F16, BF16 and I64 are supported")]
    Dtype { path: PathBuf, tensor: String, dtype: String },
    /// Too little memory for a tensor of the file.
    #[error("{path:?} holds {tensor:?} of {bytes} bytes, more than the memory that is free")]
    Memory { path: PathBuf, tensor: String, bytes: usize },
    /// A tensor whose values do not fill its shape.
    #[error("{name:?} has {len} values for shape {shape:?}")]
    Shape { name: String, shape: Vec<usize>, len: usize },
    /// A `.npy` file that is malformed or of a kind that is not supported.
    #[error("cannot read {path:?} as .npy: {reason}")]
    Npy { path: PathBuf, reason: String },
    /// A `.npz` file that is malformed or lacks an array.
    #[error("cannot read {path:?} as .npz: {reason}")]
    Npz { path: PathBuf, reason: String },
    /// A folder in which no checkpoint can be loaded.
    #[error("no checkpoint to load in {dir:?}{}", skipped_list(.skipped))]
    NoCheckpoint { dir: PathBuf, skipped: Vec<(PathBuf, ArtifactError)> },
    /// A new run was to go into a folder that holds other files: a run's, if `resumable`.
    #[error("{path:?} exists and is not empty")]
    NotEmpty { path: PathBuf, resumable: bool },
    /// Another process trains in this directory.
    #[error("{path:?} is in use by another training process{}", pid_text(.pid))]
    Locked { path: PathBuf, pid: Option<u32> },
    /// The path is not a run directory.
    #[error("{path:?} is not a run directory (no checkpoints folder in it)")]
    NotARun { path: PathBuf },
    /// A base folder without runs.
    #[error("no runs in {base:?}")]
    NoRuns { base: PathBuf },
    /// A line of `metrics.jsonl` that is not a row, with rows after it.
    #[error("{path:?} line {line} is not a metrics row: {reason}")]
    Metrics { path: PathBuf, line: usize, reason: String },
    /// A plot without data.
    #[error("cannot draw {plot}: there are no rows")]
    NoRows { plot: &'static str },
    /// A plot that could not be drawn.
    #[error("cannot draw {plot}: {reason}")]
    Plot { plot: &'static str, reason: String },
    /// Images of a number of channels that no image file holds.
    #[error(
        "cannot draw images of {channels} channels; 1 (gray), 3 (RGB) and 4 (RGBA) are supported"
    )]
    Channels { channels: usize },
    /// Values that do not fill the shape of the images, or no images at all.
    #[error("cannot draw images: {len} values do not fill shape {shape:?}")]
    ImageShape { len: usize, shape: [usize; 4] },
    /// A grid with a side of more than 65535 pixels.
    #[error("cannot draw {count} images of {}x{} as one grid: too large", .size[0], .size[1])]
    GridSize { count: usize, size: [usize; 2] },
    /// A folder without a sample grid that can be decoded.
    #[error("cannot draw a time-lapse of {dir:?}: it holds no step-N.png that can be decoded")]
    NoSamples { dir: PathBuf },
    /// Frames that no GIF holds.
    #[error("cannot draw the animation {path:?}: {reason}")]
    Frames { path: PathBuf, reason: FrameProblem },
    /// A file that is not a valid PNG, or a PNG that is too large.
    #[error("cannot read {path:?} as PNG: {reason}")]
    Png { path: PathBuf, reason: String },
    /// An encoder refused an image.
    #[error("cannot encode {path:?}: {reason}")]
    Encode { path: PathBuf, reason: String },
}

/// Why frames make no GIF.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages show what the fields are")]
pub enum FrameProblem {
    /// There are no frames.
    #[error("there are no frames")]
    None,
    /// The frames are not all of one size.
    #[error("its frames have several sizes")]
    SeveralSizes,
    /// A side exceeds the format's limit.
    #[error("its frames are {width}x{height}, a GIF has sides up to 65535")]
    TooLarge { width: u32, height: u32 },
}

impl ArtifactError {
    /// Wraps the I/O error of a write, for `map_err`.
    pub(crate) fn write(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Write { path, source }
    }

    /// Wraps the I/O error of a read, for `map_err`.
    pub(crate) fn read(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Read { path, source }
    }

    /// Whether there is no such file.
    pub(crate) fn is_absence(&self) -> bool {
        matches!(self, Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// Whether an older checkpoint of the same folder may be used instead. Not so for a newer
    /// schema or a file this user may not read: those are intact, and a run resumed from an older
    /// one would write over them.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::NewerSchema { .. } | Self::Memory { .. } => false,
            Self::Read { source, .. } => source.kind() != io::ErrorKind::PermissionDenied,
            _ => true,
        }
    }
}

/// The first ten keys, quoted.
fn keys_text(keys: &[String]) -> String {
    let quoted: Vec<_> = keys.iter().take(10).map(|key| format!("{key:?}")).collect();
    let more = if keys.len() > 10 { ", …" } else { "" };
    format!("{}{more}", quoted.join(", "))
}

fn pid_text(pid: &Option<u32>) -> String {
    pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
}

fn skipped_list(skipped: &[(PathBuf, ArtifactError)]) -> String {
    if skipped.is_empty() {
        return String::new();
    }
    let reasons: Vec<_> = skipped.iter().map(|(_, error)| error.to_string()).collect();
    format!(" ({} damaged: {})", skipped.len(), reasons.join("; "))
}
