//! STL-10: files of 96×96 images in three column-major planes, and labels from 1 in separate files.
//!
//! <https://cs.stanford.edu/~acoates/stl10/>. A folder holds `train_X.bin`, `train_y.bin`,
//! `test_X.bin`, `test_y.bin`, `class_names.txt` and `unlabeled_X.bin`. The training split is
//! `train_X.bin`; the 100,000 unlabeled images are read if their file is named (or is the only
//! one).

use std::path::{Path, PathBuf};

use super::planar::{self, PixelOrder, PlanarPixels, PlanarSource, RecordFile};
use super::{Confidence, Format, first_file, io, no_split};
use crate::attributes::Attributes;
use crate::error::DataError;
use crate::source::Split;

const FORMAT_NAME: &str = "STL-10 file";
const SIDE: usize = 96;
const CLASSES: usize = 10;
const NAMES: [&str; 3] = ["train_X.bin", "unlabeled_X.bin", "test_X.bin"];

pub(crate) static FORMAT: Format = Format {
    name: "stl10",
    about: "STL-10's binary version: its folder, or one of its files of images",
    detect: |candidate| {
        let name = candidate.path.file_name();
        Ok(Confidence::Certain.when(match candidate.folder() {
            Some(folder) => first_file(folder, &NAMES).is_some(),
            None => NAMES.iter().any(|known| name.is_some_and(|name| name == *known)),
        }))
    },
    open: |path, split, _| Ok(Box::new(open(path, split)?)),
    image_shape: |_, _| Ok(Some([SIDE as u32, SIDE as u32, 3])),
};

/// Opens a folder of files, or one file of images.
fn open(path: &Path, split: Split) -> Result<PlanarSource, DataError> {
    let file = images_file(path, split)?;
    let (records, _) = RecordFile::open(FORMAT_NAME, &file, 0, SIDE)?;
    let count = records.count();
    let labels = labels(&file, count)?;
    let class_names = match &labels {
        None => Vec::new(),
        Some(_) => {
            planar::names_file(FORMAT_NAME, &file.with_file_name("class_names.txt"), CLASSES)?
                .unwrap_or_else(|| (1..=CLASSES).map(|label| label.to_string()).collect())
        }
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

fn images_file(path: &Path, split: Split) -> Result<PathBuf, DataError> {
    let folder = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
    let (names, wanted) = match split {
        Split::Test => (&NAMES[2..], "looked for test_X.bin"),
        Split::Train if !path.is_dir() => return Ok(path.to_owned()),
        Split::Train => (&NAMES[..2], "looked for train_X.bin and unlabeled_X.bin"),
    };
    first_file(folder, names).ok_or_else(|| no_split(path, split, wanted))
}

/// The labels that belong to a file of images, from 0.
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
    let bytes = file_io::read(&path).map_err(|error| io(&path, error))?;
    let labels = planar::labels_within(
        FORMAT_NAME,
        &path,
        bytes.into_iter().map(i64::from),
        1..=CLASSES as u8,
    )?;
    Ok(Some(labels.into_iter().map(|label| label - 1).collect()))
}
