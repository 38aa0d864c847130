//! The rows of a global batch that a process computes at a time.

use super::ProcessGroup;
use crate::tensor::Tensor;
use std::ops::Range;

/// The part of a global batch that a process computes in one forward pass.
///
/// A global batch is divided into parts that are computed one after the other (gradient
/// accumulation), and each part among the ranks of a group. Batch statistics are those of a part,
/// over all ranks.
///
/// ```
/// use tensor::distributed::{BatchShard, ProcessGroup};
///
/// let second_of_three = BatchShard::new(ProcessGroup::default(), 10, [1, 3]);
/// assert_eq!(second_of_three.rows(), 3..6);
/// assert_eq!(second_of_three.share(), 0.3);
/// ```
#[derive(Clone, Debug)]
pub struct BatchShard {
    group: ProcessGroup,
    batch: usize,
    part: Range<usize>,
    rows: Range<usize>,
}

/// Piece number `piece` of `pieces` pieces of `all`, whose lengths differ by at most 1.
fn piece(all: Range<usize>, [piece, pieces]: [usize; 2]) -> Range<usize> {
    let at = |piece: usize| all.start + all.len() * piece / pieces;
    at(piece)..at(piece + 1)
}

impl BatchShard {
    /// This rank's rows of part number `part` of `parts` of a batch of `batch` rows.
    ///
    /// # Panics
    /// Panics if there is no such part, or a rank would have no rows.
    #[track_caller]
    pub fn new(group: ProcessGroup, batch: usize, [part, parts]: [usize; 2]) -> Self {
        assert!(part < parts, "BatchShard: part {part} of {parts}");
        assert!(
            batch >= parts * group.world_size(),
            "BatchShard: {batch} rows for {parts} parts of {} ranks",
            group.world_size()
        );
        let part = piece(0..batch, [part, parts]);
        let rows = piece(part.clone(), [group.rank(), group.world_size()]);
        Self { group, batch, part, rows }
    }

    /// A batch that one process computes at once.
    pub fn whole(batch: usize) -> Self {
        Self { group: ProcessGroup::default(), batch, part: 0..batch, rows: 0..batch }
    }

    /// The same rows, with batch statistics of all ranks' rows or of this rank's alone.
    pub fn with_statistics_of_all(self, all: bool) -> Self {
        if all {
            return self;
        }
        Self { group: ProcessGroup::default(), part: self.rows.clone(), ..self }
    }

    /// The group that computes the part.
    pub fn group(&self) -> &ProcessGroup {
        &self.group
    }

    /// The number of rows of the global batch.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// The number of rows that all ranks compute together, over which batch statistics are taken.
    pub fn part_len(&self) -> usize {
        self.part.len()
    }

    /// This rank's rows, by their number in the global batch.
    pub fn rows(&self) -> Range<usize> {
        self.rows.clone()
    }

    /// Whether the rows are the whole global batch.
    pub fn is_whole(&self) -> bool {
        self.rows.len() == self.batch
    }

    /// The weight of a mean over this rank's rows in the mean over the global batch.
    pub fn share(&self) -> f32 {
        self.rows.len() as f32 / self.batch as f32
    }

    /// `x` times [`share`](Self::share): the mean over this rank's rows as a summand of the mean
    /// over the global batch.
    pub fn weighted(&self, x: &Tensor) -> Tensor {
        if self.is_whole() { x.clone() } else { x.scale(self.share()) }
    }

    /// The mean over the first axis, of the rows of all ranks: `[N, …]` to `[…]`. Differentiable.
    ///
    /// # Panics
    /// Panics if `x` does not have this rank's rows.
    #[track_caller]
    pub fn batch_mean(&self, x: &Tensor) -> Tensor {
        if self.group.is_single() {
            return x.mean(&[0], false);
        }
        self.require(x);
        x.sum(&[0], false).all_reduce(&self.group).scale(1.0 / self.part.len() as f32)
    }

    /// The mean over all elements, of the rows of all ranks. Differentiable.
    ///
    /// # Panics
    /// Panics as [`batch_mean`](Self::batch_mean).
    #[track_caller]
    pub fn mean_all(&self, x: &Tensor) -> Tensor {
        if self.group.is_single() { x.mean_all() } else { self.batch_mean(x).mean_all() }
    }

    /// The rows of all ranks: `[N, …]` to `[part_len, …]`. Differentiable: each rank's gradient is
    /// the sum of all ranks' gradients of its rows.
    ///
    /// # Panics
    /// Panics if `x` does not have this rank's rows.
    #[track_caller]
    pub fn all_gather(&self, x: &Tensor) -> Tensor {
        if self.group.is_single() {
            return x.clone();
        }
        self.require(x);
        x.all_gather(&self.group, self.offset(), self.part.len())
    }

    /// The rows of this rank among those that [`all_gather`](Self::all_gather) returns.
    ///
    /// # Panics
    /// Panics if `x` does not have the rows of all ranks.
    #[track_caller]
    pub fn own_rows(&self, x: &Tensor) -> Tensor {
        if self.group.is_single() {
            return x.clone();
        }
        x.narrow(0, self.offset(), self.rows.len())
    }

    /// The number of this rank's first row among those of the part.
    fn offset(&self) -> usize {
        self.rows.start - self.part.start
    }

    #[track_caller]
    fn require(&self, x: &Tensor) {
        let rows = x.shape().first().copied();
        assert_eq!(rows, Some(self.rows.len()), "BatchShard: rows of shape {:?}", x.shape());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distributed::run_on_threads;

    #[test]
    fn every_row_belongs_to_one_part_of_one_rank() {
        for (batch, parts, ranks) in [(10, 1, 4), (10, 3, 2), (7, 1, 1), (128, 4, 3)] {
            let shards = run_on_threads(ranks, |group| {
                (0..parts)
                    .map(|part| BatchShard::new(group.clone(), batch, [part, parts]))
                    .collect::<Vec<_>>()
            });
            let mut rows: Vec<usize> = shards.iter().flatten().flat_map(BatchShard::rows).collect();
            rows.sort_unstable();
            assert!(rows.into_iter().eq(0..batch));
            let shares: f32 = shards.iter().flatten().map(BatchShard::share).sum();
            assert!((shares - 1.0).abs() < 1e-6);
            for part in 0..parts {
                let sum: usize = shards.iter().map(|rank| rank[part].rows().len()).sum();
                assert!(shards.iter().all(|rank| rank[part].part_len() == sum));
            }
        }
    }

    #[test]
    #[should_panic(expected = "BatchShard: 3 rows for 4 parts of 1 ranks")]
    fn no_part_is_empty() {
        BatchShard::new(ProcessGroup::default(), 3, [0, 4]);
    }
}
