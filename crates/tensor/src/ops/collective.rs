//! Collective operations on tensors: differentiable, and on a GPU by way of the host.

use crate::distributed::ProcessGroup;
use crate::tensor::Tensor;
use crate::tensor::autograd::record_unary;

impl Tensor {
    /// The sum of this tensor over all ranks of `group`, added in the order of the ranks. Its
    /// gradient is the sum over all ranks, too: every rank's loss depends on every summand.
    ///
    /// # Panics
    /// May panic or hang unless all ranks call this with tensors of one shape.
    pub fn all_reduce(&self, group: &ProcessGroup) -> Tensor {
        if group.is_single() {
            return self.clone();
        }
        let mut values = self.to_vec();
        group.all_reduce(&mut values);
        let out = Tensor::from_slice(&values, self.shape).to_device(&self.device());
        let group = group.clone();
        record_unary(out, "all_reduce", self, move |g| g.all_reduce(&group))
    }

    /// The rows of all ranks, `total` together; this rank's are from `offset` on.
    pub(crate) fn all_gather(&self, group: &ProcessGroup, offset: usize, total: usize) -> Tensor {
        let mut shape = self.shape().to_vec();
        let own = std::mem::replace(&mut shape[0], total);
        let values = group.all_gather_f32(&self.to_vec());
        let out = Tensor::from_slice(&values, &shape[..]).to_device(&self.device());
        let group = group.clone();
        record_unary(out, "all_gather", self, move |g| g.all_reduce(&group).narrow(0, offset, own))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distributed::{BatchShard, run_on_threads};
    use crate::rng::Philox;

    #[test]
    fn gradients_are_those_of_the_whole_batch() {
        let x = Philox::new(1, 0).normal([5, 3], 0.0, 1.0);
        let weights = Philox::new(2, 0).normal([5, 3], 0.0, 1.0);
        // A function of each row and of statistics of all rows.
        let loss = |x: &Tensor, all: &Tensor, mean: &Tensor, weights: &Tensor| {
            let spread = all.square().sum_all();
            x.mul(mean).mul(weights).sum_all().mul(&spread)
        };
        let leaf = x.leaf();
        let expected = loss(&leaf, &leaf, &leaf.mean(&[0], false), &weights).backward();
        let expected = expected.of(&leaf).map(Tensor::to_vec).unwrap_or_default();
        let parts = run_on_threads(3, |group| {
            let shard = BatchShard::new(group, 5, [0, 1]);
            let rows = |t: &Tensor| t.narrow(0, shard.rows().start, shard.rows().len());
            let own = rows(&x).leaf();
            let (all, mean) = (shard.all_gather(&own), shard.batch_mean(&own));
            assert_eq!(all.to_vec(), x.to_vec());
            assert_eq!(shard.own_rows(&all).to_vec(), own.to_vec());
            let gradients = loss(&own, &all, &mean, &rows(&weights)).backward();
            gradients.of(&own).map(Tensor::to_vec).unwrap_or_default()
        });
        let found = parts.concat();
        assert_eq!(found.len(), expected.len());
        for (a, b) in found.iter().zip(&expected) {
            assert!((a - b).abs() < 1e-4 * b.abs().max(1.0), "{a} {b}");
        }
    }
}
