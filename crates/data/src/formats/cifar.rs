//! CIFAR-10 and CIFAR-100 in their binary versions, records of 1 or 2 labels and 32×32 pixels in
//! three planes, and in their Python versions (`cifar_python.rs`).
//!
//! <https://www.cs.toronto.edu/~kriz/cifar.html>. A folder holds `data_batch_1.bin` to
//! `data_batch_5.bin` and `test_batch.bin` (10), or `train.bin` and `test.bin` (100), in the Python
//! version without `.bin`; a single file is a dataset of its own. CIFAR-100's coarse labels are an
//! attribute.

use std::path::{Path, PathBuf};

use super::cifar_python;
use super::planar::{self, PixelOrder, PlanarPixels, PlanarSource, RecordFile};
use super::split_name::split_of;
use super::{
    Confidence, DetectionInput, Format, first_file, has_extension, io, no_split, read_start,
};
use crate::attributes::{Attribute, AttributeKind, Attributes};
use crate::error::DataError;
use crate::source::Split;

const SIDE: usize = 32;

/// One of the two datasets.
struct Cifar {
    name: &'static str,
    /// The largest value of each label byte of a record; the last byte is the class.
    labels: &'static [u8],
    /// The files with the names of each label's values, one per line.
    names: &'static [&'static str],
    /// The keys of the labels, and of their values' names, in the Python version.
    keys: &'static [[&'static str; 2]],
    /// The file of those names in the Python version.
    meta: &'static str,
    /// The names to use if that file is missing.
    known: &'static [&'static str],
    test: &'static str,
}

static CIFAR10: Cifar = Cifar {
    name: "CIFAR-10 file",
    labels: &[9],
    names: &["batches.meta.txt"],
    keys: &[["labels", "label_names"]],
    meta: "batches.meta",
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

static CIFAR100: Cifar = Cifar {
    name: "CIFAR-100 file",
    labels: &[19, 99],
    names: &["coarse_label_names.txt", "fine_label_names.txt"],
    keys: &[["coarse_labels", "coarse_label_names"], ["fine_labels", "fine_label_names"]],
    meta: "meta",
    known: &[],
    test: "test.bin",
};

pub(crate) static FORMAT10: Format = Format {
    name: "cifar10",
    about: "CIFAR-10's binary or Python version: its folder, or one of its files",
    detect: |candidate| match candidate.folder() {
        Some(folder) => {
            let file = first_file(folder, &["data_batch_1.bin", CIFAR10.test]);
            Ok(Confidence::Certain.when(file.is_some() || has_pickle(folder, "data_batch_1")?))
        }
        // The first pixels of such a file may look like the signature of another format.
        None if file_name_matches(candidate.path) => Ok(Some(Confidence::Certain)),
        None => detect_file(&CIFAR10, candidate),
    },
    open: |path, split, _| Ok(Box::new(open(&CIFAR10, path, split)?)),
    image_shape: |_, _| Ok(Some([SIDE as u32, SIDE as u32, 3])),
};

pub(crate) static FORMAT100: Format = Format {
    name: "cifar100",
    about: "CIFAR-100's binary or Python version: its folder, or one of its files",
    detect: |candidate| match candidate.folder() {
        Some(folder) if has_pickle(folder, "meta")? && has_pickle(folder, "train")? => {
            Ok(Some(Confidence::Certain))
        }
        Some(folder) => {
            let Some(file) = first_file(folder, &["train.bin", CIFAR100.test]) else {
                return Ok(None);
            };
            // `train.bin` is a common name: the class names or the length must agree.
            let fits = || file.metadata().is_ok_and(|data| is_whole(&CIFAR100, data.len()));
            let named = folder.join(CIFAR100.names[1]).is_file();
            Ok(Confidence::Certain.when(named || fits()))
        }
        None => detect_file(&CIFAR100, candidate),
    },
    open: |path, split, _| Ok(Box::new(open(&CIFAR100, path, split)?)),
    image_shape: |_, _| Ok(Some([SIDE as u32, SIDE as u32, 3])),
};

/// Opens a folder of files, or one file.
fn open(set: &'static Cifar, path: &Path, split: Split) -> Result<PlanarSource, DataError> {
    let paths =
        if path.is_dir() { in_folder(set, path, split)? } else { vec![of_file(set, path, split)?] };
    let width = set.labels.len();
    let is_python = match paths.first() {
        Some(path) => cifar_python::is_pickle(&read_start(path)?) && !has_extension(path, &["bin"]),
        None => false,
    };
    let (mut files, mut memory) = (Vec::new(), Vec::new());
    let mut columns = vec![Vec::new(); width];
    let check = |path: &Path, k: usize, values: &mut dyn Iterator<Item = i64>| {
        planar::labels_within(set.name, path, values, 0..=set.labels[k])
    };
    for path in &paths {
        if is_python {
            let keys: Vec<&str> = set.keys.iter().map(|[labels, _]| *labels).collect();
            let batch = cifar_python::read_batch(set.name, path, &keys, SIDE)?;
            memory.extend_from_slice(&batch.pixels);
            for (k, labels) in batch.labels.into_iter().enumerate() {
                columns[k].extend(check(path, k, &mut labels.into_iter())?);
            }
            continue;
        }
        let (file, labels) = RecordFile::open(set.name, path, width, SIDE)?;
        for (k, column) in columns.iter_mut().enumerate() {
            let values = labels.iter().skip(k).step_by(width).copied();
            column.extend(check(path, k, &mut values.map(i64::from))?);
        }
        files.push(file);
    }
    let folder = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
    let mut names = Vec::new();
    for (k, file) in set.names.iter().enumerate() {
        let count = usize::from(set.labels[k]) + 1;
        let found = match is_python {
            true => {
                cifar_python::read_names(set.name, &folder.join(set.meta), set.keys[k][1], count)?
            }
            false => planar::names_file(set.name, &folder.join(file), count)?,
        };
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
    let (count, pixels) = match is_python {
        true => (memory.len() / planar::image_len(SIDE), PlanarPixels::Memory(memory)),
        false => (files.iter().map(RecordFile::count).sum(), PlanarPixels::Files(files)),
    };
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

/// A `.bin` file of whole records, the first of which has labels in range.
fn detect_file(
    set: &Cifar,
    candidate: &DetectionInput<'_>,
) -> Result<Option<Confidence>, DataError> {
    let path = candidate.path;
    if !has_extension(path, &["bin"]) {
        return Ok(None);
    }
    let length = path.metadata().map_err(|error| io(path, error))?.len();
    let mut labels = candidate.start.iter().flatten().zip(set.labels);
    let fits = is_whole(set, length) && labels.all(|(label, most)| label <= most);
    Ok(Confidence::Possible.when(fits))
}

/// Whether a file has the name of one of CIFAR-10's.
fn file_name_matches(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    (name.ends_with(".bin") || !name.contains('.'))
        && ["data_batch_", "test_batch"].iter().any(|known| name.starts_with(known))
}

/// Whether a folder has a file of this name that begins as a pickle.
fn has_pickle(folder: &Path, name: &str) -> Result<bool, DataError> {
    let path = folder.join(name);
    Ok(path.is_file() && cifar_python::is_pickle(&read_start(&path)?))
}

fn is_whole(set: &Cifar, length: u64) -> bool {
    length > 0 && length.is_multiple_of((set.labels.len() + planar::image_len(SIDE)) as u64)
}

fn in_folder(set: &Cifar, folder: &Path, split: Split) -> Result<Vec<PathBuf>, DataError> {
    // The Python version's names lack the extension.
    let is_python = !folder.join(set.test).is_file()
        && [folder.join("data_batch_1"), folder.join("train")].iter().any(|path| path.is_file())
        && first_file(folder, &["data_batch_1.bin", "train.bin"]).is_none();
    let named = |name: &str| {
        folder.join(if is_python { name.strip_suffix(".bin").unwrap_or(name) } else { name })
    };
    let test = named(set.test);
    let none = |wanted: &str| {
        let wanted = if is_python { wanted.replace(".bin", "") } else { wanted.to_owned() };
        no_split(folder, split, format!("looked for {wanted}"))
    };
    if split == Split::Test {
        return if test.is_file() { Ok(vec![test]) } else { Err(none(set.test)) };
    }
    if set.test == CIFAR100.test {
        let train = named("train.bin");
        return if train.is_file() { Ok(vec![train]) } else { Err(none("train.bin")) };
    }
    let batch = |k: usize| named(&format!("data_batch_{k}.bin"));
    let present: Vec<usize> = (1..=5).filter(|&k| batch(k).is_file()).collect();
    match present.last() {
        None => Err(none("data_batch_1.bin to data_batch_5.bin")),
        // A missing file in the middle is a loss; a dataset that was cut down on purpose lacks the
        // last files.
        Some(&last) if present.len() < last => {
            Err(none(&format!("data_batch_1.bin to data_batch_{last}.bin, and one is missing")))
        }
        Some(_) => Ok(present.into_iter().map(batch).collect()),
    }
}

/// The file at this path; for the test split, the one in the folder of a training file.
fn of_file(set: &Cifar, file: &Path, split: Split) -> Result<PathBuf, DataError> {
    if split == Split::Train || split_of(file) == Some(Split::Test) {
        return Ok(file.to_owned());
    }
    let name = match has_extension(file, &["bin"]) {
        true => set.test,
        false => set.test.strip_suffix(".bin").unwrap_or(set.test),
    };
    let test = file.with_file_name(name);
    let missing = || no_split(file, split, format!("looked for {name} next to it"));
    if test.is_file() { Ok(test) } else { Err(missing()) }
}
