//! Pictures of a set, by number.

use crate::EvalError;
use data::{DataError, Dataset};
use rayon::prelude::*;
use tensor::Tensor;

/// The pictures of these numbers, `[N, H, W, C]` in [−1, 1] on the CPU, decoded on all cores where they are not in memory.
///
/// # Errors
/// A picture that cannot be decoded (any more).
///
/// # Panics
/// When a number is not below the set's length.
pub fn pictures(dataset: &Dataset, indices: &[usize]) -> Result<Tensor, EvalError> {
    let [height, width, channels] = dataset.shape();
    let mut values = vec![0.0; indices.len() * height * width * channels];
    let each = values.par_chunks_mut(height * width * channels).zip(indices);
    each.try_for_each(|(out, &index)| dataset.write(index, out)).map_err(|e: DataError| e)?;
    Ok(Tensor::from_slice(&values, [indices.len(), height, width, channels]))
}
