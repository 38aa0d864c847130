//! Datasets that the ranks of a process group open together.

use std::fs;
use std::path::Path;

use crate::common::{assert_refused, bytes, column_names, idx, open, plain, write};
use data::{CACHE_BYTES, DataError, Dataset, Preprocess, RankFailure, RankProblem, Split};
use tempfile::{TempDir, tempdir};
use tensor::distributed::run_on_threads;

const RGB: fn() -> Preprocess = || Preprocess::new([4, 4], 3);

/// Opens the dataset of each rank, as if each had a node and files of its own.
fn open_each(paths: &[&Path], cache_bytes: u64) -> Vec<Result<Dataset, DataError>> {
    run_on_threads(paths.len(), |group| {
        let spec = paths[group.rank()].to_str().unwrap();
        Dataset::open_on(&group, spec, Split::Train, &RGB(), cache_bytes, &|_| ())
    })
}

/// What differs on which rank, the same on all ranks.
#[track_caller]
fn failures(results: Vec<Result<Dataset, DataError>>) -> Vec<RankFailure> {
    let mut all = results.into_iter().map(|result| {
        let error = result.unwrap_err();
        assert!(!error.to_string().contains('\n'), "{error}");
        match error {
            DataError::Ranks { failures, .. } => failures,
            other => panic!("{other:?}"),
        }
    });
    let first = all.next().unwrap();
    assert!(all.all(|other| other == first));
    first
}

/// 40 images in two classes with attributes, one of which is bad.
fn folder() -> TempDir {
    let folder = tempdir().unwrap();
    let name = |k: u8| format!("train/{}/{k:02}.png", if k < 25 { "cat" } else { "dog" });
    (0..40).for_each(|k| plain(folder.path(), &name(k), 4, [k, 100, 200 - k]));
    write(folder.path(), &name(31), b"garbage");
    let rows = (0..40).map(|k| format!("{},{}\n", &name(k)["train/".len()..], f32::from(k) / 7.0));
    let table = format!("file,age\n{}", rows.collect::<String>());
    write(folder.path(), "train/attributes.csv", table.as_bytes());
    write(folder.path(), "test/cat/x.png", b"of the other split");
    folder
}

fn assert_same(found: &Dataset, wanted: &Dataset) {
    assert_eq!(found.fingerprint(), wanted.fingerprint());
    assert_eq!((found.name(), found.len()), (wanted.name(), wanted.len()));
    assert_eq!((found.class_names(), found.skipped()), (wanted.class_names(), wanted.skipped()));
    assert_eq!(column_names(found), column_names(wanted));
    assert_eq!(found.is_cached(), wanted.is_cached());
    for index in 0..wanted.len() {
        assert_eq!(found.image_name(index), wanted.image_name(index));
        assert_eq!(found.label(index), wanted.label(index));
        assert_eq!(found.attributes(index), wanted.attributes(index));
        assert_eq!(bytes(found, index), bytes(wanted, index), "image {index}");
    }
}

#[test]
fn all_ranks_have_the_dataset_of_one_process() {
    let folder = folder();
    for cache_bytes in [CACHE_BYTES, 0] {
        let spec = folder.path().to_str().unwrap();
        let alone = Dataset::open_within(spec, Split::Train, &RGB(), cache_bytes, &|_| ()).unwrap();
        assert_eq!((alone.len(), alone.skipped().len()), (39, 1));
        for ranks in 1..=4 {
            for set in open_each(&vec![folder.path(); ranks], cache_bytes) {
                let set = set.unwrap();
                assert_same(&set, &alone);
                assert_eq!(set.folder(), alone.folder());
                let description = |set: &Dataset| set.report().unwrap().description.clone();
                assert_eq!(description(&set), description(&alone));
            }
        }
    }
}

#[test]
fn many_blocks_and_bad_images_are_those_of_one_process() {
    let folder = tempdir().unwrap();
    for k in 0..700u32 {
        plain(folder.path(), &format!("{k:03}.png"), 4, [k as u8, (k >> 8) as u8, 9]);
    }
    for k in (5..700).step_by(37) {
        write(folder.path(), &format!("{k:03}.png"), b"garbage");
    }
    let alone = open(folder.path(), &RGB()).unwrap();
    let sets = run_on_threads(3, |group| {
        let spec = folder.path().to_str().unwrap();
        let open = || Dataset::open_on(&group, spec, Split::Train, &RGB(), CACHE_BYTES, &|_| ());
        // Ranks with different numbers of threads.
        let pool = rayon::ThreadPoolBuilder::new().num_threads(group.rank() + 1).build();
        pool.unwrap().install(open).unwrap()
    });
    for set in sets {
        assert_same(&set, &alone);
    }
}

#[test]
fn a_folder_is_listed_by_rank_0_alone() {
    let (first, second) = (folder(), folder());
    // Each would change the dataset, or end the listing with an error.
    plain(second.path(), "train/cat/00-new.png", 4, [1, 2, 3]);
    plain(second.path(), "train/cow/x.png", 4, [1, 2, 3]);
    write(second.path(), "train/attributes.csv", b"file,height\n");
    write(second.path(), "train/cat/labels.txt", b"?");
    #[cfg(unix)]
    std::os::unix::fs::symlink(second.path(), second.path().join("train/loop")).unwrap();
    let alone = open(first.path(), &RGB()).unwrap();
    for cache_bytes in [CACHE_BYTES, 0] {
        for set in open_each(&[first.path(), second.path()], cache_bytes) {
            let set = set.unwrap();
            assert_eq!(set.fingerprint(), alone.fingerprint());
            assert_eq!(set.attributes(3), alone.attributes(3));
        }
    }
}

#[cfg(unix)]
#[test]
fn names_that_are_not_utf_8_are_listed() {
    use std::os::unix::ffi::OsStrExt as _;
    let folder = tempdir().unwrap();
    (0..12).for_each(|k| plain(folder.path(), &format!("{k:02}.png"), 4, [k; 3]));
    let name = std::ffi::OsStr::from_bytes(b"caf\xe9.png");
    fs::rename(folder.path().join("03.png"), folder.path().join(name)).unwrap();
    let alone = open(folder.path(), &RGB()).unwrap();
    assert_eq!(alone.len(), 12);
    for set in open_each(&[folder.path(); 2], CACHE_BYTES) {
        assert_same(&set.unwrap(), &alone);
    }
}

#[test]
fn a_rank_without_a_file_is_named() {
    let (whole, other) = (folder(), folder());
    fs::remove_file(other.path().join("train/dog/39.png")).unwrap();
    let paths = [whole.path(), whole.path(), other.path()];
    let found = failures(open_each(&paths, CACHE_BYTES));
    let [RankFailure { rank: 2, problem: RankProblem::Image { name, .. } }] = &found[..] else {
        panic!("{found:?}");
    };
    assert_eq!(name, "dog/39.png");
    let found = failures(open_each(&paths, 0));
    let [RankFailure { rank: 2, problem }] = &found[..] else { panic!("{found:?}") };
    let RankProblem::Images { images: 38, of_root: 39, first_skipped: Some(first) } = problem
    else {
        panic!("{problem:?}");
    };
    assert!(first.contains("dog/31.png"), "{first}");

    plain(other.path(), "train/dog/39.png", 4, [0; 3]);
    let wanted = RankFailure { rank: 2, problem: RankProblem::Contents };
    assert_eq!(failures(open_each(&paths, 0)), [wanted]);
}

#[test]
fn an_error_of_one_rank_is_an_error_of_all() {
    let folder = folder();
    let missing = folder.path().join("missing");
    let mut results = open_each(&[&missing, folder.path(), folder.path()], CACHE_BYTES);
    assert_refused!(results.remove(0), DataError::NotFound { .. });
    let found = failures(results);
    let is_message = |problem: &RankProblem| match problem {
        RankProblem::Failed(message) => message.contains("missing"),
        _ => false,
    };
    assert!(found.len() == 1 && found[0].rank == 0 && is_message(&found[0].problem));

    let found = failures(open_each(&[folder.path(), &missing, &missing], CACHE_BYTES));
    assert!(found.iter().map(|failure| failure.rank).eq([1, 2]));
    assert!(found.iter().all(|failure| is_message(&failure.problem)));
}

#[test]
fn an_error_of_all_ranks_is_that_of_one_process() {
    let bad = folder();
    (0..9).for_each(|k| write(bad.path(), &format!("train/cat/{k:02}.png"), b"garbage"));
    for cache_bytes in [CACHE_BYTES, 0] {
        for result in open_each(&[bad.path(); 3], cache_bytes) {
            assert_refused!(result, DataError::TooManyBad { bad: 10, total: 40, .. });
        }
    }
}

#[test]
fn other_formats_are_opened_by_each_rank_and_compared() {
    let files = |count: u8, first: u8| {
        let folder = tempdir().unwrap();
        let pixels: Vec<u8> = (0..count).map(|k| k + first).collect();
        let images = idx(&[u32::from(count), 1, 1], &pixels);
        write(folder.path(), "train-images-idx3-ubyte", &images);
        folder
    };
    let [whole, longer, other] = [files(50, 0), files(51, 0), files(50, 1)];
    let opened = |second: &TempDir| open_each(&[whole.path(), second.path()], CACHE_BYTES);
    let alone = open(whole.path(), &RGB()).unwrap();
    for set in opened(&whole) {
        assert_same(&set.unwrap(), &alone);
    }
    let problem = RankProblem::Images { images: 51, of_root: 50, first_skipped: None };
    assert_eq!(failures(opened(&longer)), [RankFailure { rank: 1, problem }]);
    let uncached = open_each(&[whole.path(), other.path()], 0);
    let problem = RankProblem::Contents;
    assert_eq!(failures(uncached), [RankFailure { rank: 1, problem }]);

    let packed = tempdir().unwrap();
    let file = &*packed.path().join("packed");
    let spec = whole.path().to_str().unwrap();
    data::prepare(spec, Split::Train, &RGB(), file, false, &|_| ()).unwrap();
    for set in open_each(&[file; 2], CACHE_BYTES) {
        assert_eq!(set.unwrap().fingerprint(), alone.fingerprint());
    }
    // Only one of them has to be decoded.
    let found = failures(open_each(&[file, whole.path()], CACHE_BYTES));
    assert_eq!(found, [RankFailure { rank: 1, problem: RankProblem::Contents }]);
}

#[test]
fn ranks_that_want_other_images_are_named() {
    let folder = folder();
    let results = run_on_threads(2, |group| {
        let side = 4 + group.rank() as u32;
        let (spec, size) = (folder.path().to_str().unwrap(), Preprocess::new([side, side], 3));
        Dataset::open_on(&group, spec, Split::Train, &size, CACHE_BYTES, &|_| ())
    });
    let problem = RankProblem::Settings;
    assert_eq!(failures(results), [RankFailure { rank: 1, problem }]);
    let error = DataError::Ranks {
        spec: "x".to_owned(),
        failures: [1, 3].map(|rank| RankFailure { rank, problem: RankProblem::Contents }).into(),
    };
    assert!(error.to_string().contains("ranks 1, 3: "), "{error}");
}
