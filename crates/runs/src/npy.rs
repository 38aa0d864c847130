//! NumPy's `.npy` files of weights.

use crate::ArtifactError;
use pickle::NpyHeader;
use std::path::Path;
use tensor::HostTensor;

/// Reads a little-endian float32 or float64 array of any rank, in C or Fortran order, as row-major
/// F32.
///
/// # Errors
/// Returns an error if the file cannot be read, is malformed or truncated, or holds another element
/// type.
pub fn read_npy(path: &Path) -> Result<HostTensor, ArtifactError> {
    let bytes = file_io::read(path).map_err(ArtifactError::read(path))?;
    let (shape, values) = parse(&bytes, f32::from_le_bytes, |b| f64::from_le_bytes(b) as f32)
        .map_err(|reason| ArtifactError::Npy { path: path.to_owned(), reason })?;
    Ok(HostTensor::f32(shape, values))
}

/// [`parse`] as float64.
pub(crate) fn parse_f64(bytes: &[u8]) -> Result<(Vec<usize>, Vec<f64>), String> {
    parse(bytes, |b| f32::from_le_bytes(b).into(), f64::from_le_bytes)
}

/// The bytes of a version 1.0 file of float64 in C order.
pub(crate) fn to_bytes(shape: &[usize], values: &[f64]) -> Vec<u8> {
    let extents: String = shape.iter().map(|extent| format!("{extent}, ")).collect();
    // Python writes (3,) and (3, 4).
    let extents = if shape.len() > 1 { extents.trim_end_matches(", ") } else { extents.trim_end() };
    let dict = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': ({extents}), }}");
    // The values begin at a multiple of 64 bytes.
    let length = (NpyHeader::MAGIC.len() + 4 + dict.len() + 1).next_multiple_of(64)
        - NpyHeader::MAGIC.len()
        - 4;
    let header = format!("{dict:<width$}\n", width = length - 1);
    let mut bytes =
        [NpyHeader::MAGIC, &[1, 0], &(length as u16).to_le_bytes(), header.as_bytes()].concat();
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    bytes
}

/// The shape of an array and its elements in row-major order, by functions from the bytes of a
/// float32 or float64.
fn parse<T: Copy>(
    mut bytes: &[u8],
    single: impl Fn([u8; 4]) -> T,
    double: impl Fn([u8; 8]) -> T,
) -> Result<(Vec<usize>, Vec<T>), String> {
    let header = NpyHeader::read(&mut bytes).map_err(|error| error.to_string())?;
    let (data, fortran) = (bytes, header.fortran_order);
    let shape: Option<Vec<usize>> =
        header.shape.iter().map(|&extent| usize::try_from(extent).ok()).collect();
    let shape = shape.ok_or("its shape is larger than can exist")?;

    let width: u64 = match header.dtype.as_str() {
        "<f4" => 4,
        "<f8" => 8,
        other => {
            return Err(format!("its type is {other:?}, \"<f4\" and \"<f8\" are read"));
        }
    };
    let expected = header.elements().and_then(|elements| elements.checked_mul(width));
    if expected != Some(data.len() as u64) {
        let expected = expected.map_or("more than can exist".to_owned(), |bytes| bytes.to_string());
        return Err(format!(
            "shape {shape:?} needs {expected} bytes of data, there are {}",
            data.len()
        ));
    }
    let values: Vec<T> = if width == 4 {
        data.as_chunks().0.iter().map(|bytes| single(*bytes)).collect()
    } else {
        data.as_chunks().0.iter().map(|bytes| double(*bytes)).collect()
    };
    let values = if fortran { row_major(&values, &shape) } else { values };
    Ok((shape, values))
}

/// Reorders values from Fortran order (first axis fastest) to C order (last axis fastest).
fn row_major<T: Copy>(values: &[T], shape: &[usize]) -> Vec<T> {
    let mut strides = Vec::with_capacity(shape.len());
    let mut stride = 1;
    for &extent in shape {
        strides.push(stride);
        stride *= extent;
    }
    // Not collected: without a known length, that takes up to three times the memory.
    let mut reordered = Vec::with_capacity(values.len());
    reordered.extend((0..values.len()).filter_map(|index| {
        let mut rest = index;
        let mut source = 0;
        for (&extent, &stride) in shape.iter().zip(&strides).rev() {
            source += rest % extent * stride;
            rest /= extent;
        }
        values.get(source).copied()
    }));
    reordered
}
