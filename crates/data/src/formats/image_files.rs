//! Image files of a folder or an archive as a source of images, arranged by
//! [`layout`](super::layout).

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::file_kind::{FileKind, file_kind};
use super::file_store::{FileEntry, FileStore, is_hidden};
use super::labels::ClassLabels;
use super::layout::{DatasetLayout, ListedFile, Listing, arrange};
use crate::attributes::Attributes;
use crate::error::{DataError, FileProblem};
use crate::folder_listing::FolderListing;
use crate::foreign::ForeignFormat;
use crate::layout_report::{ARCHIVE, LayoutNote, LayoutReport};
use crate::source::{EncodedStore, Split};

/// Files that are looked at where none is an image, to name the format of what is there.
const MAX_FOREIGN: usize = 1000;

/// The images of one split; each is read when it is loaded.
pub(super) struct ImageFiles {
    /// The archive, or the folder in which the images' names are paths.
    path: PathBuf,
    store: Box<dyn FileStore>,
    images: Vec<ImageFile>,
    classes: Option<ClassLabels>,
    hashed_labels: Option<Vec<u32>>,
    attributes: Attributes,
    table: Option<PathBuf>,
    report: LayoutReport,
}

/// One image.
struct ImageFile {
    name: String,
    /// The file's index in the store.
    number: usize,
}

impl ImageFiles {
    /// Arranges the files of the folder or archive `root`.
    pub fn open(
        root: &Path,
        store: Box<dyn FileStore>,
        mut entries: Vec<FileEntry>,
        split: Split,
    ) -> Result<Self, DataError> {
        entries.sort_by(|a, b| (a.shard, &a.path).cmp(&(b.shard, &b.path)));
        let is_same =
            |pair: &&[FileEntry]| (pair[0].shard, &pair[0].path) == (pair[1].shard, &pair[1].path);
        if let Some(pair) = entries.windows(2).find(is_same) {
            let problem = FileProblem::Twice { what: "files", name: pair[0].shown() };
            return Err(DataError::malformed(store.format(), root, problem));
        }
        entries.retain(|entry| !entry.path.split(|&byte| byte == b'/').any(is_hidden));
        let kind = |entry: &FileEntry| {
            let path = entry.shown();
            let name = path.rsplit('/').next().unwrap_or_default();
            file_kind(name, || store.read_start(entry.number).ok())
        };
        let kinds: Vec<FileKind> = entries.par_iter().map(kind).collect();
        let files: Vec<ListedFile<'_>> = entries
            .iter()
            .zip(kinds)
            .map(|(entry, kind)| ListedFile { shard: entry.shard, path: &entry.path, kind })
            .collect();
        let is_folder = entries.first().is_some_and(|entry| store.file(entry.number).is_some());
        let listing = Listing {
            root,
            is_folder,
            format: store.format(),
            files: &files,
            read: &|index| store.read(entries[index].number),
        };
        let is_archive =
            |note: &LayoutNote| matches!(note, LayoutNote::Unread { format: ARCHIVE, .. });
        let layout = arrange(listing, split).map_err(|error| match error {
            DataError::NoImages { ref notes, .. } if notes.iter().all(is_archive) => {
                let foreign = |entry: &FileEntry| {
                    let start = store.read_start(entry.number).ok()?;
                    let path = root.join(entry.shown());
                    let format = ForeignFormat::of(&start, &path)?;
                    Some(DataError::Foreign { path, format })
                };
                entries.iter().take(MAX_FOREIGN).find_map(foreign).unwrap_or(error)
            }
            other => other,
        })?;
        let DatasetLayout { folder, images, classes, hashed_labels, attributes, table, report } =
            layout;
        let images: Vec<ImageFile> = images
            .into_iter()
            .map(|index| ImageFile {
                name: String::from_utf8_lossy(&entries[index].path[folder.len()..]).into_owned(),
                number: entries[index].number,
            })
            .collect();
        let depth = folder.iter().filter(|&&byte| byte == b'/').count();
        let inside = images.first().and_then(|image| store.file(image.number));
        let inside: PathBuf = inside.into_iter().flat_map(|file| file.iter().take(depth)).collect();
        let path = if is_folder && depth > 0 { root.join(inside) } else { root.to_owned() };
        let table = table.and_then(|index| store.file(entries[index].number));
        let table = table.map(|file| root.join(file));
        Ok(Self { path, store, images, classes, hashed_labels, attributes, table, report })
    }

    /// These files of a store, by name and number, without labels.
    pub fn of_files(
        path: PathBuf,
        store: Box<dyn FileStore>,
        images: impl Iterator<Item = (String, usize)>,
        attributes: Attributes,
        description: String,
    ) -> Self {
        let images = images.map(|(name, number)| ImageFile { name, number }).collect();
        let report = LayoutReport { description, notes: Vec::new() };
        let (classes, hashed_labels, table) = (None, None, None);
        Self { path, store, images, classes, hashed_labels, attributes, table, report }
    }

    /// The images of a listing, whose files have the same numbers in the store. `path` is the
    /// folder in which their names are paths, and `table` is the file `attributes.csv`.
    pub fn of_listing(
        listing: FolderListing,
        path: PathBuf,
        table: Option<PathBuf>,
        store: Box<dyn FileStore>,
    ) -> Self {
        let FolderListing { images, attributes, description, .. } = listing;
        let images = images.into_iter().enumerate().map(|(number, (name, _))| (name, number));
        let names = listing.class_names;
        let classes = listing.labels.map(|labels| ClassLabels { labels, names });
        let hashed_labels = listing.hashed_labels;
        let files = Self::of_files(path, store, images, attributes, description);
        Self { classes, hashed_labels, table, ..files }
    }

    /// Appends to the line that describes the dataset.
    pub fn describe(&mut self, text: &str) {
        self.report.description += text;
    }
}

impl EncodedStore for ImageFiles {
    fn len(&self) -> usize {
        self.images.len()
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn name(&self, index: usize) -> String {
        self.images[index].name.clone()
    }

    fn read(&self, index: usize) -> Result<Vec<u8>, String> {
        self.store.read(self.images[index].number)
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.classes.as_ref().map(|classes| classes.labels[index])
    }

    fn hashed_label(&self, index: usize) -> Option<u32> {
        let hashed = self.hashed_labels.as_ref().map(|labels| labels[index]);
        hashed.or_else(|| EncodedStore::label(self, index))
    }

    fn class_names(&self) -> &[String] {
        self.classes.as_ref().map_or(&[], |classes| &classes.names)
    }

    fn attributes(&self) -> &Attributes {
        &self.attributes
    }

    fn report(&self) -> Option<&LayoutReport> {
        Some(&self.report)
    }

    fn table(&self) -> Option<&Path> {
        self.table.as_deref()
    }

    fn listing(&self, root: &Path) -> Option<FolderListing> {
        let inside = |path: &Path| path.strip_prefix(root).unwrap_or(path).to_owned();
        let folder = inside(&self.path);
        let image = |image: &ImageFile| {
            let file = inside(&self.store.full_path(image.number)?);
            let other = (file != folder.join(&image.name)).then(|| file.into_os_string());
            Some((image.name.clone(), other))
        };
        Some(FolderListing {
            images: self.images.iter().map(image).collect::<Option<_>>()?,
            folder: folder.into_os_string(),
            labels: self.classes.as_ref().map(|classes| classes.labels.clone()),
            class_names: EncodedStore::class_names(self).to_owned(),
            hashed_labels: self.hashed_labels.clone(),
            attributes: self.attributes.clone(),
            table: self.table.as_deref().map(|table| inside(table).into_os_string()),
            description: self.report.description.clone(),
        })
    }

    fn drop_cache(&mut self) -> u64 {
        self.store.drop_cache()
    }
}
