//! Folders and archives of the same files are the same dataset, and datasets are found in folders.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use crate::common::{
    assert_refused, column_names, copied, fixture, gzip, idx, labels, open, open_as, plain,
    problem, small_set, write,
};
use data::{DataError, Dataset, FileProblem, LayoutNote, Preprocess, Split};
use tempfile::tempdir;

fn rgb(side: u32) -> Preprocess {
    Preprocess::new([side, side], 3)
}

/// The bytes of a PNG of one color.
fn png(gray: u8) -> Vec<u8> {
    let folder = tempdir().unwrap();
    plain(folder.path(), "x.png", 2, [gray; 3]);
    fs::read(folder.path().join("x.png")).unwrap()
}

type Files = Vec<(String, Vec<u8>)>;

/// Images of these paths, each of its own gray.
fn images(paths: &[&str]) -> Files {
    (0..).zip(paths).map(|(k, path)| ((*path).to_owned(), png(k))).collect()
}

fn tar(files: &Files) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, name, &content[..]).unwrap();
    }
    builder.into_inner().unwrap()
}

/// A zip of stored files, whose names may be any bytes.
fn zip(files: &[(&[u8], &[u8])]) -> Vec<u8> {
    let (mut body, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in files {
        let mut crc = flate2::Crc::new();
        crc.update(content);
        let mut common = vec![20, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        common.extend(crc.sum().to_le_bytes());
        common.extend((content.len() as u32).to_le_bytes());
        common.extend((content.len() as u32).to_le_bytes());
        common.extend((name.len() as u16).to_le_bytes());
        common.extend([0, 0]);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&common);
        directory.extend([0; 10]);
        directory.extend((body.len() as u32).to_le_bytes());
        directory.extend(*name);
        body.extend(b"PK\x03\x04");
        body.extend(&common);
        body.extend(*name);
        body.extend(*content);
    }
    let (count, at) = ((files.len() as u16).to_le_bytes(), (body.len() as u32).to_le_bytes());
    let length = (directory.len() as u32).to_le_bytes();
    let end = [&b"PK\x05\x06\0\0\0\0"[..], &count, &count, &length, &at, &[0, 0]].concat();
    [body, directory, end].concat()
}

/// The same files as a folder, a zip, a tar and a gzipped tar.
fn all_forms(place: &Path, files: &Files) -> Vec<std::path::PathBuf> {
    files.iter().for_each(|(name, content)| write(&place.join("folder"), name, content));
    let entries: Vec<(&[u8], &[u8])> =
        files.iter().map(|(name, content)| (name.as_bytes(), &content[..])).collect();
    write(place, "x.zip", &zip(&entries));
    write(place, "x.tar", &tar(files));
    write(place, "x.tar.gz", &gzip(&tar(files)));
    ["folder", "x.zip", "x.tar", "x.tar.gz"].map(|name| place.join(name)).to_vec()
}

#[test]
fn folders_and_archives_follow_one_rule() {
    let stylegan: Vec<String> = (0..6).map(|k| format!("{:05}/img{k:08}.png", k / 1000)).collect();
    let mut stylegan = images(&stylegan.iter().map(String::as_str).collect::<Vec<_>>());
    let rows: Vec<String> = (0..6).map(|k| format!("[{:?}, {}]", stylegan[k].0, k % 3)).collect();
    let table = format!("{{\"labels\": [{}]}}", rows.join(", "));
    stylegan.push(("dataset.json".to_owned(), table.into_bytes()));
    let mut array = images(&["0.png", "1.png"]);
    array.push(("annotations.json".to_owned(), b"[{\"file\": \"0.png\"}]".to_vec()));
    let mut hub = images(&["train/0.png", "train/1.png"]);
    hub.push(("train/metadata.csv".to_owned(), b"file_name,label\n0.png,b\n1.png,a\n".to_vec()));
    for (files, wanted, description) in [
        (
            images(&["train/cat/0.png", "train/dog/1.png", "train/dog/2.png"]),
            vec![0, 1, 1],
            "2 classes from folders cat, dog; split train",
        ),
        (
            images(&["x/training_set/a/0.png", "x/training_set/b/1.png", "x/test_set/a/2.png"]),
            vec![0, 1],
            "2 classes from folders a, b; split train in folder training_set",
        ),
        (stylegan, vec![0, 1, 2, 0, 1, 2], "3 classes from dataset.json"),
        (hub, vec![1, 0], "2 classes from the labels of metadata.csv; split train"),
        (array, vec![], "no classes"),
    ] {
        let place = tempdir().unwrap();
        let mut prints = Vec::new();
        for path in all_forms(place.path(), &files) {
            let set = open(&path, &rgb(2)).unwrap();
            assert_eq!(set.report().unwrap().description, description, "{path:?}");
            if wanted.is_empty() {
                assert!(set.class_names().is_empty());
            } else {
                assert_eq!(labels(&set), wanted, "{path:?}");
            }
            prints.push(set.fingerprint().to_owned());
        }
        prints.dedup();
        assert_eq!(prints.len(), 1, "{description}");
    }
}

#[test]
fn texts_are_not_images_whatever_they_begin_with() {
    let folder = tempdir().unwrap();
    let mut files = images(&["0.png", "1.png"]);
    for (name, text) in [
        ("cars.txt", "BMW models"),
        ("notes.txt", "P3 is the parking level"),
        ("README", "BMI table"),
        ("list", "P5 of them"),
        ("x.csv", "BM,1\n"),
        ("x.json", "{}"),
    ] {
        files.push((name.to_owned(), text.as_bytes().to_vec()));
    }
    // Without an extension, the content decides whether a file is an image.
    files.push(("photo".to_owned(), png(9)));
    for path in all_forms(folder.path(), &files) {
        let set = open(&path, &rgb(2)).unwrap();
        assert_eq!((set.len(), set.skipped().len()), (3, 0), "{path:?}");
        assert_eq!(set.image_name(2), "photo");
    }
}

#[test]
fn names_in_archives_may_be_in_any_code_page() {
    let folder = tempdir().unwrap();
    let (one, two, three) = (png(1), png(2), png(3));
    let files: [(&[u8], &[u8]); 3] = [
        (b"caf\x82/\x81.png", &one),
        (b"\x93\xfa\x96\x7b/x.png", &two),
        ("été/ü.png".as_bytes(), &three),
    ];
    write(folder.path(), "x.zip", &zip(&files));
    let set = open(&folder.path().join("x.zip"), &rgb(2)).unwrap();
    assert_eq!((set.len(), set.class_names().len()), (3, 3));
    assert_eq!(set.class_names()[0], "café");
    assert!(set.class_names().contains(&"été".to_owned()));
    let name = fs::read(fixture("archives/name.tar")).unwrap();
    write(folder.path(), "name.tar", &name);
    write(folder.path(), "name.tar.gz", &gzip(&name));
    for tar in ["name.tar", "name.tar.gz"] {
        let set = open(&folder.path().join(tar), &rgb(2)).unwrap();
        assert_eq!([set.image_name(0), set.image_name(1)], ["a.png", "b\u{a0}.png"], "{tar}");
    }
}

#[test]
fn a_run_directory_in_a_folder_of_images_is_left_out() {
    let folder = tempdir().unwrap();
    for k in 0..3 {
        plain(folder.path(), &format!("{k}.png"), 2, [k; 3]);
    }
    let before = open(folder.path(), &rgb(2)).unwrap().fingerprint().to_owned();
    for name in ["runs/0001-x/samples/step-00000500.png", "runs/0001-x/losses.png"] {
        plain(folder.path(), name, 2, [7; 3]);
    }
    write(folder.path(), "runs/0001-x/config.toml", b"");
    write(folder.path(), "runs/0001-x/metrics.jsonl", b"");
    let set = open(folder.path(), &rgb(2)).unwrap();
    assert_eq!((set.fingerprint(), set.class_names().len()), (&*before, 0));
    assert!(matches!(
        &set.report().unwrap().notes[..],
        [LayoutNote::RunDirectories { count: 2, .. }]
    ));
    // So are images with the signature of this program.
    let mut signed = fs::read(folder.path().join("0.png")).unwrap();
    let mut chunk = b"tEXtSoftware\0".to_vec();
    chunk.extend(imaging::signature("1").as_bytes());
    let mut crc = flate2::Crc::new();
    crc.update(&chunk);
    let text = [&(chunk.len() as u32 - 4).to_be_bytes()[..], &chunk, &crc.sum().to_be_bytes()];
    signed.splice(33..33, text.concat());
    write(folder.path(), "drawn/grid.png", &signed);
    let set = open(folder.path(), &rgb(2)).unwrap();
    assert_eq!((set.fingerprint(), set.report().unwrap().notes.len()), (&*before, 2));
    let drawn = open(&folder.path().join("drawn"), &rgb(2)).unwrap();
    assert_eq!((drawn.len(), drawn.report().unwrap().notes.len()), (1, 0));
}

#[test]
fn a_dataset_inside_a_folder_is_found() {
    let place = tempdir().unwrap();
    // MNIST as torchvision stores it.
    small_set(&place.path().join("mnist/MNIST/raw"));
    for inside in ["mnist", "mnist/MNIST", "mnist/MNIST/raw"] {
        let set = open(&place.path().join(inside), &Preprocess::new([3, 2], 1)).unwrap();
        assert_eq!(labels(&set), [2, 0, 1, 2], "{inside}");
    }
    // One archive, beside a text.
    let entries = [(&b"a/0.png"[..], &png(1)[..]), (b"b/1.png", &png(2))];
    write(place.path(), "one/archive.zip", &zip(&entries));
    write(place.path(), "one/README.md", b"about");
    let set = open(&place.path().join("one"), &rgb(2)).unwrap();
    assert_eq!((labels(&set), set.name()), (vec![0, 1], "one"));
    write(place.path(), "one/more.zip", &zip(&entries));
    assert!(matches!(
        open(&place.path().join("one"), &rgb(2)),
        Err(DataError::Ambiguous { files, .. }) if files == "archive.zip, more.zip"
    ));
    // Images beside it are the dataset.
    plain(place.path(), "one/0.png", 2, [1; 3]);
    assert_eq!(open(&place.path().join("one"), &rgb(2)).unwrap().len(), 1);
    fs::create_dir_all(place.path().join("cifar")).unwrap();
    let cifar = copied("cifar10");
    fs::rename(cifar.path(), place.path().join("cifar/cifar-10-batches-bin")).unwrap();
    assert_eq!(open(&place.path().join("cifar"), &rgb(32)).unwrap().class_names().len(), 10);
}

#[test]
fn words_of_names_are_splits_of_idx_files() {
    let folder = tempdir().unwrap();
    let file = |name: &str, count: u32| {
        write(folder.path(), name, &idx(&[count, 2, 2], &vec![0; 4 * count as usize]));
    };
    file("contest-images-idx3-ubyte", 3);
    let of = |split| open_as("idx:", folder.path(), split, &Preprocess::new([2, 2], 1));
    assert_eq!(of(Split::Train).unwrap().len(), 3);
    assert_refused!(of(Split::Test), DataError::NoSplit { split: "test", .. });
    file("t10k-images-idx3-ubyte", 2);
    assert_eq!((of(Split::Train).unwrap().len(), of(Split::Test).unwrap().len()), (3, 2));
    // A file that is named belongs to the training split too, unless a word of its name says test.
    let cifar = copied("cifar10");
    fs::copy(cifar.path().join("data_batch_1.bin"), cifar.path().join("contest.bin")).unwrap();
    for (name, wanted) in [("contest.bin", vec![5]), ("test_batch.bin", vec![5])] {
        let path = cifar.path().join(name);
        assert_eq!(labels(&open_as("cifar10:", &path, Split::Test, &rgb(32)).unwrap()), wanted);
    }
}

#[test]
fn shards_are_splits_by_whole_words() {
    let folder = tempdir().unwrap();
    for name in ["contest-000.tar", "photos-001.tar", "latest-002.tar"] {
        write(folder.path(), name, &tar(&images(&["0.png", "1.png"])));
    }
    let of = |split| open_as("", folder.path(), split, &rgb(2));
    assert_eq!(of(Split::Train).unwrap().len(), 6);
    assert_refused!(of(Split::Test), DataError::NoSplit { split: "test", .. });
    write(folder.path(), "photos_val-003.tar", &tar(&images(&["0.png"])));
    let train = of(Split::Train).unwrap();
    let description = &train.report().unwrap().description;
    assert_eq!((train.len(), of(Split::Test).unwrap().len()), (6, 1));
    assert_eq!(
        description,
        "no classes; split train (1 other archive left out, \"photos_val-003.tar\" is the first)"
    );
}

/// CelebA as Kaggle packs it: CSV lists, and a folder in the folder of images.
fn kaggle() -> Files {
    let text = |name: &str| fs::read_to_string(fixture("celeba").join(name)).unwrap();
    let list = text("list_attr_celeba.txt");
    let mut lines = list.lines().skip(1);
    let cells = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(",");
    let mut attributes = format!("image_id,{}\n", cells(lines.next().unwrap()));
    lines.for_each(|line| attributes += &format!("{}\n", cells(line)));
    let mut partition = "image_id,partition\n".to_owned();
    text("list_eval_partition.txt").lines().for_each(|line| partition += &(cells(line) + "\n"));
    let mut files = vec![
        ("list_attr_celeba.csv".to_owned(), attributes.into_bytes()),
        ("list_eval_partition.csv".to_owned(), partition.into_bytes()),
        ("list_bbox_celeba.csv".to_owned(), b"image_id,x_1\n000001.jpg,1\n".to_vec()),
    ];
    for k in 1..=5 {
        let name = format!("img_align_celeba/{k:06}.jpg");
        let content = fs::read(fixture("celeba").join(&name)).unwrap();
        files.push((format!("img_align_celeba/{name}"), content));
    }
    files
}

#[test]
fn celeba_as_kaggle_has_it() {
    let plain = open(&fixture("celeba"), &rgb(8)).unwrap();
    let place = tempdir().unwrap();
    let files = kaggle();
    all_forms(place.path(), &files);
    write(place.path(), "download/archive.zip", &fs::read(place.path().join("x.zip")).unwrap());
    // As torchvision keeps it: lists beside the zipped images.
    for name in ["list_attr_celeba.txt", "list_eval_partition.txt"] {
        write(&place.path().join("tv"), name, &fs::read(fixture("celeba").join(name)).unwrap());
    }
    let inner: Vec<(&[u8], &[u8])> = files[3..]
        .iter()
        .map(|(name, content)| (&name.as_bytes()["img_align_celeba/".len()..], &content[..]))
        .collect();
    write(place.path(), "tv/img_align_celeba.zip", &zip(&inner));
    write(place.path(), "outer/README.txt", b"about");
    fs::rename(place.path().join("folder"), place.path().join("outer/celeba")).unwrap();
    for form in ["outer/celeba", "outer", "x.zip", "download", "tv"] {
        let of = |split| {
            Dataset::open(place.path().join(form).to_str().unwrap(), split, &rgb(8), &|_| ())
        };
        let train = of(Split::Train).unwrap();
        assert_eq!(train.fingerprint(), plain.fingerprint(), "{form}");
        assert_eq!(column_names(&train), ["Bald", "Male", "Smiling"]);
        assert_eq!(
            (train.image_name(2), of(Split::Test).unwrap().len()),
            ("000003.jpg".to_owned(), 1)
        );
    }
    let mut file = fs::OpenOptions::new()
        .append(true)
        .open(place.path().join("outer/celeba/list_attr_celeba.csv"))
        .unwrap();
    file.write_all(b"000009.jpg,1,1,1\n").unwrap();
    let missing = FileProblem::NoImage { name: "000009.jpg".to_owned(), more: 0 };
    assert_eq!(problem(open(&place.path().join("outer"), &rgb(8))).1, missing);
}
