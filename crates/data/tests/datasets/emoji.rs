//! The built-in dataset of emoji.

use crate::common::bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use data::{DataSpec, Dataset, Preprocess, Split};
use sha2::{Digest, Sha256};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/emoji-people")
}

/// The table's rows by column name. None of its fields needs quotes.
fn rows() -> Vec<BTreeMap<String, String>> {
    let text = fs::read_to_string(folder().join("attributes.csv")).unwrap();
    assert!(!text.contains('"'));
    let mut lines = text.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
    let heads = lines.next().unwrap();
    lines.map(|fields| heads.iter().cloned().zip(fields).collect()).collect()
}

#[test]
fn both_splits_open_with_the_same_classes() {
    let preprocess = Preprocess { background: [255; 3], ..Preprocess::new([64, 64], 3) };
    let classes = ["activity", "fantasy", "gesture", "person", "role", "sport"];
    for (split, images) in [(Split::Train, 1407), (Split::Test, 150)] {
        let set = Dataset::open("emoji", split, &preprocess, &|_| ()).unwrap();
        assert_eq!((set.len(), set.shape(), set.name()), (images, [64, 64, 3], "emoji-people"));
        assert!(set.skipped().is_empty() && set.class_names() == classes);
        // The corners are background, the middle is not.
        let first = bytes(&set, 0);
        assert_eq!(first[..3], [255; 3]);
        assert!(first[(32 * 64 + 32) * 3..][..3] != [255; 3]);
    }
    assert_eq!(DataSpec::parse("emoji-people").unwrap().background(), Some([255; 3]));
    assert_eq!(DataSpec::parse("emoji").unwrap().image_shape(Split::Train).unwrap(), None);
}

#[test]
fn the_table_has_a_row_for_each_image() {
    let rows = rows();
    assert_eq!(rows.len(), 1557);
    let listed: BTreeSet<PathBuf> = rows.iter().map(|row| PathBuf::from(&row["file"])).collect();
    let walk = walkdir::WalkDir::new(folder()).into_iter().map(|entry| entry.unwrap().into_path());
    let images = walk.filter(|path| path.extension().is_some_and(|extension| extension == "png"));
    let found: BTreeSet<PathBuf> =
        images.map(|path| path.strip_prefix(folder()).unwrap().to_owned()).collect();
    assert_eq!(listed, found);
    let values =
        |column: &str| -> BTreeSet<&str> { rows.iter().map(|row| row[column].as_str()).collect() };
    assert_eq!(
        Vec::from_iter(values("skin_tone")),
        ["dark", "default", "light", "medium", "medium-dark", "medium-light"]
    );
    assert_eq!(Vec::from_iter(values("gender")), ["female", "male", "neutral"]);
    assert_eq!(Vec::from_iter(values("hair")), ["", "bald", "blond", "curly", "red", "white"]);
    let farmer = rows.iter().find(|row| row["emoji"] == "1F469-1F3FF-200D-1F33E").unwrap();
    let known = ["name", "base", "skin_tone", "gender", "role", "hair", "facing", "split"]
        .map(|column| farmer[column].as_str());
    assert_eq!(known, ["woman farmer", "1F9D1-1F33E", "dark", "female", "farmer", "", "", "train"]);
}

#[test]
fn no_base_emoji_is_in_both_splits() {
    let mut splits = BTreeMap::<String, BTreeSet<String>>::new();
    for row in rows() {
        assert!(row["file"].starts_with(&format!("{}/", row["split"])));
        splits.entry(row["base"].clone()).or_default().insert(row["split"].clone());
    }
    assert!(splits.len() == 93 && splits.values().all(|found| found.len() == 1));
}

#[test]
fn checksums_are_those_listed() {
    let list = fs::read_to_string(folder().join("SHA256SUMS")).unwrap();
    assert_eq!(list.lines().count(), 1558);
    for line in list.lines() {
        let (sum, name) = line.split_once("  ").unwrap();
        let found: String = Sha256::digest(fs::read(folder().join(name)).unwrap())
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(found, sum, "{name}");
    }
}
