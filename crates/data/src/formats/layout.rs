//! The one rule by which files of folders, zip and tar archives become a dataset: which of them are
//! its images, which split and class each is in, and what is left out.
//!
//! [`arrange`] is a function of a list of paths and of the contents of label files and tables:
//!
//! 1. Directories of training runs are left out, and images that this program wrote, unless there
//!    are no others.
//! 2. Folders that hold all images are stripped. On the way, the first level whose folders mean
//!    splits (see [`SplitFolders`]) is where the split is chosen.
//! 3. Labels come from label files, from StyleGAN's `dataset.json`, from a column `label` of
//!    Hugging Face's `metadata.csv` or `metadata.jsonl`, else from the first folders.
//! 4. Attributes come from `attributes.csv`, else from the other columns of that metadata.

use std::cell::LazyCell;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use super::file_kind::FileKind;
use super::labels::{self, ClassLabels, FoundLabels};
use super::metadata::Metadata;
use super::no_split;
use super::split_name::SplitFolders;
use super::table::{self, AttributeTable};
use crate::attributes::{self, Attributes};
use crate::error::{DataError, FileProblem};
use crate::layout_report::{LayoutNote, LayoutReport, images as count_images, listed};
use crate::source::Split;

/// A file as [`arrange`] sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct ListedFile<'a> {
    /// The index of its archive, where several archives are one dataset.
    pub shard: u32,
    /// The file's path, with `/` between the components.
    pub path: &'a [u8],
    pub kind: FileKind,
}

impl ListedFile<'_> {
    pub fn shown(&self) -> String {
        String::from_utf8_lossy(self.path).into_owned()
    }

    fn is_image(&self) -> bool {
        matches!(self.kind, FileKind::Image | FileKind::OwnImage)
    }
}

/// Reads the file of an index.
pub(super) type ReadFile<'a> = &'a dyn Fn(usize) -> Result<Vec<u8>, String>;

/// The files of a dataset, and how to read those that are not images.
#[derive(Clone, Copy)]
pub(super) struct Listing<'a> {
    /// The folder or archive, for messages.
    pub root: &'a Path,
    /// Whether the dataset is a folder, not an archive.
    pub is_folder: bool,
    /// The format's name, for messages.
    pub format: &'static str,
    /// Sorted by shard and path.
    pub files: &'a [ListedFile<'a>],
    pub read: ReadFile<'a>,
}

impl<'a> Listing<'a> {
    pub fn bad(&self, problem: impl Into<FileProblem>) -> DataError {
        DataError::malformed(self.format, self.root, problem)
    }

    /// The content of a text file, without the mark by which Windows programs begin UTF-8.
    pub fn text(&self, index: usize) -> Result<Vec<u8>, DataError> {
        let name = self.files[index].shown();
        let mut text = (self.read)(index)
            .map_err(|reason| self.bad(format!("cannot read {name:?}: {reason}")))?;
        if text.starts_with(b"\xEF\xBB\xBF") {
            text.drain(..3);
        }
        Ok(text)
    }

    /// The file called `name` in `folder` (with its slash) or in the nearest folder above it.
    pub fn nearest(&self, name: &str, folder: &[u8]) -> Option<usize> {
        let at = |file: &ListedFile<'a>| -> Option<&'a [u8]> {
            file.path.strip_suffix(name.as_bytes()).filter(|place| {
                folder.starts_with(place) && (place.is_empty() || place.ends_with(b"/"))
            })
        };
        let found = self.files.iter().enumerate();
        found
            .filter_map(|(index, file)| Some((at(file)?.len(), index)))
            .max()
            .map(|(_, index)| index)
    }
}

/// One split of a dataset.
#[derive(Debug)]
pub(super) struct DatasetLayout {
    /// The folder that holds all images, with its slash; their names are the paths inside it.
    pub folder: Vec<u8>,
    /// The indices of the images among the files, in order.
    pub images: Vec<usize>,
    pub classes: Option<ClassLabels>,
    pub attributes: Attributes,
    /// The index of the file `attributes.csv`.
    pub table: Option<usize>,
    /// The labels that the fingerprint of a dataset without classes hashes nevertheless.
    pub hashed_labels: Option<Vec<u32>>,
    pub report: LayoutReport,
}

/// Arranges the images of `split`.
pub(super) fn arrange(listing: Listing<'_>, split: Split) -> Result<DatasetLayout, DataError> {
    let Listing { root, files, .. } = listing;
    let mut notes = Vec::new();
    let in_run = find_runs(files, &mut notes);
    let images = choose_images(root, files, &in_run, &mut notes)?;
    let SplitImages { mut part, other, entered, text: split_text } =
        find_split(root, files, images, split)?;
    note_unread(files, &in_run, &part.folder, &mut notes);

    let metadata = Metadata::find(&listing, &in_run, &mut notes)?;
    let stylegan = listing.nearest(labels::STYLEGAN_FILE, &part.folder);
    let stylegan =
        stylegan.map(|index| labels::of_stylegan(&listing, index, &part.images, &mut notes));
    let (classes, class_text) = if let Some(found) = labels::of_files(&listing, &part.images)? {
        found
    } else if let Some(found) = stylegan.transpose()?.flatten() {
        found
    } else if let Some(labels) = metadata.as_ref().and_then(|data| data.labels.as_ref()) {
        labels.of_images(&listing, &part.images)?
    } else {
        part.classes(&listing, other.as_ref(), &mut notes)?
    };
    let table = listing.nearest(table::FILE_NAME, &part.folder);
    let attributes = match (table, metadata) {
        (Some(table), _) => attributes_of(&listing, table, &part, &mut notes)?,
        (None, Some(metadata)) => metadata.attributes(&listing, &part, &mut notes)?,
        (None, None) => attributes::NONE.clone(),
    };
    let hashed_labels = match classes {
        Some(_) => None,
        None => hashed_labels(&listing, &part, entered)?,
    };
    let description = format!("{class_text}{split_text}");
    let FolderImages { folder, images } = part;
    let report = LayoutReport { description, notes };
    Ok(DatasetLayout { folder, images, classes, attributes, table, hashed_labels, report })
}

/// The labels that an earlier rule gave to images without classes: by the first folder, even if it
/// holds all images or numbers them. They stay in the fingerprint, so that runs on such datasets
/// can be resumed.
fn hashed_labels(
    listing: &Listing<'_>,
    part: &FolderImages,
    entered: Option<usize>,
) -> Result<Option<Vec<u32>>, DataError> {
    let from = entered.unwrap_or(if listing.is_folder { 0 } else { part.folder.len() });
    let folders: Option<Vec<&[u8]>> =
        part.images.iter().map(|&index| first_folder(&listing.files[index].path[from..])).collect();
    let Some(folders) = folders else { return Ok(None) };
    Ok(Some(labels::by_folder(listing, folders.into_iter(), Vec::new())?.labels))
}

/// For each file, whether it is in a directory of a training run.
fn find_runs(files: &[ListedFile<'_>], notes: &mut Vec<LayoutNote>) -> Vec<bool> {
    let mut in_run = vec![false; files.len()];
    let folders = files.iter().filter_map(|file| file.path.strip_suffix(b"config.toml"));
    let is_run = |folder: &&[u8]| {
        (folder.is_empty() || folder.ends_with(b"/"))
            && files.iter().any(|file| {
                file.path.strip_prefix(*folder).is_some_and(|rest| {
                    rest == b"metrics.jsonl" || rest.starts_with(b"checkpoints/")
                })
            })
    };
    let (mut runs, mut count) = (Vec::new(), 0);
    for folder in folders.filter(is_run) {
        let mut found = 0;
        for (file, in_run) in files.iter().zip(&mut in_run) {
            if !*in_run && file.path.starts_with(folder) {
                *in_run = true;
                found += usize::from(file.is_image());
            }
        }
        if found > 0 {
            let shown = String::from_utf8_lossy(folder).trim_end_matches('/').to_owned();
            runs.push(if shown.is_empty() { ".".to_owned() } else { shown });
            count += found;
        }
    }
    if count > 0 {
        notes.push(LayoutNote::RunDirectories { count, folders: runs });
    }
    in_run
}

/// The images that other programs made; if there are none, those that this one made.
fn choose_images(
    root: &Path,
    files: &[ListedFile<'_>],
    in_run: &[bool],
    notes: &mut Vec<LayoutNote>,
) -> Result<Vec<usize>, DataError> {
    let of = |kind| -> Vec<usize> {
        (0..files.len()).filter(|&index| !in_run[index] && files[index].kind == kind).collect()
    };
    let (images, own) = (of(FileKind::Image), of(FileKind::OwnImage));
    match (images.is_empty(), own.first()) {
        (true, None) => {
            note_unread(files, in_run, b"", notes);
            let notes = std::mem::take(notes);
            Err(DataError::NoImages { path: root.to_owned(), files: files.len(), notes })
        }
        (true, Some(_)) => Ok(own),
        (false, None) => Ok(images),
        (false, Some(&first)) => {
            let first = files[first].shown();
            notes.push(LayoutNote::OwnImages { count: own.len(), first });
            Ok(images)
        }
    }
}

/// Counts the files in `folder` of formats that are not read.
fn note_unread(
    files: &[ListedFile<'_>],
    in_run: &[bool],
    folder: &[u8],
    notes: &mut Vec<LayoutNote>,
) {
    let mut found: BTreeMap<&str, (&'static str, usize, String)> = BTreeMap::new();
    for (file, in_run) in files.iter().zip(in_run) {
        if let FileKind::Unread(format) = file.kind
            && !in_run
            && file.path.starts_with(folder)
        {
            found.entry(format).or_insert_with(|| (format, 0, file.shown())).1 += 1;
        }
    }
    let note = |(format, count, first)| LayoutNote::Unread { format, count, first };
    notes.extend(found.into_values().map(note));
}

/// Images below a folder.
#[derive(Debug)]
pub(super) struct FolderImages {
    /// The folder's path, with a slash at its end.
    pub folder: Vec<u8>,
    /// Indices of files, in order.
    pub images: Vec<usize>,
}

/// The first folders of a part's images.
struct Level {
    /// The number of images that are in no folder.
    direct: usize,
    /// The folders' names, sorted, with the number of images in each.
    folders: Vec<(Vec<u8>, usize)>,
}

impl Level {
    fn names(&self) -> Vec<String> {
        let shown = |(name, _): &(Vec<u8>, usize)| String::from_utf8_lossy(name).into_owned();
        self.folders.iter().map(shown).collect()
    }
}

impl FolderImages {
    /// The path of an image inside the folder.
    fn name<'a>(&self, files: &[ListedFile<'a>], index: usize) -> &'a [u8] {
        &files[index].path[self.folder.len()..]
    }

    fn level(&self, files: &[ListedFile<'_>]) -> Level {
        let mut folders: BTreeMap<&[u8], usize> = BTreeMap::new();
        let mut direct = 0;
        for &index in &self.images {
            match first_folder(self.name(files, index)) {
                Some(folder) => *folders.entry(folder).or_default() += 1,
                None => direct += 1,
            }
        }
        let folders = folders.into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
        Level { direct, folders }
    }

    /// The images in these folders of it. The paths inside a single one are their names.
    fn inside(&self, files: &[ListedFile<'_>], names: &[&[u8]]) -> Self {
        let is_inside = |&index: &usize| {
            first_folder(self.name(files, index)).is_some_and(|folder| names.contains(&folder))
        };
        let images = self.images.iter().copied().filter(is_inside).collect();
        let mut folder = self.folder.clone();
        if let [name] = names {
            folder.extend_from_slice(name);
            folder.push(b'/');
        }
        Self { folder, images }
    }

    /// Classes from the first folders, and the line that says so. A few images outside of them are
    /// left out; with many, there are no classes. Classes of the training split keep their labels
    /// in the `other` one.
    fn classes(
        &mut self,
        listing: &Listing<'_>,
        other: Option<&Other>,
        notes: &mut Vec<LayoutNote>,
    ) -> Result<FoundLabels, DataError> {
        let files = listing.files;
        let none = |text: String| Ok((None, format!("no classes{text}")));
        let level = self.level(files);
        let names = level.names();
        let total = self.images.len();
        if names.is_empty() {
            return none(String::new());
        }
        if level.direct == 0 && self.images.iter().all(|&i| is_numbered(self.name(files, i))) {
            let folders = listed(names.iter().map(String::as_str));
            return none(format!(" (the folders {folders} number the images)"));
        }
        let outside = |&&index: &&usize| first_folder(self.name(files, index)).is_none();
        if let Some(&first) = self.images.iter().find(outside) {
            let first = files[first].shown();
            if names.len() < 2 || is_more_than_tenth(level.direct, total) {
                let direct = level.direct;
                return none(format!(
                    " ({direct} of {total} images are in no folder, {first:?} is the first)"
                ));
            }
            notes.push(LayoutNote::OutsideClasses { count: level.direct, first });
            let prefix = self.folder.len();
            self.images.retain(|&index| first_folder(&files[index].path[prefix..]).is_some());
        }
        let first = match other {
            Some(Other { part, is_train: true }) => part.level(files).names(),
            _ => Vec::new(),
        };
        let shares = first.iter().any(|name| names.contains(name));
        let known = if shares { first } else { Vec::new() };
        let folder_names = self.images.iter().filter_map(|&i| first_folder(self.name(files, i)));
        let classes = labels::by_folder(listing, folder_names, known)?;
        let text = match names.len() {
            1 => format!("1 class from folder {}", names[0]),
            count => {
                format!("{count} classes from folders {}", listed(names.iter().map(String::as_str)))
            }
        };
        Ok((Some(classes), text))
    }
}

/// The images of the split that was not asked for.
struct Other {
    part: FolderImages,
    is_train: bool,
}

/// The images of one split.
struct SplitImages {
    part: FolderImages,
    other: Option<Other>,
    /// The length of the split's folder, if there is one, with its slash.
    entered: Option<usize>,
    /// The end of the line that describes the dataset.
    text: String,
}

/// Strips the folders that hold all images and chooses the split's on the way.
fn find_split(
    root: &Path,
    files: &[ListedFile<'_>],
    images: Vec<usize>,
    split: Split,
) -> Result<SplitImages, DataError> {
    let mut part = FolderImages { folder: Vec::new(), images };
    let (mut other, mut text): (Option<Other>, Option<String>) = (None, None);
    let mut entered = None;
    loop {
        let level = part.level(files);
        let names = level.names();
        let shown: Vec<&str> = names.iter().map(String::as_str).collect();
        let alone = !is_more_than_tenth(level.direct, part.images.len());
        let found = if text.is_none() { SplitFolders::among(&shown, alone) } else { None };
        if let Some(SplitFolders { train, test }) = found {
            let (own, others) = match split {
                Split::Train => (train, test),
                Split::Test => (test, train),
            };
            let pick = |indices: &[usize]| -> Vec<&[u8]> {
                indices.iter().map(|&index| &*level.folders[index].0).collect()
            };
            if own.is_empty() && split == Split::Train {
                let folder = part.inside(files, &pick(&others[..1])).folder;
                let folder = String::from_utf8_lossy(&folder).trim_end_matches('/').to_owned();
                return Err(DataError::HeldOutOnly { path: root.to_owned(), folder });
            } else if own.is_empty() {
                break;
            }
            text = Some(split_text(split, &own, &others, &level, &shown));
            if !others.is_empty() {
                let mut part = part.inside(files, &pick(&others));
                while let [(only, _)] = &part.level(files).folders[..]
                    && part.level(files).direct == 0
                {
                    part = part.inside(files, &[only]);
                }
                other = Some(Other { part, is_train: split == Split::Test });
            }
            part = part.inside(files, &pick(&own));
            entered = Some(part.folder.len());
            continue;
        }
        // A folder that the other split has beside others is a class.
        let is_class = |name: &Vec<u8>| {
            let folders = other.as_ref().map(|other| other.part.level(files).folders);
            let folders = folders.unwrap_or_default();
            folders.len() > 1 && folders.iter().any(|(folder, _)| folder == name)
        };
        match &level.folders[..] {
            [(only, _)] if level.direct == 0 && !is_class(only) => {
                part = part.inside(files, &[only]);
            }
            _ => break,
        }
    }
    if split == Split::Test && text.is_none() {
        let wanted = "looked for a folder `train` next to one of test, val, valid, validation";
        return Err(no_split(root, split, wanted));
    }
    Ok(SplitImages { part, other, entered, text: text.unwrap_or_default() })
}

/// Which folders are the split, and which images are in none.
fn split_text(
    split: Split,
    own: &[usize],
    others: &[usize],
    level: &Level,
    names: &[&str],
) -> String {
    let mut text = format!("; split {}", split.name());
    let own_names: Vec<&str> = own.iter().map(|&index| names[index]).collect();
    if own_names != [split.name()] {
        text += &match &own_names[..] {
            [only] => format!(" in folder {only}"),
            several => format!(" in folders {}", listed(several.iter().copied())),
        };
    }
    let mut left_out: Vec<String> = (0..names.len())
        .filter(|index| !own.contains(index) && !others.contains(index))
        .map(|index| format!("{} ({})", names[index], count_images(level.folders[index].1)))
        .collect();
    if level.direct > 0 {
        left_out.push(format!("{} outside of folders", count_images(level.direct)));
    }
    if !left_out.is_empty() {
        text += &format!("; left out: {}", listed(left_out.iter().map(String::as_str)));
    }
    text
}

/// The rows of the table of attributes that are the part's.
fn attributes_of(
    listing: &Listing<'_>,
    table: usize,
    part: &FolderImages,
    notes: &mut Vec<LayoutNote>,
) -> Result<Attributes, DataError> {
    let path = listing.root.join(listing.files[table].shown());
    let (parsed, found) = AttributeTable::parse(&path, &listing.text(table)?)?;
    notes.extend(found);
    let folder = listing.files[table].path.len() - table::FILE_NAME.len();
    match_rows(&parsed, &path, listing, part, folder)
}

/// Matches a table whose rows are paths inside a folder, which is the first `folder` bytes of each
/// image's path. Rows of other files of the listing, and of files outside the part, are left out.
pub(super) fn match_rows(
    table: &AttributeTable,
    path: &Path,
    listing: &Listing<'_>,
    part: &FolderImages,
    folder: usize,
) -> Result<Attributes, DataError> {
    let shown = |path: &[u8]| String::from_utf8_lossy(&path[folder.min(path.len())..]).into_owned();
    let names: Vec<String> =
        part.images.iter().map(|&index| shown(listing.files[index].path)).collect();
    let inside = shown(&part.folder);
    // Rarely needed, and large.
    let listed =
        LazyCell::new(|| listing.files.iter().map(|file| shown(file.path)).collect::<HashSet<_>>());
    let elsewhere = |row: &str| !row.starts_with(&inside) || listed.contains(row);
    table.match_images(path, names.iter().map(String::as_str), elsewhere)
}

fn is_more_than_tenth(count: usize, total: usize) -> bool {
    count as u64 * 10 > total as u64
}

/// The first folder of a path, if it has one.
fn first_folder(path: &[u8]) -> Option<&[u8]> {
    path.iter().position(|&byte| byte == b'/').map(|slash| &path[..slash])
}

/// Whether the folder of a path numbers the image, as StyleGAN (`00001/img00001234.png`), FFHQ
/// (`01000/01234.png`) and img2dataset (`00001/000010234.jpg`) do.
fn is_numbered(path: &[u8]) -> bool {
    let Some((folder, name)) = std::str::from_utf8(path).ok().and_then(|path| path.split_once('/'))
    else {
        return false;
    };
    let stem = name.split('.').next().unwrap_or_default();
    let digits = |text: &str, length| {
        let is_number = text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse::<u64>().ok()).flatten()
    };
    let Some(folder_number) = digits(folder, 5) else { return false };
    match stem.strip_prefix("img") {
        Some(number) => digits(number, 8).is_some_and(|number| number / 1000 == folder_number),
        None => {
            digits(stem, 5).is_some_and(|number| number / 1000 * 1000 == folder_number)
                || digits(stem, 9).is_some_and(|number| number / 10_000 == folder_number)
        }
    }
}

#[cfg(test)]
mod tests;
