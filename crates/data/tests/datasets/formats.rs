//! CIFAR, SVHN, STL-10, LSUN and CelebA as other programs write them, and their defects.

use std::fs;
use std::path::Path;

use crate::common::{
    assert_refused, bytes, column_names, copied, fixture, labels, open, open_as, pixels, problem,
    write,
};
use data::{AttributeKind, DataError, DataSpec, Dataset, FileProblem, Preprocess, Split};

fn out_of_range(label: &str, image: usize, low: u8, high: u8) -> FileProblem {
    FileProblem::LabelRange { label: label.to_owned(), image, low, high }
}

fn rgb(side: u32) -> Preprocess {
    Preprocess::new([side, side], 3)
}

fn shape(path: &Path) -> Option<[u32; 3]> {
    DataSpec::parse(path.to_str().unwrap()).unwrap().image_shape(Split::Train).unwrap()
}

fn assert_pixels(set: &Dataset, images: &[usize]) {
    assert_eq!(set.len(), images.len());
    for (index, &k) in images.iter().enumerate() {
        assert_eq!(bytes(set, index), pixels(k, set.shape()[0]), "image {k}");
    }
}

#[test]
fn cifar10() {
    let folder = fixture("cifar10");
    let train = open(&folder, &rgb(32)).unwrap();
    assert_pixels(&train, &[0, 1, 2]);
    assert_eq!((labels(&train), train.class_names()[9].as_str()), (vec![3, 9, 0], "truck"));
    let test = open_as("cifar10:", &folder, Split::Test, &rgb(32)).unwrap();
    assert_pixels(&test, &[3]);
    // A single file is detected by its contents, not its name.
    let alone = tempfile::tempdir().unwrap();
    fs::copy(folder.join("data_batch_1.bin"), alone.path().join("x.bin")).unwrap();
    let file = open(&alone.path().join("x.bin"), &rgb(32)).unwrap();
    assert_pixels(&file, &[0, 1]);
    assert_eq!(file.class_names()[3], "cat");
    let test = open_as("", &folder.join("data_batch_2.bin"), Split::Test, &rgb(32)).unwrap();
    assert_eq!(
        test.fingerprint(),
        open_as("", &folder, Split::Test, &rgb(32)).unwrap().fingerprint()
    );
    assert_eq!((shape(&folder), column_names(&train).len()), (Some([32, 32, 3]), 0));
}

#[test]
fn cifar100() {
    let set = open(&fixture("cifar100"), &rgb(32)).unwrap();
    assert_pixels(&set, &[0, 1]);
    assert_eq!((labels(&set), set.class_names()[99].as_str()), (vec![99, 0], "fine_99"));
    assert_eq!(column_names(&set), ["superclass"]);
    let AttributeKind::Category(words) = &set.attribute_columns()[0].kind else {
        panic!("not words")
    };
    assert_eq!(
        (set.attributes(0), set.attributes(1), words[4].as_str()),
        (vec![19.0], vec![4.0], "coarse_4")
    );
    let file = open(&fixture("cifar100/test.bin"), &rgb(32)).unwrap();
    assert_eq!(labels(&file), [42]);
}

#[test]
fn python_cifar() {
    let folder = fixture("cifar10-python");
    let train = open(&folder, &rgb(32)).unwrap();
    assert_pixels(&train, &[0, 1, 2]);
    assert_eq!((labels(&train), train.class_names()[9].as_str()), (vec![3, 9, 0], "truck"));
    let test = open_as("cifar10:", &folder, Split::Test, &rgb(32)).unwrap();
    assert_pixels(&test, &[3]);
    // It is the binary version's dataset.
    assert_eq!(train.fingerprint(), open(&fixture("cifar10"), &rgb(32)).unwrap().fingerprint());
    for name in ["cifar10-python/data_batch_1", "cifar10-numpy/data_batch_1"] {
        let file = open(&fixture(name), &rgb(32)).unwrap();
        assert_eq!((bytes(&file, 0), labels(&file)[0]), (pixels(0, 32), 3), "{name}");
    }
    let set = open(&fixture("cifar100-python"), &rgb(32)).unwrap();
    assert_pixels(&set, &[0, 1]);
    assert_eq!((labels(&set), set.class_names()[99].as_str()), (vec![99, 0], "fine_99"));
    assert_eq!(set.attributes(1), vec![4.0]);
    let test = open_as("", &fixture("cifar100-python"), Split::Test, &rgb(32)).unwrap();
    assert_eq!(labels(&test), [42]);

    let folder = copied("cifar10-python");
    let batch = folder.path().join("data_batch_1");
    let good = fs::read(&batch).unwrap();
    let changed = |from: &[u8], to: &[u8]| {
        let at = good.windows(from.len()).position(|window| window == from).unwrap();
        let bytes = [&good[..at], to, &good[at + from.len()..]].concat();
        fs::write(&batch, bytes).unwrap();
        let (path, problem) = problem(open(folder.path(), &rgb(32)));
        assert_eq!(path, batch);
        problem
    };
    assert_eq!(changed(b"K\x03K\x09e", b"K\x03K\x0Ae"), out_of_range("10", 1, 0, 9));
    for (from, to) in [
        (&b"K\x03K\x09e"[..], &b"K\x03e"[..]),
        (b"_reconstruct", b"_reconstrict"),
        (b"U\x02u1", b"U\x02f4"),
        (b"M\x02\0M", b"M\x03\0M"),
        (b"labels", b"labelz"),
    ] {
        let problem = changed(from, to);
        assert!(matches!(problem, FileProblem::Damaged(_)), "{problem}");
    }
}

#[test]
fn bad_cifar() {
    let folder = copied("cifar10");
    let batch = folder.path().join("data_batch_1.bin");
    let good = fs::read(&batch).unwrap();
    let found = |content: &[u8]| {
        fs::write(&batch, content).unwrap();
        let (path, problem) = problem(open(folder.path(), &rgb(32)));
        assert_eq!(path, batch);
        problem
    };
    for content in [&good[..good.len() - 1], b""] {
        let problem = found(content);
        assert!(matches!(problem, FileProblem::Truncated(_)), "{problem}");
    }
    let mut wrong = good.clone();
    wrong[3073] = 10;
    assert_eq!(found(&wrong), out_of_range("10", 1, 0, 9));
    fs::write(&batch, &good).unwrap();
    write(folder.path(), "batches.meta.txt", b"one\ntwo\n");
    let (_, names) = problem(open(folder.path(), &rgb(32)));
    assert_eq!(names, FileProblem::ClassCount { found: 2, wanted: 10 });
    write(folder.path(), "batches.meta.txt", b"\xFF\n");
    let (_, names) = problem(open(folder.path(), &rgb(32)));
    assert!(matches!(names, FileProblem::NotUtf8(_)), "{names}");
    fs::rename(folder.path().join("data_batch_2.bin"), folder.path().join("data_batch_3.bin"))
        .unwrap();
    assert_refused!(
        open(folder.path(), &rgb(32)),
        DataError::NoSplit { split: "train", wanted, .. } if wanted.contains("data_batch_3.bin")
    );
    fs::remove_file(folder.path().join("test_batch.bin")).unwrap();
    assert_refused!(
        open_as("", folder.path(), Split::Test, &rgb(32)),
        DataError::NoSplit { split: "test", wanted, .. } if wanted.contains("test_batch.bin")
    );
}

#[test]
fn stl10() {
    let folder = fixture("stl10");
    let train = open(&folder, &rgb(96)).unwrap();
    assert_pixels(&train, &[0, 1]);
    assert_eq!((labels(&train), train.class_names()[9].as_str()), (vec![0, 9], "truck"));
    let test = open_as("stl10:", &folder, Split::Test, &rgb(96)).unwrap();
    assert_pixels(&test, &[2]);
    assert_eq!(labels(&test), [3]);
    let unlabeled = open(&folder.join("unlabeled_X.bin"), &rgb(96)).unwrap();
    assert_pixels(&unlabeled, &[3]);
    assert_eq!(
        (unlabeled.label(0), unlabeled.class_names().len(), shape(&folder)),
        (None, 0, Some([96, 96, 3]))
    );
}

#[test]
fn bad_stl10() {
    let folder = copied("stl10");
    write(folder.path(), "train_y.bin", &[1, 11]);
    let (path, problem_of_labels) = problem(open(folder.path(), &rgb(96)));
    assert!(path.ends_with("train_y.bin"));
    assert_eq!(problem_of_labels, out_of_range("11", 1, 1, 10));
    write(folder.path(), "train_y.bin", &[0, 1]);
    assert_eq!(problem(open(folder.path(), &rgb(96))).1, out_of_range("0", 0, 1, 10));
    write(folder.path(), "train_y.bin", &[1]);
    assert_refused!(
        open(folder.path(), &rgb(96)),
        DataError::LabelCount { images: 2, labels: 1, .. }
    );
    write(folder.path(), "train_X.bin", &[7; 27_649]);
    let (path, cut) = problem(open(folder.path(), &rgb(96)));
    assert!(path.ends_with("train_X.bin") && matches!(cut, FileProblem::Truncated(_)), "{cut}");
}

#[test]
fn svhn() {
    let folder = fixture("svhn");
    let train = open(&folder, &rgb(32)).unwrap();
    assert_pixels(&train, &[0, 1, 2, 3]);
    assert_eq!((labels(&train), train.class_names().len()), (vec![1, 0, 9, 0], 10));
    let test = open_as("svhn:", &folder, Split::Test, &rgb(32)).unwrap();
    assert_pixels(&test, &[0, 1]);
    assert_eq!((labels(&test), shape(&folder)), (vec![1, 0], Some([32, 32, 3])));
    let neighbor = open_as("", &folder.join("train_32x32.mat"), Split::Test, &rgb(32)).unwrap();
    assert_eq!(neighbor.fingerprint(), test.fingerprint());
}

#[test]
fn bad_svhn() {
    let folder = copied("svhn");
    let file = folder.path().join("test_32x32.mat");
    let good = fs::read(&file).unwrap();
    let found = |content: &[u8]| {
        fs::write(&file, content).unwrap();
        let (path, problem) = problem(open_as("svhn:", &file, Split::Train, &rgb(32)));
        assert_eq!(path, file);
        problem
    };
    let find = |what: &[u8]| good.windows(what.len()).position(|window| window == what).unwrap();
    // An array cut short, and a header.
    for content in [&good[..good.len() - 8], &good[..100], b"MATLAB 7.3 MAT-file, of HDF5"] {
        let problem = found(content);
        assert!(matches!(problem, FileProblem::Truncated(_)), "{problem}");
    }
    // Another level of the format, another byte order, images of other sides.
    let mut other = good.clone();
    other[126..128].copy_from_slice(b"MI");
    let mut swapped = good.clone();
    let sides = find(&[32, 0, 0, 0, 32, 0, 0, 0, 3, 0, 0, 0, 2]);
    swapped[sides..sides + 16].copy_from_slice(&[2, 32, 32, 3].map(u32::to_le_bytes).concat());
    for content in [[b"MATLAB 7.3 MAT-file", &good[19..]].concat(), other, swapped] {
        let problem = found(&content);
        assert!(matches!(problem, FileProblem::Unsupported(_)), "{problem}");
    }
    let mut label = good.clone();
    let ten = find(&10f64.to_le_bytes());
    for wrong in [11.0, f64::NAN] {
        label[ten..ten + 8].copy_from_slice(&wrong.to_le_bytes());
        assert_eq!(found(&label), out_of_range(&wrong.to_string(), 1, 1, 10));
    }
    // More elements than bytes.
    let mut side = good.clone();
    side[sides + 12] = 3;
    // A compressed file that is damaged inside.
    let packed = fs::read(fixture("svhn/train_32x32.mat")).unwrap();
    let mut damaged = packed.clone();
    damaged[400] ^= 0xFF;
    for content in [side, damaged] {
        let problem = found(&content);
        assert!(matches!(problem, FileProblem::Damaged(_)), "{problem}");
    }
    let cut = found(&packed[..packed.len() / 2]);
    assert!(matches!(cut, FileProblem::Truncated(_)), "{cut}");
    let none = found(&packed[..128]);
    assert_eq!(none, FileProblem::Missing("array \"X\"".to_owned()));
    fs::remove_file(&file).unwrap();
    assert_refused!(
        open_as("", folder.path(), Split::Test, &rgb(32)),
        DataError::NoSplit { split: "test", wanted, .. } if wanted.contains("test_32x32.mat")
    );
}

#[test]
fn lsun() {
    let folder = fixture("lsun");
    let check = |set: &Dataset| {
        assert_eq!(
            (0..3).map(|index| set.image_name(index)).collect::<Vec<_>>(),
            ["aa", "ab", "b0"]
        );
        assert_eq!((set.label(0), set.class_names().len(), set.skipped().len()), (None, 0, 0));
        for (index, color) in [[200, 100, 50], [10, 20, 230]].iter().enumerate() {
            assert!(
                bytes(set, index).iter().zip(color.iter().cycle()).all(|(a, b)| a.abs_diff(*b) < 6),
                "image {index}"
            );
        }
        assert_eq!(bytes(set, 2), pixels(2, 8));
    };
    let set = open(&folder, &rgb(8)).unwrap();
    check(&set);
    // By its own folder, by its file, uncached, and open twice at once.
    check(&open_as("lsun:", &folder.join("church_train_lmdb"), Split::Train, &rgb(8)).unwrap());
    check(&open(&folder.join("church_train_lmdb/data.mdb"), &rgb(8)).unwrap());
    let spec = folder.display().to_string();
    let uncached = Dataset::open_within(&spec, Split::Train, &rgb(8), 0, &|_| ()).unwrap();
    check(&uncached);
    assert_eq!(uncached.fingerprint(), set.fingerprint());
    for of in ["", "church_train_lmdb"] {
        assert_eq!(open_as("", &folder.join(of), Split::Test, &rgb(8)).unwrap().len(), 1);
    }
    assert!(!folder.join("church_train_lmdb/lock.mdb").exists(), "a lock file was written");
}

#[cfg(unix)]
#[test]
fn lsun_in_a_folder_that_cannot_be_written() {
    use std::os::unix::fs::PermissionsExt;
    let folder = copied("lsun/church_train_lmdb");
    let mode =
        |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    mode(&folder.path().join("data.mdb"), 0o444);
    mode(folder.path(), 0o555);
    let set = open(folder.path(), &rgb(8));
    assert_eq!(folder.path().read_dir().unwrap().count(), 1);
    mode(folder.path(), 0o755);
    assert_eq!(set.unwrap().len(), 3);
}

#[test]
fn bad_lsun() {
    let folder = copied("lsun/church_train_lmdb");
    let file = folder.path().join("data.mdb");
    let good = fs::read(&file).unwrap();
    let found = |content: &[u8]| {
        fs::write(&file, content).unwrap();
        problem(open_as("lsun:", folder.path(), Split::Train, &rgb(8))).1
    };
    for length in [good.len() - 4096, 10] {
        let problem = found(&good[..length]);
        assert!(matches!(problem, FileProblem::Truncated(_)), "{length}: {problem}");
    }
    let other = found(&[7; 8192]);
    assert!(matches!(other, FileProblem::Unsupported(_)), "{other}");
    fs::write(&file, &good).unwrap();
    assert_refused!(
        open_as("lsun:", folder.path(), Split::Test, &rgb(8)),
        DataError::NoSplit { split: "test", wanted, .. } if wanted.contains("…_val_lmdb")
    );
    let both = copied("lsun");
    for name in ["church_train_lmdb", "tower_train_lmdb"] {
        write(both.path(), &format!("{name}/data.mdb"), &good);
    }
    assert!(matches!(
        open(both.path(), &rgb(8)),
        Err(DataError::Ambiguous { files, .. }) if files == "church_train_lmdb, tower_train_lmdb"
    ));
}

#[test]
fn celeba() {
    let folder = copied("celeba");
    let of = |split| open_as("", folder.path(), split, &rgb(8));
    let train = of(Split::Train).unwrap();
    assert_eq!((train.len(), train.image_name(2)), (3, "000003.jpg".to_owned()));
    assert_eq!(column_names(&train), ["Bald", "Male", "Smiling"]);
    assert_eq!(
        (train.attributes(0), train.attributes(1)),
        (vec![1.0, 0.0, 1.0], vec![0.0, 0.0, 1.0])
    );
    assert!(train.attribute_columns().iter().all(|column| column.kind == AttributeKind::Binary));
    let test = of(Split::Test).unwrap();
    assert_eq!(
        (test.len(), test.image_name(0), test.attributes(0)),
        (1, "000005.jpg".to_owned(), vec![1.0, 0.0, 1.0])
    );
    // As distributed, in three folders.
    let apart = tempfile::tempdir().unwrap();
    for (from, to) in [
        ("list_attr_celeba.txt", "Anno"),
        ("list_eval_partition.txt", "Eval"),
        ("img_align_celeba", "Img"),
    ] {
        fs::create_dir(apart.path().join(to)).unwrap();
        fs::rename(folder.path().join(from), apart.path().join(to).join(from)).unwrap();
    }
    let again = open_as("celeba:", apart.path(), Split::Train, &rgb(8)).unwrap();
    assert_eq!(again.fingerprint(), train.fingerprint());
    fs::remove_file(apart.path().join("Eval/list_eval_partition.txt")).unwrap();
    assert_eq!(open(apart.path(), &rgb(8)).unwrap().len(), 5);
    assert_refused!(
        open_as("", apart.path(), Split::Test, &rgb(8)),
        DataError::NoSplit { split: "test", wanted, .. }
            if wanted.contains("list_eval_partition.txt")
    );
}

#[test]
fn bad_celeba() {
    let folder = copied("celeba");
    let list = fs::read_to_string(folder.path().join("list_attr_celeba.txt")).unwrap();
    let found = |name: &str, content: &str| {
        write(folder.path(), name, content.as_bytes());
        problem(open(folder.path(), &rgb(8))).1
    };
    let in_list = |content: &str| found("list_attr_celeba.txt", content);
    let cut = in_list(&list[..list.len() - 21]);
    assert!(matches!(cut, FileProblem::Truncated(_)), "{cut}");
    // A value that is neither 1 nor -1, a missing value, and a first line without the count of
    // images.
    for (content, wanted) in
        [(list.replacen(" 1", " 2", 1), 3), (list.replacen(" 1", "", 1), 3), ("many\n".into(), 1)]
    {
        let problem = in_list(&content);
        assert!(matches!(problem, FileProblem::Line { line, .. } if line == wanted), "{problem}");
    }
    let no_row = |name: &str| FileProblem::NoRow { name: name.to_owned(), more: 0 };
    let no_image = |name: &str| FileProblem::NoImage { name: name.to_owned(), more: 0 };
    assert_eq!(in_list(&list.replace("000002", "000009")), no_row("000002.jpg"));
    write(folder.path(), "list_attr_celeba.txt", list.as_bytes());
    let parts = fs::read_to_string(folder.path().join("list_eval_partition.txt")).unwrap();
    let in_parts = |content: &str| found("list_eval_partition.txt", content);
    assert_eq!(in_parts(&parts.replace("000004.jpg 1\n", "")), no_row("000004.jpg"));
    assert_eq!(in_parts(&format!("{parts}000006.jpg 0\n")), no_image("000006.jpg"));
    // A second row of an image, and a partition that is none.
    for (content, wanted) in
        [(parts.replace("000004", "000003"), 4), (parts.replace(" 2", " 3"), 5)]
    {
        let problem = in_parts(&content);
        assert!(matches!(problem, FileProblem::Line { line, .. } if line == wanted), "{problem}");
    }
    write(folder.path(), "list_eval_partition.txt", parts.as_bytes());
    fs::remove_file(folder.path().join("img_align_celeba/000003.jpg")).unwrap();
    assert_eq!(problem(open(folder.path(), &rgb(8))).1, no_image("000003.jpg"));
    fs::remove_dir_all(folder.path().join("img_align_celeba")).unwrap();
    let none = problem(open(folder.path(), &rgb(8))).1;
    assert_eq!(none, FileProblem::Missing("img_align_celeba".to_owned()));
}
