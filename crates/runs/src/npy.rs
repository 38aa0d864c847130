//! NumPy's `.npy` files: magic, version, a Python dict literal as header, then the raw values.
//!
//! Format: numpy.lib.format, versions 1.0 and 2.0 (3.0 differs in the header's encoding only).

use crate::ArtifactError;
use std::path::Path;
use tensor::HostTensor;

const MAGIC: &[u8] = b"\x93NUMPY";

/// Reads a little-endian float32 or float64 array of any rank, in C or Fortran order, as row-major
/// F32.
///
/// # Errors
/// Returns an error if the file cannot be read, is malformed or truncated, or holds another element
/// type.
pub fn read_npy(path: &Path) -> Result<HostTensor, ArtifactError> {
    let bytes = file_io::read(path).map_err(ArtifactError::read(path))?;
    parse(&bytes).map_err(|reason| ArtifactError::Npy { path: path.to_owned(), reason })
}

fn parse(bytes: &[u8]) -> Result<HostTensor, String> {
    let rest = bytes.strip_prefix(MAGIC).ok_or("it does not start with the .npy magic")?;
    let (version, rest) = rest.split_first_chunk::<2>().ok_or("it ends inside the header")?;
    let (length, rest) = match version {
        [1, _] => rest
            .split_first_chunk::<2>()
            .map(|(length, rest)| (usize::from(u16::from_le_bytes(*length)), rest)),
        [2 | 3, _] => rest
            .split_first_chunk::<4>()
            .map(|(length, rest)| (u32::from_le_bytes(*length) as usize, rest)),
        [major, minor] => {
            return Err(format!("its version is {major}.{minor}, versions 1 to 3 are read"));
        }
    }
    .ok_or("it ends inside the header")?;
    let (header, data) = rest.split_at_checked(length).ok_or("it ends inside the header")?;
    let header = std::str::from_utf8(header).map_err(|_| "its header is not UTF-8")?;

    let kind =
        value_of(header, "descr").and_then(quoted).ok_or("its header has no type (descr)")?;
    let fortran = match value_of(header, "fortran_order") {
        Some(text) if text.starts_with("True") => true,
        Some(text) if text.starts_with("False") => false,
        _ => return Err("its header has no fortran_order of True or False".to_owned()),
    };
    let shape = value_of(header, "shape").and_then(tuple).ok_or("its header has no shape")?;

    let width = match kind {
        "<f4" => 4,
        "<f8" => 8,
        other => {
            return Err(format!("its type is {other:?}, \"<f4\" and \"<f8\" are read"));
        }
    };
    let elements = shape.iter().try_fold(1usize, |product, &extent| product.checked_mul(extent));
    let expected = elements.and_then(|elements| elements.checked_mul(width));
    if expected != Some(data.len()) {
        let expected = expected.map_or("more than can exist".to_owned(), |bytes| bytes.to_string());
        return Err(format!(
            "shape {shape:?} needs {expected} bytes of data, there are {}",
            data.len()
        ));
    }
    let values: Vec<f32> = if width == 4 {
        data.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    } else {
        data.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes) as f32).collect()
    };
    let values = if fortran { row_major(&values, &shape) } else { values };
    Ok(HostTensor::f32(shape, values))
}

/// The text after `'key':` in a dict literal.
fn value_of<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = header
        .split_once(&format!("'{key}'"))
        .or_else(|| header.split_once(&format!("\"{key}\"")))?;
    Some(rest.trim_start().strip_prefix(':')?.trim_start())
}

fn quoted(text: &str) -> Option<&str> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    text.get(1..)?.split_once(quote).map(|(inside, _)| inside)
}

/// `(3, 4)`, `(3,)` or `()`; Python 2 wrote `3L`.
fn tuple(text: &str) -> Option<Vec<usize>> {
    let (inside, _) = text.strip_prefix('(')?.split_once(')')?;
    let mut extents: Vec<&str> = inside.split(',').map(str::trim).collect();
    if extents.last() == Some(&"") {
        extents.pop();
    }
    extents.into_iter().map(|extent| extent.trim_end_matches('L').parse().ok()).collect()
}

/// Reorders values from Fortran order (first axis fastest) to C order (last axis fastest).
fn row_major(values: &[f32], shape: &[usize]) -> Vec<f32> {
    let mut strides = Vec::with_capacity(shape.len());
    let mut stride = 1;
    for &extent in shape {
        strides.push(stride);
        stride *= extent;
    }
    (0..values.len())
        .filter_map(|index| {
            let mut rest = index;
            let mut source = 0;
            for (&extent, &stride) in shape.iter().zip(&strides).rev() {
                source += rest % extent * stride;
                rest /= extent;
            }
            values.get(source).copied()
        })
        .collect()
}
