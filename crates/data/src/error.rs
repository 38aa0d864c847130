//! Everything that can go wrong with data, in one line each.

use std::fmt;
use std::path::{Path, PathBuf};

/// Why data could not be open_database, decoded or batched. Each message is one line that names the thing, the value and,
/// where there is one, the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The `--data` string is empty.
    #[error(
        "no data given: name a built-in set ({known}), a folder of images, an archive of them or a data set's file"
    )]
    EmptySpec {
        /// The built-in names.
        known: String,
    },
    /// The `--data` string is neither a built-in name nor an existing path.
    #[error("no data at {spec:?}: no such file or folder, and not a built-in set ({known}){hint}")]
    NotFound {
        /// What was asked for.
        spec: String,
        /// The built-in names.
        known: String,
        /// Empty, or behind a semicolon what else may be meant, or how to get it.
        hint: String,
    },
    /// The `kind:` before the path is not a known one.
    #[error("unknown kind {kind:?} in data {spec:?} (known kinds: {known})")]
    UnknownKind {
        /// The part before the colon.
        kind: String,
        /// The whole string.
        spec: String,
        /// The known kinds.
        known: String,
    },
    /// The files of a built-in set are not on this machine.
    #[error(
        "cannot find the set {name:?} (looked in {looked}); {get}, or set {variable} to the folder that holds {folder:?}{hint}"
    )]
    BuiltInMissing {
        /// Its name.
        name: &'static str,
        /// Its folder's name.
        folder: &'static str,
        /// Where it was looked for.
        looked: String,
        /// The environment variable that names another place.
        variable: &'static str,
        /// How to get it.
        get: String,
        /// Empty, or how a path of that name is written.
        hint: String,
    },
    /// The data have no such split.
    #[error("{path:?} has no {split} split ({wanted})")]
    NoSplit {
        /// The file or folder.
        path: PathBuf,
        /// `train` or `test`.
        split: &'static str,
        /// What would have counted as one.
        wanted: String,
    },
    /// Several files could be meant.
    #[error("several sets in {path:?} could be meant ({files}); name one of them")]
    Ambiguous {
        /// The folder.
        path: PathBuf,
        /// The candidates' names.
        files: String,
    },
    /// Of no known format.
    #[error("cannot tell what {path:?} is: {why}")]
    Unrecognised {
        /// The file.
        path: PathBuf,
        /// What it looks like, and what to do.
        why: String,
    },
    /// A file or folder could not be read.
    #[error("cannot read {path:?}: {error}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        error: std::io::Error,
    },
    /// A file would be overwritten.
    #[error("{path:?} exists already: choose another name, or delete it first")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// An idx file is not what its header says, or not an idx file.
    #[error("bad idx file {path:?}: {problem}")]
    Idx {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: IdxProblem,
    },
    /// A file is not what its format says, or not of that format.
    #[error("bad {format} {path:?}: {problem}")]
    Bad {
        /// What it is read as.
        format: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Images and labels are not equally many.
    #[error(
        "{images} images in {images_path:?} but {labels} labels in {labels_path:?}: the two files do not belong together"
    )]
    LabelCount {
        /// The images file.
        images_path: PathBuf,
        /// Its number of images.
        images: usize,
        /// The labels file.
        labels_path: PathBuf,
        /// Its number of labels.
        labels: usize,
    },
    /// A folder holds no image at all.
    #[error(
        "no images in {path:?} ({files} other files found; known formats: png, jpeg, gif, bmp, webp, tiff, pnm, tga, qoi)"
    )]
    NoImages {
        /// The folder.
        path: PathBuf,
        /// How many files it holds that are not images.
        files: usize,
    },
    /// More than a tenth of the images cannot be decoded.
    #[error(
        "{bad} of {total} images in {path:?} cannot be decoded (at most 10 % may be bad), the first being {first}"
    )]
    TooManyBad {
        /// The folder.
        path: PathBuf,
        /// How many cannot be decoded.
        bad: usize,
        /// How many there are.
        total: usize,
        /// The first bad one's name and reason.
        first: String,
    },
    /// An image that was there when the set was open_database cannot be decoded (any more).
    #[error("cannot decode {path:?}: {reason}")]
    Decode {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A file or folder could not be written.
    #[error("cannot write {path:?}: {error}")]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        error: std::io::Error,
    },
    /// Files are to be written into a folder that holds some already.
    #[error("{path:?} is not empty: choose another folder, or empty it")]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// Files are to be written among those that are read.
    #[error("{path:?} is inside {input:?}, which stays as it is: choose another place")]
    Inside {
        /// The folder to be made.
        path: PathBuf,
        /// The folder that is read.
        input: PathBuf,
    },
    /// A folder cannot be divided into splits.
    #[error("cannot divide: {0}")]
    Divide(String),
    /// The preprocessing asked for makes no sense.
    #[error("bad preprocessing: {0}")]
    Preprocess(String),
    /// The set has fewer images than one batch.
    #[error(
        "{name:?} has {images} images, fewer than one batch of {batch}: choose a batch of {images} or fewer, or more images"
    )]
    SmallerThanBatch {
        /// The set.
        name: String,
        /// Its number of images.
        images: usize,
        /// The batch size asked for.
        batch: usize,
    },
    /// A batch of no images was asked for.
    #[error("a batch of 0 images: choose a batch of 1 or more")]
    EmptyBatch,
    /// A saved cursor does not fit the data.
    #[error(
        "the saved position is batch {batch} of an epoch of {batches} batches: the data or the batch size changed since it was saved"
    )]
    Cursor {
        /// The cursor's batch.
        batch: u64,
        /// The number of batches in an epoch.
        batches: u64,
    },
    /// More images than can be numbered.
    #[error("{name:?} has {images} images, more than the {} this program can number", u32::MAX)]
    TooManyImages {
        /// The set.
        name: String,
        /// Its number of images.
        images: usize,
    },
    /// There is not enough memory.
    #[error("not enough memory for {what} ({bytes} bytes)")]
    Memory {
        /// What it was for.
        what: &'static str,
        /// How much was asked for.
        bytes: u64,
    },
    /// The system refused to start a thread.
    #[error("cannot start the threads that decode images: {0}")]
    Threads(String),
    /// [`Loader::next`](crate::Loader::next) was called again after it had failed.
    #[error("the loader has stopped after an earlier error")]
    Stopped,
}

impl DataError {
    pub(crate) fn write(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        |error| Self::Write { path, error }
    }

    pub(crate) fn bad(format: &'static str, path: &Path, problem: String) -> Self {
        Self::Bad { format, path: path.to_owned(), problem }
    }
}

/// What is wrong with an idx file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdxProblem {
    /// A gzipped file that is too long to be unpacked into memory.
    #[error(
        "it unpacks to {bytes} bytes, more than {limit}: gunzip it, since a plain file is read from where it lies"
    )]
    TooLong {
        /// Its elements.
        bytes: u64,
        /// The most there may be.
        limit: u64,
    },
    /// The first four bytes are not an idx magic number.
    #[error(
        "it starts with {0:02x?}, where an idx file of bytes starts with [00, 00, 08, dimensions]"
    )]
    Magic([u8; 4]),
    /// The elements are not unsigned bytes.
    #[error("its elements are of type 0x{0:02x}; only unsigned bytes (0x08) are known")]
    ElementType(u8),
    /// Images where labels are wanted, or the reverse.
    #[error("it has {found} dimensions where {wanted} are wanted ({role})")]
    Dimensions {
        /// The header's number.
        found: u8,
        /// The number wanted.
        wanted: u8,
        /// What the file should hold.
        role: &'static str,
    },
    /// The header says that there are no images, or images without pixels.
    #[error("its header says {0}: there is nothing in it")]
    Empty(String),
    /// An image side over the limit.
    #[error("its header says {height}×{width} pixels; at most {limit} a side are read")]
    TooLarge {
        /// The header's height.
        height: u32,
        /// The header's width.
        width: u32,
        /// The limit.
        limit: u32,
    },
    /// The file ends before what its header promises.
    #[error("truncated: {expected} promised, but it {holds}")]
    Truncated {
        /// What the header promises, or the header itself.
        expected: String,
        /// What there is.
        holds: String,
    },
    /// The file goes on after what its header promises.
    #[error("it goes on after the {0} bytes that its header promises")]
    Trailing(u64),
    /// The gzip stream is damaged.
    #[error("its gzip data are damaged: {0}")]
    Gzip(String),
}

/// An image that could not be decoded and is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedImage {
    /// Its path inside the data set.
    pub name: String,
    /// Why it could not be decoded, in one line.
    pub reason: String,
    /// It is the `ordinal`-th one skipped, counted from 1.
    pub ordinal: usize,
    /// Out of so many images found.
    pub found: usize,
}

impl fmt::Display for SkippedImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, reason, ordinal, found } = self;
        write!(f, "cannot decode {name:?}: {reason} (skipped; {ordinal} of {found})")
    }
}
