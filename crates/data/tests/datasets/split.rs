//! Dividing folders.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::common::{assert_refused, open, plain, write};
use data::{
    DataError, Dataset, FileProblem, Preprocess, Split, SplitCounts, SplitOptions, SplitProblem,
    split,
};

fn options(test: f64) -> SplitOptions {
    SplitOptions { test, seed: 0, group_by: None }
}

fn run(input: &Path, out: &Path, options: &SplitOptions) -> Result<SplitCounts, DataError> {
    split(input, out, options, &|_| ())
}

fn problem(result: Result<SplitCounts, DataError>) -> SplitProblem {
    match result {
        Err(DataError::Split(problem)) => problem,
        other => panic!("{other:?}"),
    }
}

/// 20 cats and 5 dogs; five in a row always have the same owner.
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
    // It opens with both splits.
    let set = |split| {
        Dataset::open(out.to_str().unwrap(), split, &Preprocess::new([4, 4], 3), &|_| ()).unwrap()
    };
    assert_eq!(
        (set(Split::Train).len(), set(Split::Test).len(), set(Split::Test).class_names().len()),
        (20, 5, 2)
    );
    // The same seed gives the same images; another one gives others.
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
    // One of the four owners of cats; the only owner of dogs stays.
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
fn classes_and_attributes_of_other_files_go_along() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("numbers");
    let mut table = "file_name,label,hue,size\n".to_owned();
    for k in 0..20 {
        plain(&folder, &format!("part/{k:02}.png"), 4, [k, 2 * k, 0]);
        let [class, hue] = [["odd", "red"], ["even", "green"]][usize::from(k % 2 == 0)];
        table += &format!("part/{k:02}.png,{class},{hue},{k}\n");
    }
    write(&folder, "metadata.csv", table.as_bytes());
    let preprocess = Preprocess::new([4, 4], 3);
    let open = |path: &Path, split| {
        Dataset::open(path.to_str().unwrap(), split, &preprocess, &|_| ()).unwrap()
    };
    let whole = open(&folder, Split::Train);
    let described = |set: &Dataset| {
        let one = |k: usize| {
            let name = set.image_name(k);
            let name = Path::new(&name).file_name().unwrap().to_str().unwrap().to_owned();
            let class = set.class_names()[set.label(k).unwrap() as usize].clone();
            (name, class, set.attributes(k))
        };
        (0..set.len()).map(one).collect::<Vec<_>>()
    };
    let selected = place.path().join("selected");
    data::select(&whole, &[0, 3, 6, 7], &selected).unwrap();
    let all = described(&whole);
    let four = [0, 3, 6, 7].map(|k| all[k].clone());
    let found = open(&selected, Split::Train);
    assert_eq!(described(&found), four);
    assert_eq!(found.attribute_columns(), whole.attribute_columns());
    let out = place.path().join("split");
    run(&folder, &out, &options(0.2)).unwrap();
    let mut both = described(&open(&out, Split::Train));
    both.extend(described(&open(&out, Split::Test)));
    both.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(both, all);
}

#[test]
fn invalid_splits_are_errors() {
    let (pets, place) = (pets(), tempfile::tempdir().unwrap());
    let out = place.path().join("split");
    for share in [0.0, 1.0, -0.5, f64::NAN] {
        let problem = problem(run(pets.path(), &out, &options(share)));
        assert!(
            matches!(problem, SplitProblem::Fraction(found) if found.to_bits() == share.to_bits())
        );
    }
    let by = |column: &str| SplitOptions { group_by: Some(column.to_owned()), ..options(0.5) };
    assert!(matches!(
        problem(run(pets.path(), &out, &by("color"))),
        SplitProblem::NoColumn { column, known, .. }
            if column == "color" && known == "owner, file, age"
    ));
    plain(pets.path(), "dogs/new.png", 4, [0; 3]);
    assert!(matches!(
        run(pets.path(), &out, &by("owner")),
        Err(DataError::Malformed { path, problem, .. })
            if path.ends_with("attributes.csv")
                && problem == FileProblem::NoRow { name: "dogs/new.png".to_owned(), more: 0 }
    ));
    fs::remove_file(pets.path().join("attributes.csv")).unwrap();
    assert!(matches!(
        problem(run(pets.path(), &out, &by("owner"))),
        SplitProblem::NoTable { column, .. } if column == "owner"
    ));
    assert!(!out.exists(), "nothing was begun");
    run(pets.path(), &out, &options(0.5)).unwrap();
    let again = run(pets.path(), &out, &options(0.5));
    assert!(matches!(again, Err(DataError::NotEmpty { path }) if path == out));
    let twice = run(&out, &place.path().join("twice"), &options(0.5));
    assert_eq!(problem(twice), SplitProblem::AlreadySplit(out.clone()));
    let none = place.path().join("none");
    assert_eq!(problem(run(&none, &out, &options(0.5))), SplitProblem::NotAFolder(none.clone()));
    for inside in ["new", "cats/new/er", "new/../dogs/new", "."] {
        let result = run(pets.path(), &pets.path().join(inside), &options(0.5));
        assert!(matches!(result, Err(DataError::OutputInsideInput { .. })), "{inside}");
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
fn non_utf8_names_are_refused() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let (pets, place) = (pets(), tempfile::tempdir().unwrap());
    fs::remove_file(pets.path().join("attributes.csv")).unwrap();
    let odd = pets.path().join("cats").join(OsStr::from_bytes(b"caf\xE9.png"));
    if fs::copy(pets.path().join("cats/00.png"), odd).is_err() {
        return; // not on this file system
    }
    let out = place.path().join("split");
    let is_odd = |name: &str| name == "cats/caf\u{fffd}.png";
    assert_refused!(
        run(pets.path(), &out, &options(0.5)),
        DataError::Split(SplitProblem::NotUtf8 { name, .. }) if is_odd(name)
    );
    let set = open(pets.path(), &Preprocess::new([4, 4], 3)).unwrap();
    let all: Vec<usize> = (0..set.len()).collect();
    assert_refused!(data::select(&set, &all, &out), DataError::Split(SplitProblem::NotUtf8 { .. }));
    assert!(!out.exists(), "nothing was begun");
}
