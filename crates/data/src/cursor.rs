//! Where training stands in the data, and the order of each epoch.

use serde::{Deserialize, Serialize};
use tensor::rng::Philox;

/// Philox streams of the shuffles are numbered from here (the bytes `data`), clear of other uses of the same seed.
const SHUFFLE_STREAM: u64 = 0x6461_7461_0000_0000;

/// The position of the next batch: all that must be saved for a resumed run to see the same images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// Decides the order of every epoch.
    pub seed: u64,
    /// Counted from 0.
    pub epoch: u64,
    /// The next batch within the epoch, counted from 0.
    pub batch: u64,
}

impl Cursor {
    /// The start of the first epoch.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, epoch: 0, batch: 0 }
    }

    /// The position `batches` further on, where an epoch has `per_epoch` batches.
    pub(crate) fn advanced(self, batches: u64, per_epoch: u64) -> Self {
        // Saturating: a cursor from a damaged file must not make us overflow.
        let batch = self.batch.saturating_add(batches);
        Self { epoch: self.epoch.saturating_add(batch / per_epoch), batch: batch % per_epoch, ..self }
    }
}

/// The order of `len` images in an epoch: a uniform permutation (Fisher–Yates on Philox), a function of `seed` and
/// `epoch` only.
#[must_use]
pub fn permutation(seed: u64, epoch: u64, len: u32) -> Vec<u32> {
    let mut random = Philox::new(seed, SHUFFLE_STREAM.wrapping_add(epoch));
    let mut order: Vec<u32> = (0..len).collect();
    for last in (1..len).rev() {
        order.swap(last as usize, random.below(last + 1) as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_permutation_that_differs_by_seed_and_epoch() {
        let first = permutation(7, 0, 1000);
        let mut sorted = first.clone();
        sorted.sort_unstable();
        assert!(sorted.iter().copied().eq(0..1000));
        assert_eq!(first, permutation(7, 0, 1000));
        assert_ne!(first, permutation(7, 1, 1000));
        assert_ne!(first, permutation(8, 0, 1000));
        assert_eq!((permutation(0, 0, 0), permutation(0, 0, 1)), (vec![], vec![0]));
    }

    #[test]
    fn every_order_is_equally_likely() {
        // 24 orders of 4, 12000 draws: χ² with 23 degrees of freedom stays under 50 but once in 1000 seeds.
        let mut counts = std::collections::HashMap::<_, u32>::new();
        for epoch in 0..12_000 {
            *counts.entry(permutation(1, epoch, 4)).or_default() += 1;
        }
        let squared: f64 = counts.values().map(|&n| (f64::from(n) - 500.0).powi(2) / 500.0).sum();
        assert_eq!(counts.len(), 24);
        assert!(squared < 50.0, "{squared}");
    }

    #[test]
    fn cursors_wrap_at_the_end_of_an_epoch() {
        let cursor = Cursor { seed: 1, epoch: 2, batch: 8 };
        assert_eq!(cursor.advanced(1, 10), Cursor { seed: 1, epoch: 2, batch: 9 });
        assert_eq!(cursor.advanced(2, 10), Cursor { seed: 1, epoch: 3, batch: 0 });
        assert_eq!(cursor.advanced(25, 10), Cursor { seed: 1, epoch: 5, batch: 3 });
    }
}
