//! Pictures of a set, by number.

use crate::EvalError;
use data::Dataset;
use rayon::prelude::*;
use tensor::Tensor;

/// The pictures of these numbers, `[N, H, W, C]` in [−1, 1] on the CPU, decoded on all cores where they are not in memory.
///
/// # Errors
/// A picture that cannot be decoded (any more), or not enough memory.
///
/// # Panics
/// When a number is not below the set's length.
pub fn load_images(dataset: &Dataset, indices: &[usize]) -> Result<Tensor, EvalError> {
    let [h, w, c] = dataset.shape();
    let mut values = reserve("pictures", indices.len(), h * w * c)?;
    values.resize(indices.len() * h * w * c, 0.0);
    let parts = values.par_chunks_mut(h * w * c).zip(indices);
    parts.try_for_each(|(out, &index)| dataset.write(index, out))?;
    Ok(Tensor::from_slice(&values, [indices.len(), h, w, c]))
}

/// Room for `count` rows of `width` numbers.
pub(crate) fn reserve(what: &str, count: usize, width: usize) -> Result<Vec<f32>, EvalError> {
    let mut values = Vec::new();
    let room = count
        .checked_mul(width)
        .ok_or(())
        .and_then(|len| values.try_reserve_exact(len).map_err(|_| ()));
    match room {
        Ok(()) => Ok(values),
        Err(()) => Err(EvalError::Setting(format!(
            "{what}: {count} rows of {width} numbers do not fit the memory: take fewer pictures"
        ))),
    }
}

/// At most `count` numbers below `len`, evenly spread, in order.
pub fn evenly_spaced(len: usize, count: usize) -> Vec<usize> {
    let count = count.min(len);
    (0..count).map(|i| (i as u64 * len as u64 / count as u64) as usize).collect()
}

/// That pictures of a set have the shape `[H, W, C]` that a network wants.
///
/// # Errors
/// When they have not.
pub(crate) fn require_shape(dataset: &Dataset, wanted: [usize; 3]) -> Result<(), EvalError> {
    if dataset.shape() == wanted {
        return Ok(());
    }
    let text = |[h, w, c]: [usize; 3]| format!("{h}x{w}x{c}");
    let (found, wanted) = (text(dataset.shape()), text(wanted));
    Err(EvalError::Mismatch(format!(
        "{}: the pictures are {found}, the network takes {wanted}",
        dataset.name()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_spread_evenly() {
        assert_eq!(evenly_spaced(10, 4), [0, 2, 5, 7]);
        assert_eq!(evenly_spaced(3, 9), [0, 1, 2]);
        assert!(evenly_spaced(0, 9).is_empty());
    }
}
