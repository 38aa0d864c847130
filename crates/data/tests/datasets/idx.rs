//! idx files, valid and damaged.

use std::fs;

use crate::common::{assert_refused, bytes, gzip, idx, open, plain, small_set, write};
use data::{DataError, Dataset, IdxProblem, Preprocess, Split};
use proptest::prelude::*;
use tempfile::tempdir;

fn small() -> Preprocess {
    Preprocess::new([3, 2], 1)
}

#[test]
fn file_and_folder_and_gzip_are_the_same_set() {
    let folder = tempdir().unwrap();
    small_set(folder.path());
    let images = folder.path().join("train-images-idx3-ubyte");
    let set = open(folder.path(), &small()).unwrap();
    assert_eq!((set.len(), bytes(&set, 1)), (4, (6..12).collect()));
    assert_eq!((0..4).map(|i| set.label(i)).collect::<Vec<_>>(), [2, 0, 1, 2].map(Some));
    assert_eq!(set.class_names(), ["0", "1", "2"]);
    assert_eq!(open(&images, &small()).unwrap().fingerprint(), set.fingerprint());

    let packed = tempdir().unwrap();
    for name in ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"] {
        let bytes = gzip(&fs::read(folder.path().join(name)).unwrap());
        write(packed.path(), &format!("{name}.gz"), &bytes);
    }
    assert_eq!(open(packed.path(), &small()).unwrap().fingerprint(), set.fingerprint());
    // Both packed and unpacked in one folder: no ambiguity.
    write(folder.path(), "train-images-idx3-ubyte.gz", &gzip(&fs::read(&images).unwrap()));
    assert_eq!(open(folder.path(), &small()).unwrap().fingerprint(), set.fingerprint());
}

#[test]
fn content_decides_whatever_the_name() {
    let folder = tempdir().unwrap();
    write(folder.path(), "digits.png", &gzip(&idx(&[2, 1, 1], &[5, 6])));
    let set = open(&folder.path().join("digits.png"), &Preprocess::new([1, 1], 1)).unwrap();
    assert_eq!((set.len(), set.label(0), set.class_names().len()), (2, None, 0));
}

#[test]
fn splits_go_by_name() {
    let folder = tempdir().unwrap();
    small_set(folder.path());
    let spec = folder.path().to_str().unwrap();
    let test = || Dataset::open(spec, Split::Test, &small(), &|_| ());
    assert_refused!(
        test(),
        DataError::NoSplit { split: "test", wanted, .. } if wanted.contains("t10k")
    );
    write(folder.path(), "t10k-images-idx3-ubyte", &idx(&[1, 3, 2], &[9; 6]));
    assert_eq!(test().unwrap().len(), 1);
    let file = format!("{spec}/train-images-idx3-ubyte");
    assert_eq!(Dataset::open(&file, Split::Test, &small(), &|_| ()).unwrap().len(), 1);
    write(folder.path(), "more-train-images.idx3", &idx(&[1, 3, 2], &[9; 6]));
    assert_refused!(
        open(folder.path(), &small()),
        DataError::Ambiguous { files, .. }
            if files == "more-train-images.idx3, train-images-idx3-ubyte"
    );
}

#[test]
fn each_defect_has_its_own_error() {
    let good = idx(&[4, 3, 2], &[7; 24]);
    let huge = idx(&[u32::MAX, 16384, 16384], &[7; 24]);
    let mut wrong_type = good.clone();
    wrong_type[2] = 0x0D;
    let mut broken =
        gzip(&idx(&[4, 30, 20], &(0..2400).map(|i| (i * i % 251) as u8).collect::<Vec<_>>()));
    let cut = broken[..broken.len() / 2].to_vec();
    let crc = broken.len() - 8;
    broken[crc] ^= 1;
    let truncated = |expected: &str, holds: &str| IdxProblem::Truncated {
        expected: expected.to_owned(),
        holds: holds.to_owned(),
    };
    let (short, long) = (truncated("24 bytes", "holds 23"), IdxProblem::Trailing(24));
    let header = || truncated("a header of 16 bytes", "ends before");
    let labels =
        IdxProblem::Dimensions { found: 1, wanted: 3, role: "images: count, height, width" };
    let cases = [
        ("magic", [&b"PK\x03\x04"[..], &good[4..]].concat(), IdxProblem::Magic(*b"PK\x03\x04")),
        ("type", wrong_type, IdxProblem::ElementType(0x0D)),
        ("labels", idx(&[4], &[1; 4]), labels),
        ("short", good[..good.len() - 1].to_vec(), short),
        ("header", good[..9].to_vec(), header()),
        ("magic cut", good[..2].to_vec(), header()),
        ("long", [&good[..], &[0]].concat(), long.clone()),
        ("none", idx(&[0, 3, 2], &[]), IdxProblem::Empty("0×3×2".to_owned())),
        ("flat", idx(&[4, 0, 2], &[]), IdxProblem::Empty("4×0×2".to_owned())),
        (
            "side",
            idx(&[1, 1, 20000], &[0; 20000]),
            IdxProblem::TooLarge { height: 1, width: 20000, limit: 16384 },
        ),
        ("false length", huge.clone(), truncated("1152921504338411520 bytes", "holds 24")),
        ("packed short", gzip(&good[..20]), truncated("24 bytes", "holds 4")),
        ("packed long", gzip(&[&good[..], &[0; 9]].concat()), long),
    ];
    let folder = tempdir().unwrap();
    let path = folder.path().join("x-idx3-ubyte");
    let found = |content: &[u8]| {
        fs::write(&path, content).unwrap();
        match open(&path, &small()).unwrap_err() {
            DataError::Idx { path: named, problem } => {
                assert!(named == path && !problem.to_string().contains('\n'), "{problem}");
                problem
            }
            other => panic!("{other:?}"),
        }
    };
    for (case, content, wanted) in cases {
        assert_eq!(found(&content), wanted, "{case}");
    }
    assert!(matches!(found(&gzip(&huge)), IdxProblem::Truncated { .. }));
    for content in [cut, broken] {
        assert!(matches!(found(&content), IdxProblem::Gzip(_)));
    }
}

#[test]
fn labels_must_match_the_images() {
    let folder = tempdir().unwrap();
    small_set(folder.path());
    write(folder.path(), "train-labels-idx1-ubyte", &idx(&[3], &[0; 3]));
    assert_refused!(
        open(folder.path(), &small()),
        DataError::LabelCount { images: 4, labels: 3, .. }
    );
    write(folder.path(), "train-labels-idx1-ubyte", &idx(&[1, 3, 2], &[0; 6]));
    let error = open(folder.path(), &small()).unwrap_err();
    let wanted = |problem: &IdxProblem| {
        matches!(problem, IdxProblem::Dimensions { found: 3, wanted: 1, .. })
    };
    assert!(matches!(&error, DataError::Idx { problem, .. } if wanted(problem)), "{error}");
}

#[test]
fn files_that_are_not_datasets() {
    let folder = tempdir().unwrap();
    write(folder.path(), "notes", b"hello");
    plain(folder.path(), "one.png", 2, [1, 2, 3]);
    let path = |name: &str| folder.path().join(name);
    assert!(matches!(
        open(&path("notes"), &small()),
        Err(DataError::UnknownContents { path: found }) if found == path("notes")
    ));
    assert!(matches!(
        open(&path("one.png"), &small()),
        Err(DataError::SingleImage { path: found }) if found == path("one.png")
    ));
    assert!(matches!(
        Dataset::open("idx:missing", Split::Train, &small(), &|_| ()),
        Err(DataError::NotFound { spec, .. }) if spec == "idx:missing"
    ));
    for bad in
        [Preprocess::new([0, 2], 1), Preprocess::new([2, 99999], 1), Preprocess::new([2, 2], 2)]
    {
        assert!(matches!(open(folder.path(), &bad), Err(DataError::Preprocess(_))), "{bad:?}");
    }
}

#[test]
fn fingerprints_see_pixels_labels_shape_and_preprocessing() {
    let folder = tempdir().unwrap();
    let print =
        |preprocess: &Preprocess| open(folder.path(), preprocess).unwrap().fingerprint().to_owned();
    let mut seen = std::collections::HashSet::new();
    small_set(folder.path());
    assert!(seen.insert(print(&small())));
    assert!(!seen.insert(print(&small())), "stable");
    assert!(seen.insert(print(&Preprocess { background: [1; 3], ..small() })));
    assert!(seen.insert(print(&Preprocess::new([2, 3], 1))));
    write(folder.path(), "train-labels-idx1-ubyte", &idx(&[4], &[2, 0, 1, 1]));
    assert!(seen.insert(print(&small())));
    let mut pixels: Vec<u8> = (0..24).collect();
    write(folder.path(), "train-images-idx3-ubyte", &idx(&[4, 2, 3], &pixels));
    assert!(seen.insert(print(&small())));
    pixels[23] ^= 1;
    write(folder.path(), "train-images-idx3-ubyte", &idx(&[4, 3, 2], &pixels));
    assert!(seen.insert(print(&small())));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Any damage to header, data or gzip: an error or a dataset, never a panic, and never more
    /// images than bytes.
    #[test]
    fn damaged_files_never_panic(
        packed: bool,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        header_edit in prop::option::of((0usize..16, any::<u8>())),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut content = idx(&[4, 3, 2], &(0..24).collect::<Vec<_>>());
        if let Some((at, byte)) = header_edit {
            content[at] = byte;
        }
        if packed {
            content = gzip(&content);
        }
        for (at, byte) in edits {
            let at = at.index(content.len());
            content[at] = byte;
        }
        if let Some(cut) = cut {
            content.truncate(cut.index(content.len()));
        }
        let folder = tempdir().unwrap();
        write(folder.path(), "idx3", &content);
        if let Ok(set) = open(&folder.path().join("idx3"), &small()) {
            prop_assert!(set.len() <= 24);
            prop_assert_eq!(bytes(&set, set.len() - 1).len(), 6);
        }
    }
}
