//! Rows of a representation for images of a dataset.

use super::Representation;
use crate::images::{load_images, reserve};
use crate::shared_work::share_batches;
use crate::{EvalError, Progress};
use data::Dataset;
use tensor::distributed::ProcessGroup;

/// Images in a forward pass.
const BATCH: usize = 128;

/// The rows of these images, one after the other, with progress reported as `task`. The processes
/// of `group` share the work, and each returns all rows.
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
    group: &ProcessGroup,
) -> Result<Vec<f32>, EvalError> {
    let rows = reserve(task, indices.len(), representation.width())?;
    share_batches(group, (indices.len(), BATCH), (task, progress), rows, |part| {
        let rows = representation.rows(&load_images(dataset, &indices[part])?).to_vec();
        representation.check()?;
        Ok(rows)
    })
}
