//! The dataset formats, one file each, and the registry that lists them.
//!
//! A new format is a file here with a `static FORMAT: Format` (name, description, detection,
//! opening, image shape), one line in [`FORMATS`] with its `mod`, and a fixture with a test.
//! Prefixes (`idx:PATH`), detection and the program's help are computed from the registry.

mod array_source;
pub(crate) mod celeba;
pub(crate) mod cifar;
mod cifar_python;
mod compression;
mod file_kind;
pub(crate) mod file_store;
mod folder;
pub(crate) mod idx;
mod idx_files;
mod image_files;
mod labels;
mod layout;
mod lmdb;
mod lsun;
mod mat;
pub(crate) mod metadata;
mod numpy;
pub(crate) mod packed;
#[cfg(feature = "parquet")]
pub(crate) mod parquet;
mod planar;
pub(crate) mod split_name;
pub(crate) mod stl10;
pub(crate) mod svhn;
pub(crate) mod table;
pub(crate) mod tar;
pub(crate) mod zip;

pub(crate) use folder::{FORMAT as FOLDER, of_listing};

use std::ffi::OsStr;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use self::compression::Compression;
use crate::decode;
use crate::error::{DataError, FileProblem};
use crate::foreign::ForeignFormat;
use crate::source::{Source, Split};

/// All formats. Where several detect a path with the same confidence, the first one wins.
pub(crate) static FORMATS: &[&Format] = &[
    &celeba::FORMAT,
    &lsun::FORMAT,
    &svhn::FORMAT,
    &stl10::FORMAT,
    &cifar::FORMAT10,
    &cifar::FORMAT100,
    &idx::FORMAT,
    &packed::FORMAT,
    &numpy::NPY,
    &numpy::NPZ,
    #[cfg(feature = "parquet")]
    &parquet::FORMAT,
    &zip::FORMAT,
    &tar::FORMAT,
    &folder::FORMAT,
];

type OpenSplit = fn(&Path, Split, Option<&[&str]>) -> Result<Box<dyn Source>, DataError>;
type ReadShape = fn(&Path, Split) -> Result<Option<[u32; 3]>, DataError>;

/// A dataset format.
pub(crate) struct Format {
    /// The prefix that forces it, as in `idx:PATH`.
    pub name: &'static str,
    /// One line: what a path of this format is.
    pub about: &'static str,
    /// Whether the file or folder has this format, detected by its contents, and by file names
    /// where the contents have no signature.
    pub detect: fn(&DetectionInput<'_>) -> Result<Option<Confidence>, DataError>,
    /// Opens one split. The names of the classes come from the built-in dataset that is opened, for
    /// formats whose files do not contain them.
    pub open: OpenSplit,
    /// `[H, W, C]`, if all images have the same shape and it is known without decoding.
    pub image_shape: ReadShape,
}

impl fmt::Debug for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Format {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Format {}

/// How sure the detection of a format is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Confidence {
    /// Nothing contradicts it: lengths fit, or the path is a folder.
    Possible,
    /// A signature or the usual file name of the format.
    Likely,
    /// File names or a signature that no other format has.
    Certain,
}

impl Confidence {
    /// `Some(self)` if the condition holds.
    pub fn when(self, condition: bool) -> Option<Self> {
        condition.then_some(self)
    }
}

/// A path whose format is to be detected.
pub(crate) struct DetectionInput<'a> {
    pub path: &'a Path,
    /// The first bytes of a file, at most 1024; `None` for a folder.
    pub start: Option<Vec<u8>>,
}

impl<'a> DetectionInput<'a> {
    fn new(path: &'a Path) -> Result<Self, DataError> {
        let start = if path.is_dir() { None } else { Some(read_start(path)?) };
        Ok(Self { path, start })
    }

    /// The path, if it is a folder.
    pub fn folder(&self) -> Option<&'a Path> {
        self.start.is_none().then_some(self.path)
    }
}

/// The format with this name.
pub(crate) fn find(name: &str) -> Option<&'static Format> {
    FORMATS.iter().copied().find(|format| format.name == name)
}

/// Detects the format of the file or folder at `path`, or finds the one dataset in a folder that
/// has no images of its own. Returns the format and the path of the dataset.
pub(crate) fn detect(path: &Path) -> Result<(&'static Format, PathBuf), DataError> {
    let candidate = DetectionInput::new(path)?;
    let refuse_foreign = |start: &[u8], path: &Path| match ForeignFormat::of(start, path) {
        Some(format) => Err(DataError::Foreign { path: path.to_owned(), format }),
        None => Ok(()),
    };
    let best = best_format(&candidate)?;
    // CIFAR's Python version is a pickle, and a file's first pixels may look like any signature.
    let is_certain = best.as_ref().is_some_and(|(found, _)| *found == Confidence::Certain);
    if let Some(start) = candidate.start.as_ref().filter(|_| !is_certain) {
        refuse_foreign(start, path)?;
    }
    match (best, candidate.start) {
        (Some((_, format)), _) if *format != FOLDER => Ok((format, path.to_owned())),
        (Some((_, format)), _) => match datasets_inside(path, MAX_DEPTH).as_slice() {
            [] => Ok((format, path.to_owned())),
            [(confidence, format, inside)] => {
                if inside.is_file() && *confidence < Confidence::Certain {
                    refuse_foreign(&read_start(inside)?, inside)?;
                }
                Ok((format, inside.clone()))
            }
            several => {
                let name = |(.., found): &(_, _, PathBuf)| {
                    let name: &Path = found.strip_prefix(path).unwrap_or(found);
                    name.display().to_string()
                };
                let files = several.iter().map(name).collect::<Vec<_>>().join(", ");
                Err(DataError::Ambiguous { path: path.to_owned(), files })
            }
        },
        (None, Some(start)) if decode::is_image_start(&start) => {
            Err(DataError::SingleImage { path: path.to_owned() })
        }
        (None, Some(start)) if Compression::of(&start).is_some() => {
            Err(DataError::Foreign { path: path.to_owned(), format: ForeignFormat::CompressedFile })
        }
        (None, Some(_)) if has_extension(path, TEXT_EXTENSIONS) => {
            Err(DataError::Foreign { path: path.to_owned(), format: ForeignFormat::Text })
        }
        (None, _) => Err(DataError::UnknownContents { path: path.to_owned() }),
    }
}

/// The format that is the most confident.
fn best_format(
    candidate: &DetectionInput<'_>,
) -> Result<Option<(Confidence, &'static Format)>, DataError> {
    let mut best: Option<(Confidence, &'static Format)> = None;
    for format in FORMATS {
        let found = (format.detect)(candidate)?;
        if found == Some(Confidence::Certain) {
            return Ok(Some((Confidence::Certain, format)));
        }
        if found > best.map(|(confidence, _)| confidence) {
            best = found.map(|confidence| (confidence, *format));
        }
    }
    Ok(best)
}

/// The extensions of archives, and of compressed ones.
const ARCHIVE_EXTENSIONS: &[&str] = &[
    "zip", "npz", "parquet", "tar", "tgz", "gz", "tbz", "tbz2", "bz2", "txz", "xz", "tzst", "zst",
];

/// The extensions of texts that name images or their contents.
const TEXT_EXTENSIONS: &[&str] =
    &["csv", "tsv", "txt", "json", "jsonl", "xml", "yaml", "yml", "md", "py", "ipynb"];

/// How many folders deep a dataset is looked for in a folder without images: torchvision puts MNIST
/// into `MNIST/raw`.
const MAX_DEPTH: usize = 3;

/// The datasets in a folder that has no images of its own: archives, packed files, and folders of
/// other formats than this one.
fn datasets_inside(folder: &Path, depth: usize) -> Vec<(Confidence, &'static Format, PathBuf)> {
    // What cannot be read is reported when the folder is opened.
    let Ok(entries) = folder.read_dir() else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    let is_hidden = |name: &OsStr| file_store::is_hidden(name.as_encoded_bytes());
    paths.retain(|path| !path.file_name().is_some_and(is_hidden));
    paths.sort();
    let folders = paths.iter().filter(|path| path.is_dir()).count();
    let is_only_folder =
        folders == 1 && !paths.iter().any(|path| decode::has_image_extension(path));
    if depth == 0 || !is_only_folder && holds_image(folder) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for path in paths {
        let best = DetectionInput::new(&path).and_then(|candidate| best_format(&candidate));
        let is_dir = path.is_dir();
        let is_archive = || has_extension(&path, ARCHIVE_EXTENSIONS);
        match best {
            Ok(Some((confidence, format)))
                if confidence > Confidence::Possible
                    && *format != FOLDER
                    && (is_dir || *format == packed::FORMAT || is_archive()) =>
            {
                found.push((confidence, format, path));
            }
            _ if is_dir => found.extend(datasets_inside(&path, depth - 1)),
            _ => {}
        }
    }
    found
}

/// Whether a file below a folder has the name of an image.
fn holds_image(folder: &Path) -> bool {
    WalkDir::new(folder)
        .follow_links(true)
        .into_iter()
        .filter_entry(|entry| {
            entry.depth() == 0 || !file_store::is_hidden(entry.file_name().as_encoded_bytes())
        })
        .flatten()
        .any(|entry| entry.file_type().is_file() && decode::has_image_extension(entry.path()))
}

/// The name and the one-line description of each format, in the order of their names.
///
/// ```
/// let names: Vec<_> = data::formats().map(|(name, _)| name).collect();
/// assert!(names.contains(&"idx") && names.is_sorted());
/// ```
pub fn formats() -> impl Iterator<Item = (&'static str, &'static str)> {
    let mut formats: Vec<_> = FORMATS.iter().map(|format| (format.name, format.about)).collect();
    formats.sort_unstable();
    formats.into_iter()
}

/// Deflate cannot compress more than this many bytes into one (a 258-byte match in 2 bits).
const MAX_DEFLATE_RATIO: u64 = 1032;

/// A gzipped file is unpacked into memory up to this size.
const MAX_UNPACKED_BYTES: u64 = 2 << 30;

/// A label above this is a mistake; ImageNet's largest edition has a third as many classes.
const MAX_CLASSES: u64 = 65_536;

/// The `image_shape` of formats whose images have any size.
fn any_shape(_path: &Path, _split: Split) -> Result<Option<[u32; 3]>, DataError> {
    Ok(None)
}

fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    path.extension()
        .is_some_and(|found| extensions.iter().any(|wanted| found.eq_ignore_ascii_case(wanted)))
}

fn is_gzip(start: &[u8]) -> bool {
    start.starts_with(&[0x1F, 0x8B])
}

/// The first bytes of a file, at most 1024: enough for gzip to yield its first few bytes.
fn read_start(path: &Path) -> Result<Vec<u8>, DataError> {
    let mut start = Vec::new();
    let file = file_io::open(path).map_err(|error| io(path, error))?;
    file.take(1024).read_to_end(&mut start).map_err(|error| io(path, error))?;
    Ok(start)
}

/// Refuses a largest label that must be a mistake.
fn check_labels(largest: u64) -> Result<(), FileProblem> {
    if largest < MAX_CLASSES {
        return Ok(());
    }
    let problem =
        format!("label {largest} is out of range: at most {MAX_CLASSES} classes are read");
    Err(FileProblem::Labels(problem))
}

/// The first of `names` that is a file in `folder`.
fn first_file(folder: &Path, names: &[&str]) -> Option<PathBuf> {
    names.iter().map(|name| folder.join(name)).find(|path| path.is_file())
}

fn no_split(path: &Path, split: Split, wanted: impl Into<String>) -> DataError {
    DataError::NoSplit { path: path.to_owned(), split: split.name(), wanted: wanted.into() }
}

fn io(path: &Path, error: std::io::Error) -> DataError {
    DataError::Io { path: PathBuf::from(path), error }
}
