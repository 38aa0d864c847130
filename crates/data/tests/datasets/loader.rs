//! Batches: order, end of an epoch, resumption.

use std::collections::HashSet;
use std::num::NonZeroU32;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::common::{assert_refused, idx, open, plain, write};
use data::{
    Batch, Cursor, DataError, Dataset, Loader, Preprocess, SHARD, Split, order, permutation,
};
use tempfile::{TempDir, tempdir};

/// 23 images of one pixel; image k is k, of class k mod 5.
fn numbers() -> Arc<Dataset> {
    let folder = tempdir().unwrap();
    write(
        folder.path(),
        "train-images-idx3-ubyte",
        &idx(&[23, 1, 1], &(0..23).collect::<Vec<_>>()),
    );
    let labels: Vec<u8> = (0..23).map(|k| k % 5).collect();
    write(folder.path(), "train-labels-idx1-ubyte", &idx(&[23], &labels));
    Arc::new(open(folder.path(), &Preprocess::new([1, 1], 1)).unwrap())
}

/// The same values as PNG files that are decoded for each batch.
fn lazy_numbers(folder: &Path) -> Arc<Dataset> {
    (0..23).for_each(|k| plain(folder, &format!("{k:02}.png"), 3, [k; 3]));
    let preprocess = Preprocess::new([3, 3], 1);
    Arc::new(
        Dataset::open_within(folder.to_str().unwrap(), Split::Train, &preprocess, 0, &|_| ())
            .unwrap(),
    )
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
            let wanted: Vec<usize> =
                order[k * 5..][..5].iter().map(|&index| index as usize).collect();
            assert_eq!(batch.indices, wanted);
            assert_eq!(
                batch.images,
                wanted.iter().map(|&v| v as f32 / 127.5 - 1.0).collect::<Vec<_>>()
            );
            assert_eq!(batch.labels, Some(wanted.iter().map(|&v| v as u32 % 5).collect()));
            assert_eq!(batch.epoch_end, k == 3);
            let next = if k == 3 { (epoch + 1, 0) } else { (epoch, k as u64 + 1) };
            assert_eq!(
                (batch.cursor.epoch, batch.cursor.batch, batch.cursor.seed),
                (next.0, next.1, 3)
            );
        }
    }
}

#[test]
fn resuming_anywhere_continues_the_same_sequence() {
    let set = numbers();
    let whole = batches(&mut Loader::new(Arc::clone(&set), 4, Cursor::new(11), 3).unwrap(), 20);
    for (done, batch) in whole.iter().enumerate().take(13) {
        // Serialized, as in a checkpoint.
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
    let cursor = Cursor { epoch: 1, batch: 2, ..Cursor::new(5) };
    let one = batches(&mut Loader::new(Arc::clone(&set), 6, cursor, 1).unwrap(), 10);
    for prefetch in [0, 2, 3, 7] {
        let mut loader = Loader::new(Arc::clone(&set), 6, cursor, prefetch).unwrap();
        assert_eq!(batches(&mut loader, 10), one, "prefetch {prefetch}");
    }
    assert!(one.iter().all(|batch| batch.labels.is_none()));
}

/// Ranges from their starts and ends.
fn ranges(ends: &[[usize; 2]]) -> Vec<Range<usize>> {
    ends.iter().map(|&[start, end]| start..end).collect()
}

/// Asserts that the batches of a loader of some rows are those rows of the whole batches.
#[track_caller]
fn assert_rows(set: &Arc<Dataset>, batch: usize, rows: &[[usize; 2]], start: Cursor) {
    let ranges = ranges(rows);
    let whole = batches(&mut Loader::new(Arc::clone(set), batch, start, 1).unwrap(), 20);
    for prefetch in [1, 3] {
        let of_rows = Loader::of_rows(Arc::clone(set), batch, ranges.clone(), start, prefetch);
        for (whole, found) in whole.iter().zip(batches(&mut of_rows.unwrap(), 20)) {
            let rows = || ranges.iter().cloned().flatten();
            let image_len = whole.images.len() / batch;
            let images: Vec<f32> = rows()
                .flat_map(|row| &whole.images[row * image_len..][..image_len])
                .copied()
                .collect();
            let wanted = Batch {
                images,
                labels: whole.labels.as_ref().map(|labels| rows().map(|row| labels[row]).collect()),
                indices: rows().map(|row| whole.indices[row]).collect(),
                ..whole.clone()
            };
            assert_eq!(found, wanted, "rows {ranges:?}, prefetch {prefetch}");
        }
    }
}

#[test]
fn rows_are_those_of_the_whole_batch() {
    let folders = [tempdir().unwrap(), tempdir().unwrap()];
    let lazy = lazy_numbers(folders[0].path());
    let packed = shards(folders[1].path());
    let start = Cursor { epoch: 1, batch: 2, ..Cursor::new(5) };
    let buffer = NonZeroU32::new(SHARD + 3);
    for rows in [&[[0, 6]][..], &[[0, 2]], &[[2, 6]], &[[5, 6]], &[[1, 2], [3, 4], [4, 6]]] {
        assert_rows(&numbers(), 6, rows, start);
        assert_rows(&lazy, 6, rows, start);
        assert_rows(&lazy, 6, rows, start.with_buffer(NonZeroU32::new(8)));
        // Twenty batches of 100 lead over the end of an epoch of 15.
        let rows: Vec<_> = rows.iter().map(|rows| rows.map(|row| 16 * row)).collect();
        assert_rows(&packed, 100, &rows, start.with_buffer(buffer));
    }
}

#[test]
fn images_of_other_rows_are_not_decoded() {
    let folder = tempdir().unwrap();
    let set = lazy_numbers(folder.path());
    let order = permutation(0, 0, 23);
    for (place, index) in order.into_iter().enumerate() {
        if ![1, 2].contains(&(place % 5)) {
            write(folder.path(), &format!("{index:02}.png"), b"garbage");
        }
    }
    let mut loader =
        Loader::of_rows(Arc::clone(&set), 5, ranges(&[[1, 3]]), Cursor::new(0), 1).unwrap();
    assert!(batches(&mut loader, 4).iter().all(|batch| batch.indices.len() == 2));
    // One more batch may have been prepared, of the next epoch.
    drop(loader);
    let first =
        Loader::of_rows(Arc::clone(&set), 5, ranges(&[[0, 1]]), Cursor::new(0), 1).unwrap().next();
    assert_refused!(first, DataError::TooManyBad { .. });
}

#[test]
fn bad_images_of_rows_have_the_replacement_of_the_whole_batch() {
    let folder = tempdir().unwrap();
    let set = lazy_numbers(folder.path());
    write(folder.path(), "07.png", b"garbage");
    write(folder.path(), "22.png", b"garbage");
    assert_rows(&set, 23, &[[0, 9]], Cursor::new(0));
    assert_rows(&set, 23, &[[9, 12], [15, 23]], Cursor::new(0));
}

#[test]
fn buffers_of_rows_are_recycled() {
    let of_rows = |set| Loader::of_rows(set, 5, vec![0..1, 3..5], Cursor::new(0), 1).unwrap();
    let fresh = batches(&mut of_rows(numbers()), 40);
    let mut loader = of_rows(numbers());
    let mut addresses = HashSet::new();
    for wanted in fresh {
        let batch = loader.next().unwrap();
        assert_eq!((&batch, batch.images.len()), (&wanted, 3));
        addresses.insert(batch.images.as_ptr());
        loader.recycle(batch.images);
    }
    assert!(addresses.len() <= 3, "{} buffers for 40 batches", addresses.len());
}

#[test]
fn invalid_rows_panic() {
    let set = numbers();
    let panics = |rows: &[[usize; 2]]| {
        let of_rows = || Loader::of_rows(Arc::clone(&set), 5, ranges(rows), Cursor::new(0), 1);
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(of_rows)).is_err()
    };
    for rows in [&[][..], &[[2, 2]], &[[3, 6]], &[[2, 3], [0, 1]], &[[0, 3], [2, 4]]] {
        assert!(panics(rows), "{rows:?}");
    }
    assert!(!panics(&[[0, 2], [2, 5]]));
}

/// A packed file of images, none of which is cached: image k has the gray value k mod 256.
fn shards(folder: &Path) -> Arc<Dataset> {
    let side = |k: u32| [(k % 256) as u8];
    let grays: Vec<u8> = (0..6 * SHARD + 9).flat_map(side).collect();
    write(folder, "train-images-idx3-ubyte", &idx(&[grays.len() as u32, 1, 1], &grays));
    let (spec, packed) = (folder.to_str().unwrap(), folder.join("packed"));
    data::prepare(spec, Split::Train, &Preprocess::new([1, 1], 1), &packed, false, &|_| ())
        .unwrap();
    let open = |at: &Path| {
        Dataset::open_within(
            at.to_str().unwrap(),
            Split::Train,
            &Preprocess::new([1, 1], 1),
            0,
            &|_| (),
        )
    };
    Arc::new(open(&packed).unwrap())
}

#[test]
fn shuffle_buffer_order_and_resume() {
    let folder = tempdir().unwrap();
    let lazy = shards(folder.path());
    assert!(!lazy.is_cached());
    let start = Cursor::new(5).with_buffer(NonZeroU32::new(2 * SHARD + 3));
    let batch = 100;
    let whole = batches(&mut Loader::new(Arc::clone(&lazy), batch, start, 1).unwrap(), 40);
    for epoch in 0..2 {
        let order = order(Cursor { epoch, ..start }, lazy.len() as u32);
        for (k, found) in whole[epoch as usize * 15..][..15].iter().enumerate() {
            assert!(
                found
                    .indices
                    .iter()
                    .zip(&order[k * batch..])
                    .all(|(&found, &wanted)| found == wanted as usize)
            );
            assert!(
                found
                    .indices
                    .iter()
                    .zip(&found.images)
                    .all(|(&k, &gray)| gray == (k % 256) as f32 / 127.5 - 1.0)
            );
        }
    }
    for done in [0, 4, 13, 14, 22] {
        let text = serde_json::to_string(&whole[done].cursor).unwrap();
        let cursor: Cursor = serde_json::from_str(&text).unwrap();
        for prefetch in [1, 3] {
            let mut loader = Loader::new(Arc::clone(&lazy), batch, cursor, prefetch).unwrap();
            assert_eq!(
                batches(&mut loader, 16),
                whole[done + 1..done + 17],
                "from batch {done}, prefetch {prefetch}"
            );
        }
    }
    drop(Loader::new(Arc::clone(&lazy), batch, start, 3).unwrap());
    assert_eq!(Arc::strong_count(&lazy), 1, "a thread still holds the set");
}

#[test]
fn old_cursors_have_no_buffer() {
    let text = serde_json::to_string(&Cursor::new(3)).unwrap();
    assert_eq!(text, r#"{"seed":3,"epoch":0,"batch":0}"#);
    assert_eq!(serde_json::from_str::<Cursor>(&text).unwrap(), Cursor::new(3));
    assert!(
        serde_json::from_str::<Cursor>(r#"{"seed":3,"epoch":0,"batch":0,"buffer":0}"#).is_err()
    );
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
    // One in use, one in the channel, one in preparation: whatever the threads' timing, no fourth
    // is ever allocated.
    assert!(addresses.len() <= 3, "{} buffers for 40 batches", addresses.len());
}

#[test]
fn files_gone_bad_are_replaced_by_their_neighbor() {
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
    let read = (0..2).try_for_each(|_| loader.next().map(drop));
    assert_refused!(read, DataError::TooManyBad { bad: 3, total: 23, .. });
    assert!(matches!(loader.next(), Err(DataError::Stopped)));
}

#[test]
fn invalid_batches_are_errors() {
    let set = numbers();
    let of = |batch, cursor| Loader::new(Arc::clone(&set), batch, cursor, 1);
    assert!(matches!(of(0, Cursor::new(0)), Err(DataError::EmptyBatch)));
    assert!(matches!(
        of(24, Cursor::new(0)),
        Err(DataError::SmallerThanBatch { images: 23, batch: 24, .. })
    ));
    assert!(matches!(
        of(5, Cursor { batch: 4, ..Cursor::new(0) }),
        Err(DataError::Cursor { batch: 4, batches: 4 })
    ));
    assert!(of(23, Cursor { epoch: u64::MAX, ..Cursor::new(0) }).unwrap().next().is_ok());
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
