//! Batches: their order, their end, their resumption.

mod common;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use common::{idx, message, plain, write};
use data::{Batch, Cursor, DataError, Dataset, Loader, Preprocess, Split, permutation};
use tempfile::{TempDir, tempdir};

/// 23 images of one pixel; image k is k, of class k mod 5.
fn numbers() -> Arc<Dataset> {
    let folder = tempdir().unwrap();
    write(folder.path(), "train-images-idx3-ubyte", &idx(&[23, 1, 1], &(0..23).collect::<Vec<_>>()));
    let labels: Vec<u8> = (0..23).map(|k| k % 5).collect();
    write(folder.path(), "train-labels-idx1-ubyte", &idx(&[23], &labels));
    Arc::new(common::open(folder.path(), &Preprocess::new([1, 1], 1)).unwrap())
}

/// The same numbers as PNG files that are decoded anew for each batch.
fn lazy_numbers(folder: &Path) -> Arc<Dataset> {
    (0..23).for_each(|k| plain(folder, &format!("{k:02}.png"), 3, [k; 3]));
    let preprocess = Preprocess::new([3, 3], 1);
    Arc::new(Dataset::open_within(folder.to_str().unwrap(), Split::Train, &preprocess, 0, &|_| ()).unwrap())
}

fn batches(loader: &mut Loader, count: usize) -> Vec<Batch> {
    (0..count).map(|_| loader.next().unwrap()).collect()
}

#[test]
fn an_epoch_is_its_permutation_without_the_rest() {
    let mut loader = Loader::new(numbers(), 5, Cursor::new(3), 4).unwrap();
    assert_eq!(loader.batches_per_epoch(), 4);
    for epoch in 0..3 {
        let order = permutation(3, epoch, 23);
        for (k, batch) in batches(&mut loader, 4).into_iter().enumerate() {
            let wanted: Vec<usize> = order[k * 5..][..5].iter().map(|&index| index as usize).collect();
            assert_eq!(batch.indices, wanted);
            assert_eq!(batch.images, wanted.iter().map(|&v| v as f32 / 127.5 - 1.0).collect::<Vec<_>>());
            assert_eq!(batch.labels, Some(wanted.iter().map(|&v| v as u32 % 5).collect()));
            assert_eq!(batch.epoch_end, k == 3);
            let next = if k == 3 { (epoch + 1, 0) } else { (epoch, k as u64 + 1) };
            assert_eq!((batch.cursor.epoch, batch.cursor.batch, batch.cursor.seed), (next.0, next.1, 3));
        }
    }
}

#[test]
fn resuming_anywhere_continues_the_same_sequence() {
    let set = numbers();
    let whole = batches(&mut Loader::new(Arc::clone(&set), 4, Cursor::new(11), 3).unwrap(), 20);
    for (done, batch) in whole.iter().enumerate().take(13) {
        // Through its text, as a checkpoint keeps it.
        let text = serde_json::to_string(&batch.cursor).unwrap();
        let cursor: Cursor = serde_json::from_str(&text).unwrap();
        let mut loader = Loader::new(Arc::clone(&set), 4, cursor, 1).unwrap();
        assert_eq!(batches(&mut loader, 6), whole[done + 1..done + 7]);
    }
}

#[test]
fn decoding_threads_do_not_change_the_sequence() {
    let folder: TempDir = tempdir().unwrap();
    let set = lazy_numbers(folder.path());
    let cursor = Cursor { seed: 5, epoch: 1, batch: 2 };
    let one = batches(&mut Loader::new(Arc::clone(&set), 6, cursor, 1).unwrap(), 10);
    for prefetch in [0, 2, 3, 7] {
        let mut loader = Loader::new(Arc::clone(&set), 6, cursor, prefetch).unwrap();
        assert_eq!(batches(&mut loader, 10), one, "prefetch {prefetch}");
    }
    assert!(one.iter().all(|batch| batch.labels.is_none()));
}

#[test]
fn recycled_buffers_are_used_and_overwritten() {
    let set = numbers();
    let fresh = batches(&mut Loader::new(Arc::clone(&set), 5, Cursor::new(0), 1).unwrap(), 40);
    let mut loader = Loader::new(set, 5, Cursor::new(0), 1).unwrap();
    loader.recycle(vec![0.0; 3]); // of the wrong length: dropped
    let mut addresses = HashSet::new();
    for wanted in fresh {
        let batch = loader.next().unwrap();
        assert_eq!(batch, wanted);
        addresses.insert(batch.images.as_ptr());
        let mut images = batch.images;
        images.fill(9.0);
        loader.recycle(images);
    }
    // One in use, one in the channel, one being made: whatever the threads' timing, no fourth is ever allocated.
    assert!(addresses.len() <= 3, "{} buffers for 40 batches", addresses.len());
}

#[test]
fn files_gone_bad_are_replaced_by_their_neighbour() {
    let folder = tempdir().unwrap();
    let set = lazy_numbers(folder.path());
    write(folder.path(), "07.png", b"garbage");
    write(folder.path(), "22.png", b"garbage");
    let mut loader = Loader::new(Arc::clone(&set), 23, Cursor::new(0), 2).unwrap();
    let batch = loader.next().unwrap();
    let count = |index| batch.indices.iter().filter(|&&found| found == index).count();
    assert_eq!((count(7), count(8), count(22), count(0)), (0, 2, 0, 2));
    assert_eq!(set.failed(), [7, 22]);
    write(folder.path(), "12.png", b"garbage");
    let mut loader = Loader::new(set, 23, Cursor::new(0), 2).unwrap();
    let text = message((0..2).try_for_each(|_| loader.next().map(drop)));
    assert!(text.contains("3 of 23 images"), "{text}");
    assert!(matches!(loader.next(), Err(DataError::Stopped)));
}

#[test]
fn what_cannot_be_batched_is_refused() {
    let set = numbers();
    let of = |batch, cursor| Loader::new(Arc::clone(&set), batch, cursor, 1);
    assert!(message(of(0, Cursor::new(0))).contains("a batch of 0 images"));
    let text = message(of(24, Cursor::new(0)));
    assert!(text.contains("has 23 images, fewer than one batch of 24: choose a batch of 23 or fewer"), "{text}");
    let text = message(of(5, Cursor { seed: 0, epoch: 0, batch: 4 }));
    assert!(text.contains("batch 4 of an epoch of 4 batches"), "{text}");
    assert!(of(23, Cursor { seed: 0, epoch: u64::MAX, batch: 0 }).unwrap().next().is_ok());
}

#[test]
fn dropping_a_loader_stops_its_threads() {
    let folder = tempdir().unwrap();
    for set in [numbers(), lazy_numbers(folder.path())] {
        for prefetch in [1, 8] {
            let mut loader = Loader::new(Arc::clone(&set), 2, Cursor::new(0), prefetch).unwrap();
            loader.next().unwrap();
            drop(loader);
            assert_eq!(Arc::strong_count(&set), 1, "a thread still holds the set");
        }
    }
}
