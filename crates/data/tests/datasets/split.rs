//! Dividing folders.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::common::{message, open, plain, write};
use data::{DataError, Dataset, Preprocess, Split, SplitCounts, SplitOptions, split};

fn options(test: f64) -> SplitOptions {
    SplitOptions { test, seed: 0, group_by: None }
}

fn run(input: &Path, out: &Path, options: &SplitOptions) -> Result<SplitCounts, DataError> {
    split(input, out, options, &|_| ())
}

/// 20 cats and 5 dogs, of which always five in a row are of one owner.
fn pets() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut table = "owner,file,age\n".to_owned();
    for k in 0..25 {
        let name = if k < 20 { format!("cats/{k:02}.png") } else { format!("dogs/{k:02}.png") };
        plain(folder.path(), &name, 4, [k, 2 * k, 0]);
        table += &format!("\"O'Neil, {}\",{name},{k}\n", k / 5);
    }
    write(folder.path(), "attributes.csv", table.as_bytes());
    folder
}

fn names(folder: &Path) -> BTreeSet<PathBuf> {
    let files = walkdir::WalkDir::new(folder)
        .into_iter()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().is_file());
    files.map(|entry| entry.path().strip_prefix(folder).unwrap().to_owned()).collect()
}

#[test]
fn each_class_gives_its_share() {
    let (pets, place) = (pets(), tempfile::tempdir().unwrap());
    let out = place.path().join("split");
    assert_eq!(run(pets.path(), &out, &options(0.2)).unwrap(), SplitCounts { train: 20, test: 5 });
    let (train, test) = (names(&out.join("train")), names(&out.join("test")));
    assert!(train.is_disjoint(&test));
    let mut all: BTreeSet<_> = train.union(&test).cloned().collect();
    assert_eq!(test.iter().filter(|name| name.starts_with("dogs")).count(), 1);
    all.insert("attributes.csv".into());
    assert_eq!(
        all,
        names(pets.path()),
        "everything is in one of them, and the folder is as it was"
    );
    for name in &test {
        assert_eq!(
            fs::read(out.join("test").join(name)).unwrap(),
            fs::read(pets.path().join(name)).unwrap()
        );
    }
    // It opens as what it is.
    let set = |split| {
        Dataset::open(out.to_str().unwrap(), split, &Preprocess::new([4, 4], 3), &|_| ()).unwrap()
    };
    assert_eq!(
        (set(Split::Train).len(), set(Split::Test).len(), set(Split::Test).class_names().len()),
        (20, 5, 2)
    );
    // The same seed, the same pictures; another one, others.
    let again = place.path().join("again");
    run(pets.path(), &again, &options(0.2)).unwrap();
    assert_eq!(names(&again.join("test")), test);
    let other = place.path().join("other");
    run(pets.path(), &other, &SplitOptions { seed: 1, ..options(0.2) }).unwrap();
    assert_ne!(names(&other.join("test")), test);
}

#[test]
fn groups_stay_together_and_the_table_goes_along() {
    let (pets, place) = (pets(), tempfile::tempdir().unwrap());
    let out = place.path().join("split");
    let by_owner = SplitOptions { group_by: Some("owner".to_owned()), ..options(0.25) };
    // One of the four owners of cats; the only one of dogs keeps them.
    assert_eq!(run(pets.path(), &out, &by_owner).unwrap(), SplitCounts { train: 20, test: 5 });
    let mut reader = csv::Reader::from_path(out.join("attributes.csv")).unwrap();
    assert_eq!(reader.headers().unwrap(), vec!["owner", "file", "age"]);
    let mut owners = BTreeMap::<String, BTreeSet<String>>::new();
    let mut rows = 0;
    for row in reader.records().map(Result::unwrap) {
        assert!(out.join(&row[1]).is_file(), "{row:?}");
        owners
            .entry(row[0].to_owned())
            .or_default()
            .insert(row[1].split('/').next().unwrap().to_owned());
        rows += 1;
    }
    assert!(
        rows == 25 && owners.len() == 5 && owners.values().all(|parts| parts.len() == 1),
        "{owners:?}"
    );
}

#[test]
fn what_cannot_be_divided_is_named() {
    let (pets, place) = (pets(), tempfile::tempdir().unwrap());
    let out = place.path().join("split");
    for share in [0.0, 1.0, -0.5, f64::NAN] {
        assert!(
            message(run(pets.path(), &out, &options(share)))
                .contains("more than 0 and less than 1")
        );
    }
    let by = |column: &str| SplitOptions { group_by: Some(column.to_owned()), ..options(0.5) };
    assert!(
        message(run(pets.path(), &out, &by("colour")))
            .contains("no column \"colour\" (it has owner, file, age)")
    );
    plain(pets.path(), "dogs/new.png", 4, [0; 3]);
    assert!(message(run(pets.path(), &out, &by("owner"))).contains("no row for \"dogs/new.png\""));
    fs::remove_file(pets.path().join("attributes.csv")).unwrap();
    assert!(message(run(pets.path(), &out, &by("owner"))).contains("no attributes.csv"));
    assert!(!out.exists(), "nothing was begun");
    run(pets.path(), &out, &options(0.5)).unwrap();
    assert!(message(run(pets.path(), &out, &options(0.5))).contains("is not empty"));
    assert!(
        message(run(&out, &place.path().join("twice"), &options(0.5)))
            .contains("both splits already")
    );
    assert!(
        message(run(&place.path().join("none"), &out, &options(0.5)))
            .contains("no folder of pictures")
    );
    for inside in ["new", "cats/new/er", "new/../dogs/new", "."] {
        let message = message(run(pets.path(), &pets.path().join(inside), &options(0.5)));
        assert!(message.contains("which stays as it is"), "{message}");
    }
    assert!(!pets.path().join("new").exists() && !pets.path().join("dogs/new").exists());
    assert_eq!(open(&out, &Preprocess::new([4, 4], 3)).unwrap().len(), 13);
}

#[cfg(unix)]
#[test]
fn of_links_the_files_are_taken() {
    let place = tempfile::tempdir().unwrap();
    let input = place.path().join("in");
    fs::create_dir(&input).unwrap();
    for k in 0..4 {
        plain(place.path(), &format!("kept/{k}.png"), 4, [k; 3]);
        std::os::unix::fs::symlink(format!("../kept/{k}.png"), input.join(format!("{k}.png")))
            .unwrap();
    }
    let out = place.path().join("split");
    run(&input, &out, &options(0.5)).unwrap();
    let set = |split| {
        Dataset::open(out.to_str().unwrap(), split, &Preprocess::new([4, 4], 3), &|_| ()).unwrap()
    };
    for set in [set(Split::Train), set(Split::Test)] {
        assert!(set.len() == 2 && set.skipped().is_empty(), "{:?}", set.skipped());
    }
}

#[cfg(unix)]
#[test]
fn names_that_are_not_utf8_are_refused_before_anything_is_made() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let (pets, place) = (pets(), tempfile::tempdir().unwrap());
    fs::remove_file(pets.path().join("attributes.csv")).unwrap();
    let odd = pets.path().join("cats").join(OsStr::from_bytes(b"caf\xE9.png"));
    if fs::copy(pets.path().join("cats/00.png"), odd).is_err() {
        return; // not on this file system
    }
    let out = place.path().join("split");
    assert!(
        message(run(pets.path(), &out, &options(0.5)))
            .contains("the name of \"cats/caf\u{fffd}.png\"")
    );
    let set = open(pets.path(), &Preprocess::new([4, 4], 3)).unwrap();
    let all: Vec<usize> = (0..set.len()).collect();
    assert!(message(data::select(&set, &all, &out)).contains("is not UTF-8: rename it"));
    assert!(!out.exists(), "nothing was begun");
}
