//! Images inside a zip or tar archive, read in place: nothing is unpacked to disk.
//!
//! A file is an image by its extension. Images are ordered by the bytes of their names (shard by
//! shard). Labels are WebDataset's, else the names of the first folders as in a folder of images;
//! folders that hold all files are stripped first. A folder `train` with `test` (or `val`) gives
//! splits, and an `attributes.csv` is read.

use std::path::{Path, PathBuf};

use super::archive_reader::{ArchiveMember, ArchiveReader, read_text};
use super::classes::ClassLabels;
use super::table::{self, AttributeTable};
use super::{classes, webdataset};
use crate::attributes::{self, Attributes};
use crate::decode::has_image_extension;
use crate::error::DataError;
use crate::source::{EncodedStore, Split};

/// The images of one split of an archive.
pub(super) struct ArchiveSource {
    path: PathBuf,
    container: Box<dyn ArchiveReader>,
    images: Vec<ArchiveMember>,
    classes: Option<ClassLabels>,
    attributes: Attributes,
}

impl ArchiveSource {
    /// Finds the images of `split` among the files, whose names come from
    /// [`checked_name`](super::archive_reader::checked_name).
    pub fn new(
        path: &Path,
        container: Box<dyn ArchiveReader>,
        mut members: Vec<ArchiveMember>,
        split: Split,
    ) -> Result<Self, DataError> {
        members.sort_by(|a, b| (a.shard, &a.name).cmp(&(b.shard, &b.name)));
        if let Some(pair) = members
            .windows(2)
            .find(|pair| (pair[0].shard, &pair[0].name) == (pair[1].shard, &pair[1].name))
        {
            let problem = format!(
                "two of its files are called {:?}: repack it with each file once",
                pair[0].name
            );
            return Err(DataError::malformed(container.format(), path, problem));
        }
        members.retain(|member| !is_hidden(&member.name));
        strip_common_folders(&mut members);
        let prefix = split_prefix(path, &members, split)?;
        let is_table = |member: &ArchiveMember| {
            [table::FILE_NAME, &format!("{prefix}{}", table::FILE_NAME)]
                .contains(&member.name.as_str())
        };
        // The table inside the split's folder sorts after the common one.
        let table = members.iter().rposition(is_table).map(|at| members.remove(at));
        members.retain_mut(|member| match member.name.strip_prefix(&prefix) {
            Some(rest) => {
                member.name = rest.to_owned();
                true
            }
            None => false,
        });
        let (images, others): (Vec<_>, Vec<_>) =
            members.into_iter().partition(|member| has_image_extension(Path::new(&member.name)));
        if images.is_empty() {
            return Err(DataError::NoImages { path: path.to_owned(), files: others.len() });
        }
        let classes = match webdataset::labels(path, container.as_ref(), &images, &others)? {
            Some(classes) => Some(classes),
            None => classes::by_folder(path, images.iter().map(|member| Path::new(&member.name)))?,
        };
        let attributes = match table {
            None => attributes::NONE.clone(),
            Some(member) => attributes_of(path, container.as_ref(), &member, &images, &prefix)?,
        };
        Ok(Self { path: path.to_owned(), container, images, classes, attributes })
    }
}

impl EncodedStore for ArchiveSource {
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
        self.container.read(self.images[index].number)
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

    fn drop_cache(&mut self) {
        self.container.drop_cache();
    }
}

fn attributes_of(
    path: &Path,
    container: &dyn ArchiveReader,
    table: &ArchiveMember,
    images: &[ArchiveMember],
    prefix: &str,
) -> Result<Attributes, DataError> {
    let bytes = read_text(path, container, table)?;
    let table_path = path.join(&table.name);
    // A table outside the splits' folders names them, and has the rows of the other split too.
    let prefix = if table.name == table::FILE_NAME { prefix } else { "" };
    let names: Vec<String> = images.iter().map(|image| format!("{prefix}{}", image.name)).collect();
    let elsewhere = |file: &str| !file.starts_with(prefix);
    AttributeTable::parse(&table_path, &bytes)?.match_images(
        &table_path,
        names.iter().map(String::as_str),
        elsewhere,
    )
}

/// Dot files, and the folder that macOS adds to archives.
fn is_hidden(name: &str) -> bool {
    name.split('/').any(|part| part.starts_with('.') || part == "__MACOSX")
}

/// Strips the folders that hold all files.
fn strip_common_folders(members: &mut [ArchiveMember]) {
    let Some(first) = members.first() else { return };
    let mut common = first.name.rfind('/').map_or(0, |slash| slash + 1);
    for member in members.iter() {
        while !member.name.starts_with(&first.name[..common]) {
            common = first.name[..common - 1].rfind('/').map_or(0, |slash| slash + 1);
        }
    }
    for member in members {
        member.name.drain(..common);
    }
}

/// The folder of the split, with its slash; empty without splits.
fn split_prefix(path: &Path, members: &[ArchiveMember], split: Split) -> Result<String, DataError> {
    let mut folders: Vec<&str> =
        members.iter().filter_map(|member| Some(member.name.split_once('/')?.0)).collect();
    folders.dedup();
    let prefix =
        |folder: Option<&str>| folder.map_or_else(String::new, |folder| format!("{folder}/"));
    classes::split_folder(path, &folders, split).map(prefix)
}
