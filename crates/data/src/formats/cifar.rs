//! CIFAR-10 and CIFAR-100 in their binary versions: records of 1 or 2 labels and 32×32 pixels in three planes.
//!
//! <https://www.cs.toronto.edu/~kriz/cifar.html>. A folder holds `data_batch_1.bin` to `data_batch_5.bin` and
//! `test_batch.bin` (10), or `train.bin` and `test.bin` (100); a single file is what it is. CIFAR-100's coarse labels are an
//! attribute.

use std::path::{Path, PathBuf};

use super::planar::{self, PixelOrder, PlanarPixels, PlanarSource, RecordFile};
use super::{first_file, io, read_start};
use crate::attributes::{Attribute, AttributeKind, Attributes};
use crate::error::DataError;
use crate::spec::{Kind, Split};

const SIDE: usize = 32;

/// One of the two sets.
pub(super) struct Cifar {
    name: &'static str,
    /// The largest value of each label byte of a record; the last is the class.
    labels: &'static [u8],
    /// The names of the values of each label, one a line.
    names: &'static [&'static str],
    /// What the values are called where that file is missing.
    known: &'static [&'static str],
    test: &'static str,
}

pub(super) static CIFAR10: Cifar = Cifar {
    name: "CIFAR-10 file",
    labels: &[9],
    names: &["batches.meta.txt"],
    known: &[
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ],
    test: "test_batch.bin",
};

pub(super) static CIFAR100: Cifar = Cifar {
    name: "CIFAR-100 file",
    labels: &[19, 99],
    names: &["coarse_label_names.txt", "fine_label_names.txt"],
    known: &[],
    test: "test.bin",
};

/// Opens a folder of files, or one file.
pub(super) fn open(
    set: &'static Cifar,
    path: &Path,
    split: Split,
) -> Result<PlanarSource, DataError> {
    let paths =
        if path.is_dir() { in_folder(set, path, split)? } else { vec![of_file(set, path, split)?] };
    let width = set.labels.len();
    let (mut files, mut columns) = (Vec::new(), vec![Vec::new(); width]);
    for path in &paths {
        let (file, labels) = RecordFile::open(set.name, path, width, SIDE)?;
        for (k, column) in columns.iter_mut().enumerate() {
            let values = labels.iter().skip(k).step_by(width).copied();
            column.extend(planar::labels_within(set.name, path, values, 0..=set.labels[k])?);
        }
        files.push(file);
    }
    let folder = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
    let mut names = Vec::new();
    for (k, file) in set.names.iter().enumerate() {
        let count = usize::from(set.labels[k]) + 1;
        let found = planar::names_file(set.name, &folder.join(file), count)?;
        names.push(found.unwrap_or_else(|| match set.known {
            [] => (0..count).map(|label| label.to_string()).collect(),
            known => known.iter().map(|&name| name.to_owned()).collect(),
        }));
    }
    let (labels, class_names) = (columns.pop(), names.pop().unwrap_or_default());
    let attributes = match (columns.pop(), names.pop()) {
        (Some(coarse), Some(names)) => Attributes {
            columns: vec![Attribute {
                name: "superclass".to_owned(),
                kind: AttributeKind::Category(names),
            }],
            values: coarse.into_iter().map(|label| label as f32).collect(),
        },
        _ => Attributes::default(),
    };
    let count = files.iter().map(RecordFile::count).sum();
    let pixels = PlanarPixels::Files(files);
    Ok(PlanarSource {
        path: path.to_owned(),
        count,
        side: SIDE,
        order: PixelOrder::Rows,
        pixels,
        labels,
        class_names,
        attributes,
    })
}

/// Which of the two a folder holds, by the names of its files and their lengths.
pub(super) fn kind_of_folder(folder: &Path) -> Option<Kind> {
    if first_file(folder, &["data_batch_1.bin", CIFAR10.test]).is_some() {
        return Some(Kind::Cifar10);
    }
    let file = first_file(folder, &["train.bin", CIFAR100.test])?;
    let named = folder.join(CIFAR100.names[1]).is_file();
    (named || is_whole(&CIFAR100, file.metadata().ok()?.len())).then_some(Kind::Cifar100)
}

/// Which of the two a `.bin` file is, by its length and the labels of its first records.
pub(super) fn kind_of_file(path: &Path) -> Result<Option<Kind>, DataError> {
    if !super::has_extension(path, &["bin"]) {
        return Ok(None);
    }
    let length = path.metadata().map_err(|error| io(path, error))?.len();
    let start = read_start(path)?;
    let fits = |set: &Cifar| {
        is_whole(set, length) && start.iter().zip(set.labels).all(|(label, most)| label <= most)
    };
    Ok(if fits(&CIFAR10) {
        Some(Kind::Cifar10)
    } else if fits(&CIFAR100) {
        Some(Kind::Cifar100)
    } else {
        None
    })
}

/// Whether a file is called like one of CIFAR-10's.
pub(super) fn file_name_matches(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with(".bin")
        && ["data_batch_", "test_batch"].iter().any(|known| name.starts_with(known))
}

fn is_whole(set: &Cifar, length: u64) -> bool {
    length > 0 && length.is_multiple_of((set.labels.len() + planar::image_len(SIDE)) as u64)
}

fn in_folder(set: &Cifar, folder: &Path, split: Split) -> Result<Vec<PathBuf>, DataError> {
    let test = folder.join(set.test);
    let none = |wanted: &str| DataError::NoSplit {
        path: folder.to_owned(),
        split: split.name(),
        wanted: format!("looked for {wanted}"),
    };
    if split == Split::Test {
        return if test.is_file() { Ok(vec![test]) } else { Err(none(set.test)) };
    }
    if set.test == CIFAR100.test {
        let train = folder.join("train.bin");
        return if train.is_file() { Ok(vec![train]) } else { Err(none("train.bin")) };
    }
    let batch = |k: usize| folder.join(format!("data_batch_{k}.bin"));
    let present: Vec<usize> = (1..=5).filter(|&k| batch(k).is_file()).collect();
    match present.last() {
        None => Err(none("data_batch_1.bin to data_batch_5.bin")),
        // A missing one in the middle was lost on the way; a set cut down on purpose is cut at its end.
        Some(&last) if present.len() < last => {
            Err(none(&format!("data_batch_1.bin to data_batch_{last}.bin, and one is missing")))
        }
        Some(_) => Ok(present.into_iter().map(batch).collect()),
    }
}

/// The file that was named; for the test split, the one beside a training file.
fn of_file(set: &Cifar, file: &Path, split: Split) -> Result<PathBuf, DataError> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    if split == Split::Train || name.contains("test") {
        return Ok(file.to_owned());
    }
    let test = file.with_file_name(set.test);
    let wanted = format!("looked for {} beside it", set.test);
    if test.is_file() {
        Ok(test)
    } else {
        Err(DataError::NoSplit { path: file.to_owned(), split: split.name(), wanted })
    }
}
