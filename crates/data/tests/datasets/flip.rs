//! Random flips in batches: the same for every number of threads, batch size and position of
//! resuming.

use std::path::Path;
use std::sync::Arc;

use crate::common::{idx, write};
use data::{Batch, Cursor, Dataset, Loader, Preprocess, Split};

const IMAGES: usize = 40;

/// Images whose left half is 0 and whose right half is their index plus 1.
fn open(folder: &Path, flip: bool, cache_bytes: u64) -> Arc<Dataset> {
    let data: Vec<u8> =
        (1..=IMAGES as u8).flat_map(|number| [0, 0, number, number].repeat(2)).collect();
    write(folder, "images-idx3-ubyte", &idx(&[IMAGES as u32, 2, 4], &data));
    let preprocess = Preprocess { flip, ..Preprocess::new([2, 4], 1) };
    Arc::new(
        Dataset::open_within(
            folder.to_str().unwrap(),
            Split::Train,
            &preprocess,
            cache_bytes,
            &|_| (),
        )
        .unwrap(),
    )
}

/// For each image of two epochs, in order: its index, and whether it was flipped.
fn seen(set: &Arc<Dataset>, batch: usize, prefetch: usize, cursor: Cursor) -> Vec<(usize, bool)> {
    let mut loader = Loader::new(Arc::clone(set), batch, cursor, prefetch).unwrap();
    let batches = (0..2 * IMAGES / batch).map(|_| loader.next().unwrap());
    batches
        .flat_map(|batch: Batch| {
            batch.images.chunks(8).map(sides).zip(batch.indices).map(check).collect::<Vec<_>>()
        })
        .collect()
}

fn sides(image: &[f32]) -> (i32, i32) {
    let byte = |value: f32| ((value + 1.0) * 127.5).round() as i32;
    assert!(
        image[..4] == image[4..] && image[0] == image[1] && image[2] == image[3],
        "rows are mirrored alike"
    );
    (byte(image[0]), byte(image[3]))
}

fn check(((left, right), index): ((i32, i32), usize)) -> (usize, bool) {
    let number = index as i32 + 1;
    assert!(
        (left, right) == (0, number) || (left, right) == (number, 0),
        "{index}: {left} and {right}"
    );
    (index, left != 0)
}

#[test]
fn rows_are_flipped_as_in_the_whole_batch() {
    let folder = tempfile::tempdir().unwrap();
    for cache_bytes in [0, 1 << 20] {
        let set = open(folder.path(), true, cache_bytes);
        let mut whole = Loader::new(Arc::clone(&set), 8, Cursor::new(3), 2).unwrap();
        let rows = vec![1..3, 7..8];
        let mut of_rows = Loader::of_rows(set, 8, rows, Cursor::new(3), 2).unwrap();
        for _ in 0..12 {
            let (whole, found) = (whole.next().unwrap(), of_rows.next().unwrap());
            let wanted: Vec<&[f32]> = whole.images.chunks(8).collect();
            assert_eq!(found.images, [wanted[1], wanted[2], wanted[7]].concat());
        }
    }
}

#[test]
fn about_half_are_mirrored_whatever_makes_the_batches() {
    let folder = tempfile::tempdir().unwrap();
    let plain = open(folder.path(), false, 1 << 20);
    assert!(seen(&plain, 4, 1, Cursor::new(5)).iter().all(|(_, mirrored)| !mirrored));
    let set = open(folder.path(), true, 1 << 20);
    assert_eq!(set.fingerprint(), plain.fingerprint(), "the set is the same");
    let wanted = seen(&set, 4, 1, Cursor::new(5));
    let count = wanted.iter().filter(|(_, mirrored)| *mirrored).count();
    assert!((20..=60).contains(&count), "{count} of 80");
    let of_epoch = |epoch: usize| {
        let mut images = wanted[epoch * IMAGES..][..IMAGES].to_vec();
        images.sort_unstable();
        images
    };
    assert_ne!(of_epoch(0), of_epoch(1), "other ones in each epoch");
    let uncached = open(folder.path(), true, 0);
    assert!(!uncached.is_cached());
    for set in [&set, &uncached] {
        for (batch, prefetch) in [(4, 1), (4, 9), (10, 2), (40, 3)] {
            assert_eq!(
                seen(set, batch, prefetch, Cursor::new(5)),
                wanted,
                "batches of {batch}, {prefetch} ahead"
            );
        }
    }
    assert_ne!(seen(&set, 4, 1, Cursor::new(6)), wanted);
    // Resumed in the middle of the second epoch.
    let resumed = seen(&set, 4, 3, Cursor { epoch: 1, batch: 5, ..Cursor::new(5) });
    assert_eq!(resumed[..IMAGES / 2], wanted[IMAGES + 20..]);
}
