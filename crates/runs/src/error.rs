//! What can go wrong with a file of a run, each in one line that ends with the way out.

use std::io;
use std::path::{Path, PathBuf};

/// Every failure of reading or writing a run's files.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// The operating system refused a write: full disk, no permission, missing folder.
    #[error("cannot write {path:?}: {source} ({}; older files are untouched)", write_hint(.source))]
    Write {
        /// What was to be written.
        path: PathBuf,
        /// The operating system's word.
        source: io::Error,
    },
    /// The operating system refused a read.
    #[error("cannot read {path:?}: {source} ({})", read_hint(.source))]
    Read {
        /// What was to be read.
        path: PathBuf,
        /// The operating system's word.
        source: io::Error,
    },
    /// The file is shorter or longer than its header says.
    #[error(
        "{path:?} is {actual} bytes where its header says {expected}: the file is truncated or damaged; use an older checkpoint or copy it again"
    )]
    Size {
        /// The file.
        path: PathBuf,
        /// Bytes that the header promises.
        expected: u64,
        /// Bytes that are there.
        actual: u64,
    },
    /// The file does not start with a safetensors header.
    #[error(
        "{path:?} is not a safetensors file: {reason}; give a checkpoint that dcgan wrote, or a run directory"
    )]
    NotSafetensors {
        /// The file.
        path: PathBuf,
        /// What in the header does not fit.
        reason: String,
    },
    /// A well-formed safetensors file without this program's metadata.
    #[error("{path:?} is a plain safetensors file, not a checkpoint: use dcgan import")]
    NotCheckpoint {
        /// The file.
        path: PathBuf,
    },
    /// Written by a later version of this program.
    #[error(
        "{path:?} was written by a newer version (schema {found}, this program reads {supported}): update dcgan"
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
    #[error(
        "{path:?} is damaged: its checksum is {actual}, it was written with {expected}; use an older checkpoint"
    )]
    Checksum {
        /// The file.
        path: PathBuf,
        /// The checksum in the file's metadata.
        expected: String,
        /// The checksum of what is there.
        actual: String,
    },
    /// The file's metadata cannot be understood.
    #[error("{path:?} is damaged: {reason}; use an older checkpoint")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// A tensor of a number type that has no place here.
    #[error(
        "{path:?} holds {tensor:?} as {dtype}: convert it to F32 (F64, F16, BF16 and I64 are read too)"
    )]
    Dtype {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// Its number type.
        dtype: String,
    },
    /// Too little memory for a tensor of the file.
    #[error(
        "{path:?} holds {tensor:?} of {bytes} bytes, more than the memory that is free: close other programs"
    )]
    Memory {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// Bytes it takes in memory.
        bytes: usize,
    },
    /// An array whose data does not fill its shape.
    #[error(
        "{name:?} has {len} values for shape {shape:?}: give one value per element of the shape"
    )]
    Shape {
        /// The array's name.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
        /// The values it has.
        len: usize,
    },
    /// A `.npy` file that is malformed or of an unread kind.
    #[error(
        "cannot read {path:?} as .npy: {reason}; save it again with numpy.save as little-endian float32"
    )]
    Npy {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// A folder in which no checkpoint can be loaded.
    #[error("no checkpoint to load in {dir:?}{}: name a checkpoint file, or the directory of another run", skipped_list(.skipped))]
    NoCheckpoint {
        /// The folder that was searched.
        dir: PathBuf,
        /// The checkpoints that were found damaged, with the reason.
        skipped: Vec<(PathBuf, ArtifactError)>,
    },
    /// A new run was to go where something already is.
    #[error("{path:?} exists and is not empty: {}choose another --out", resume_hint(path, *.resumable))]
    NotEmpty {
        /// The folder.
        path: PathBuf,
        /// Whether it holds checkpoints of a run.
        resumable: bool,
    },
    /// Another process trains in this directory.
    #[error("{path:?} is in use by another training process{}: wait for it to end, or choose another --out", pid_text(.pid))]
    Locked {
        /// The run directory.
        path: PathBuf,
        /// The other process, where it is known.
        pid: Option<u32>,
    },
    /// The path is not a run directory.
    #[error(
        "{path:?} is not a run directory (no checkpoints folder in it): give one that dcgan train made"
    )]
    NotARun {
        /// The path.
        path: PathBuf,
    },
    /// A base folder without runs.
    #[error(
        "no runs in {base:?}: start one with dcgan train, or name the folder that holds them (of one run, dcgan info tells more)"
    )]
    NoRuns {
        /// The folder.
        base: PathBuf,
    },
    /// A line of `metrics.jsonl` that is not a row, with rows after it.
    #[error("{path:?} line {line} is not a metrics row: {reason}; delete that line to go on")]
    Metrics {
        /// The file.
        path: PathBuf,
        /// One-based line number.
        line: usize,
        /// What does not fit.
        reason: String,
    },
    /// Pictures that cannot be drawn, such as 2 channels or none at all.
    #[error("cannot draw {what}: {reason}")]
    Pictures {
        /// What was to be drawn.
        what: String,
        /// Why not, and what would do.
        reason: String,
    },
    /// An encoder refused a picture.
    #[error("cannot encode {path:?}: {reason}")]
    Encode {
        /// The picture's file.
        path: PathBuf,
        /// The encoder's word.
        reason: String,
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

    /// Whether another checkpoint of the same folder may be taken instead. Not so for a newer schema or a file
    /// this user may not read: those are good, and going on from an older one would write over them.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            Self::NewerSchema { .. } | Self::Memory { .. } => false,
            Self::Read { source, .. } => source.kind() != io::ErrorKind::PermissionDenied,
            _ => true,
        }
    }
}

fn write_hint(error: &io::Error) -> &'static str {
    use io::ErrorKind::*;
    match error.kind() {
        StorageFull | QuotaExceeded | FileTooLarge | WriteZero => {
            "free some space, or choose another disk"
        }
        PermissionDenied | ReadOnlyFilesystem => "choose a folder you may write to",
        NotFound => "its folder is missing; make it, or choose another",
        NotADirectory => "a file is where a folder should be; choose another place",
        _ => "choose another place",
    }
}

fn read_hint(error: &io::Error) -> &'static str {
    use io::ErrorKind::*;
    match error.kind() {
        NotFound | NotADirectory => "check the path",
        PermissionDenied => "ask for permission to read it",
        IsADirectory => "give a file",
        _ => "check the disk",
    }
}

fn resume_hint(path: &Path, resumable: bool) -> String {
    if resumable { format!("continue it with --resume {path:?}, or ") } else { String::new() }
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
