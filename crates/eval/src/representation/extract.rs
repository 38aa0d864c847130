//! Rows of a representation for images of a dataset.

use super::Representation;
use crate::images::{load_images, reserve};
use crate::{EvalError, Progress};
use data::Dataset;

/// Images in a forward pass.
const BATCH: usize = 128;

/// The rows of these images, one after the other, with progress reported as `task`.
///
/// # Errors
/// Returns an error if an image cannot be decoded, the memory does not suffice or the device fails;
/// [`EvalError::Stopped`] if `progress` cancels.
///
/// # Panics
/// Panics if an index is not below the dataset's length.
pub fn extract(
    representation: &dyn Representation,
    dataset: &Dataset,
    indices: &[usize],
    task: &str,
    progress: Progress<'_>,
) -> Result<Vec<f32>, EvalError> {
    let mut rows = reserve(task, indices.len(), representation.width())?;
    progress.report(task, 0, indices.len())?;
    for (k, part) in indices.chunks(BATCH).enumerate() {
        rows.extend(representation.rows(&load_images(dataset, part)?).to_vec());
        representation.check()?;
        progress.report(task, k * BATCH + part.len(), indices.len())?;
    }
    Ok(rows)
}
