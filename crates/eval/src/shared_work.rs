//! Work on many images, shared among the processes of a group.

use crate::{EvalError, Progress};
use std::ops::Range;
use tensor::distributed::ProcessGroup;

/// Rows for images `0..count`, in order: `compute` is called with the images of a batch of `batch`,
/// on each rank with its share of the batches. Batches are the same whatever the group, so the rows
/// have the same bits. Rank 0 reports the progress of its share as that of all. They are appended
/// to `rows`, which is empty and may have memory for all.
///
/// # Errors
/// Returns the errors of `compute`, and [`EvalError::Stopped`] if `progress` cancels; the other
/// ranks then wait, and the caller must end them.
pub(crate) fn share_batches(
    group: &ProcessGroup,
    (count, batch): (usize, usize),
    (task, progress): (&str, Progress<'_>),
    mut rows: Vec<f32>,
    mut compute: impl FnMut(Range<usize>) -> Result<Vec<f32>, EvalError>,
) -> Result<Vec<f32>, EvalError> {
    let batches = count.div_ceil(batch);
    let at = |rank: usize| batches * rank / group.world_size();
    let own = at(group.rank())..at(group.rank() + 1);
    for (i, number) in own.clone().enumerate() {
        progress.report(task, count * i / own.len(), count)?;
        rows.extend(compute(number * batch..count.min((number + 1) * batch))?);
    }
    let rows = if group.is_single() { rows } else { group.all_gather_f32(&rows) };
    progress.report(task, count, count)?;
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tensor::distributed::run_on_threads;

    #[test]
    fn ranks_share_batches_and_get_all_rows() {
        for (ranks, count) in [(1, 10), (3, 10), (4, 3), (2, 0)] {
            let results = run_on_threads(ranks, |group| {
                let mut own = 0;
                let rows = share_batches(
                    &group,
                    (count, 4),
                    ("rows", Progress::SILENT),
                    Vec::new(),
                    |range| {
                        own += range.len();
                        assert!(range.start % 4 == 0 && range.len() <= 4);
                        Ok(range.flat_map(|i| [i as f32, -(i as f32)]).collect())
                    },
                );
                (rows.unwrap_or_default(), own)
            });
            let expected: Vec<f32> = (0..count).flat_map(|i| [i as f32, -(i as f32)]).collect();
            assert!(results.iter().all(|(rows, _)| *rows == expected));
            assert_eq!(results.iter().map(|(_, own)| own).sum::<usize>(), count);
        }
    }
}
