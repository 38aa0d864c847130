//! Parquet files, as Hugging Face's library and Arrow wrote them, and their defects.

use std::fs;
use std::path::Path;

use crate::common::{
    assert_refused, bytes, column_names, copied, fixture, labels, open, open_as, pixels, problem,
    write,
};
use data::{AttributeKind, DataError, Dataset, FileProblem, LayoutNote, Preprocess, Split};

fn rgb() -> Preprocess {
    Preprocess::new([8, 8], 3)
}

fn file(name: &str) -> std::path::PathBuf {
    fixture(&format!("parquet/{name}.parquet"))
}

fn assert_pixels(set: &Dataset, images: &[usize]) {
    assert_eq!(set.len(), images.len());
    for (index, &k) in images.iter().enumerate() {
        assert_eq!(bytes(set, index), pixels(k, 8), "image {k}");
    }
}

/// Opens without keeping the decoded images.
fn uncached(path: &Path) -> Dataset {
    Dataset::open_within(path.to_str().unwrap(), Split::Train, &rgb(), 0, &|_| ()).unwrap()
}

#[test]
fn hugging_face() {
    let folder = fixture("parquet/hf");
    let train = open(&folder, &rgb()).unwrap();
    assert_pixels(&train, &[0, 1, 2, 3, 4]);
    assert_eq!(
        (labels(&train), train.class_names()),
        (vec![1, 0, 2, 1, 0], &words(&["cat", "dog", "owl"])[..])
    );
    // Not the caption.
    assert_eq!(column_names(&train), ["pose", "young", "age"]);
    let kinds: Vec<_> = train.attribute_columns().iter().map(|column| &column.kind).collect();
    let pose = AttributeKind::Category(words(&["left", "right"]));
    assert_eq!(kinds, [&pose, &AttributeKind::Binary, &AttributeKind::Number]);
    assert_eq!((train.attributes(0), train.attributes(3)), (vec![0., 1., 0.], vec![1., 1., 1.5]));
    assert_eq!(train.image_name(4), "train-00001-of-00002/1");
    let report = train.report().unwrap();
    assert_eq!(
        report.description,
        "3 classes from label, images from image; split train of 2 files"
    );
    assert_eq!(report.notes, []);
    // Not the validation split.
    let test = open_as("parquet:", &folder, Split::Test, &rgb()).unwrap();
    assert_pixels(&test, &[6, 7]);
    assert_eq!(labels(&test), [2, 0]);
    let again = uncached(&folder);
    assert_pixels(&again, &[0, 1, 2, 3, 4]);
    assert_eq!(again.fingerprint(), train.fingerprint());
    // One shard, and the test split beside it.
    let shard = folder.join("data/train-00001-of-00002.parquet");
    let set = open(&shard, &rgb()).unwrap();
    assert_pixels(&set, &[3, 4]);
    assert_eq!(set.image_name(1), "1");
    let test =
        open_as("", &folder.join("data/validation-00000-of-00001.parquet"), Split::Test, &rgb());
    assert_pixels(&test.unwrap(), &[5]);
    assert_refused!(
        open_as("", &shard, Split::Test, &rgb()),
        DataError::NoSplit { split: "test", .. }
    );
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

#[test]
fn splits_in_folders() {
    let of = |name: &str| fs::read(fixture("parquet/hf/data").join(name)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let train = of("train-00000-of-00002.parquet");
    // As the hub converts datasets.
    write(folder.path(), "default/train/0000.parquet", &train);
    write(folder.path(), "default/train/0001.parquet", &of("train-00001-of-00002.parquet"));
    write(folder.path(), "default/test/0000.parquet", &of("test-00000-of-00001.parquet"));
    assert_pixels(&open(folder.path(), &rgb()).unwrap(), &[0, 1, 2, 3, 4]);
    assert_pixels(&open_as("", folder.path(), Split::Test, &rgb()).unwrap(), &[6, 7]);
    // A second configuration.
    write(folder.path(), "small/train/0000.parquet", &train);
    assert_refused!(
        open(folder.path(), &rgb()),
        DataError::Ambiguous { files, .. } if files == "default, small"
    );
    let one = open_as("parquet:", &folder.path().join("small"), Split::Train, &rgb()).unwrap();
    assert_pixels(&one, &[0, 1, 2]);
    // Shards with other columns.
    write(folder.path(), "small/train/0001.parquet", &fs::read(file("raw")).unwrap());
    let (path, other) = problem(open(&folder.path().join("small"), &rgb()));
    assert!(path.ends_with("0001.parquet") && matches!(other, FileProblem::Unsupported(_)));
}

#[test]
fn every_compression() {
    let mut fingerprints = Vec::new();
    for codec in ["none", "snappy", "gzip", "zstd", "lz4"] {
        let set = open(&file(codec), &rgb()).unwrap();
        assert_pixels(&set, &[0, 1, 2, 3]);
        assert_eq!(set.class_names(), ["cat", "dog", "owl"]);
        assert_eq!(labels(&set), [2, 0, 2, 1], "{codec}");
        // The column of times is none, and the third row has no image.
        assert_eq!(column_names(&set), ["smiles"], "{codec}");
        assert_eq!((set.attributes(1), set.attributes(2)), (vec![0.0], vec![0.0]));
        assert_eq!(set.attribute_columns()[0].kind, AttributeKind::Binary);
        assert_eq!(
            set.report().unwrap().notes,
            [
                LayoutNote::NullImages { count: 1, first: "2".to_owned() },
                LayoutNote::AttributeWithGaps { column: "score".to_owned(), first: "3".to_owned() },
            ]
        );
        let again = uncached(&file(codec));
        assert_pixels(&again, &[0, 1, 2, 3]);
        fingerprints.extend([set.fingerprint().to_owned(), again.fingerprint().to_owned()]);
    }
    fingerprints.dedup();
    assert_eq!(fingerprints.len(), 1);
    let refused = problem(open(&file("brotli"), &rgb())).1;
    assert!(matches!(&refused, FileProblem::Unsupported(text) if text.contains("BROTLI")));
}

#[test]
fn columns_of_bytes() {
    for name in ["raw", "delta"] {
        let set = open(&file(name), &rgb()).unwrap();
        assert_pixels(&set, &[0, 1, 2]);
        assert_eq!((labels(&set), set.class_names().len()), (vec![2, 0, 1], 3), "{name}");
    }
    let refused = problem(open(&file("front"), &rgb())).1;
    assert!(
        matches!(&refused, FileProblem::Unsupported(text) if text.contains("DELTA_BYTE_ARRAY"))
    );
}

#[test]
fn labels_may_be_missing() {
    let set = open(&file("unlabeled"), &rgb()).unwrap();
    assert_eq!((set.label(0), set.class_names().len()), (None, 0));
    for name in ["half", "range"] {
        let found = problem(open(&file(name), &rgb())).1;
        assert!(matches!(found, FileProblem::Labels(_)), "{name}: {found}");
    }
}

#[test]
fn other_tables_are_refused() {
    for name in ["text", "paths"] {
        let found = problem(open(&file(name), &rgb())).1;
        assert!(matches!(found, FileProblem::Missing(_)), "{name}: {found}");
    }
    let pair = problem(open(&file("pair"), &rgb())).1;
    assert!(matches!(&pair, FileProblem::Unsupported(text) if text.contains("left, right")));
}

#[test]
fn damaged_files_are_refused() {
    let folder = copied("parquet/hf/data");
    let path = folder.path().join("test-00000-of-00001.parquet");
    let good = fs::read(&path).unwrap();
    let found = |content: &[u8]| {
        fs::write(&path, content).unwrap();
        let (found, problem) = problem(open(&path, &rgb()));
        assert_eq!(found, path);
        problem
    };
    for length in [4, 11, good.len() - 1] {
        let problem = found(&good[..length]);
        assert!(matches!(problem, FileProblem::Truncated(_)), "{length}: {problem}");
    }
    let mut long = good.clone();
    let end = long.len();
    long[end - 7] = 0xFF;
    let footer = found(&long);
    assert!(matches!(footer, FileProblem::Truncated(_)), "{footer}");
    // Pages that were cut out: the footer's offsets are beyond them.
    let cut = found(&[&good[..4], &good[end - 2700..]].concat());
    assert!(matches!(cut, FileProblem::Damaged(_)), "{cut}");
    // The header of the first page.
    let mut page = good.clone();
    page[4..8].fill(0xFF);
    let page = found(&page);
    assert!(matches!(page, FileProblem::Damaged(_)), "{page}");
    // A page with a checksum.
    let mut checked = fs::read(file("none")).unwrap();
    let image = checked.windows(4).position(|window| window == b"IDAT").unwrap();
    checked[image + 6] ^= 1;
    fs::write(&path, &checked).unwrap();
    let sum = problem(open(&path, &rgb())).1;
    assert!(matches!(&sum, FileProblem::Damaged(text) if text.contains("checksum")), "{sum}");
}

#[test]
fn packed_as_others() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("packed");
    let spec = file("snappy").display().to_string();
    data::prepare(&spec, Split::Train, &rgb(), &out, false, &|_| ()).unwrap();
    let packed = open(&out, &rgb()).unwrap();
    assert_pixels(&packed, &[0, 1, 2, 3]);
    assert_eq!(packed.fingerprint(), open(&file("snappy"), &rgb()).unwrap().fingerprint());
}
