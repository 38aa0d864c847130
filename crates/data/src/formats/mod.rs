//! The formats, one file each, behind [`Source`]; a new one adds its file, a [`Kind`], and an arm in [`detect_folder`] or [`detect_file`],
//! [`open`] and [`image_shape`].

pub(crate) mod archive;
mod celeba;
mod cifar;
mod classes;
mod folder;
mod idx;
mod idx_files;
mod lmdb;
mod lsun;
mod mat;
mod planar;
mod stl10;
mod svhn;
pub(crate) mod table;
pub(crate) mod tar;
mod webdataset;
pub(crate) mod zip;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::attributes::{self, Attribute, Attributes};
use crate::decode::{self, DecodedImage};
use crate::error::DataError;
use crate::packed::{self, PackedSource};
use crate::preprocess::Preprocess;
use crate::spec::{DataLocation, DataSpec, Kind, Split};

/// SHA-256 of what an image is made from.
pub(crate) type Digest = [u8; 32];

/// Deflate cannot pack more than this many bytes into one (a 258-byte match in 2 bits).
const MAX_DEFLATE_RATIO: u64 = 1032;

/// More classes than these are a mistake in a label; ImageNet's largest edition has a third of them.
const MAX_CLASSES: u64 = 65_536;

/// Pictures of any size, by number. An `Err(String)` is one picture's trouble, in one line; the others go on.
pub(crate) trait Source: Send + Sync {
    /// How many pictures there are, good and bad.
    fn len(&self) -> usize;

    /// Where they come from, for messages.
    fn path(&self) -> &Path;

    /// The picture's name inside the set.
    fn name(&self, index: usize) -> String;

    /// The picture, decoded.
    fn load(&self, index: usize) -> Result<DecodedImage<'_>, String>;

    /// The picture with the digest of its encoded form (the same on every machine, which decoders need not be).
    fn load_with_digest(&self, index: usize) -> Result<(DecodedImage<'_>, Digest), String>;

    /// The digest, after the cheapest check that the picture can probably be decoded.
    fn check(&self, index: usize) -> Result<Digest, String>;

    /// The picture's class; `Some` for all or for none.
    fn label(&self, index: usize) -> Option<u32>;

    /// The classes' names, as many as there are classes; empty without labels.
    fn class_names(&self) -> &[String];

    /// What else is known of the pictures.
    fn columns(&self) -> &[Attribute] {
        &[]
    }

    /// A picture's value in each of the columns.
    fn attributes_of(&self, _index: usize) -> Vec<f32> {
        Vec::new()
    }

    /// What is left of `preprocess` to be done to what `load` returns.
    fn pending_preprocess(&self, preprocess: &Preprocess) -> Preprocess {
        preprocess.clone()
    }

    /// The set's fingerprint, where it is known without reading a picture; then all of them are taken to be good.
    fn fingerprint(&self, _preprocess: &Preprocess) -> Option<String> {
        None
    }

    /// The picture will be loaded soon: a hint to whatever can read ahead.
    fn prefetch_record(&self, _index: usize) {}

    /// Reads what the picture is made of and drops it, so that the system has it in memory when it is loaded.
    fn read_ahead(&self, _index: usize) {}

    /// Called once all pictures are kept elsewhere: frees what only `load` needs.
    fn drop_cache(&mut self) {}
}

/// A source of image files: all that differs is where their bytes are.
pub(crate) trait EncodedStore: Send + Sync {
    fn len(&self) -> usize;
    fn path(&self) -> &Path;
    fn name(&self, index: usize) -> String;

    /// The image file's content, at most [`MAX_DECODED_BYTES`](decode::MAX_DECODED_BYTES).
    fn read(&self, index: usize) -> Result<Vec<u8>, String>;

    fn label(&self, _index: usize) -> Option<u32> {
        None
    }

    fn class_names(&self) -> &[String] {
        &[]
    }

    fn attributes(&self) -> &Attributes {
        &attributes::NONE
    }

    fn drop_cache(&mut self) {}
}

impl<T: EncodedStore> Source for T {
    fn len(&self) -> usize {
        EncodedStore::len(self)
    }

    fn path(&self) -> &Path {
        EncodedStore::path(self)
    }

    fn name(&self, index: usize) -> String {
        EncodedStore::name(self, index)
    }

    fn load(&self, index: usize) -> Result<DecodedImage<'_>, String> {
        decode::decode(&self.read(index)?, Path::new(&EncodedStore::name(self, index)))
    }

    fn load_with_digest(&self, index: usize) -> Result<(DecodedImage<'_>, Digest), String> {
        let bytes = self.read(index)?;
        Ok((
            decode::decode(&bytes, Path::new(&EncodedStore::name(self, index)))?,
            Sha256::digest(&bytes).into(),
        ))
    }

    fn check(&self, index: usize) -> Result<Digest, String> {
        let bytes = self.read(index)?;
        decode::check_header(&bytes, Path::new(&EncodedStore::name(self, index)))?;
        Ok(Sha256::digest(&bytes).into())
    }

    fn read_ahead(&self, index: usize) {
        // What cannot be read is reported when it is loaded.
        let _ = self.read(index);
    }

    fn label(&self, index: usize) -> Option<u32> {
        EncodedStore::label(self, index)
    }

    fn class_names(&self) -> &[String] {
        EncodedStore::class_names(self)
    }

    fn columns(&self) -> &[Attribute] {
        &self.attributes().columns
    }

    fn attributes_of(&self, index: usize) -> Vec<f32> {
        self.attributes().of(index).to_vec()
    }

    fn drop_cache(&mut self) {
        EncodedStore::drop_cache(self);
    }
}

/// Opens what a spec names.
pub(crate) fn open(spec: &DataSpec, split: Split) -> Result<Box<dyn Source>, DataError> {
    let (kind, path) = kind_and_path(spec)?;
    let classes = match spec.target() {
        DataLocation::BuiltIn(set) => Some(set.classes).filter(|classes| !classes.is_empty()),
        DataLocation::Path { .. } => None,
    };
    Ok(match kind {
        Kind::Idx => Box::new(idx::IdxSource::open(&idx_files_at(&path, split)?, classes)?),
        Kind::Cifar10 => Box::new(cifar::open(&cifar::CIFAR10, &path, split)?),
        Kind::Cifar100 => Box::new(cifar::open(&cifar::CIFAR100, &path, split)?),
        Kind::Svhn => Box::new(svhn::open(&path, split)?),
        Kind::Stl10 => Box::new(stl10::open(&path, split)?),
        Kind::Lsun => Box::new(lsun::LsunSource::open(&path, split)?),
        Kind::Zip => Box::new(zip::open(&path, split)?),
        Kind::Tar if !path.is_dir() && starts_gzipped(&path)? => {
            Box::new(tar::open_gzipped(&path, split)?)
        }
        Kind::Tar => Box::new(tar::open(&path, split)?),
        Kind::CelebA => Box::new(celeba::open(&path, split)?),
        Kind::Packed => Box::new(open_packed(&path, split)?),
        Kind::Auto | Kind::Folder => Box::new(folder::FolderSource::open(&path, split)?),
    })
}

/// `[H, W, C]` of a set whose pictures all have it; `None` for a set of any pictures.
pub(crate) fn image_shape(spec: &DataSpec, split: Split) -> Result<Option<[u32; 3]>, DataError> {
    let (kind, path) = kind_and_path(spec)?;
    Ok(match kind {
        Kind::Idx => {
            let [height, width] = idx::size(&idx_files_at(&path, split)?)?;
            Some([height, width, 1])
        }
        Kind::Cifar10 | Kind::Cifar100 | Kind::Svhn => Some([32, 32, 3]),
        Kind::Stl10 => Some([96, 96, 3]),
        Kind::Packed => {
            let Preprocess { size: [height, width], channels, .. } =
                packed::read_footer(&path)?.1.preprocess;
            Some([height, width, channels.into()])
        }
        Kind::Auto | Kind::Folder | Kind::Lsun | Kind::Zip | Kind::Tar | Kind::CelebA => None,
    })
}

/// How the pictures of a packed file were brought to their shape; `None` for any other set.
pub(crate) fn packed_preprocess(spec: &DataSpec) -> Result<Option<Preprocess>, DataError> {
    let (kind, path) = kind_and_path(spec)?;
    Ok(if kind == Kind::Packed { Some(packed::read_footer(&path)?.1.preprocess) } else { None })
}

/// What there is, and where.
fn kind_and_path(spec: &DataSpec) -> Result<(Kind, PathBuf), DataError> {
    let (kind, path) = match spec.target() {
        DataLocation::BuiltIn(set) => (set.kind, set.locate()?),
        DataLocation::Path { kind, path } => (*kind, path.clone()),
    };
    let kind = if kind == Kind::Auto { detect(&path)? } else { kind };
    Ok((kind, path))
}

fn idx_files_at(path: &Path, split: Split) -> Result<idx_files::IdxFiles, DataError> {
    if path.is_dir() { idx_files::in_folder(path, split) } else { idx_files::for_file(path, split) }
}

/// A packed file holds one split, whichever was packed; it stands for the training one.
fn open_packed(path: &Path, split: Split) -> Result<PackedSource, DataError> {
    if split == Split::Test {
        let wanted = format!(
            "a {} holds one split: pack the other one too, and name its file",
            packed::FORMAT
        );
        return Err(DataError::NoSplit { path: path.to_owned(), split: split.name(), wanted });
    }
    PackedSource::open(path)
}

/// What is at `path`, judged by content, and by the names of files without any mark of their own.
fn detect(path: &Path) -> Result<Kind, DataError> {
    if path.is_dir() { detect_folder(path) } else { detect_file(path) }
}

fn detect_folder(path: &Path) -> Result<Kind, DataError> {
    if celeba::is_at(path) {
        return Ok(Kind::CelebA);
    }
    if lsun::is_at(path) {
        return Ok(Kind::Lsun);
    }
    if svhn::is_at(path) {
        return Ok(Kind::Svhn);
    }
    if stl10::is_at(path) {
        return Ok(Kind::Stl10);
    }
    if let Some(kind) = cifar::kind_of_folder(path) {
        return Ok(kind);
    }
    let idx = idx_files::image_files(path)?;
    Ok(match idx.is_empty() {
        false => Kind::Idx,
        true if tar::is_at(path)? => Kind::Tar,
        true => Kind::Folder,
    })
}

fn detect_file(path: &Path) -> Result<Kind, DataError> {
    // Before idx, whose mark such a file's first pixels may look like.
    if cifar::file_name_matches(path) {
        return Ok(Kind::Cifar10);
    }
    // A file that is called idx is one, so that a damaged magic number is reported as such.
    if idx::starts_like_idx(path)? || idx_files::has_idx_file_name(path) {
        return Ok(Kind::Idx);
    }
    let start = read_start(path)?;
    if start.starts_with(&packed::MAGIC[..7]) {
        return Ok(Kind::Packed);
    }
    if start.starts_with(b"PK\x03\x04")
        || start.starts_with(b"PK\x05\x06")
        || has_extension(path, &["zip"])
    {
        return Ok(Kind::Zip);
    }
    let unpacked = if is_gzip(&start) { unpack_start(&start) } else { start.clone() };
    if unpacked.get(257..262) == Some(b"ustar")
        || has_extension(path, &["tar", "tgz"])
        || has_tar_gz_name(path)
    {
        return Ok(Kind::Tar);
    }
    if start.starts_with(mat::MAGIC) {
        return Ok(Kind::Svhn);
    }
    if start.get(16..20) == Some(&lmdb::MAGIC) {
        return Ok(Kind::Lsun);
    }
    if stl10::file_name_matches(path) {
        return Ok(Kind::Stl10);
    }
    if let Some(kind) = cifar::kind_of_file(path)? {
        return Ok(kind);
    }
    let why = if decode::is_image_start(&start) {
        "it is a single image; name the folder that it is in".to_owned()
    } else {
        format!(
            "it looks like no format known here; say which it is with KIND:PATH ({})",
            Kind::known()
        )
    };
    Err(DataError::Unrecognised { path: path.to_owned(), why })
}

fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    path.extension()
        .is_some_and(|found| extensions.iter().any(|wanted| found.eq_ignore_ascii_case(wanted)))
}

fn has_tar_gz_name(path: &Path) -> bool {
    has_extension(path, &["gz"])
        && path.file_stem().is_some_and(|stem| has_extension(Path::new(stem), &["tar"]))
}

fn is_gzip(start: &[u8]) -> bool {
    start.starts_with(&[0x1F, 0x8B])
}

fn starts_gzipped(path: &Path) -> Result<bool, DataError> {
    Ok(is_gzip(&read_start(path)?))
}

/// As much of a gzip stream's content as its first bytes yield, at most a tar header.
fn unpack_start(start: &[u8]) -> Vec<u8> {
    let mut unpacked = Vec::new();
    let mut stream = flate2::bufread::MultiGzDecoder::new(start).take(512);
    // What comes before an error, such as the end of `start`, is kept.
    let _ = stream.read_to_end(&mut unpacked);
    unpacked
}

/// The first bytes of a file, at most 1024: enough for gzip to yield its first few bytes.
fn read_start(path: &Path) -> Result<Vec<u8>, DataError> {
    let mut start = Vec::new();
    let file = File::open(path).map_err(|error| io(path, error))?;
    file.take(1024).read_to_end(&mut start).map_err(|error| io(path, error))?;
    Ok(start)
}

/// That a set's largest label is no mistake.
fn check_labels(largest: u64) -> Result<(), String> {
    if largest < MAX_CLASSES {
        Ok(())
    } else {
        Err(format!(
            "label {largest} is out of range: at most {} classes are told apart",
            MAX_CLASSES
        ))
    }
}

/// The one of `names` that is a file in `folder`, whatever the case the file system keeps.
fn first_file(folder: &Path, names: &[&str]) -> Option<PathBuf> {
    names.iter().map(|name| folder.join(name)).find(|path| path.is_file())
}

fn io(path: &Path, error: std::io::Error) -> DataError {
    DataError::Io { path: PathBuf::from(path), error }
}
