//! Errors of reading and writing a run's files.

use std::io;
use std::path::{Path, PathBuf};

/// A failure to read or write a file of a run, or to draw an image of one.
///
/// The message names the file and the values that do not fit. It knows no command line: what a user
/// can do about it depends on the program and is added there.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// The operating system refused a write: full disk, no permission, missing folder.
    #[error("cannot write {path:?}: {source} (older files are untouched)")]
    Write {
        /// The file or folder to be written.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The operating system refused a read.
    #[error("cannot read {path:?}: {source}")]
    Read {
        /// The file or folder to be read.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The file is shorter or longer than its header says.
    #[error(
        "{path:?} has {actual} bytes where its header says {expected}: it is truncated or damaged"
    )]
    Size {
        /// The file.
        path: PathBuf,
        /// Length by the header, in bytes.
        expected: u64,
        /// Length of the file, in bytes.
        actual: u64,
    },
    /// The file does not start with a safetensors header.
    #[error("{path:?} is not a safetensors file: {reason}")]
    NotSafetensors {
        /// The file.
        path: PathBuf,
        /// Which part of the header does not fit.
        reason: String,
    },
    /// A well-formed safetensors file without a checkpoint's metadata.
    #[error("{path:?} is a plain safetensors file, not a checkpoint")]
    NotCheckpoint {
        /// The file.
        path: PathBuf,
    },
    /// The checkpoint was written by a later version of this program.
    #[error(
        "{path:?} was written by a newer version (schema {found}, this program reads {supported})"
    )]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// The file's schema.
        found: u32,
        /// The newest schema this program reads.
        supported: u32,
    },
    /// The bytes are not those that were written.
    #[error("{path:?} is damaged: its checksum is {actual}, it was written with {expected}")]
    Checksum {
        /// The file.
        path: PathBuf,
        /// The checksum in the file's metadata.
        expected: String,
        /// The checksum of the file's contents.
        actual: String,
    },
    /// The checkpoint's metadata cannot be parsed.
    #[error("{path:?} is damaged: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Which part of the metadata does not fit.
        reason: String,
    },
    /// A tensor of an element type that is not supported.
    #[error("{path:?} holds {tensor:?} as {dtype}; F32, F64, F16, BF16 and I64 are supported")]
    Dtype {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// Its element type.
        dtype: String,
    },
    /// Too little memory for a tensor of the file.
    #[error("{path:?} holds {tensor:?} of {bytes} bytes, more than the memory that is free")]
    Memory {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// Bytes it takes in memory.
        bytes: usize,
    },
    /// A tensor whose values do not fill its shape.
    #[error("{name:?} has {len} values for shape {shape:?}")]
    Shape {
        /// The tensor's name.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
        /// The number of its values.
        len: usize,
    },
    /// A `.npy` file that is malformed or of a kind that is not supported.
    #[error("cannot read {path:?} as .npy: {reason}")]
    Npy {
        /// The file.
        path: PathBuf,
        /// Which part does not fit.
        reason: String,
    },
    /// A folder in which no checkpoint can be loaded.
    #[error("no checkpoint to load in {dir:?}{}", skipped_list(.skipped))]
    NoCheckpoint {
        /// The folder that was searched.
        dir: PathBuf,
        /// The checkpoints that were found damaged, with the reason.
        skipped: Vec<(PathBuf, ArtifactError)>,
    },
    /// A new run was to go into a folder that holds other files.
    #[error("{path:?} exists and is not empty")]
    NotEmpty {
        /// The folder.
        path: PathBuf,
        /// Whether it holds checkpoints of a run.
        resumable: bool,
    },
    /// Another process trains in this directory.
    #[error("{path:?} is in use by another training process{}", pid_text(.pid))]
    Locked {
        /// The run directory.
        path: PathBuf,
        /// The other process, where it is known.
        pid: Option<u32>,
    },
    /// The path is not a run directory.
    #[error("{path:?} is not a run directory (no checkpoints folder in it)")]
    NotARun {
        /// The path.
        path: PathBuf,
    },
    /// A base folder without runs.
    #[error("no runs in {base:?}")]
    NoRuns {
        /// The folder.
        base: PathBuf,
    },
    /// A line of `metrics.jsonl` that is not a row, with rows after it.
    #[error("{path:?} line {line} is not a metrics row: {reason}")]
    Metrics {
        /// The file.
        path: PathBuf,
        /// One-based line number.
        line: usize,
        /// The JSON error.
        reason: String,
    },
    /// A plot without data.
    #[error("cannot draw {plot}: there are no rows")]
    NoRows {
        /// The plot.
        plot: &'static str,
    },
    /// A plot that could not be drawn.
    #[error("cannot draw {plot}: {reason}")]
    Plot {
        /// The plot.
        plot: &'static str,
        /// The error of the drawing library.
        reason: String,
    },
    /// Images of a number of channels that no image file holds.
    #[error(
        "cannot draw images of {channels} channels; 1 (gray), 3 (RGB) and 4 (RGBA) are supported"
    )]
    Channels {
        /// The number of channels.
        channels: usize,
    },
    /// Values that do not fill the shape of the images, or no images at all.
    #[error("cannot draw images: {len} values do not fill shape {shape:?}")]
    ImageShape {
        /// The number of values.
        len: usize,
        /// The shape, `[N, H, W, C]`.
        shape: [usize; 4],
    },
    /// A grid with a side of more than 65535 pixels.
    #[error("cannot draw {count} images of {}x{} as one grid: too large", .size[0], .size[1])]
    GridSize {
        /// The number of images.
        count: usize,
        /// Height and width of each.
        size: [usize; 2],
    },
    /// A folder without a sample grid that can be decoded.
    #[error("cannot draw a time-lapse of {dir:?}: it holds no step-N.png that can be decoded")]
    NoSamples {
        /// The folder.
        dir: PathBuf,
    },
    /// Frames that no GIF holds.
    #[error("cannot draw the animation {path:?}: {reason}")]
    Frames {
        /// The file to be written.
        path: PathBuf,
        /// Which frames do not fit.
        reason: FrameProblem,
    },
    /// A file that is not a valid PNG, or a PNG that is too large.
    #[error("cannot read {path:?} as PNG: {reason}")]
    Png {
        /// The file.
        path: PathBuf,
        /// The error of the decoder.
        reason: String,
    },
    /// An encoder refused an image.
    #[error("cannot encode {path:?}: {reason}")]
    Encode {
        /// The file to be written.
        path: PathBuf,
        /// The error of the encoder.
        reason: String,
    },
}

/// Why frames make no GIF.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameProblem {
    /// There are no frames.
    #[error("there are no frames")]
    None,
    /// The frames are not all of one size.
    #[error("its frames have several sizes")]
    SeveralSizes,
    /// A side exceeds the format's limit.
    #[error("its frames are {width}x{height}, a GIF has sides up to 65535")]
    TooLarge {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
}

impl ArtifactError {
    /// For `map_err` on a write.
    pub(crate) fn write(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Write { path, source }
    }

    /// For `map_err` on a read.
    pub(crate) fn read(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Read { path, source }
    }

    /// Whether an older checkpoint of the same folder may be used instead. Not so for a newer
    /// schema or a file this user may not read: those are intact, and a run resumed from an older
    /// one would write over them.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            Self::NewerSchema { .. } | Self::Memory { .. } => false,
            Self::Read { source, .. } => source.kind() != io::ErrorKind::PermissionDenied,
            _ => true,
        }
    }
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
