//! Random horizontal flips.
//!
//! Whether an image is flipped is a function of seed, epoch and the image's index, and independent
//! of its batch and of threads. So a resumed run gets the same images as an uninterrupted one.

use tensor::rng::philox4x32;

use crate::cursor::Cursor;
use crate::dataset::Dataset;

/// The Philox streams of the flips start here (the bytes `flip`), apart from other uses of the same
/// seed.
const FLIP_STREAM: u64 = 0x666c_6970_0000_0000;

/// Flips `image` (`[H, W, C]`), at `index` in the dataset, with probability 1/2 if the dataset's
/// preprocessing enables it.
pub(crate) fn maybe_flip(dataset: &Dataset, cursor: Cursor, index: u32, image: &mut [f32]) {
    if dataset.preprocess().flip && is_mirrored(cursor, index) {
        let [_, width, channels] = dataset.shape();
        mirror(image, width, channels);
    }
}

/// Probability 1/2 for each image in each epoch.
fn is_mirrored(cursor: Cursor, index: u32) -> bool {
    let words = |number: u64| [number as u32, (number >> 32) as u32];
    let [low, high] = words(FLIP_STREAM.wrapping_add(cursor.epoch));
    philox4x32([index, 0, low, high], words(cursor.seed))[0] >> 31 == 1
}

/// Reverses each row of `width · channels` values, pixel by pixel.
fn mirror(image: &mut [f32], width: usize, channels: usize) {
    for row in image.chunks_exact_mut(width * channels) {
        for x in 0..width / 2 {
            let (left, right) = row.split_at_mut((width - 1 - x) * channels);
            left[x * channels..][..channels].swap_with_slice(&mut right[..channels]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_mirrored_pixel_by_pixel() {
        for (width, wanted) in
            [(3, vec![5., 6., 3., 4., 1., 2.]), (1, vec![1., 2., 3., 4., 5., 6.])]
        {
            let mut image = vec![1., 2., 3., 4., 5., 6.];
            mirror(&mut image, width, 2);
            assert_eq!(image, wanted);
        }
        let mut gray: Vec<f32> = (0..8).map(|v| v as f32).collect();
        mirror(&mut gray, 4, 1);
        assert_eq!(gray, [3., 2., 1., 0., 7., 6., 5., 4.]);
    }

    #[test]
    fn about_half_are_mirrored_and_others_in_each_epoch_and_seed() {
        let draw = |seed, epoch| -> Vec<bool> {
            let cursor = Cursor { epoch, batch: 7, ..Cursor::new(seed) };
            (0..10_000).map(|index| is_mirrored(cursor, index)).collect()
        };
        let first = draw(1, 0);
        let share = |flags: &[bool]| flags.iter().filter(|flag| **flag).count();
        // Five standard deviations of 50.
        assert!((4750..5250).contains(&share(&first)), "{}", share(&first));
        for other in [draw(1, 1), draw(2, 0)] {
            let same: Vec<bool> = first.iter().zip(&other).map(|(a, b)| a == b).collect();
            assert!((4750..5250).contains(&share(&same)), "{}", share(&same));
        }
        let other_batch = is_mirrored(Cursor::new(1), 3);
        assert_eq!(other_batch, first[3]);
    }
}
