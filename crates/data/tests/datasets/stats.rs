//! Statistics of datasets.

use crate::common::{idx, plain, small_set, write};
use data::{DataError, DataSpec, DatasetStats, Split};
use std::path::Path;

fn stats(path: &Path, split: Split) -> Result<DatasetStats, DataError> {
    DatasetStats::compute(&DataSpec::parse(path.to_str().unwrap()).unwrap(), split, &|_| ())
}

#[test]
fn folders_are_counted_by_size_channels_and_class() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    for (name, side) in [("cats/a.png", 5), ("cats/b.png", 5), ("dogs/c.png", 9), ("dogs/d.bmp", 3)]
    {
        plain(path, name, side, [1, 2, 3]);
    }
    image::GrayImage::new(4, 3).save(path.join("dogs/e.png")).unwrap();
    write(path, "dogs/f.png", b"no image");
    let found = stats(path, Split::Train).unwrap();
    assert_eq!((found.images, found.examined), (6, 6));
    assert_eq!(found.sizes, [([5, 5], 2), ([9, 9], 1), ([3, 4], 1), ([3, 3], 1)]);
    assert_eq!(Vec::from_iter(found.channels), [(1, 1), (3, 4)]);
    assert_eq!(found.classes, [("cats".to_owned(), 2), ("dogs".to_owned(), 4)]);
    let bad: Vec<String> = found.bad.iter().map(ToString::to_string).collect();
    assert!(bad.len() == 1 && bad[0].contains("f.png") && bad[0].contains("1 of 6"), "{bad:?}");
    assert!(matches!(stats(path, Split::Test), Err(DataError::NoSplit { .. })));
}

#[test]
fn progress_ends_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    small_set(folder.path());
    let reported = std::cell::RefCell::new(Vec::new());
    let spec = DataSpec::parse(folder.path().to_str().unwrap()).unwrap();
    let found = DatasetStats::compute(&spec, Split::Train, &|progress| {
        reported.borrow_mut().push((progress.done, progress.total))
    })
    .unwrap();
    assert_eq!((found.sizes, Vec::from_iter(found.channels)), (vec![([3, 2], 4)], vec![(1, 4)]));
    assert_eq!(reported.into_inner(), [(0, 4), (4, 4)]);
}

#[test]
fn of_a_large_set_a_part_is_looked_at() {
    let count = data::STATS_MAX_IMAGES + 1000;
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "images-idx3-ubyte", &idx(&[count as u32, 1, 1], &vec![0; count]));
    let found = stats(folder.path(), Split::Train).unwrap();
    assert_eq!(
        (found.images, found.examined, found.sizes),
        (count, data::STATS_MAX_IMAGES, vec![([1, 1], data::STATS_MAX_IMAGES)])
    );
}
