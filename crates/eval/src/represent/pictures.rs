//! Pictures of a set, batch by batch.

use super::Representation;
use crate::{EvalError, Progress};
use data::Dataset;
use rayon::prelude::*;
use tensor::Tensor;

/// Pictures that go through a network together.
const BATCH: usize = 128;

/// These pictures of a set, `[N, H, W, C]` in [−1, 1] on the CPU, decoded on all cores.
///
/// # Errors
/// A picture that cannot be decoded (any more), or not enough memory.
///
/// # Panics
/// When an index is not below the set's length.
pub fn images(dataset: &Dataset, indices: &[usize]) -> Result<Tensor, EvalError> {
    let [h, w, c] = dataset.shape();
    let mut values = reserve("pictures", indices.len(), h * w * c)?;
    values.resize(indices.len() * h * w * c, 0.0);
    let parts = values.par_chunks_mut(h * w * c).zip(indices);
    parts.try_for_each(|(out, &index)| dataset.write(index, out))?;
    Ok(Tensor::from_slice(&values, [indices.len(), h, w, c]))
}

/// The rows of these pictures, one after the other, under a progress called `what`.
///
/// # Errors
/// As [`images`]; the device; or the user stops it.
///
/// # Panics
/// When an index is not below the set's length.
pub fn extract(
    representation: &dyn Representation,
    dataset: &Dataset,
    indices: &[usize],
    what: &str,
    progress: Progress<'_>,
) -> Result<Vec<f32>, EvalError> {
    let mut rows = reserve(what, indices.len(), representation.width())?;
    progress.tell(what, 0, indices.len())?;
    for (k, part) in indices.chunks(BATCH).enumerate() {
        rows.extend(representation.rows(&images(dataset, part)?).to_vec());
        representation.check()?;
        progress.tell(what, k * BATCH + part.len(), indices.len())?;
    }
    Ok(rows)
}

/// Room for `count` rows of `width` numbers.
pub(crate) fn reserve(what: &str, count: usize, width: usize) -> Result<Vec<f32>, EvalError> {
    let mut values = Vec::new();
    let room = count.checked_mul(width).ok_or(()).and_then(|len| values.try_reserve_exact(len).map_err(|_| ()));
    match room {
        Ok(()) => Ok(values),
        Err(()) => {
            Err(EvalError::Setting(format!("{what}: {count} rows of {width} numbers do not fit the memory: take fewer pictures")))
        }
    }
}

/// The numbers of `count` pictures, evenly spread over the set, or of all, in order.
pub fn spread(dataset: &Dataset, count: usize) -> Vec<usize> {
    let count = count.min(dataset.len());
    (0..count).map(|i| i * dataset.len() / count).collect()
}

/// That pictures of a set have the shape a network wants.
pub(crate) fn require_shape(dataset: &Dataset, wanted: [usize; 3]) -> Result<(), EvalError> {
    if dataset.shape() == wanted {
        return Ok(());
    }
    let text = |[h, w, c]: [usize; 3]| format!("{h}x{w}x{c}");
    let (found, wanted) = (text(dataset.shape()), text(wanted));
    Err(EvalError::Mismatch(format!("{}: the pictures are {found}, the network takes {wanted}", dataset.name())))
}
