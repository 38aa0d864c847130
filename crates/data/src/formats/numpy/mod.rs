//! NumPy's arrays of images: `.npy` files, and `.npz` archives of them.
//!
//! Images are bytes (uint8): `[N, H, W]`, `[N, H, W, C]` or `[N, C, H, W]` with 1, 3 or 4 channels,
//! or `[N, S·S]` (QuickDraw). What an array holds is known by its name: `x_train`, `train_images`,
//! `imgs` or `arr_0` are images, `y_train`, `train_labels` or `arr_1` their labels, and the words
//! of the name decide the split (Keras's MNIST, MedMNIST). Labels of a file without any are in a
//! file beside it, such as `y_train.npy`, `k49-train-labels.npz` or `cats_labels.npy`.

mod array;

use std::path::{Path, PathBuf};

use self::array::{Array, ArrayFile};
use super::array_source::{ArrayPixels, ArraySource, ImageShape};
use super::labels::{self, ClassLabels};
use super::split_name::{SplitName, preferred, split_of, test_file_beside, words};
use super::{Confidence, DetectionInput, Format, has_extension, holds_image, io, no_split};
use crate::error::{DataError, FileProblem};
use crate::foreign::first_in_zip;
use crate::layout_report::LayoutReport;
use crate::source::Split;
use pickle::NpyHeader;

const FORMAT_NAME: &str = "NumPy file";

/// Words of the names of arrays of images, in order of preference.
const IMAGE_WORDS: &[&str] =
    &["images", "imgs", "image", "img", "x", "pixels", "data", "samples", "arr"];

/// Words of the names of arrays of labels, in order of preference.
const LABEL_WORDS: &[&str] = &["labels", "label", "y", "targets", "target", "classes", "class"];

/// How many arrays of a folder are opened to detect its format.
const LOOKED_INTO: usize = 64;

pub(crate) static NPY: Format = Format {
    name: "npy",
    about: "a NumPy array of images (.npy), or a folder of arrays",
    detect: |candidate| {
        let Some(start) = &candidate.start else { return detect_folder(candidate.path) };
        Ok(Confidence::Certain.when(start.starts_with(NpyHeader::MAGIC)))
    },
    open: |path, split, _| Ok(Box::new(open(path, split)?)),
    image_shape,
};

pub(crate) static NPZ: Format = Format {
    name: "npz",
    about: "an archive of NumPy arrays (.npz) with images and labels",
    detect: |candidate| Ok(Confidence::Certain.when(is_npz(candidate))),
    open: |path, split, _| Ok(Box::new(open(path, split)?)),
    image_shape,
};

/// Whether a file is a zip archive that begins with an array, or is named `.npz`.
fn is_npz(candidate: &DetectionInput<'_>) -> bool {
    let Some(start) = &candidate.start else { return false };
    let named = || has_extension(candidate.path, &["npz"]);
    start.starts_with(b"PK\x03\x04")
        && (first_in_zip(start).is_some_and(|name| name.ends_with(b".npy")) || named())
}

/// A folder with an array of images, and without image files.
fn detect_folder(folder: &Path) -> Result<Option<Confidence>, DataError> {
    let has_images = || {
        let files = npy_files(folder).unwrap_or_default();
        // A file that cannot be read is reported when the folder is opened.
        let mut arrays = files.iter().take(LOOKED_INTO).filter_map(|file| Array::of_npy(file).ok());
        arrays.any(|array| array.images().is_some())
    };
    Ok(Confidence::Likely.when(has_images() && !holds_image(folder)))
}

/// The `.npy` files directly in a folder, sorted by name.
fn npy_files(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let mut files = Vec::new();
    for entry in folder.read_dir().map_err(|error| io(folder, error))? {
        let path = entry.map_err(|error| io(folder, error))?.path();
        if has_extension(&path, &["npy"]) && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// `[H, W, C]` of the images of a split.
fn image_shape(path: &Path, split: Split) -> Result<Option<[u32; 3]>, DataError> {
    let ImageShape { height, width, channels, .. } = Images::find(path, split)?.shape;
    Ok(Some([height, width, channels.into()]))
}

/// Opens one split of a file, or of a folder of `.npy` files.
fn open(path: &Path, split: Split) -> Result<ArraySource, DataError> {
    let images = Images::find(path, split)?;
    let Images { mut file, at, shape } = images;
    let (classes, from) = find_labels(&file, at, shape.count)?;
    let array = &file.arrays[at];
    let pixels = match array.position() {
        Some(start) => ArrayPixels::open(&array.file, start)?,
        None => ArrayPixels::Memory(file.read(at, "the images of an npz file")?),
    };
    let array = file.arrays.swap_remove(at);
    let description = format!("{from}, images from {}; split {}", array.name, split.name());
    let report = Some(LayoutReport { description, notes: Vec::new() });
    Ok(ArraySource { path: array.file, shape, pixels, classes, report })
}

/// The array of images of one split.
struct Images {
    file: ArrayFile,
    /// Its index in `file`.
    at: usize,
    shape: ImageShape,
}

impl Images {
    fn find(path: &Path, split: Split) -> Result<Self, DataError> {
        let path = file_of(path, split)?;
        let is_named = path.is_file() && !has_extension(&path, &["npz"]) && !is_zip(&path)?;
        let file = ArrayFile::open(&path)?;
        let bad = |problem: FileProblem| DataError::malformed(FORMAT_NAME, &path, problem);
        let candidates: Vec<usize> =
            (0..file.arrays.len()).filter(|&k| file.arrays[k].images().is_some()).collect();
        if candidates.is_empty() {
            let known: Vec<String> = file.arrays.iter().map(Array::describe).collect();
            let wanted = "array of images: bytes (uint8) [N, H, W] or [N, H, W, C]";
            let found = match known[..] {
                [] => "it holds no arrays".to_owned(),
                _ => format!("it has {}", known.join(", ")),
            };
            return Err(bad(FileProblem::Missing(format!("{wanted} ({found})"))));
        }
        // A file of one array was named by the user, whatever split its name means.
        let at = match is_named {
            true => candidates[0],
            false => choose_images(&path, &file, candidates, split)?,
        };
        let array = &file.arrays[at];
        let shape = array.images().unwrap_or_else(|| Err("it has no images".to_owned()));
        let shape = shape.map_err(|problem| bad(FileProblem::Unsupported(problem)))?;
        array.require_bytes()?;
        Ok(Self { file, at, shape })
    }
}

fn is_zip(path: &Path) -> Result<bool, DataError> {
    Ok(super::read_start(path)?.starts_with(b"PK"))
}

/// The path itself, or for the test split the file beside a training file that has its name.
fn file_of(path: &Path, split: Split) -> Result<PathBuf, DataError> {
    if split == Split::Train || path.is_dir() || split_of(path) == Some(Split::Test) {
        return Ok(path.to_owned());
    }
    match test_file_beside(path) {
        Some(other) => Ok(other),
        // The arrays of an archive may be of several splits.
        None if is_zip(path)? => Ok(path.to_owned()),
        None => {
            let wanted = "looked beside it for a file with `test` in the place of `train`";
            Err(no_split(path, split, wanted))
        }
    }
}

/// The array of images of a split, by the names of the arrays.
fn choose_images(
    path: &Path,
    file: &ArrayFile,
    candidates: Vec<usize>,
    split: Split,
) -> Result<usize, DataError> {
    let name = |k: usize| file.arrays[k].name.as_str();
    let of = |k: usize| SplitName::of(name(k));
    let is_of = |k: &usize| of(*k).is_some_and(|found| found.split == split);
    let mut chosen: Vec<usize> = candidates.iter().copied().filter(is_of).collect();
    // Of `test` and `val`, `test` is the test split.
    let rank = chosen.iter().filter_map(|&k| of(k)).map(|found| found.rank).min();
    chosen.retain(|&k| of(k).map(|found| found.rank) == rank);
    if chosen.is_empty() && (split == Split::Train || split_of(path) == Some(Split::Test)) {
        chosen = candidates.iter().copied().filter(|&k| of(k).is_none()).collect();
    }
    let list = |arrays: &[usize]| arrays.iter().map(|&k| name(k)).collect::<Vec<_>>().join(", ");
    if chosen.is_empty() {
        let example = if split == Split::Train { "x_train" } else { "x_test" };
        let wanted = format!("looked for an array such as {example}; it has {}", list(&candidates));
        return Err(no_split(path, split, wanted));
    }
    match preferred(&chosen, name, IMAGE_WORDS)[..] {
        [one] => Ok(one),
        _ => Err(DataError::Ambiguous { path: path.to_owned(), files: list(&chosen) }),
    }
}

/// The labels of the images in `file.arrays[images]`, and the words that say where they are from.
fn find_labels(
    file: &ArrayFile,
    images: usize,
    count: usize,
) -> Result<(Option<ClassLabels>, String), DataError> {
    let array = &file.arrays[images];
    let split = SplitName::of(&array.name).map(|name| (name.split, name.rank));
    let name = |k: usize| file.arrays[k].name.as_str();
    let is_label = |&k: &usize| {
        let words = words(name(k));
        let named = words.iter().any(|word| LABEL_WORDS.contains(&word.as_str()))
            || array.name == "arr_0" && name(k) == "arr_1";
        let of = SplitName::of(name(k)).map(|name| (name.split, name.rank));
        k != images && named && of == split && file.arrays[k].images().is_none()
    };
    let arrays: Vec<usize> = (0..file.arrays.len()).filter(is_label).collect();
    match preferred(&arrays, name, LABEL_WORDS)[..] {
        [] => {}
        [one] => return read_labels(file, one, count, &array.name),
        [..] => {
            let names = arrays.iter().map(|&k| name(k)).collect::<Vec<_>>().join(", ");
            let problem = format!("it has several arrays of labels: {names}");
            return Err(DataError::malformed(
                FORMAT_NAME,
                &file.path,
                FileProblem::Labels(problem),
            ));
        }
    }
    // The arrays of a folder have been looked at.
    if file.path.is_dir() {
        return Ok((None, "no classes".to_owned()));
    }
    let Some(beside) = label_file(&file.path) else { return Ok((None, "no classes".to_owned())) };
    let labels = ArrayFile::open(&beside)?;
    let at = match labels.arrays.len() {
        1 => Some(0),
        count => (0..count).find(|&k| {
            words(&labels.arrays[k].name).iter().any(|word| LABEL_WORDS.contains(&word.as_str()))
        }),
    };
    let Some(at) = at else {
        let problem = FileProblem::Missing("array of labels".to_owned());
        return Err(DataError::malformed(FORMAT_NAME, &beside, problem));
    };
    let (classes, _) = read_labels(&labels, at, count, &array.name)?;
    let from = beside.file_name().unwrap_or_default().to_string_lossy();
    let text = classes.as_ref().map_or("no classes".to_owned(), labels::count);
    Ok((classes, format!("{text} from {from}")))
}

/// The labels in an array, one for each of `count` images of the array `images`.
fn read_labels(
    file: &ArrayFile,
    at: usize,
    count: usize,
    images: &str,
) -> Result<(Option<ClassLabels>, String), DataError> {
    let array = &file.arrays[at];
    let bad = |problem: FileProblem| DataError::malformed(FORMAT_NAME, &array.file, problem);
    let name = &array.name;
    match array.header.shape[..] {
        [rows] | [rows, 1] if rows == count as u64 => {}
        [rows, columns] if rows == count as u64 => {
            return Ok((None, format!("no classes ({name} has {columns} columns)")));
        }
        _ => {
            let problem = format!(
                "{images} has {count} images, and its labels {name} the shape {}",
                array.shape()
            );
            return Err(bad(FileProblem::Labels(problem)));
        }
    }
    let labels = array.labels(&file.read(at, "the labels of an npz file")?)?;
    let largest = labels.iter().max().copied().unwrap_or(0);
    let names = (0..=largest).map(|label| label.to_string()).collect();
    let classes = ClassLabels { labels, names };
    let text = format!("{} from {name}", labels::count(&classes));
    Ok((Some(classes), text))
}

/// The file of labels beside a file of images, if there is one.
fn label_file(images: &Path) -> Option<PathBuf> {
    let stem = images.file_stem()?.to_str()?;
    let mut names = Vec::new();
    for (from, to) in [("images", "labels"), ("imgs", "labels"), ("image", "label")] {
        names.push(stem.replacen(from, to, 1));
    }
    // `x` as a word: `X_train`, `train-x`.
    let part = |part: &str| match part {
        "x" | "X" => "y".to_owned(),
        other => other.to_owned(),
    };
    for mark in ['_', '-'] {
        names.push(stem.split(mark).map(part).collect::<Vec<_>>().join(&mark.to_string()));
    }
    names.push(stem.strip_suffix('X').map_or_else(|| stem.to_owned(), |start| format!("{start}y")));
    names.retain(|name| name != stem);
    names.extend(["_labels", "-labels", "_label", "_y"].map(|end| format!("{stem}{end}")));
    let named = |name: &String| {
        let file = |kind| images.with_file_name(format!("{name}.{kind}"));
        ["npy", "npz"].map(file).into_iter().find(|path| path.is_file() && path != images)
    };
    names.iter().find_map(named)
}
