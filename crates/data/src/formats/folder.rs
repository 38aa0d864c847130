//! A folder of image files, sub-folders included.
//!
//! A file is an image by its name or its first bytes; others (texts, tables, hidden files) are
//! ignored. Images are ordered by the bytes of their paths, independent of the file system. If
//! every image is in a sub-folder, the first sub-folder's name is its class. A folder `train` with
//! `test` (or `val`) gives splits. Attributes are read from `attributes.csv` in the split's folder
//! or the one above.

use std::fs;
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use super::classes::ClassLabels;
use super::table::{self, AttributeTable};
use super::{Confidence, Format, any_shape, classes, io, read_start};
use crate::attributes::{self, Attributes};
use crate::decode::{MAX_DECODED_BYTES, has_image_extension, is_image_start, one_line};
use crate::error::DataError;
use crate::source::{EncodedStore, Split};

pub(crate) static FORMAT: Format = Format {
    name: "folder",
    about: "a folder of images, whose first sub-folders are classes",
    detect: |candidate| Ok(Confidence::Possible.when(candidate.folder().is_some())),
    open: |path, split, _| Ok(Box::new(FolderSource::open(path, split)?)),
    image_shape: any_shape,
};

/// The image files of a folder; each is read when it is loaded.
pub(super) struct FolderSource {
    root: PathBuf,
    /// Relative to the root.
    files: Vec<PathBuf>,
    classes: Option<ClassLabels>,
    attributes: Attributes,
}

impl FolderSource {
    /// Lists the images of `split` below `folder`.
    pub fn open(folder: &Path, split: Split) -> Result<Self, DataError> {
        let root = split_folder(folder, split)?;
        let files = list(&root)?;
        let classes = classes::by_folder(&root, files.iter().map(PathBuf::as_path))?;
        let attributes = match [&root, folder]
            .map(|place| place.join(table::FILE_NAME))
            .iter()
            .find(|path| path.is_file())
        {
            Some(path) => attributes_of(path, &root, &files)?,
            None => attributes::NONE.clone(),
        };
        Ok(Self { root, files, classes, attributes })
    }

    /// These files of a folder, without labels.
    pub fn of_files(root: PathBuf, files: Vec<PathBuf>, attributes: Attributes) -> Self {
        Self { root, files, classes: None, attributes }
    }
}

impl EncodedStore for FolderSource {
    fn len(&self) -> usize {
        self.files.len()
    }

    fn path(&self) -> &Path {
        &self.root
    }

    fn name(&self, index: usize) -> String {
        self.files[index].to_string_lossy().into_owned()
    }

    fn read(&self, index: usize) -> Result<Vec<u8>, String> {
        let path = self.root.join(&self.files[index]);
        let length = fs::metadata(&path).map_err(|error| one_line(&error))?.len();
        if length > MAX_DECODED_BYTES {
            return Err(format!("the file has more than {} MiB", MAX_DECODED_BYTES >> 20));
        }
        fs::read(&path).map_err(|error| one_line(&error))
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.classes.as_ref().map(|classes| classes.labels[index])
    }

    fn class_names(&self) -> &[String] {
        self.classes.as_ref().map_or(&[], |classes| &classes.names)
    }

    fn attributes(&self) -> &Attributes {
        &self.attributes
    }
}

/// The rows of the table at `path` for files of `root`, which is the table's own folder or one
/// inside it.
fn attributes_of(path: &Path, root: &Path, files: &[PathBuf]) -> Result<Attributes, DataError> {
    let bytes = fs::read(path).map_err(|error| io(path, error))?;
    let inside =
        path.parent().and_then(|place| root.strip_prefix(place).ok()).unwrap_or(Path::new(""));
    let names: Vec<String> = files
        .iter()
        .map(|file| String::from_utf8_lossy(&classes::sort_key(&inside.join(file))).into_owned())
        .collect();
    let elsewhere = |file: &str| !Path::new(file).starts_with(inside);
    AttributeTable::parse(path, &bytes)?.match_images(
        path,
        names.iter().map(String::as_str),
        elsewhere,
    )
}

/// The folder of the split.
fn split_folder(folder: &Path, split: Split) -> Result<PathBuf, DataError> {
    let mut folders = Vec::new();
    for entry in folder.read_dir().map_err(|error| io(folder, error))? {
        let path = entry.map_err(|error| io(folder, error))?.path();
        if path.is_dir() {
            folders.push(path);
        }
    }
    folders.sort();
    // Names that are not UTF-8 cannot be train or test.
    let names: Vec<&str> = folders.iter().filter_map(|path| path.file_name()?.to_str()).collect();
    Ok(classes::split_folder(folder, &names, split)?
        .map_or_else(|| folder.to_owned(), |name| folder.join(name)))
}

/// The images below `root`, as relative paths in the order of their bytes.
pub(super) fn list(root: &Path) -> Result<Vec<PathBuf>, DataError> {
    let mut images = Vec::new();
    let mut others = 0;
    let walk = WalkDir::new(root).follow_links(true).into_iter();
    for entry in walk.filter_entry(|entry| entry.depth() == 0 || !is_hidden(entry)) {
        let path = match entry {
            Ok(entry) if !entry.file_type().is_file() => continue,
            Ok(entry) => entry.into_path(),
            // A dangling link with an image's name is reported as a bad image.
            Err(error) => match error.path() {
                Some(path) if path.is_symlink() && error.loop_ancestor().is_none() => {
                    path.to_owned()
                }
                path => {
                    let path = path.unwrap_or(root).to_owned();
                    return Err(DataError::Io { path, error: error.into() });
                }
            },
        };
        let is_image = has_image_extension(&path)
            || read_start(&path).is_ok_and(|start| is_image_start(&start));
        match path.strip_prefix(root) {
            Ok(relative) if is_image => images.push(relative.to_owned()),
            _ => others += 1,
        }
    }
    if images.is_empty() {
        return Err(DataError::NoImages { path: root.to_owned(), files: others });
    }
    images.sort_by_cached_key(|path| classes::sort_key(path));
    Ok(images)
}

/// Dot files, and the folder that macOS adds to archives.
fn is_hidden(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    name.as_encoded_bytes().starts_with(b".") || name == "__MACOSX"
}
