//! Helpers that build the tests' files.
#![allow(dead_code, unused_macros, unused_imports, reason = "each test program uses a part")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use data::{DataError, Dataset, FileProblem, Preprocess, Split};
use flate2::{Compression, write::GzEncoder};

/// A file or folder that `tests/fixtures/generate.py` wrote.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// Pixels of image `k` of the fixtures, `[side, side, 3]`.
pub fn pixels(k: usize, side: usize) -> Vec<u8> {
    let value = |at: usize| 50 * k + 3 * (at / (side * 3)) + 5 * (at / 3 % side) + 80 * (at % 3);
    (0..side * side * 3).map(|at| value(at) as u8).collect()
}

/// A copy of a fixture that may be changed, in a folder of its own.
pub fn copied(name: &str) -> tempfile::TempDir {
    fn copy(from: &Path, to: &Path) {
        if from.is_dir() {
            fs::create_dir_all(to).unwrap();
            from.read_dir().unwrap().for_each(|entry| {
                let from = entry.unwrap().path();
                copy(&from, &to.join(from.file_name().unwrap()));
            });
        } else {
            fs::copy(from, to).unwrap();
        }
    }
    let folder = tempfile::tempdir().unwrap();
    copy(&fixture(name), folder.path());
    folder
}

/// Opens with a format prefix (`idx:`), or with the empty one.
pub fn open_as(
    kind: &str,
    path: &Path,
    split: Split,
    preprocess: &Preprocess,
) -> Result<Dataset, DataError> {
    Dataset::open(&format!("{kind}{}", path.display()), split, preprocess, &|_| ())
}

pub fn labels(set: &Dataset) -> Vec<u32> {
    (0..set.len()).map(|index| set.label(index).unwrap()).collect()
}

/// The names of the attributes' columns.
pub fn column_names(set: &Dataset) -> Vec<&str> {
    set.attribute_columns().iter().map(|column| column.name.as_str()).collect()
}

/// An idx header of unsigned bytes, and the data after it.
pub fn idx(sides: &[u32], data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, sides.len() as u8];
    sides.iter().for_each(|side| bytes.extend(side.to_be_bytes()));
    bytes.extend(data);
    bytes
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Four 3×2 images counting from 0, and their labels.
pub fn small_set(folder: &Path) {
    write(folder, "train-images-idx3-ubyte", &idx(&[4, 3, 2], &(0..24).collect::<Vec<_>>()));
    write(folder, "train-labels-idx1-ubyte", &idx(&[4], &[2, 0, 1, 2]));
}

pub fn write(folder: &Path, name: &str, bytes: &[u8]) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// An image of one color, in the format of its name.
pub fn plain(folder: &Path, name: &str, side: u32, color: [u8; 3]) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    image::RgbImage::from_pixel(side, side, image::Rgb(color)).save(path).unwrap();
}

pub fn open(path: &Path, preprocess: &Preprocess) -> Result<Dataset, DataError> {
    Dataset::open(path.to_str().unwrap(), Split::Train, preprocess, &|_| ())
}

/// How a file violates its format, with the file; the error is checked to be one line.
#[track_caller]
pub fn problem<T: std::fmt::Debug>(result: Result<T, DataError>) -> (PathBuf, FileProblem) {
    let error = result.unwrap_err();
    assert!(!error.to_string().contains('\n'), "{error}");
    match error {
        DataError::Malformed { path, problem, .. } => (path, problem),
        other => panic!("{other:?}"),
    }
}

/// Asserts that the result is an error of this pattern, in one line.
macro_rules! assert_refused {
    ($result:expr, $($pattern:tt)+) => {{
        let error = $result.unwrap_err();
        assert!(matches!(&error, $($pattern)+), "{error:?}");
        assert!(!error.to_string().contains('\n'), "{error}");
    }};
}
pub(crate) use assert_refused;

/// Converts an image back to bytes.
pub fn bytes(dataset: &Dataset, index: usize) -> Vec<u8> {
    let mut values = vec![f32::NAN; dataset.shape().iter().product()];
    dataset.write(index, &mut values).unwrap();
    values.iter().map(|value| ((value + 1.0) * 127.5).round() as u8).collect()
}
