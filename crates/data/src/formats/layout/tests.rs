use std::path::Path;

use super::*;
use crate::attributes::AttributeKind;
use crate::formats::file_kind::file_kind;

/// Arranges files in the order of their paths; those with content are side files.
fn arrange_files(files: &[(&str, &str)], split: Split) -> Result<DatasetLayout, DataError> {
    let mut files = files.to_vec();
    files.sort_unstable();
    let listed: Vec<ListedFile<'_>> = files
        .iter()
        .map(|(path, content)| {
            let name = path.rsplit('/').next().unwrap();
            let kind = match *content {
                "own" => FileKind::OwnImage,
                _ => file_kind(name, || None),
            };
            ListedFile { shard: 0, path: path.as_bytes(), kind }
        })
        .collect();
    let read = |index: usize| Ok(files[index].1.as_bytes().to_vec());
    let listing = Listing {
        root: Path::new("set"),
        is_folder: true,
        format: "folder",
        files: &listed,
        read: &read,
    };
    let layout = arrange(listing, split)?;
    // The names are those of the files that were listed.
    assert!(
        layout.images.iter().all(|&index| files[index].0.as_bytes().starts_with(&layout.folder))
    );
    Ok(layout)
}

/// Empty files of these paths, where `cat/*3` stands for three.
fn expand(paths: &[&str]) -> Vec<String> {
    let all = paths.iter().flat_map(|path| match path.split_once('*') {
        Some((before, count)) => {
            let (count, extension) = count.split_once('.').unwrap_or((count, "png"));
            (0..count.parse::<usize>().unwrap())
                .map(|k| format!("{before}{k:02}.{extension}"))
                .collect()
        }
        None => vec![(*path).to_owned()],
    });
    all.collect()
}

fn arrange_paths(paths: &[&str], split: Split) -> Result<DatasetLayout, DataError> {
    let paths = expand(paths);
    let files: Vec<(&str, &str)> = paths.iter().map(|path| (path.as_str(), "")).collect();
    arrange_files(&files, split)
}

#[test]
fn folders_decide_classes_and_splits() {
    type LayoutCase<'a> = (&'a [&'a str], Split, usize, &'a str, &'a str);
    use Split::{Test, Train};
    // Paths; the split; the number of images, the folder of their names, and the line.
    let cases: &[LayoutCase<'_>] = &[
        (&["*3"], Train, 3, "", "no classes"),
        (&["cat/*2", "dog/*3"], Train, 5, "", "2 classes from folders cat, dog"),
        (&["photos/*3"], Train, 3, "photos/", "no classes"),
        (&["a/b/*3", "README.md"], Train, 3, "a/b/", "no classes"),
        (&["set/cat/*2", "set/dog/*2"], Train, 4, "set/", "2 classes from folders cat, dog"),
        (
            &["train/cat/*2", "train/dog/*2"],
            Train,
            4,
            "train/",
            "2 classes from folders cat, dog; split train",
        ),
        (
            &["set/training_set/cat/*2", "set/training_set/dog/*1", "set/test_set/dog/*1"],
            Train,
            3,
            "set/training_set/",
            "2 classes from folders cat, dog; split train in folder training_set",
        ),
        (
            &["training_set/cat/*2", "training_set/dog/*1", "test_set/dog/*1"],
            Test,
            1,
            "test_set/",
            "1 class from folder dog; split test in folder test_set",
        ),
        (
            &[
                "seg_train/seg_train/a/*2",
                "seg_train/seg_train/b/*2",
                "seg_test/seg_test/a/*1",
                "seg_test/seg_test/b/*2",
            ],
            Train,
            4,
            "seg_train/seg_train/",
            "2 classes from folders a, b; split train in folder seg_train",
        ),
        (
            &["train/a/*1", "train/b/*1", "test/images/*3", "val/images/*1"],
            Test,
            3,
            "test/images/",
            "no classes; split test; left out: val (1 image)",
        ),
        (
            &["train/good/*3", "test/good/*1", "test/broken/*2"],
            Train,
            3,
            "train/",
            "1 class from folder good; split train",
        ),
        (
            &["train2017/*5", "val2017/*2", "annotations/x.json"],
            Test,
            2,
            "val2017/",
            "no classes; split test in folder val2017",
        ),
        (
            &["train/*5", "test/*2", "val/*3", "cover.png"],
            Train,
            5,
            "train/",
            "no classes; split train; left out: val (3 images), 1 image outside of folders",
        ),
        (
            &["trainA/*2", "trainB/*2", "testA/*1", "testB/*1"],
            Train,
            4,
            "",
            "2 classes from folders trainA, trainB; split train in folders trainA, trainB",
        ),
        (
            &["images/train/*2", "images/val/*1", "labels/train/0.txt"],
            Train,
            2,
            "images/train/",
            "no classes; split train",
        ),
        (
            &["train/images/*2", "train/labels/0.txt", "valid/images/*1"],
            Test,
            1,
            "valid/images/",
            "no classes; split test in folder valid",
        ),
        // A train is a vehicle here, and a contest is not a test.
        (&["bus/*2", "car/*2", "train/*2"], Train, 6, "", "3 classes from folders bus, car, train"),
        (&["contest/*2", "trains/*2"], Train, 4, "", "2 classes from folders contest, trains"),
        // Many images in a folder that may be a split by its name, but more outside.
        (
            &["*30", "train/*2"],
            Train,
            32,
            "",
            "no classes (30 of 32 images are in no folder, \"00.png\" is the first)",
        ),
        (&["cat/*12", "dog/*12", "x.png"], Train, 24, "", "2 classes from folders cat, dog"),
        (
            &["cat/*2", "dog/*2", "x.png"],
            Train,
            5,
            "",
            "no classes (1 of 5 images are in no folder, \"x.png\" is the first)",
        ),
        (
            &["00000/img00000000.png", "00000/img00000999.png", "00001/img00001000.png"],
            Train,
            3,
            "",
            "no classes (the folders 00000, 00001 number the images)",
        ),
        (
            &["00000/00012.png", "01000/01234.png"],
            Train,
            2,
            "",
            "no classes (the folders 00000, 01000 number the images)",
        ),
        (
            &["00000/00012.png", "00001/01234.png"],
            Train,
            2,
            "",
            "2 classes from folders 00000, 00001",
        ),
    ];
    for (paths, split, images, folder, description) in cases {
        let layout = arrange_paths(paths, *split).unwrap();
        let found = (layout.images.len(), String::from_utf8(layout.folder).unwrap());
        assert_eq!(
            (found.0, &*found.1, &*layout.report.description),
            (*images, *folder, *description),
            "{paths:?}"
        );
    }
    for (paths, split) in [
        (&["cat/*2", "dog/*2"][..], Test),
        (&["train/cat/*2"], Test),
        (&["contest/*2", "train/*2"], Test),
    ] {
        let error = arrange_paths(paths, split).unwrap_err();
        assert!(matches!(error, DataError::NoSplit { .. }), "{paths:?}");
    }
    for paths in [&["test/cat/*2", "test/dog/*2"][..], &["set/val2017/*4"], &["test/*2", "val/*2"]]
    {
        let error = arrange_paths(paths, Train).unwrap_err();
        assert!(matches!(error, DataError::HeldOutOnly { .. }), "{paths:?}");
        assert!(!arrange_paths(paths, Test).unwrap().images.is_empty());
    }
}

#[test]
fn both_splits_have_the_same_labels() {
    let paths = ["train/b/*2", "train/c/*1", "test/a/*1", "test/c/*1"];
    let classes = |split| arrange_paths(&paths, split).unwrap().classes.unwrap();
    let (train, test) = (classes(Split::Train), classes(Split::Test));
    assert_eq!(
        (&train.names[..], &train.labels[..]),
        (&["b", "c"].map(String::from)[..], &[0, 0, 1][..])
    );
    assert_eq!(
        (&test.names[..], &test.labels[..]),
        (&["b", "c", "a"].map(String::from)[..], &[2, 1][..])
    );
}

#[test]
fn runs_and_own_images_are_left_out() {
    let run = ["config.toml", "metrics.jsonl", "samples/step-00000500.png", "losses.png"];
    let mut paths: Vec<String> = run.iter().map(|name| format!("runs/0001-x/{name}")).collect();
    paths.extend(
        ["more/run/config.toml", "more/run/checkpoints/step-1.safetensors"].map(Into::into),
    );
    paths.extend(["more/run/samples/a.png", "0.jpg", "1.jpg", "config.toml"].map(Into::into));
    let mut files: Vec<(&str, &str)> = paths.iter().map(|path| (path.as_str(), "")).collect();
    files.push(("preview.png", "own"));
    files.push(("samples/00000.png", "own"));
    let layout = arrange_files(&files, Split::Train).unwrap();
    assert_eq!((layout.images.len(), &*layout.report.description), (2, "no classes"));
    let folders = ["more/run", "runs/0001-x"].map(String::from).to_vec();
    assert_eq!(
        layout.report.notes,
        [
            LayoutNote::RunDirectories { count: 3, folders },
            LayoutNote::OwnImages { count: 2, first: "preview.png".to_owned() }
        ]
    );
    // Samples are a dataset where there is nothing else, as for an evaluation.
    let samples = [("a/00000.png", "own"), ("a/00001.png", "own")];
    let layout = arrange_files(&samples, Split::Train).unwrap();
    assert_eq!((layout.images.len(), layout.report.notes.len()), (2, 0));
    let only = [("config.toml", ""), ("metrics.jsonl", ""), ("losses.png", "")];
    let error = arrange_files(&only, Split::Train).unwrap_err();
    assert!(matches!(error, DataError::NoImages { notes, .. } if notes.len() == 1));
}

#[test]
fn formats_that_are_not_read_are_counted() {
    let paths = ["*3.jpg", "IMG_*24.HEIC", "x/*1.nef", "x/*2.cr2", "a.AVIF", "notes.txt", "x.psd"];
    let notes = arrange_paths(&paths, Split::Train).unwrap().report.notes;
    let texts: Vec<String> = notes.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "1 AVIF file is not read: convert it (\"a.AVIF\")",
            "24 HEIC files are not read: convert them (the first is \"IMG_00.HEIC\")",
            "1 PSD file is not read: convert it (\"x.psd\")",
            "3 RAW files are not read: convert them (the first is \"x/00.cr2\")",
        ]
    );
    let error = arrange_paths(&["data.zip", "more.tar"], Split::Train).unwrap_err();
    assert!(error.to_string().contains("2 archives in it are not read: unpack them"), "{error}");
    let error = arrange_paths(&["*2.heic"], Split::Train).unwrap_err();
    assert!(error.to_string().contains("2 HEIC files are not read"), "{error}");
    // Those of the other split do not count.
    let layout = arrange_paths(&["train/*2", "test/*1", "test/*3.jxl"], Split::Train).unwrap();
    assert_eq!(layout.report.notes, []);
}

/// The classes' names, the labels, and the line.
fn labeled(files: &[(&str, &str)]) -> (String, Vec<u32>, String) {
    let layout = arrange_files(files, Split::Train).unwrap();
    let classes = layout.classes.unwrap_or(ClassLabels { labels: Vec::new(), names: Vec::new() });
    (classes.names.join(","), classes.labels, layout.report.description)
}

#[test]
fn labels_come_from_side_files() {
    let image = |name| (name, "");
    let style = r#"{"labels": [["00000/img00000000.png", 1], ["00000/img00000001.png", 0]]}"#;
    let sharded = [image("00000/img00000000.png"), image("00000/img00000001.png")];
    assert_eq!(
        labeled(&[&sharded[..], &[("dataset.json", style)]].concat()),
        ("0,1".to_owned(), vec![1, 0], "2 classes from dataset.json".to_owned())
    );
    let null = ("dataset.json", r#"{"labels": null}"#);
    assert_eq!(
        labeled(&[image("a/0.png"), image("b/0.png"), null]).2,
        "no classes (dataset.json has no labels)"
    );
    let vectors = ("dataset.json", r#"{"labels": [["a/0.png", [0.5, 1]]]}"#);
    let line = labeled(&[image("a/0.png"), image("b/0.png"), vectors]).2;
    assert_eq!(line, "no classes (the labels of dataset.json are not numbers)");
    // Whatever else is called so is not StyleGAN's.
    for other in ["[1, 2]", "{\"images\": []}", "nonsense", "{\"labels\": [1, 2]}"] {
        let line = labeled(&[image("a/0.png"), image("b/0.png"), ("dataset.json", other)]).2;
        assert_eq!(line, "2 classes from folders a, b", "{other}");
    }
    let other = [image("a/0.png"), image("b/0.png"), ("dataset.json", "[]")];
    let notes = arrange_files(&other, Split::Train).unwrap().report.notes;
    assert!(
        matches!(&notes[..], [LayoutNote::UnreadTable { table, .. }] if table == "dataset.json")
    );
    // As other programs write them: objects for pairs, fractions, capitals, a mark of UTF-8.
    let style = r#"{"labels": {"00000/img00000000.png": 1, "00000/img00000001.png": 0.0}}"#;
    assert_eq!(labeled(&[&sharded[..], &[("dataset.json", style)]].concat()).1, [1, 0]);
    let odd = [("0.JSON", "\u{feff}{\"label\": 1.0}"), ("1.json", "{\"label\": 0}")];
    assert_eq!(labeled(&[&[image("0.PNG"), image("1.png")], &odd[..]].concat()).1, [1, 0]);
    // A document class of LaTeX, and a word without letters.
    let none = [("article.cls", "\\NeedsTeXFormat{LaTeX2e}"), ("0.json", "{\"label\": \" \"}")];
    assert_eq!(labeled(&[&[image("0.png"), image("1.png")], &none[..]].concat()).2, "no classes");
    // JSON that belongs to no image, or is not an object with a label.
    for json in [("annotations.json", "[{\"label\": 3}]"), ("0.json", "[1]"), ("x.json", "{")] {
        assert_eq!(labeled(&[image("0.png"), image("1.png"), json]).2, "no classes");
    }
    let words = [("0.json", "{\"label\":\"owl\"}"), ("1.json", "{\"label\":\"cat\"}")];
    assert_eq!(
        labeled(
            &[&[image("0.png"), image("1.png"), ("x.json", "{\"label\":7}")], &words[..]].concat()
        ),
        ("cat,owl".to_owned(), vec![1, 0], "2 classes from label files".to_owned())
    );
    for table in [r#"[["0.png",1]]"#, r#"[["0.png",1],["./0.png",0],["1.png",0]]"#] {
        let table = format!("{{\"labels\": {table}}}");
        let files = [image("0.png"), image("1.png"), ("dataset.json", table.as_str())];
        assert!(arrange_files(&files, Split::Train).is_err(), "{table}");
    }
}

#[test]
fn hugging_face_metadata_gives_labels_and_attributes() {
    let images = [("train/0.png", ""), ("train/1.png", ""), ("test/0.png", "")];
    let csv = "file_name,label,age,text\ntrain/0.png,dog,3,a dog\ntrain/1.png,cat,4,\n\
               test/0.png,eel,5,x\n";
    let with = |table: &[(&str, &str)], split| arrange_files(&[&images[..], table].concat(), split);
    let layout = with(&[("metadata.csv", csv)], Split::Train).unwrap();
    assert_eq!(layout.classes.unwrap().labels, [1, 0]);
    assert_eq!(layout.report.description, "3 classes from the labels of metadata.csv; split train");
    assert_eq!((layout.attributes.columns.len(), layout.attributes.of(1)), (2, &[4.0, 0.0][..]));
    let layout = with(&[("metadata.csv", csv)], Split::Test).unwrap();
    assert_eq!(
        (layout.classes.unwrap().labels, layout.attributes.of(0)),
        (vec![2], &[5.0, 2.0][..])
    );
    // As JSON lines beside the images of each split, with boxes, which are not attributes.
    let lines = "{\"file_name\": \"0.png\", \"label\": 1, \"boxes\": [[1, 2]], \"day\": true}\n\
                 {\"file_name\": \"./1.png\", \"label\": 0, \"boxes\": [], \"day\": false}\n";
    let test = "{\"file_name\": \"0.png\", \"label\": 3, \"day\": true}\n";
    let tables = [("train/metadata.jsonl", lines), ("test/metadata.jsonl", test)];
    let layout = with(&tables, Split::Train).unwrap();
    let classes = layout.classes.unwrap();
    assert_eq!((classes.names.len(), &classes.labels[..]), (4, &[1, 0][..]));
    assert_eq!(layout.attributes.columns[0].kind, AttributeKind::Binary);
    assert_eq!((layout.attributes.columns.len(), layout.attributes.of(0)), (1, &[1.0][..]));
    // Other files of these names are not metadata.
    for other in [("metadata.csv", "a,b\n1,2\n"), ("metadata.jsonl", "[1]\n"), ("metadata.csv", "")]
    {
        let layout = with(&[other], Split::Train).unwrap();
        assert_eq!(layout.report.description, "no classes; split train");
        assert!(layout.attributes.columns.is_empty());
        assert!(matches!(layout.report.notes[..], [LayoutNote::UnreadTable { .. }]));
    }
    // A column of numbers with gaps is left out.
    let gaps = "file_name,age,old\ntrain/0.png,,1\ntrain/1.png,4,0\ntest/0.png,5,0\n";
    let layout = with(&[("metadata.csv", gaps)], Split::Train).unwrap();
    assert_eq!((layout.attributes.columns.len(), layout.report.notes.len()), (1, 1));
    for bad in [
        "file_name,x\ntrain/0.png,1\n",
        "file_name,label\ntrain/0.png,1\ntrain/1.png,\n",
        "file_name,label\ntrain/0.png,1\n./train/0.png,0\ntrain/1.png,1\n",
    ] {
        assert!(with(&[("metadata.csv", bad)], Split::Train).is_err(), "{bad}");
    }
}

#[test]
fn tables_name_images_in_several_ways() {
    let images = [("wrap/a/0.png", ""), ("wrap/a/1.png", ""), ("wrap/b/2.png", "")];
    for (table, rows) in [
        ("attributes.csv", "file,x\n./wrap/a/0.png,1\nwrap//a/1.png,2\nwrap\\b\\2.png,3\n"),
        ("wrap/attributes.csv", "file,x\na/0.png,1\n./a/./1.png,2\n.\\b\\2.png,3\n"),
    ] {
        let files = [&images[..], &[(table, rows)]].concat();
        let layout = arrange_files(&files, Split::Train).unwrap();
        assert_eq!(layout.attributes.values, [1.0, 2.0, 3.0], "{rows}");
    }
    // The same image twice.
    let twice = [("0.png", ""), ("attributes.csv", "file,x\n0.png,1\n./0.png,2\n")];
    assert!(arrange_files(&twice, Split::Train).is_err());
    // Rows of images that are left out.
    let paths = expand(&["cat/*12", "dog/*12", "cover.png", "x.heic"]);
    let rows: String = paths.iter().map(|path| format!("{path},1\n")).collect();
    let table = format!("file,x\n{rows}");
    let mut files: Vec<(&str, &str)> = paths.iter().map(|path| (path.as_str(), "")).collect();
    files.push(("attributes.csv", &table));
    assert_eq!(arrange_files(&files, Split::Train).unwrap().attributes.values.len(), 24);
}

#[test]
fn a_cell_that_makes_a_column_words_is_named() {
    let note = |cells: &[&str]| {
        let paths: Vec<String> = (0..cells.len()).map(|k| format!("{k}.png")).collect();
        let rows = paths.iter().zip(cells).map(|(path, cell)| format!("{path},{cell}\n"));
        let table = format!("file,age\n{}", rows.collect::<String>());
        let mut files: Vec<(&str, &str)> = paths.iter().map(|path| (path.as_str(), "")).collect();
        files.push(("attributes.csv", &table));
        arrange_files(&files, Split::Train).unwrap().report.notes
    };
    let words = |line, cell: &str| LayoutNote::ColumnOfWords {
        table: "set/attributes.csv".to_owned(),
        column: "age".to_owned(),
        line,
        cell: cell.to_owned(),
    };
    assert_eq!(note(&["1", "2", "n/a", "4"]), [words(4, "n/a")]);
    assert_eq!(note(&["0", "", "1", "nan", "x"]), []);
    assert_eq!(note(&["0", "yes", "no", "unknown"]), [words(5, "unknown")]);
    assert_eq!(note(&["red", "2", "blue"]), []);
    assert_eq!(note(&["1", "2", "3"]), []);
}

#[test]
fn the_fingerprint_keeps_labels_of_one_folder() {
    let hashed = |paths: &[&str]| arrange_paths(paths, Split::Train).unwrap().hashed_labels;
    assert_eq!(hashed(&["photos/*2"]), Some(vec![0, 0]));
    assert_eq!(hashed(&["train/photos/*2", "test/photos/*1"]), Some(vec![0, 0]));
    assert_eq!(hashed(&["00000/00001.png", "01000/01000.png"]), Some(vec![0, 1]));
    assert_eq!(hashed(&["*2"]), None);
    assert_eq!(hashed(&["a/*1", "b/*1"]), None);
    assert_eq!(hashed(&["train/*2", "test/*1"]), None);
}
