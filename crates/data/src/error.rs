//! The errors of this crate, each one line that names the thing and the value.

use std::fmt;
use std::path::{Path, PathBuf};

/// Why data could not be opened, decoded or batched.
///
/// ```
/// use data::{DataError, DataSpec};
///
/// let error = DataSpec::parse("fashon-mnist").unwrap_err();
/// assert!(matches!(error, DataError::NotFound { similar: Some("fashion-mnist"), .. }));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The dataset spec is an empty string.
    #[error("no dataset given")]
    EmptySpec,
    /// The dataset spec is neither the name of a built-in dataset nor an existing path.
    #[error("no data at {spec:?}: no such file or folder, and not a built-in dataset")]
    NotFound {
        /// The spec.
        spec: String,
        /// The built-in name that is most similar to it, if one is.
        similar: Option<&'static str>,
        /// Whether a dataset of this name can be fetched.
        fetchable: bool,
        /// The folder of the dataset of this name, if it was fetched.
        fetched: Option<PathBuf>,
    },
    /// The prefix before the path is not the name of a format.
    #[error("unknown format {prefix:?} in dataset {spec:?}")]
    UnknownFormat {
        /// The part before the colon.
        prefix: String,
        /// The whole spec.
        spec: String,
    },
    /// The files of a built-in dataset are not on this machine.
    #[error("cannot find the dataset {name:?} (searched {})", display_list(.searched))]
    BuiltInMissing {
        /// Its name.
        name: &'static str,
        /// The name of its folder.
        folder: &'static str,
        /// The folders in which it was searched.
        searched: Vec<PathBuf>,
        /// Whether the repository contains it; otherwise it can be fetched.
        bundled: bool,
    },
    /// The data have no such split.
    #[error("{path:?} has no {split} split ({wanted})")]
    NoSplit {
        /// The file or folder.
        path: PathBuf,
        /// `train` or `test`.
        split: &'static str,
        /// The files or folders that would have been the split.
        wanted: String,
    },
    /// A folder holds several datasets.
    #[error("several datasets in {path:?} could be meant ({files})")]
    Ambiguous {
        /// The folder.
        path: PathBuf,
        /// The candidates' names.
        files: String,
    },
    /// A file is a single image where a dataset is wanted.
    #[error("{path:?} is a single image, not a dataset")]
    SingleImage {
        /// The file.
        path: PathBuf,
    },
    /// A file has no known format.
    #[error("{path:?} has no known dataset format")]
    UnknownContents {
        /// The file.
        path: PathBuf,
    },
    /// A file or folder could not be read.
    #[error("cannot read {path:?}: {error}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's error.
        error: std::io::Error,
    },
    /// A file would be overwritten.
    #[error("{path:?} exists already")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// An idx file whose header, length or compressed data are invalid.
    #[error("bad idx file {path:?}: {problem}")]
    Idx {
        /// The file.
        path: PathBuf,
        /// The defect.
        problem: IdxProblem,
    },
    /// A file violates its format.
    #[error("bad {format} {path:?}: {problem}")]
    Malformed {
        /// The format's name.
        format: &'static str,
        /// The file.
        path: PathBuf,
        /// The defect, in one line.
        problem: String,
    },
    /// The numbers of images and labels differ.
    #[error(
        "{images} images in {images_path:?} but {labels} labels in {labels_path:?}: the two files \
         do not belong together"
    )]
    LabelCount {
        /// The file of images.
        images_path: PathBuf,
        /// Its number of images.
        images: usize,
        /// The file of labels.
        labels_path: PathBuf,
        /// Its number of labels.
        labels: usize,
    },
    /// A folder or archive holds no image.
    #[error(
        "no images in {path:?} ({files} other files found; known formats: png, jpeg, gif, bmp, \
         webp, tiff, pnm, tga, qoi)"
    )]
    NoImages {
        /// The folder or archive.
        path: PathBuf,
        /// The number of its files, none of which is an image.
        files: usize,
    },
    /// More than 10 % of the images cannot be decoded.
    #[error(
        "{bad} of {total} images in {path:?} cannot be decoded (at most 10 % may be bad), the \
         first being {first}"
    )]
    TooManyBad {
        /// The file or folder.
        path: PathBuf,
        /// The number of images that cannot be decoded.
        bad: usize,
        /// The number of images.
        total: usize,
        /// The first bad image's name and the reason.
        first: String,
    },
    /// One image cannot be decoded, or no longer.
    #[error("cannot decode {path:?}: {reason}")]
    Decode {
        /// The file.
        path: PathBuf,
        /// The reason, in one line.
        reason: String,
    },
    /// A file or folder could not be written.
    #[error("cannot write {path:?}: {error}")]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's error.
        error: std::io::Error,
    },
    /// The output folder holds files already.
    #[error("{path:?} is not empty")]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// The output folder is inside the folder that is read.
    #[error("{path:?} is inside {input:?}, which stays as it is")]
    OutputInsideInput {
        /// The output folder.
        path: PathBuf,
        /// The input folder.
        input: PathBuf,
    },
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
    FaceOptions {
        /// The smallest box.
        min_size: u32,
        /// The smallest size that the detector can find.
        least: u32,
        /// The lowest score.
        min_score: f64,
        /// The margin.
        margin: f64,
    },
    /// The dataset has fewer images than one batch.
    #[error("{name:?} has {images} images, fewer than one batch of {batch}")]
    SmallerThanBatch {
        /// The dataset.
        name: String,
        /// Its number of images.
        images: usize,
        /// The batch size.
        batch: usize,
    },
    /// The batch size is 0.
    #[error("a batch of 0 images")]
    EmptyBatch,
    /// A saved cursor does not fit the dataset.
    #[error(
        "the saved position is batch {batch} of an epoch of {batches} batches: the data or the \
         batch size changed since it was saved"
    )]
    Cursor {
        /// The cursor's batch.
        batch: u64,
        /// The number of batches in an epoch.
        batches: u64,
    },
    /// The dataset has more images than 32-bit indices.
    #[error("{name:?} has {images} images, more than the {} that can be indexed", u32::MAX)]
    TooManyImages {
        /// The dataset.
        name: String,
        /// Its number of images.
        images: usize,
    },
    /// There is not enough memory.
    #[error("not enough memory for {what} ({bytes} bytes)")]
    Memory {
        /// The purpose of the memory.
        what: &'static str,
        /// The number of bytes requested.
        bytes: u64,
    },
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

    pub(crate) fn malformed(format: &'static str, path: &Path, problem: String) -> Self {
        Self::Malformed { format, path: path.to_owned(), problem }
    }
}

fn display_list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// Why a folder cannot be divided into splits, or images of it selected.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
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
    NotUtf8 {
        /// The name, with replacement characters.
        name: String,
        /// The folder.
        folder: PathBuf,
    },
    /// The folder has no attribute table, where images are to be grouped by a column of it.
    #[error("there is no attributes.csv in {folder:?} that could have a column {column:?}")]
    NoTable {
        /// The folder.
        folder: PathBuf,
        /// The column to group by.
        column: String,
    },
    /// The attribute table has no such column.
    #[error("attributes.csv in {folder:?} has no column {column:?} (it has {known})")]
    NoColumn {
        /// The folder.
        folder: PathBuf,
        /// The column to group by.
        column: String,
        /// The columns of the table.
        known: String,
    },
    /// The attribute table has no row for an image.
    #[error("attributes.csv in {folder:?} has no row for {name:?}")]
    NoRow {
        /// The folder.
        folder: PathBuf,
        /// The image's name.
        name: String,
    },
}

/// Which preprocessing option is out of range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PreprocessProblem {
    /// A side of the target size.
    #[error("images of {height}×{width} pixels: each side must be from 1 to {largest}")]
    Size {
        /// The target height.
        height: u32,
        /// The target width.
        width: u32,
        /// The largest side allowed.
        largest: u32,
    },
    /// The number of channels.
    #[error("{0} channels: choose 1 (gray), 3 (RGB) or 4 (RGBA)")]
    Channels(u8),
    /// A side of the center crop.
    #[error("a crop of {height}×{width} pixels: each side must be from 1 to {largest}")]
    Crop {
        /// The crop's height.
        height: u32,
        /// The crop's width.
        width: u32,
        /// The largest side allowed.
        largest: u32,
    },
    /// The length that the shorter side is resized to.
    #[error(
        "a shorter side of {side} pixels: it must be from {least}, the images' larger side, to \
         {largest}"
    )]
    MinSide {
        /// The length.
        side: u32,
        /// The smallest length allowed: the larger side of the target size.
        least: u32,
        /// The largest length allowed.
        largest: u32,
    },
    /// A length for the shorter side without cropping.
    #[error(
        "a shorter side of {side} pixels without cropping: the center of a larger image is taken \
         only where images are cropped"
    )]
    MinSideWithoutCrop {
        /// The length.
        side: u32,
    },
}

/// The defect of an idx file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdxProblem {
    /// A gzipped file that is too long to be unpacked into memory.
    #[error(
        "it unpacks to {bytes} bytes, more than {limit}: gunzip it, since a plain file is read in \
         place"
    )]
    TooLong {
        /// The number of its elements.
        bytes: u64,
        /// The largest number allowed.
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
    /// The file has images where labels are wanted, or the reverse.
    #[error("it has {found} dimensions where {wanted} are wanted ({role})")]
    Dimensions {
        /// The number of dimensions in the header.
        found: u8,
        /// The number wanted.
        wanted: u8,
        /// What the file should hold.
        role: &'static str,
    },
    /// The header declares no images, or images without pixels.
    #[error("its header says {0}: there is nothing in it")]
    Empty(String),
    /// An image side is over the limit.
    #[error("its header says {height}×{width} pixels; at most {limit} a side are read")]
    TooLarge {
        /// The header's height.
        height: u32,
        /// The header's width.
        width: u32,
        /// The limit.
        limit: u32,
    },
    /// The file ends before the length that its header declares.
    #[error("truncated: {expected} declared, but it {holds}")]
    Truncated {
        /// The declared length, or the header itself.
        expected: String,
        /// The length found.
        holds: String,
    },
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
    /// Its path inside the dataset.
    pub name: String,
    /// The reason, in one line.
    pub reason: String,
    /// Its position among the skipped images, counted from 1.
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
