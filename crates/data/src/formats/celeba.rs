//! CelebA: aligned faces in `img_align_celeba`, with the forty attributes of `list_attr_celeba.txt`
//! and the splits of `list_eval_partition.txt`.
//!
//! <https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html>. The lists are in the folder above the
//! images, or in `Anno` and `Eval` as distributed. The training split is partition 0, the test
//! split partition 2.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::folder::{self, FolderSource};
use super::table::AttributeTable;
use super::{Candidate, Confidence, Format, any_shape, first_file, io, no_split};
use crate::attributes::{Attribute, AttributeKind};
use crate::error::DataError;
use crate::source::Split;

const ATTRIBUTES: [&str; 2] = ["list_attr_celeba.txt", "Anno/list_attr_celeba.txt"];
const PARTITION: [&str; 2] = ["list_eval_partition.txt", "Eval/list_eval_partition.txt"];
const IMAGES: [&str; 2] = ["img_align_celeba", "Img/img_align_celeba"];

pub(crate) static FORMAT: Format = Format {
    name: "celeba",
    about: "CelebA: the folder with img_align_celeba and list_attr_celeba.txt",
    detect,
    open: |path, split, _| Ok(Box::new(open(path, split)?)),
    image_shape: any_shape,
};

fn detect(candidate: &Candidate<'_>) -> Result<Option<Confidence>, DataError> {
    let list = candidate.folder().and_then(|folder| first_file(folder, &ATTRIBUTES));
    Ok(Confidence::Certain.when(list.is_some()))
}

/// Opens the folder that holds lists and images.
fn open(path: &Path, split: Split) -> Result<FolderSource, DataError> {
    let no =
        |wanted: &str| DataError::malformed("CelebA folder", path, format!("it has no {wanted}"));
    let list = first_file(path, &ATTRIBUTES).ok_or_else(|| no(ATTRIBUTES[0]))?;
    let root = IMAGES
        .iter()
        .map(|name| path.join(name))
        .find(|root| root.is_dir())
        .ok_or_else(|| no(IMAGES[0]))?;
    let files = folder::list(&root)?;
    let names = names(&files, &root)?;
    // All images must be there, whatever the split.
    let table = attribute_table(&list)?;
    let all = table.match_images(&list, names.iter().map(String::as_str), |_| false)?;
    let partition = match first_file(path, &PARTITION) {
        Some(file) => partition(&file, &names)?,
        None if split == Split::Train => vec![0; files.len()],
        None => {
            return Err(no_split(path, split, format!("looked for {}", PARTITION[0])));
        }
    };
    let wanted = if split == Split::Train { 0 } else { 2 };
    let chosen = |index: &usize| partition[*index] == wanted;
    let mut attributes =
        crate::attributes::Attributes { columns: all.columns.clone(), values: Vec::new() };
    (0..files.len())
        .filter(chosen)
        .for_each(|index| attributes.values.extend_from_slice(all.of(index)));
    let chosen: Vec<PathBuf> = files
        .iter()
        .enumerate()
        .filter(|(index, _)| chosen(index))
        .map(|(_, file)| file.clone())
        .collect();
    if chosen.is_empty() {
        return Err(no_split(path, split, format!("no image is of partition {wanted}")));
    }
    Ok(FolderSource::of_files(root, chosen, attributes))
}

fn names(files: &[PathBuf], root: &Path) -> Result<Vec<String>, DataError> {
    let name = |file: &PathBuf| match file.to_str() {
        Some(name) => Ok(name.replace('\\', "/")),
        None => Err(DataError::malformed(
            "CelebA folder",
            root,
            format!("the name of {file:?} is not UTF-8"),
        )),
    };
    files.iter().map(name).collect()
}

fn read(path: &Path) -> Result<String, DataError> {
    let bytes = std::fs::read(path).map_err(|error| io(path, error))?;
    String::from_utf8(bytes)
        .map_err(|_| DataError::malformed("CelebA list", path, "it is not UTF-8".to_owned()))
}

/// Parses the number of rows, the attributes' names, and one row per image: its name and -1 or 1
/// for each attribute.
fn attribute_table(path: &Path) -> Result<AttributeTable, DataError> {
    let bad = |problem: String| DataError::malformed("CelebA list", path, problem);
    let text = read(path)?;
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let promised: usize = lines
        .next()
        .and_then(|(_, line)| line.trim().parse().ok())
        .ok_or_else(|| bad("its first line is not a number of images".to_owned()))?;
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
                    return Err(bad(format!("line {}: {other:?} is neither 1 nor -1", number + 1)));
                }
            });
        }
        if values.len() != files.len() * columns.len() {
            return Err(bad(format!(
                "line {} has not {} values, one for each attribute",
                number + 1,
                columns.len()
            )));
        }
    }
    if files.len() != promised {
        return Err(bad(format!(
            "truncated: {promised} rows declared, but it holds {}",
            files.len()
        )));
    }
    Ok(AttributeTable::new(columns, files, values))
}

/// The partition (0, 1 or 2) of each image.
fn partition(path: &Path, names: &[String]) -> Result<Vec<u8>, DataError> {
    let bad = |problem: String| DataError::malformed("CelebA list", path, problem);
    let text = read(path)?;
    let mut of = HashMap::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let cells: Vec<&str> = line.split_whitespace().collect();
        let [name, part @ ("0" | "1" | "2")] = cells[..] else {
            return Err(bad(format!("line {} is not an image's name and 0, 1 or 2", number + 1)));
        };
        if of.insert(name, part.as_bytes()[0] - b'0').is_some() {
            return Err(bad(format!("line {} is the second for {name:?}", number + 1)));
        }
    }
    let part = |name: &String| {
        of.remove(name.as_str()).ok_or_else(|| bad(format!("it has no row for {name:?}")))
    };
    let parts = names.iter().map(part).collect::<Result<_, _>>()?;
    match of.keys().min() {
        Some(name) => Err(bad(format!("there is no image for its row {name:?}"))),
        None => Ok(parts),
    }
}
