//! The position of training in the data, and the order of each epoch.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};
use tensor::rng::Philox;

/// The Philox streams of the shuffles start here (the bytes `data`), apart from other uses of the
/// same seed.
const SHUFFLE_STREAM: u64 = 0x6461_7461_0000_0000;
/// The same for the order of shards (`shrd`).
const SHARD_STREAM: u64 = 0x7368_7264_0000_0000;

/// Consecutive images that are read together with a shuffle buffer: 3 MiB of packed 64×64×3, some
/// 25 MiB of photographs, which makes the seek between two of them negligible on any disk.
pub const SHARD: u32 = 256;

/// The position of the next batch: all that must be saved for a resumed run to get the same images.
///
/// ```
/// use data::{Cursor, order};
///
/// let order = order(Cursor::new(7), 100);
/// assert!(order.len() == 100 && (0..100).all(|index| order.contains(&index)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// The random seed of every epoch's order.
    pub seed: u64,
    /// Counted from 0.
    pub epoch: u64,
    /// The next batch within the epoch, counted from 0.
    pub batch: u64,
    /// The size of the shuffle buffer in images: see [`order`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buffer: Option<NonZeroU32>,
}

impl Cursor {
    /// The start of the first epoch.
    pub fn new(seed: u64) -> Self {
        Self { seed, epoch: 0, batch: 0, buffer: None }
    }

    /// The same position with a shuffle buffer of this many images.
    pub fn with_buffer(self, buffer: Option<NonZeroU32>) -> Self {
        Self { buffer, ..self }
    }

    /// The position after `batches` more batches, where an epoch has `per_epoch`.
    pub(crate) fn advanced(self, batches: u64, per_epoch: u64) -> Self {
        // Saturating: a cursor from a damaged file must not overflow.
        let batch = self.batch.saturating_add(batches);
        Self {
            epoch: self.epoch.saturating_add(batch / per_epoch),
            batch: batch % per_epoch,
            ..self
        }
    }
}

/// The order of `len` images in the cursor's epoch: a function of its `seed`, `epoch` and `buffer`
/// only.
///
/// Without a buffer it is a [`permutation`]. With one, shards of [`SHARD`] consecutive images come
/// in random order, and each window of `buffer` images of that sequence is permuted uniformly:
/// reading window after window, each in ascending order, reads shard after shard. A window holds
/// images of at most ⌈`buffer` / [`SHARD`]⌉ + 1 shards, and perhaps of the last one, which may be
/// short.
pub fn order(cursor: Cursor, len: u32) -> Vec<u32> {
    let Cursor { seed, epoch, buffer, .. } = cursor;
    let Some(buffer) = buffer else { return permutation(seed, epoch, len) };
    let mut shards: Vec<u32> = (0..len.div_ceil(SHARD)).collect();
    Philox::new(seed, SHARD_STREAM.wrapping_add(epoch)).shuffle(&mut shards);
    let images = |shard: u32| shard * SHARD..(shard * SHARD).saturating_add(SHARD).min(len);
    let mut order: Vec<u32> = shards.into_iter().flat_map(images).collect();
    let mut random = Philox::new(seed, SHUFFLE_STREAM.wrapping_add(epoch));
    order.chunks_mut(buffer.get() as usize).for_each(|window| random.shuffle(window));
    order
}

/// A uniform permutation of `len` images, a function of `seed` and `epoch` only.
pub fn permutation(seed: u64, epoch: u64, len: u32) -> Vec<u32> {
    let mut order: Vec<u32> = (0..len).collect();
    Philox::new(seed, SHUFFLE_STREAM.wrapping_add(epoch)).shuffle(&mut order);
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
        // 24 orders of 4, 12000 draws: χ² with 23 degrees of freedom exceeds 50 for one in 1000
        // seeds.
        let mut counts = std::collections::HashMap::<_, u32>::new();
        for epoch in 0..12_000 {
            *counts.entry(permutation(1, epoch, 4)).or_default() += 1;
        }
        let squared: f64 = counts.values().map(|&n| (f64::from(n) - 500.0).powi(2) / 500.0).sum();
        assert_eq!(counts.len(), 24);
        assert!(squared < 50.0, "{squared}");
    }

    #[test]
    fn a_buffer_shuffles_within_windows_of_whole_shards() {
        let len = 20 * SHARD + 77;
        let cursor = Cursor::new(7).with_buffer(NonZeroU32::new(1000));
        let first = order(cursor, len);
        let mut sorted = first.clone();
        sorted.sort_unstable();
        assert!(sorted.iter().copied().eq(0..len));
        let shards = |window: &[u32]| {
            window.iter().map(|index| index / SHARD).collect::<std::collections::BTreeSet<_>>()
        };
        let mut met = std::collections::HashMap::<u32, Vec<usize>>::new();
        for (k, window) in first.chunks(1000).enumerate() {
            let found = shards(window);
            let whole = found.iter().filter(|&&shard| shard < 20).count();
            assert!(whole <= 5, "window {k} has images of {whole} shards");
            found.into_iter().for_each(|shard| met.entry(shard).or_default().push(k));
            // Neither in file order nor shard by shard.
            assert!(window.windows(2).filter(|pair| pair[0] + 1 == pair[1]).count() < 30);
        }
        // A shard is in one window or in two consecutive ones.
        assert!(
            met.values().all(|windows| windows.len() == 1
                || (windows.len() == 2 && windows[0] + 1 == windows[1]))
        );
        assert_eq!(first, order(Cursor { batch: 3, ..cursor }, len));
        assert_ne!(first, order(Cursor { epoch: 1, ..cursor }, len));
        assert_ne!(
            shards(&first[..1000]),
            shards(&order(Cursor { epoch: 1, ..cursor }, len)[..1000]),
            "the shards' order stays"
        );
        assert_ne!(first, order(Cursor { seed: 8, ..cursor }, len));
        assert!(order(cursor, 0).is_empty());
    }

    #[test]
    fn a_window_of_one_image_reads_shards_as_they_are() {
        let order = order(Cursor::new(1).with_buffer(NonZeroU32::new(1)), 3 * SHARD);
        for shard in order.chunks(SHARD as usize) {
            assert!(shard.iter().copied().eq(shard[0]..shard[0] + SHARD));
        }
    }

    #[test]
    fn cursors_wrap_at_the_end_of_an_epoch() {
        let at = |epoch, batch| Cursor {
            epoch,
            batch,
            ..Cursor::new(1).with_buffer(NonZeroU32::new(9))
        };
        assert_eq!(at(2, 8).advanced(1, 10), at(2, 9));
        assert_eq!(at(2, 8).advanced(2, 10), at(3, 0));
        assert_eq!(at(2, 8).advanced(25, 10), at(5, 3));
    }
}
