//! STL-10: files of 96×96 pictures in three planes, each by columns, and labels from 1 in files of their own.
//!
//! <https://cs.stanford.edu/~acoates/stl10/>. A folder holds `train_X.bin`, `train_y.bin`, `test_X.bin`, `test_y.bin`,
//! `class_names.txt` and `unlabeled_X.bin`. The training split is `train_X.bin`; the 100,000 unlabelled pictures are read where
//! they are named (or where there are no others).

use std::path::{Path, PathBuf};

use super::planar::{self, PixelOrder, PlanarPixels, PlanarSource, RecordFile};
use super::{first_file, io};
use crate::attributes::Attributes;
use crate::error::DataError;
use crate::spec::Split;

const FORMAT: &str = "STL-10 file";
const SIDE: usize = 96;
const CLASSES: usize = 10;
const NAMES: [&str; 3] = ["train_X.bin", "unlabeled_X.bin", "test_X.bin"];

/// Opens a folder of files, or one file of pictures.
pub(super) fn open(path: &Path, split: Split) -> Result<PlanarSource, DataError> {
    let file = images_file(path, split)?;
    let (records, _) = RecordFile::open(FORMAT, &file, 0, SIDE)?;
    let count = records.count();
    let labels = labels(&file, count)?;
    let class_names = match &labels {
        None => Vec::new(),
        Some(_) => planar::names_file(FORMAT, &file.with_file_name("class_names.txt"), CLASSES)?
            .unwrap_or_else(|| (1..=CLASSES).map(|label| label.to_string()).collect()),
    };
    let (pixels, attributes) = (PlanarPixels::Files(vec![records]), Attributes::default());
    Ok(PlanarSource {
        path: file,
        count,
        side: SIDE,
        order: PixelOrder::Columns,
        pixels,
        labels,
        class_names,
        attributes,
    })
}

/// Whether a folder holds such files.
pub(super) fn is_at(folder: &Path) -> bool {
    first_file(folder, &NAMES).is_some()
}

/// Whether a file is called like one of pictures.
pub(super) fn file_name_matches(path: &Path) -> bool {
    path.file_name().is_some_and(|name| NAMES.iter().any(|known| name == *known))
}

fn images_file(path: &Path, split: Split) -> Result<PathBuf, DataError> {
    let test = || DataError::NoSplit {
        path: path.to_owned(),
        split: split.name(),
        wanted: "looked for test_X.bin".to_owned(),
    };
    let folder = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
    match split {
        Split::Test => first_file(folder, &NAMES[2..]).ok_or_else(test),
        Split::Train if !path.is_dir() => Ok(path.to_owned()),
        Split::Train => first_file(folder, &NAMES[..2]).ok_or_else(|| DataError::NoSplit {
            path: path.to_owned(),
            split: split.name(),
            wanted: "looked for train_X.bin and unlabeled_X.bin".to_owned(),
        }),
    }
}

/// The labels beside a file of pictures, from 0.
fn labels(images: &Path, count: usize) -> Result<Option<Vec<u32>>, DataError> {
    let name = images.file_name().unwrap_or_default().to_string_lossy().replace("_X", "_y");
    let path = images.with_file_name(name);
    if path == images || !path.is_file() {
        return Ok(None);
    }
    let found = path.metadata().map_err(|error| io(&path, error))?.len();
    if found != count as u64 {
        let labels = usize::try_from(found).unwrap_or(usize::MAX);
        return Err(DataError::LabelCount {
            images_path: images.to_owned(),
            images: count,
            labels_path: path,
            labels,
        });
    }
    let bytes = std::fs::read(&path).map_err(|error| io(&path, error))?;
    let labels = planar::labels_within(FORMAT, &path, bytes.into_iter(), 1..=CLASSES as u8)?;
    Ok(Some(labels.into_iter().map(|label| label - 1).collect()))
}
