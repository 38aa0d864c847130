//! A folder of image files, sub-folders included, arranged by [`layout`](super::layout).
//!
//! Images are ordered by the bytes of their paths, independent of the file system. Hidden files are
//! ignored.

use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use super::file_store::{FileEntry, FileStore, START_BYTES, is_hidden};
use super::image_files::ImageFiles;
use super::{Confidence, Format, any_shape};
use crate::decode::{MAX_DECODED_BYTES, one_line};
use crate::error::DataError;
use crate::folder_listing::FolderListing;
use crate::source::Source;

pub(crate) static FORMAT: Format = Format {
    name: "folder",
    about: "a folder of images, whose first sub-folders are classes",
    detect: |candidate| Ok(Confidence::Possible.when(candidate.folder().is_some())),
    open: |path, split, _| {
        let (store, entries) = FolderFiles::list(path)?;
        Ok(Box::new(ImageFiles::open(path, Box::new(store), entries, split)?))
    },
    image_shape: any_shape,
};

/// The images that a process has listed, read from the same folder at `root`. The report has no
/// notes.
pub(crate) fn of_listing(root: &Path, listing: FolderListing) -> Box<dyn Source> {
    let folder = PathBuf::from(&listing.folder);
    let file = |(name, file): &(String, Option<OsString>)| match file {
        Some(file) => PathBuf::from(file),
        None => folder.join(name),
    };
    let files = listing.images.iter().map(file).collect();
    // Joined to nothing, a path would get a slash at its end.
    let is_root = folder.as_os_str().is_empty();
    let path = if is_root { root.to_owned() } else { root.join(&folder) };
    let table = listing.table.as_ref().map(|table| root.join(table));
    Box::new(ImageFiles::of_listing(listing, path, table, Box::new(FolderFiles::new(root, files))))
}

/// The files of a folder.
pub(super) struct FolderFiles {
    root: PathBuf,
    /// Relative to the root.
    files: Vec<PathBuf>,
}

impl FolderFiles {
    /// These files, whose paths are relative to `root`.
    pub fn new(root: &Path, files: Vec<PathBuf>) -> Self {
        Self { root: root.to_owned(), files }
    }

    /// Lists the files below `root`, without hidden ones.
    pub fn list(root: &Path) -> Result<(Self, Vec<FileEntry>), DataError> {
        let mut files = Vec::new();
        let walk = WalkDir::new(root).follow_links(true).into_iter();
        let is_listed = |entry: &DirEntry| {
            entry.depth() == 0 || !is_hidden(entry.file_name().as_encoded_bytes())
        };
        for entry in walk.filter_entry(is_listed) {
            let path = match entry {
                Ok(entry) if !entry.file_type().is_file() => continue,
                Ok(entry) => entry.into_path(),
                Err(error) if error.loop_ancestor().is_some() => {
                    let problem = "it leads back to a folder that it is in: remove it";
                    let path = error.path().unwrap_or(root);
                    return Err(DataError::malformed("link", path, problem.to_owned()));
                }
                // A dangling link with an image's name is reported as a bad image.
                Err(error) => match error.path() {
                    Some(path) if path.is_symlink() => path.to_owned(),
                    path => {
                        let path = path.unwrap_or(root).to_owned();
                        return Err(DataError::Io { path, error: error.into() });
                    }
                },
            };
            if let Ok(relative) = path.strip_prefix(root) {
                files.push(relative.to_owned());
            }
        }
        let entry = |(number, path): (usize, &PathBuf)| {
            // `/` between the components on every system.
            let parts: Vec<&[u8]> = path.iter().map(|part| part.as_encoded_bytes()).collect();
            FileEntry { shard: 0, path: parts.join(&b'/'), number }
        };
        let entries = files.iter().enumerate().map(entry).collect();
        Ok((Self::new(root, files), entries))
    }
}

impl FileStore for FolderFiles {
    fn format(&self) -> &'static str {
        "folder"
    }

    fn file(&self, number: usize) -> Option<&Path> {
        Some(&self.files[number])
    }

    fn full_path(&self, number: usize) -> Option<PathBuf> {
        Some(self.root.join(&self.files[number]))
    }

    fn read(&self, number: usize) -> Result<Vec<u8>, String> {
        let path = self.root.join(&self.files[number]);
        let length = fs::metadata(&path).map_err(|error| one_line(&error))?.len();
        if length > MAX_DECODED_BYTES {
            return Err(format!("the file has more than {} MiB", MAX_DECODED_BYTES >> 20));
        }
        file_io::read(&path).map_err(|error| one_line(&error))
    }

    fn read_start(&self, number: usize) -> Result<Vec<u8>, String> {
        let mut start = Vec::new();
        let file = file_io::open(&self.root.join(&self.files[number]));
        file.and_then(|file| file.take(START_BYTES as u64).read_to_end(&mut start))
            .map_err(|error| one_line(&error))?;
        Ok(start)
    }
}
