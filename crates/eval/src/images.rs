//! Images of a dataset by index, as tensors.
//!
//! ```
//! use data::{Dataset, Preprocess, Split};
//! use eval::images::{evenly_spaced, load_images};
//!
//! let size = Preprocess::new([28, 28], 1);
//! let dataset = Dataset::open("fashion-mnist", Split::Test, &size, &|_| ())?;
//! let images = load_images(&dataset, &evenly_spaced(dataset.len(), 4))?;
//! assert_eq!(images.shape()[..], [4, 28, 28, 1]);
//! # Ok::<(), eval::EvalError>(())
//! ```

use crate::EvalError;
use data::Dataset;
use rayon::prelude::*;
use tensor::Tensor;

/// The images with these indices, `[N, H, W, C]` in [−1, 1] on the CPU. Images that are not in
/// memory are decoded on all cores.
///
/// # Errors
/// Returns an error if an image cannot be decoded or the memory does not suffice.
///
/// # Panics
/// Panics if an index is not below the dataset's length.
pub fn load_images(dataset: &Dataset, indices: &[usize]) -> Result<Tensor, EvalError> {
    let [h, w, c] = dataset.shape();
    let mut values = reserve("images", indices.len(), h * w * c)?;
    values.resize(indices.len() * h * w * c, 0.0);
    let parts = values.par_chunks_mut(h * w * c).zip(indices);
    parts.try_for_each(|(out, &index)| dataset.write(index, out))?;
    Ok(Tensor::from_slice(&values, [indices.len(), h, w, c]))
}

/// An empty vector with capacity for `count` rows of `width` values.
pub(crate) fn reserve(purpose: &str, count: usize, width: usize) -> Result<Vec<f32>, EvalError> {
    let mut values = Vec::new();
    let reserved = count
        .checked_mul(width)
        .ok_or(())
        .and_then(|len| values.try_reserve_exact(len).map_err(|_| ()));
    match reserved {
        Ok(()) => Ok(values),
        Err(()) => Err(EvalError::OutOfMemory { purpose: purpose.to_owned(), rows: count, width }),
    }
}

/// At most `count` indices below `len`, evenly spaced, ascending.
pub fn evenly_spaced(len: usize, count: usize) -> Vec<usize> {
    let count = count.min(len);
    (0..count).map(|i| (i as u64 * len as u64 / count as u64) as usize).collect()
}

/// Returns an error if the dataset's images do not have the shape `[H, W, C]` that a network takes.
pub(crate) fn require_shape(dataset: &Dataset, expected: [usize; 3]) -> Result<(), EvalError> {
    if dataset.shape() == expected {
        return Ok(());
    }
    Err(EvalError::ImageShape {
        images: dataset.name().to_owned(),
        found: dataset.shape().to_vec(),
        expected,
    })
}

/// Returns an error if `images` is not a batch `[N, H, W, C]` of images of the expected shape.
pub(crate) fn require_batch(images: &Tensor, expected: [usize; 3]) -> Result<(), EvalError> {
    let shape = images.shape();
    if shape.rank() == 4 && shape[1..] == expected {
        return Ok(());
    }
    let found = shape.get(1..).unwrap_or_default().to_vec();
    Err(EvalError::ImageShape { images: "images".to_owned(), found, expected })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_are_evenly_spaced() {
        assert_eq!(evenly_spaced(10, 4), [0, 2, 5, 7]);
        assert_eq!(evenly_spaced(3, 9), [0, 1, 2]);
        assert!(evenly_spaced(0, 9).is_empty());
    }
}
