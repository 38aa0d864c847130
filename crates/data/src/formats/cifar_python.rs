//! CIFAR's Python version: pickled dicts of a NumPy array `[N, 3072]` of bytes and lists of labels.
//!
//! Nothing in a pickle is called (`pickle`): the array is known by the names of the functions that
//! would make it.

use std::path::Path;

use pickle::{Pickle, ValueId};

use super::{io, planar};
use crate::error::{DataError, FileProblem};

/// The images and labels of one file.
pub(super) struct Batch {
    /// `[N, 3, 32, 32]`.
    pub pixels: Vec<u8>,
    /// For each key of labels, one label per image.
    pub labels: Vec<Vec<i64>>,
}

/// Whether a file may be a pickle, of protocol 0 or a later one.
pub(super) fn is_pickle(start: &[u8]) -> bool {
    matches!(start, [0x80, 1..=5, ..] | [b'(', b'd' | b'l', ..])
}

/// Reads a file of images whose labels have these keys.
pub(super) fn read_batch(
    format: &'static str,
    path: &Path,
    keys: &[&str],
    side: usize,
) -> Result<Batch, DataError> {
    let bytes = file_io::read(path).map_err(|error| io(path, error))?;
    let batch = parse(&bytes, |pickle, root| {
        let pixels = pickle.entry(root, "data").ok_or("it has no \"data\"")?;
        let pixels = byte_array(pickle, pixels)?;
        let size = planar::image_len(side);
        if pixels.len() % size != 0 {
            return Err(format!("its array of {} bytes is not one of images", pixels.len()));
        }
        let of = |key: &&str| {
            let list = pickle.entry(root, key).and_then(|id| pickle.list(id));
            let labels = list.map(|list| list.iter().map(|&id| pickle.int(id)).collect());
            let labels: Option<Option<Vec<i64>>> = labels;
            let labels =
                labels.flatten().ok_or_else(|| format!("it has no list {key:?} of ints"))?;
            match pixels.len() / size {
                count if count == labels.len() => Ok(labels),
                count => Err(format!("it has {count} images and {} {key}", labels.len())),
            }
        };
        let labels = keys.iter().map(of).collect::<Result<_, _>>()?;
        Ok(Batch { pixels: pixels.to_vec(), labels })
    });
    batch.map_err(|problem| DataError::malformed(format, path, FileProblem::Damaged(problem)))
}

/// The names of classes in a file of names; `None` if there is no such file.
pub(super) fn read_names(
    format: &'static str,
    path: &Path,
    key: &str,
    count: usize,
) -> Result<Option<Vec<String>>, DataError> {
    if !path.is_file() {
        return Ok(None);
    }
    let bytes = file_io::read(path).map_err(|error| io(path, error))?;
    let names = parse(&bytes, |pickle, root| {
        let list = pickle.entry(root, key).and_then(|id| pickle.list(id));
        let names = list.map(|list| list.iter().map(|&id| pickle.text(id)).collect());
        let names: Option<Option<Vec<&str>>> = names;
        let names = names.flatten().ok_or_else(|| format!("it has no list {key:?} of names"))?;
        // A name may be shared by many entries.
        match names.len() == count && names.iter().all(|name| name.len() <= 256) {
            true => Ok(names.into_iter().map(str::to_owned).collect()),
            false => Err(format!("it has {} names where {count} belong", names.len())),
        }
    });
    let names =
        names.map_err(|problem| DataError::malformed(format, path, FileProblem::Damaged(problem)));
    names.map(Some)
}

fn parse<T>(
    bytes: &[u8],
    read: impl FnOnce(&Pickle<'_>, ValueId) -> Result<T, String>,
) -> Result<T, String> {
    let pickle = Pickle::parse(bytes).map_err(|error| error.to_string())?;
    read(&pickle, pickle.root())
}

/// The values of a row-major NumPy array of bytes: `_reconstruct(ndarray, …)` whose state is
/// `(version, shape, dtype, is_fortran, data)`.
fn byte_array<'p>(pickle: &'p Pickle<'_>, id: ValueId) -> Result<&'p [u8], String> {
    let Some((("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct"), _, object)) =
        pickle.call(id)
    else {
        return Err(format!("its \"data\" is {}, not a NumPy array", pickle.describe(id)));
    };
    let state = object.state.and_then(|state| pickle.tuple(state));
    let Some(&[_version, shape, dtype, fortran, data]) = state else {
        return Err("its array has no values".to_owned());
    };
    let kind = pickle.call(dtype).and_then(|(_, arguments, _)| pickle.text(*arguments.first()?));
    if kind != Some("u1")
        || !matches!(pickle.get(fortran), pickle::Value::Bool(false) | pickle::Value::Int(0))
    {
        return Err("its array is not one of bytes (u1), row by row".to_owned());
    }
    let data = pickle.bytes(data).ok_or("the values of its array are no bytes")?;
    let shape = pickle.tuple(shape).unwrap_or_default().iter();
    let count = shape
        .map(|&n| u64::try_from(pickle.int(n)?).ok())
        .try_fold(1u64, |product, n| product.checked_mul(n?));
    match count == Some(data.len() as u64) {
        true => Ok(data),
        false => Err(format!("its array has {} bytes, which do not fill its shape", data.len())),
    }
}
