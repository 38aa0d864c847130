//! The errors of this crate, each one line that names the thing and the value.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::foreign::ForeignFormat;
use crate::layout_report::{LayoutNote, listed};

/// Why data could not be opened, decoded or batched.
///
/// ```
/// use data::{DataError, DataSpec};
///
/// let error = DataSpec::parse("fashon-mnist").unwrap_err();
/// assert!(matches!(error, DataError::NotFound { spec, .. } if spec == "fashon-mnist"));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the messages show what the fields are")]
pub enum DataError {
    /// The dataset spec is an empty string.
    #[error("no dataset given")]
    EmptySpec,
    /// The dataset spec is neither the name of a built-in dataset nor an existing path.
    /// `fetched` is where a dataset of this name was fetched to.
    #[error("no data at {spec:?}: no such file or folder, and not a built-in dataset")]
    NotFound { spec: String, fetchable: bool, fetched: Option<PathBuf> },
    /// The prefix before the path is not the name of a format.
    #[error("unknown format {prefix:?} in dataset {spec:?}")]
    UnknownFormat { prefix: String, spec: String },
    /// The files of a built-in dataset are not on this machine. The repository holds them if
    /// `bundled`; otherwise they can be fetched.
    #[error("cannot find the dataset {name:?} (searched {})", display_list(.searched))]
    BuiltInMissing {
        name: &'static str,
        folder: &'static str,
        searched: Vec<PathBuf>,
        bundled: bool,
    },
    /// The data have no such split.
    #[error("{path:?} has no {split} split ({wanted})")]
    NoSplit { path: PathBuf, split: &'static str, wanted: String },
    /// All images are in a folder, or in archives such as this one, that are named as a held-out
    /// split.
    #[error("all images of {path:?} are in {folder:?}, its held-out split")]
    HeldOutOnly { path: PathBuf, folder: String },
    /// A folder holds several datasets.
    #[error("several datasets in {path:?} could be meant ({files})")]
    Ambiguous { path: PathBuf, files: String },
    /// A file is a single image where a dataset is wanted.
    #[error("{path:?} is a single image, not a dataset")]
    SingleImage { path: PathBuf },
    /// A file has a known format that is not read.
    #[error("{path:?} is {format}, which is not read")]
    Foreign { path: PathBuf, format: ForeignFormat },
    /// The dataset spec is an address.
    #[error("{spec:?} is an address, and data are read from files alone")]
    Url { spec: String },
    /// A file has no known format.
    #[error("{path:?} has no known dataset format")]
    UnknownContents { path: PathBuf },
    /// A file or folder could not be read.
    #[error("cannot read {path:?}: {error}")]
    Io { path: PathBuf, error: std::io::Error },
    /// A file would be overwritten.
    #[error("{path:?} exists already")]
    Exists { path: PathBuf },
    /// An idx file whose header, length or compressed data are invalid.
    #[error("bad idx file {path:?}: {problem}")]
    Idx { path: PathBuf, problem: IdxProblem },
    /// A file violates its format.
    #[error("bad {format} {path:?}: {problem}")]
    Malformed { format: &'static str, path: PathBuf, problem: FileProblem },
    /// The numbers of images and labels differ.
    #[error(
        "{images} images in {images_path:?} but {labels} labels in {labels_path:?}: the two files \
         do not belong together"
    )]
    LabelCount { images_path: PathBuf, images: usize, labels_path: PathBuf, labels: usize },
    /// A folder or archive holds no image.
    #[error(
        "no images in {path:?} ({files} other files found; known formats: png, jpeg, gif, bmp, \
         webp, tiff, pnm, tga, qoi){}",
        display_notes(.notes)
    )]
    NoImages { path: PathBuf, files: usize, notes: Vec<LayoutNote> },
    /// More than 10 % of the images cannot be decoded.
    #[error(
        "{bad} of {total} images in {path:?} cannot be decoded (at most 10 % may be bad), the \
         first being {first}"
    )]
    TooManyBad { path: PathBuf, bad: usize, total: usize, first: String },
    /// One image cannot be decoded, or no longer.
    #[error("cannot decode {path:?}: {reason}")]
    Decode { path: PathBuf, reason: String },
    /// A file or folder could not be written.
    #[error("cannot write {path:?}: {error}")]
    Write { path: PathBuf, error: std::io::Error },
    /// The output folder holds files already.
    #[error("{path:?} is not empty")]
    NotEmpty { path: PathBuf },
    /// The output folder is inside the folder that is read.
    #[error("{path:?} is inside {input:?}, which stays as it is")]
    OutputInsideInput { path: PathBuf, input: PathBuf },
    /// A folder cannot be divided into splits, or images of it selected.
    #[error("cannot divide: {0}")]
    Split(#[from] SplitProblem),
    /// A preprocessing option is out of range.
    #[error("bad preprocessing: {0}")]
    Preprocess(#[from] PreprocessProblem),
    /// An option of face extraction is out of range.
    #[error(
        "bad face options: a size of {min_size} pixels, a score of {min_score}, a margin of \
         {margin} (the size must be at least {least}, the score above 0, the margin from 0 to 10)"
    )]
    FaceOptions { min_size: u32, least: u32, min_score: f64, margin: f64 },
    /// The dataset has fewer images than one batch.
    #[error("{name:?} has {images} images, fewer than one batch of {batch}")]
    SmallerThanBatch { name: String, images: usize, batch: usize },
    /// The batch size is 0.
    #[error("a batch of 0 images")]
    EmptyBatch,
    /// A saved cursor does not fit the dataset.
    #[error(
        "the saved position is batch {batch} of an epoch of {batches} batches: the data or the \
         batch size changed since it was saved"
    )]
    Cursor { batch: u64, batches: u64 },
    /// The dataset has more images than 32-bit indices.
    #[error("{name:?} has {images} images, more than the {} that can be indexed", u32::MAX)]
    TooManyImages { name: String, images: usize },
    /// Ranks of a process group cannot open the dataset, or have other images than rank 0.
    #[error("the ranks have no common dataset {spec:?}: {}", display_failures(.failures))]
    Ranks { spec: String, failures: Vec<RankFailure> },
    /// There is not enough memory.
    #[error("not enough memory for {what} ({bytes} bytes)")]
    Memory { what: String, bytes: u64 },
    /// The operating system refused to start a thread.
    #[error("cannot start the threads that decode images: {0}")]
    Threads(String),
    /// [`Loader::next`](crate::Loader::next) was called again after an error.
    #[error("the loader has stopped after an earlier error")]
    Stopped,
}

impl DataError {
    pub(crate) fn write(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        |error| Self::Write { path, error }
    }

    pub(crate) fn malformed(
        format: &'static str,
        path: &Path,
        problem: impl Into<FileProblem>,
    ) -> Self {
        Self::Malformed { format, path: path.to_owned(), problem: problem.into() }
    }
}

fn display_notes(notes: &[LayoutNote]) -> String {
    notes.iter().map(|note| format!("; {note}")).collect()
}

fn display_list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// Why one image cannot be loaded.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ImageError {
    /// It is bad, for this reason in one line. Other images are unaffected.
    Bad(String),
    /// There is no memory for its pixels (width and height). It must not be left out, since with
    /// more memory it would be part of the dataset.
    Memory { size: [u64; 2], bytes: u64 },
}

impl ImageError {
    /// The reason for which the image called `name` is bad.
    ///
    /// # Errors
    /// Returns [`DataError::Memory`] if it may be good.
    pub fn reason(self, name: &str) -> Result<String, DataError> {
        match self {
            Self::Bad(reason) => Ok(reason),
            Self::Memory { size: [width, height], bytes } => {
                let what = format!("the {width}×{height} pixels of {name:?}");
                Err(DataError::Memory { what, bytes })
            }
        }
    }

    /// The error of a call for this image alone.
    pub fn of_file(self, path: &Path) -> DataError {
        match self.reason(&path.to_string_lossy()) {
            Ok(reason) => DataError::Decode { path: path.to_owned(), reason },
            Err(error) => error,
        }
    }
}

impl From<String> for ImageError {
    fn from(reason: String) -> Self {
        Self::Bad(reason)
    }
}

/// A rank of a process group that cannot read the dataset of the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RankFailure {
    /// The rank.
    pub rank: usize,
    /// What went wrong there.
    pub problem: RankProblem,
}

/// Why a rank cannot read the dataset of the others.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the messages show what the fields are")]
pub enum RankProblem {
    /// It failed with an error that has this message.
    #[error("{0}")]
    Failed(String),
    /// It was called with another preprocessing, or another limit of memory, than rank 0.
    #[error("other preprocessing or another limit of memory than on rank 0")]
    Settings,
    /// It has another number of images than rank 0.
    #[error(
        "{images} images where rank 0 has {of_root}{}",
        first_skipped.as_ref().map_or_else(String::new, |skipped| format!(" ({skipped})"))
    )]
    Images { images: usize, of_root: usize, first_skipped: Option<String> },
    /// It has as many images as rank 0, but other contents, labels or attributes.
    #[error("other images, labels or attributes than on rank 0 (its fingerprint differs)")]
    Contents,
    /// It cannot read an image that rank 0 can.
    #[error("cannot decode {name:?}, which rank 0 can: {reason}")]
    Image { name: String, reason: String },
}

/// Each problem once, after the ranks that have it.
fn display_failures(failures: &[RankFailure]) -> String {
    let mut problems: Vec<(&RankProblem, Vec<String>)> = Vec::new();
    for RankFailure { rank, problem } in failures {
        match problems.iter_mut().find(|(known, _)| *known == problem) {
            Some((_, ranks)) => ranks.push(rank.to_string()),
            None => problems.push((problem, vec![rank.to_string()])),
        }
    }
    let one = |(problem, ranks): (&RankProblem, Vec<String>)| {
        let ranks_are = if ranks.len() == 1 { "rank" } else { "ranks" };
        let ranks = listed(ranks.iter().map(String::as_str));
        format!("{ranks_are} {ranks}: {problem}")
    };
    problems.into_iter().map(one).collect::<Vec<_>>().join("; ")
}

/// Why a folder cannot be divided into splits, or images of it selected.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the messages show what the fields are")]
pub enum SplitProblem {
    /// The held-out fraction is not between 0 and 1.
    #[error("a share of {0}: it must be more than 0 and less than 1")]
    Fraction(f64),
    /// The dataset is not a folder of image files.
    #[error("{0:?} is not a folder of images")]
    NotAFolder(PathBuf),
    /// The folder has a training and a held-out split already.
    #[error("{0:?} has folders of both splits already")]
    AlreadySplit(PathBuf),
    /// The name of a file is not UTF-8.
    #[error("the name of {name:?} in {folder:?} is not UTF-8: rename it")]
    NotUtf8 { name: String, folder: PathBuf },
    /// The folder has no attribute table, where images are to be grouped by a column of it.
    #[error("there is no attributes.csv in {folder:?} that could have a column {column:?}")]
    NoTable { folder: PathBuf, column: String },
    /// The attribute table has no such column.
    #[error("attributes.csv in {folder:?} has no column {column:?} (it has {known})")]
    NoColumn { folder: PathBuf, column: String, known: String },
    /// The attribute table has no row for an image.
    #[error("attributes.csv in {folder:?} has no row for {name:?}")]
    NoRow { folder: PathBuf, name: String },
}

/// Which preprocessing option is out of range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the messages show what the fields are")]
pub enum PreprocessProblem {
    /// A side of the target size.
    #[error("images of {height}×{width} pixels: each side must be from 1 to {largest}")]
    Size { height: u32, width: u32, largest: u32 },
    /// The number of channels.
    #[error("{0} channels: choose 1 (gray), 3 (RGB) or 4 (RGBA)")]
    Channels(u8),
    /// A side of the center crop.
    #[error("a crop of {height}×{width} pixels: each side must be from 1 to {largest}")]
    Crop { height: u32, width: u32, largest: u32 },
    /// The length that the shorter side is resized to.
    #[error(
        "a shorter side of {side} pixels: it must be from {least}, the images' larger side, to \
         {largest}"
    )]
    MinSide { side: u32, least: u32, largest: u32 },
    /// A length for the shorter side without cropping.
    #[error(
        "a shorter side of {side} pixels without cropping: the center of a larger image is taken \
         only where images are cropped"
    )]
    MinSideWithoutCrop { side: u32 },
}

/// How a file violates its format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FileProblem {
    /// The file ends before the length that it declares, or before its end mark.
    #[error("truncated: {0}")]
    Truncated(String),
    /// A checksum is wrong, or values contradict each other.
    #[error("damaged: {0}")]
    Damaged(String),
    /// The file is of another version or kind than those that are read.
    #[error("{0}")]
    Unsupported(String),
    /// Something that the format requires is not there: an array, a column, a folder.
    #[error("it has no {0}")]
    Missing(String),
    /// A text or a name is not UTF-8.
    #[error("{0} is not UTF-8")]
    NotUtf8(String),
    /// Two things have one name.
    #[error("two of its {what} are called {name:?}")]
    Twice {
        /// `files`, `folders`, `images`, `rows` or `columns`.
        what: &'static str,
        /// Their name.
        name: String,
    },
    /// A label is out of its range.
    #[error("label {label} of image {image} is out of range ({low} to {high})")]
    LabelRange {
        /// The label, as the file has it.
        label: String,
        /// The index of its image.
        image: usize,
        /// The least label.
        low: u8,
        /// The largest label.
        high: u8,
    },
    /// Labels are not labels, or contradict each other.
    #[error("{0}")]
    Labels(String),
    /// A list of class names has not as many as there are classes.
    #[error("it names {found} classes where there are {wanted}")]
    ClassCount {
        /// Names in the list.
        found: usize,
        /// Classes.
        wanted: usize,
    },
    /// A table has no row for an image.
    #[error("it has no row for {name:?}{}", others(*more))]
    NoRow {
        /// The first such image.
        name: String,
        /// The number of other images without a row.
        more: usize,
    },
    /// A table has a row for which there is no image.
    #[error("there is no image for its row {name:?}{}", others(*more))]
    NoImage {
        /// The first such row.
        name: String,
        /// The number of other rows without an image.
        more: usize,
    },
    /// A line of a text cannot be understood.
    #[error("line {line}: {problem}")]
    Line {
        /// The line's number, from 1.
        line: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// An archive holds something that is not read, as it may be meant to do harm.
    #[error("{name:?} in it {problem}")]
    Entry {
        /// The entry's name in the archive.
        name: String,
        /// Why it is refused.
        problem: EntryProblem,
    },
    /// An array has elements of another type than those that are read.
    #[error("its array {array:?} is of {found}, where {wanted} are wanted")]
    ElementType {
        /// The name of the array.
        array: String,
        /// The type, as NumPy names it.
        found: String,
        /// The types that are read.
        wanted: &'static str,
    },
    /// An array is stored column by column.
    #[error("its array {array:?} is stored column by column (in Fortran order)")]
    ColumnOrder {
        /// The name of the array.
        array: String,
    },
    /// The file would unpack to more than is read.
    #[error("{0}")]
    TooLarge(String),
    /// It was begun from other images, or for another shape, than are to be written now.
    #[error("it was begun from other images or for another shape")]
    Unfinished,
    /// Another process is writing the file.
    #[error("another process is writing it")]
    Locked,
    /// Another defect, such as one that a library describes.
    #[error("{0}")]
    Other(String),
}

impl From<String> for FileProblem {
    fn from(problem: String) -> Self {
        Self::Other(problem)
    }
}

/// Why an archive with such an entry is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EntryProblem {
    /// Its path has a component `..`.
    #[error("has a path that leads out of it")]
    LeadsOut,
    /// Its path begins at a root or drive.
    #[error("has an absolute path")]
    Absolute,
    /// Its name has a zero byte.
    #[error("has a zero byte in its name")]
    ZeroByte,
    /// It is a symbolic or hard link.
    #[error("is a link")]
    Link,
    /// It is a device, a pipe or the like.
    #[error("is neither a file nor a folder (type {0:?})")]
    Special(char),
}

/// The count of further names, for a message that has the first.
fn others(count: usize) -> String {
    if count > 0 { format!(" (nor for {count} more)") } else { String::new() }
}

/// The defect of an idx file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the messages show what the fields are")]
pub enum IdxProblem {
    /// A gzipped file that is too long to be unpacked into memory.
    #[error(
        "it unpacks to {bytes} bytes, more than {limit}: gunzip it, since a plain file is read in \
         place"
    )]
    TooLong { bytes: u64, limit: u64 },
    /// The first four bytes are not an idx magic number.
    #[error(
        "it starts with {0:02x?}, where an idx file of bytes starts with [00, 00, 08, dimensions]"
    )]
    Magic([u8; 4]),
    /// The elements are not unsigned bytes.
    #[error("its elements are of type 0x{0:02x}; only unsigned bytes (0x08) are known")]
    ElementType(u8),
    /// The file has images where labels are wanted, or the reverse.
    #[error("it has {found} dimensions where {wanted} are wanted ({role})")]
    Dimensions { found: u8, wanted: u8, role: &'static str },
    /// The header declares no images, or images without pixels.
    #[error("its header declares {0}: it holds no images")]
    Empty(String),
    /// An image side is over the limit.
    #[error("its header declares {height}×{width} pixels; at most {limit} a side are read")]
    TooLarge { height: u32, width: u32, limit: u32 },
    /// The file ends before the length that its header declares.
    #[error("truncated: {expected} declared, but it {holds}")]
    Truncated { expected: String, holds: String },
    /// The file continues after the length that its header declares.
    #[error("it continues after the {0} bytes that its header declares")]
    Trailing(u64),
    /// The gzip stream is damaged.
    #[error("its gzip data are damaged: {0}")]
    Gzip(String),
}

/// An image that could not be decoded and is left out of the dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedImage {
    /// The image's path inside the dataset.
    pub name: String,
    /// The reason, in one line.
    pub reason: String,
    /// The image's position among the skipped ones, counted from 1.
    pub ordinal: usize,
    /// The number of images in the dataset, good and bad.
    pub found: usize,
}

impl fmt::Display for SkippedImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, reason, ordinal, found } = self;
        write!(f, "cannot decode {name:?}: {reason} (skipped; {ordinal} of {found})")
    }
}
