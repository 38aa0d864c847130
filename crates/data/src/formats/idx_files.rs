//! Which idx files are a dataset, by MNIST's file names.
//!
//! `train-images-idx3-ubyte.gz` belongs with `train-labels-idx1-ubyte.gz`, `t10k-…` is the test
//! split; `.gz` may be missing on either, and a dot may replace the dash before `idx3`.

use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use super::split_name::split_of;
use super::{io, is_gzip, no_split, read_start};
use crate::decode::has_image_extension;
use crate::error::DataError;
use crate::source::Split;

/// The type byte of unsigned bytes in an idx header.
pub(super) const UNSIGNED_BYTE: u8 = 8;

/// How many files of a folder, without those named as images, are opened to look for a magic
/// number.
const LOOKED_INTO: usize = 64;

/// A file of images and its labels.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct IdxFiles {
    pub images: PathBuf,
    pub labels: Option<PathBuf>,
}

/// The files of `split` in a folder, or for a single file.
pub(super) fn find(path: &Path, split: Split) -> Result<IdxFiles, DataError> {
    if path.is_dir() { in_folder(path, split) } else { for_file(path, split) }
}

/// The files of `split` in a folder.
fn in_folder(folder: &Path, split: Split) -> Result<IdxFiles, DataError> {
    let files = image_files(folder)?;
    let of = |wanted: Option<Split>| {
        files.iter().filter(move |file| split_of(file) == wanted).collect::<Vec<_>>()
    };
    let mut chosen = of(Some(split));
    if chosen.is_empty() && split == Split::Train {
        chosen = of(None);
    }
    // Of a gzipped and an unpacked copy of one file, either will do.
    chosen.dedup_by(|b, a| without_gz(a) == without_gz(b));
    match chosen.as_slice() {
        [file] => Ok(with_labels(file)),
        [] => Err(missing(folder, split)),
        several => {
            let files = several.iter().map(|file| file_name(file)).collect::<Vec<_>>().join(", ");
            Err(DataError::Ambiguous { path: folder.to_owned(), files })
        }
    }
}

/// The file at this path; for the test split, the one in the folder of a training file.
fn for_file(file: &Path, split: Split) -> Result<IdxFiles, DataError> {
    if split == Split::Train || split_of(file) == Some(Split::Test) {
        return Ok(with_labels(file));
    }
    let name = file_name(file);
    ["t10k", "test"]
        .iter()
        .map(|test| name.replacen("train", test, 1))
        .filter(|other| *other != name)
        .find_map(|other| existing(&file.with_file_name(other)))
        .map(|found| with_labels(&found))
        .ok_or_else(|| missing(file, split))
}

/// The idx files of images directly in a folder, sorted by name.
pub(super) fn image_files(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let mut files = Vec::new();
    for entry in folder.read_dir().map_err(|error| io(folder, error))? {
        let path = entry.map_err(|error| io(folder, error))?.path();
        if !has_image_extension(&path) && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    let mut looked = 0;
    files.retain(|path| {
        let name = file_name(path).to_lowercase();
        if name.contains("label") {
            // Even if it holds images: then it is the labels that are wrong.
            return false;
        }
        if name.contains("idx3") {
            return true;
        }
        looked += 1;
        // A file that cannot be read is skipped; if no other is found, that is reported.
        looked <= LOOKED_INTO && starts_like_images(path)
    });
    Ok(files)
}

/// Whether the (unpacked) file starts with an idx magic number of any element type and 1 to 4
/// dimensions.
pub(super) fn starts_like_idx(start: &[u8]) -> bool {
    matches!(unpacked_magic(start), Some([0, 0, 0x08 | 0x09 | 0x0B..=0x0E, 1..=4]))
}

/// Whether the (unpacked) file starts with the magic number of images.
fn starts_like_images(path: &Path) -> bool {
    read_start(path).is_ok_and(|start| unpacked_magic(&start) == Some([0, 0, UNSIGNED_BYTE, 3]))
}

fn unpacked_magic(start: &[u8]) -> Option<[u8; 4]> {
    if !is_gzip(start) {
        return start.first_chunk().copied();
    }
    let mut magic = [0; 4];
    MultiGzDecoder::new(start).read_exact(&mut magic).ok()?;
    Some(magic)
}

/// Whether the name is that of an idx file.
pub(super) fn has_idx_file_name(path: &Path) -> bool {
    let name = file_name(path).to_lowercase();
    ["idx1", "idx3", ".idx"].iter().any(|part| name.contains(part))
}

fn with_labels(images: &Path) -> IdxFiles {
    let name = file_name(images);
    let labels_name = name.replacen("images", "labels", 1).replacen("idx3", "idx1", 1);
    let labels =
        if labels_name == name { None } else { existing(&images.with_file_name(labels_name)) };
    IdxFiles { images: images.to_owned(), labels }
}

/// The path itself, or with `.gz` added or removed: whichever exists first.
fn existing(path: &Path) -> Option<PathBuf> {
    let plain = without_gz(path);
    let mut packed = plain.clone().into_os_string();
    packed.push(".gz");
    [path.to_owned(), plain, PathBuf::from(packed)]
        .into_iter()
        .find(|candidate| candidate.is_file())
}

fn without_gz(path: &Path) -> PathBuf {
    if path.extension().is_some_and(|extension| extension == "gz") {
        path.with_extension("")
    } else {
        path.to_owned()
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn missing(path: &Path, split: Split) -> DataError {
    let wanted = match split {
        Split::Train => {
            "an idx file with the word `train` in its name, or neither `t10k` nor `test`"
        }
        Split::Test => "an idx file with the word `t10k` or `test` in its name",
    };
    no_split(path, split, format!("looked for {wanted}"))
}
