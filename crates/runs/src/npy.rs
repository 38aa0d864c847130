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
    parse(&bytes).map_err(|reason| ArtifactError::Npy { path: path.to_owned(), reason })
}

fn parse(mut bytes: &[u8]) -> Result<HostTensor, String> {
    let header = NpyHeader::read(&mut bytes).map_err(|error| error.to_string())?;
    let (data, fortran) = (bytes, header.fortran_order);
    let shape: Option<Vec<usize>> =
        header.shape.iter().map(|&extent| usize::try_from(extent).ok()).collect();
    let shape = shape.ok_or("its shape is larger than can exist")?;

    let width = match header.dtype.as_str() {
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
