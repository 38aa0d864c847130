//! SvmRows of pictures of a set, batch by batch.

use super::Representation;
use crate::images::{load_images, reserve};
use crate::{EvalError, Progress};
use data::Dataset;

/// Pictures that go through a network together.
const BATCH: usize = 128;

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
    progress.report(what, 0, indices.len())?;
    for (k, part) in indices.chunks(BATCH).enumerate() {
        rows.extend(representation.rows(&load_images(dataset, part)?).to_vec());
        representation.check()?;
        progress.report(what, k * BATCH + part.len(), indices.len())?;
    }
    Ok(rows)
}
