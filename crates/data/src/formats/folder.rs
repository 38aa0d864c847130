//! A folder of image files, sub-folders included.
//!
//! A file counts as an image when its name or its first bytes say so; others (texts, tables, hidden files) are ignored.
//! The order is that of the paths' bytes, whatever the file system's. When every image lies in a sub-folder, the first
//! sub-folder's name is its class. A folder with `train` beside `test` (or `val`) has these splits.

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use walkdir::{DirEntry, WalkDir};

use super::{Digest, Source, io, read_start};
use crate::decode::{self, MAX_DECODED_BYTES, Picture, has_image_extension, is_image_start, one_line};
use crate::error::DataError;
use crate::spec::Split;

/// Folder names of a held-out part, in order of preference.
const TEST_NAMES: &[&str] = &["test", "val", "valid", "validation"];

/// The image files of a folder; each is read when it is asked for.
pub(super) struct FolderSource {
    root: PathBuf,
    files: Vec<ImageFile>,
    class_names: Vec<String>,
}

struct ImageFile {
    /// Relative to the root.
    path: PathBuf,
    label: Option<u32>,
}

impl FolderSource {
    /// Lists the images of `split` below `folder`.
    pub fn open(folder: &Path, split: Split) -> Result<Self, DataError> {
        let root = split_folder(folder, split)?;
        let (mut paths, others) = list(&root)?;
        if paths.is_empty() {
            return Err(DataError::NoImages { path: root, files: others });
        }
        paths.sort_by_cached_key(|path| sort_key(path));
        let class_names = class_names(&paths);
        let files = paths
            .into_iter()
            .map(|path| {
                let label = class_of(&path).and_then(|class| class_names.binary_search(&class).ok());
                ImageFile { path, label: label.map(|label| label as u32) }
            })
            .collect();
        Ok(Self { root, files, class_names })
    }

    fn read(&self, index: usize) -> Result<Vec<u8>, String> {
        let path = self.root.join(&self.files[index].path);
        let length = fs::metadata(&path).map_err(|error| one_line(&error))?.len();
        if length > MAX_DECODED_BYTES {
            return Err(format!("the file has more than {} MiB", MAX_DECODED_BYTES >> 20));
        }
        fs::read(&path).map_err(|error| one_line(&error))
    }
}

impl Source for FolderSource {
    fn len(&self) -> usize {
        self.files.len()
    }

    fn path(&self) -> &Path {
        &self.root
    }

    fn name(&self, index: usize) -> String {
        self.files[index].path.to_string_lossy().into_owned()
    }

    fn load(&self, index: usize) -> Result<Picture<'_>, String> {
        decode::decode(&self.read(index)?, &self.files[index].path)
    }

    fn load_with_digest(&self, index: usize) -> Result<(Picture<'_>, Digest), String> {
        let bytes = self.read(index)?;
        Ok((decode::decode(&bytes, &self.files[index].path)?, Sha256::digest(&bytes).into()))
    }

    fn check(&self, index: usize) -> Result<Digest, String> {
        let bytes = self.read(index)?;
        decode::check_header(&bytes, &self.files[index].path)?;
        Ok(Sha256::digest(&bytes).into())
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.files[index].label
    }

    fn class_names(&self) -> &[String] {
        &self.class_names
    }
}

/// The folder that holds the split.
fn split_folder(folder: &Path, split: Split) -> Result<PathBuf, DataError> {
    let mut folders = Vec::new();
    for entry in folder.read_dir().map_err(|error| io(folder, error))? {
        let path = entry.map_err(|error| io(folder, error))?.path();
        if path.is_dir() {
            folders.push(path);
        }
    }
    folders.sort();
    let named = |name: &str| {
        let is = |path: &&PathBuf| path.file_name().is_some_and(|found| found.eq_ignore_ascii_case(name));
        folders.iter().find(is)
    };
    let train = named("train");
    let test = TEST_NAMES.iter().find_map(|name| named(name));
    match (split, train, test) {
        (Split::Train, Some(train), Some(_)) => Ok(train.clone()),
        (Split::Train, ..) => Ok(folder.to_owned()),
        (Split::Test, Some(_), Some(test)) => Ok(test.clone()),
        (Split::Test, ..) => Err(DataError::NoSplit {
            path: folder.to_owned(),
            split: split.name(),
            wanted: format!("looked for a folder `train` beside one of {}", TEST_NAMES.join(", ")),
        }),
    }
}

/// The images below `root`, as relative paths, and the number of other files.
fn list(root: &Path) -> Result<(Vec<PathBuf>, usize), DataError> {
    let mut images = Vec::new();
    let mut others = 0;
    let walk = WalkDir::new(root).follow_links(true).into_iter();
    for entry in walk.filter_entry(|entry| entry.depth() == 0 || !is_hidden(entry)) {
        let path = match entry {
            Ok(entry) if !entry.file_type().is_file() => continue,
            Ok(entry) => entry.into_path(),
            // A link to nowhere is reported as a bad image if it is called like one.
            Err(error) => match error.path() {
                Some(path) if path.is_symlink() && error.loop_ancestor().is_none() => path.to_owned(),
                path => {
                    let path = path.unwrap_or(root).to_owned();
                    return Err(DataError::Io { path, error: error.into() });
                }
            },
        };
        let is_image = has_image_extension(&path) || read_start(&path).is_ok_and(|start| is_image_start(&start));
        match path.strip_prefix(root) {
            Ok(relative) if is_image => images.push(relative.to_owned()),
            _ => others += 1,
        }
    }
    Ok((images, others))
}

/// Dot files, and what archive tools of one system leave for another.
fn is_hidden(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    name.as_encoded_bytes().starts_with(b".") || name == "__MACOSX"
}

/// The path's bytes with `/` between its parts on every system.
fn sort_key(path: &Path) -> Vec<u8> {
    let parts: Vec<&[u8]> = path.iter().map(|part| part.as_encoded_bytes()).collect();
    parts.join(&b'/')
}

/// The first sub-folder, if there is one.
fn class_of(path: &Path) -> Option<String> {
    let mut parts = path.iter();
    let first = parts.next()?;
    parts.next().map(|_| first.to_string_lossy().into_owned())
}

/// The first sub-folders in order; empty when an image lies in none.
fn class_names(sorted: &[PathBuf]) -> Vec<String> {
    let Some(mut names) = sorted.iter().map(|path| class_of(path)).collect::<Option<Vec<_>>>() else {
        return Vec::new();
    };
    names.sort();
    names.dedup();
    names
}
