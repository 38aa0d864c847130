//! The formats, one file each, behind [`Source`]; a new one adds its file, a [`Kind`] and an arm in [`open`].

mod folder;
mod idx;
mod idx_files;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::decode::{self, Picture};
use crate::error::DataError;
use crate::spec::{DataSpec, Kind, Split, Target};

/// SHA-256 of what an image is made from.
pub(crate) type Digest = [u8; 32];

/// Pictures of any size, by number. An `Err(String)` is one picture's trouble, in one line; the others go on.
pub(crate) trait Source: Send + Sync {
    /// How many pictures there are, good and bad.
    fn len(&self) -> usize;

    /// Where they come from, for messages.
    fn path(&self) -> &Path;

    /// The picture's name inside the set.
    fn name(&self, index: usize) -> String;

    /// The picture, decoded.
    fn load(&self, index: usize) -> Result<Picture<'_>, String>;

    /// The picture with the digest of its encoded form (the same on every machine, which decoders need not be).
    fn load_with_digest(&self, index: usize) -> Result<(Picture<'_>, Digest), String>;

    /// The digest, after the cheapest check that the picture can probably be decoded.
    fn check(&self, index: usize) -> Result<Digest, String>;

    /// The picture's class; `Some` for all or for none.
    fn label(&self, index: usize) -> Option<u32>;

    /// The classes' names, as many as there are classes; empty without labels.
    fn class_names(&self) -> &[String];

    /// Called once all pictures are kept elsewhere: frees what only `load` needs.
    fn forget_pixels(&mut self) {}
}

/// Opens what a spec names.
pub(crate) fn open(spec: &DataSpec, split: Split) -> Result<Box<dyn Source>, DataError> {
    match spec.target() {
        Target::BuiltIn(set) => {
            let folder = set.locate()?;
            if set.kind == Kind::Idx {
                let images = idx_files::in_folder(&folder, split)?;
                return Ok(Box::new(idx::IdxSource::open(&images, Some(set.classes))?));
            }
            open_path(set.kind, &folder, split)
        }
        Target::Path { kind: Kind::Auto, path } => {
            let kind = detect(path)?;
            open_path(kind, path, split)
        }
        Target::Path { kind, path } => open_path(*kind, path, split),
    }
}

/// Height and width of a set of grey pictures of one size; `None` for a set of any pictures.
pub(crate) fn grey_size(spec: &DataSpec, split: Split) -> Result<Option<[u32; 2]>, DataError> {
    let files = match spec.target() {
        Target::BuiltIn(set) if set.kind != Kind::Idx => return Ok(None),
        Target::BuiltIn(set) => idx_files::in_folder(&set.locate()?, split)?,
        Target::Path { kind, path } => match if *kind == Kind::Auto { detect(path)? } else { *kind } {
            Kind::Idx => idx_files_at(path, split)?,
            Kind::Auto | Kind::Folder => return Ok(None),
        },
    };
    idx::size(&files).map(Some)
}

fn idx_files_at(path: &Path, split: Split) -> Result<idx_files::IdxFiles, DataError> {
    if path.is_dir() { idx_files::in_folder(path, split) } else { idx_files::for_file(path, split) }
}

fn open_path(kind: Kind, path: &Path, split: Split) -> Result<Box<dyn Source>, DataError> {
    match kind {
        Kind::Idx => Ok(Box::new(idx::IdxSource::open(&idx_files_at(path, split)?, None)?)),
        Kind::Auto | Kind::Folder => Ok(Box::new(folder::FolderSource::open(path, split)?)),
    }
}

/// What is at `path`, judged by content.
fn detect(path: &Path) -> Result<Kind, DataError> {
    if path.is_dir() {
        let idx = idx_files::image_files(path)?;
        return Ok(if idx.is_empty() { Kind::Folder } else { Kind::Idx });
    }
    // A file that is called idx is one, so that a damaged magic number is reported as such.
    if idx::starts_like_idx(path)? || idx_files::is_called_idx(path) {
        return Ok(Kind::Idx);
    }
    let why = if decode::is_image_start(&read_start(path)?) {
        "it is a single image; name the folder that it is in"
    } else {
        "neither an idx file nor a folder; say which with idx:PATH or folder:PATH"
    };
    Err(DataError::Unrecognised { path: path.to_owned(), why: why.to_owned() })
}

/// The first bytes of a file, at most 1024: enough for gzip to yield its first few bytes.
fn read_start(path: &Path) -> Result<Vec<u8>, DataError> {
    let mut start = Vec::new();
    let file = File::open(path).map_err(|error| io(path, error))?;
    file.take(1024).read_to_end(&mut start).map_err(|error| io(path, error))?;
    Ok(start)
}

fn io(path: &Path, error: std::io::Error) -> DataError {
    DataError::Io { path: PathBuf::from(path), error }
}
