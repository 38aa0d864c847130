//! CelebA: aligned faces in `img_align_celeba`, with the forty attributes of `list_attr_celeba.txt`
//! and the splits of `list_eval_partition.txt`.
//!
//! <https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html>. The lists are in the folder above the
//! images, or in `Anno` and `Eval` as distributed, or CSV files as on Kaggle; the images may be in
//! a folder inside the folder, or in `img_align_celeba.zip`, and all of it in one zip archive. The
//! training split is partition 0, the test split partition 2.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::file_store::{FileEntry, FileStore, is_hidden};
use super::folder::FolderFiles;
use super::image_files::ImageFiles;
use super::table::{AttributeTable, CsvTable};
use super::zip::{self, ZipFiles};
use super::{Confidence, DetectionInput, Format, any_shape, first_file, no_split};
use crate::attributes::{Attribute, AttributeKind, Attributes};
use crate::decode::has_image_extension;
use crate::error::{DataError, FileProblem};
use crate::source::Split;

const ATTRIBUTES: [&str; 2] = ["list_attr_celeba.txt", "list_attr_celeba.csv"];
const PARTITION: [&str; 2] = ["list_eval_partition.txt", "list_eval_partition.csv"];
const IMAGES: &str = "img_align_celeba";

pub(crate) static FORMAT: Format = Format {
    name: "celeba",
    about: "CelebA: the folder (or zip) with img_align_celeba and list_attr_celeba.txt or .csv",
    detect,
    open: |path, split, _| Ok(Box::new(open(path, split)?)),
    image_shape: any_shape,
};

fn detect(candidate: &DetectionInput<'_>) -> Result<Option<Confidence>, DataError> {
    let has_list = match candidate.folder() {
        Some(folder) => {
            ["", "Anno"].iter().any(|place| first_file(&folder.join(place), &ATTRIBUTES).is_some())
        }
        // A damaged archive is reported by its own format.
        None if zip::is_zip(candidate) => ZipFiles::open(candidate.path)
            .is_ok_and(|(_, entries)| find(&entries, &ATTRIBUTES).is_some()),
        None => false,
    };
    Ok(Confidence::Certain.when(has_list))
}

/// The lists, and the images with their names.
struct CelebA<'a> {
    path: &'a Path,
    lists: Box<dyn FileStore>,
    entries: Vec<FileEntry>,
}

/// Opens the folder or archive that holds lists and images.
fn open(path: &Path, split: Split) -> Result<ImageFiles, DataError> {
    let (lists, entries): (Box<dyn FileStore>, _) = if path.is_dir() {
        let (store, entries) = FolderFiles::list(path)?;
        (Box::new(store), entries)
    } else {
        let (store, entries) = ZipFiles::open(path)?;
        (Box::new(store), entries)
    };
    let set = CelebA { path, lists, entries };
    let no = |wanted: &str| {
        DataError::malformed("CelebA", path, FileProblem::Missing(wanted.to_owned()))
    };
    let list = find(&set.entries, &ATTRIBUTES).ok_or_else(|| no(ATTRIBUTES[0]))?;
    let mut images = images(path, &set.entries)?;
    let mut archive = None;
    if images.is_empty()
        && let Some(file) = set.archive()
    {
        let (store, entries) = ZipFiles::open(&file)?;
        images = self::images(&file, &entries)?;
        archive = Some((file, store));
    }
    if images.is_empty() {
        return Err(no(IMAGES));
    }
    let names: Vec<&str> = images.iter().map(|(name, _)| name.as_str()).collect();
    // All images must be there, whatever the split.
    let table = set.attribute_table(list)?;
    let all = table.match_images(&set.file(list), names.iter().copied(), |_| false)?;
    let partition = match find(&set.entries, &PARTITION) {
        Some(file) => set.partition(file, &names)?,
        None if split == Split::Train => vec![0; images.len()],
        None => {
            return Err(no_split(path, split, format!("looked for {}", PARTITION[0])));
        }
    };
    let wanted = if split == Split::Train { 0 } else { 2 };
    let is_chosen = |index: &usize| partition[*index] == wanted;
    let mut attributes = Attributes { columns: all.columns.clone(), values: Vec::new() };
    (0..images.len())
        .filter(is_chosen)
        .for_each(|index| attributes.values.extend_from_slice(all.of(index)));
    let total = images.len();
    let chosen: Vec<(String, usize)> = images
        .into_iter()
        .zip(&partition)
        .filter_map(|(image, part)| (*part == wanted).then_some(image))
        .collect();
    if chosen.is_empty() {
        return Err(no_split(path, split, format!("no image is of partition {wanted}")));
    }
    let description =
        format!("no classes; split {}, {} of {total} images", split.name(), chosen.len());
    let (root, store): (PathBuf, Box<dyn FileStore>) = match archive {
        Some((file, store)) => (file, Box::new(store)),
        None => {
            let folder = chosen.first().and_then(|(name, number)| {
                let file = path.join(set.lists.file(*number)?);
                file.ancestors().nth(name.split('/').count()).map(Path::to_owned)
            });
            (folder.unwrap_or_else(|| path.to_owned()), set.lists)
        }
    };
    Ok(ImageFiles::of_files(root, store, chosen.into_iter(), attributes, description))
}

/// The first of the files with one of these names, in any folder.
fn find<'a>(entries: &'a [FileEntry], names: &[&str]) -> Option<&'a FileEntry> {
    let is_named = |entry: &&FileEntry| {
        let name = entry.path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        names.iter().any(|wanted| name == wanted.as_bytes())
    };
    entries.iter().filter(is_named).min_by_key(|entry| &entry.path)
}

/// The path inside the (innermost) folder of images, and the number, of each image; sorted.
fn images(path: &Path, entries: &[FileEntry]) -> Result<Vec<(String, usize)>, DataError> {
    let bad = |problem: FileProblem| DataError::malformed("CelebA", path, problem);
    let mut images = Vec::new();
    for entry in entries {
        let shown = String::from_utf8_lossy(&entry.path);
        let mut parts = shown.split('/');
        let Some(folder) = parts.clone().position(|part| part == IMAGES) else { continue };
        let name: Vec<&str> =
            parts.by_ref().skip(folder + 1).skip_while(|part| *part == IMAGES).collect();
        if name.is_empty()
            || name.iter().any(|part| is_hidden(part.as_bytes()))
            || !has_image_extension(Path::new(&*shown))
        {
            continue;
        }
        if shown.contains(char::REPLACEMENT_CHARACTER) {
            return Err(bad(FileProblem::NotUtf8(format!("the name of {shown:?}"))));
        }
        images.push((name.join("/"), entry.number));
    }
    images.sort_unstable();
    match images.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        Some(pair) => {
            let name = pair[0].0.clone();
            Err(bad(FileProblem::Twice { what: "images", name }))
        }
        None => Ok(images),
    }
}

impl CelebA<'_> {
    fn file(&self, entry: &FileEntry) -> PathBuf {
        self.path.join(entry.shown())
    }

    /// The archive of images beside the lists.
    fn archive(&self) -> Option<PathBuf> {
        let entry = find(&self.entries, &["img_align_celeba.zip"])?;
        self.lists.file(entry.number).map(|file| self.path.join(file))
    }

    fn text(&self, entry: &FileEntry) -> Result<String, DataError> {
        let bad =
            |problem: FileProblem| DataError::malformed("CelebA list", &self.file(entry), problem);
        let bytes = self.lists.read(entry.number).map_err(|reason| bad(reason.into()))?;
        String::from_utf8(bytes).map_err(|_| bad(FileProblem::NotUtf8("its text".to_owned())))
    }

    fn attribute_table(&self, list: &FileEntry) -> Result<AttributeTable, DataError> {
        let (path, text) = (self.file(list), self.text(list)?);
        if list.path.ends_with(b".csv") {
            let table = CsvTable::parse(&path, text.as_bytes())?;
            return Ok(AttributeTable::of_cells(&path, table, false)?.0);
        }
        attribute_table(&path, &text)
    }

    /// The partition (0, 1 or 2) of each image.
    fn partition(&self, list: &FileEntry, names: &[&str]) -> Result<Vec<u8>, DataError> {
        partition(&self.file(list), &self.text(list)?, names)
    }
}

/// Parses the number of rows, the attributes' names, and one row per image: its name and -1 or 1
/// for each attribute.
fn attribute_table(path: &Path, text: &str) -> Result<AttributeTable, DataError> {
    let bad = |problem: FileProblem| DataError::malformed("CelebA list", path, problem);
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let promised: usize = lines
        .next()
        .and_then(|(_, line)| line.trim().parse().ok())
        .ok_or_else(|| bad(line_problem(0, "not a number of images")))?;
    let heads: Vec<&str> =
        lines.next().map(|(_, line)| line.split_whitespace().collect()).unwrap_or_default();
    let columns: Vec<_> = heads
        .iter()
        .map(|&name| Attribute { name: name.to_owned(), kind: AttributeKind::Binary })
        .collect();
    let (mut files, mut values) = (Vec::new(), Vec::new());
    for (number, line) in lines {
        let mut cells = line.split_whitespace();
        files.push(cells.next().unwrap_or_default().to_owned());
        for cell in cells {
            values.push(match cell {
                "1" => 1.0,
                "-1" => 0.0,
                other => {
                    return Err(bad(line_problem(
                        number,
                        format!("{other:?} is neither 1 nor -1"),
                    )));
                }
            });
        }
        if values.len() != files.len() * columns.len() {
            let problem = format!("not {} values, one for each attribute", columns.len());
            return Err(bad(line_problem(number, problem)));
        }
    }
    if files.len() != promised {
        let problem = format!("{promised} rows declared, but it holds {}", files.len());
        return Err(bad(FileProblem::Truncated(problem)));
    }
    Ok(AttributeTable::new(columns, files, values))
}

/// A problem of the line at this index.
fn line_problem(index: usize, problem: impl Into<String>) -> FileProblem {
    FileProblem::Line { line: index as u64 + 1, problem: problem.into() }
}

/// The partition (0, 1 or 2) of each image.
fn partition(path: &Path, text: &str, names: &[&str]) -> Result<Vec<u8>, DataError> {
    let bad = |problem: FileProblem| DataError::malformed("CelebA list", path, problem);
    let mut of = HashMap::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let is_space = |c: char| c == ',' || c.is_whitespace();
        let cells: Vec<&str> = line.split(is_space).filter(|cell| !cell.is_empty()).collect();
        if number == 0 && cells.last() == Some(&"partition") {
            continue;
        }
        let [name, part @ ("0" | "1" | "2")] = cells[..] else {
            return Err(bad(line_problem(number, "not an image's name and 0, 1 or 2")));
        };
        if of.insert(name, part.as_bytes()[0] - b'0').is_some() {
            return Err(bad(line_problem(number, format!("the second for {name:?}"))));
        }
    }
    let mut without = names.iter().filter(|name| !of.contains_key(**name));
    if let Some(first) = without.next() {
        let (name, more) = ((*first).to_owned(), without.count());
        return Err(bad(FileProblem::NoRow { name, more }));
    }
    let parts = names.iter().filter_map(|name| of.remove(*name)).collect();
    match of.keys().min() {
        Some(name) => {
            let (name, more) = ((*name).to_owned(), of.len() - 1);
            Err(bad(FileProblem::NoImage { name, more }))
        }
        None => Ok(parts),
    }
}
