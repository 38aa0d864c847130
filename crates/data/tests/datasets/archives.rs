//! Zip and tar archives and tables of attributes, valid and damaged.

use std::fs;

use crate::common::{
    assert_refused, bytes, column_names, fixture, gzip, labels, open, open_as, pixels, plain,
    problem, write,
};
use data::{AttributeKind, DataError, Dataset, EntryProblem, FileProblem, Preprocess, Split};
use tempfile::tempdir;

fn rgb(side: u32) -> Preprocess {
    Preprocess::new([side, side], 3)
}

/// The folder from which the `tree` archives were packed.
fn unpacked() -> tempfile::TempDir {
    let folder = tempdir().unwrap();
    let image = |k: usize| image::RgbImage::from_raw(4, 4, pixels(k, 4)).unwrap();
    for (k, name) in ["a/0.png", "a/1.png", "b/2.png"].iter().enumerate() {
        fs::create_dir_all(folder.path().join(name).parent().unwrap()).unwrap();
        image(k).save(folder.path().join(name)).unwrap();
    }
    write(
        folder.path(),
        "attributes.csv",
        b"file,age,hair\nb/2.png,4.5,\na/0.png,3,red\na/1.png,1,red\n",
    );
    folder
}

fn assert_tree(set: &Dataset) {
    let names: Vec<_> = (0..set.len()).map(|index| set.image_name(index)).collect();
    assert_eq!(names, ["a/0.png", "a/1.png", "b/2.png"]);
    assert_eq!(
        (labels(set), set.class_names()),
        (vec![0, 0, 1], &["a".to_owned(), "b".to_owned()][..])
    );
    for index in 0..3 {
        assert_eq!(bytes(set, index), pixels(index, 4));
    }
    assert_eq!(column_names(set), ["age", "hair"]);
    assert_eq!(set.attribute_columns()[0].kind, AttributeKind::Number);
    assert_eq!(
        set.attribute_columns()[1].kind,
        AttributeKind::Category(vec![String::new(), "red".to_owned()])
    );
    assert_eq!(
        (0..3).map(|i| set.attributes(i)).collect::<Vec<_>>(),
        [vec![3.0, 1.0], vec![1.0, 1.0], vec![4.5, 0.0]]
    );
}

#[test]
fn folders_and_archives_of_them_are_the_same_set() {
    let folder = unpacked();
    assert_tree(&open(folder.path(), &rgb(4)).unwrap());
    let mut prints = Vec::new();
    for name in ["tree.zip", "stored.zip", "tree.tar", "pax.tar", "tree.tar.gz"] {
        let path = fixture("archives").join(name);
        let set = open(&path, &rgb(4)).unwrap();
        assert_tree(&set);
        prints.push(set.fingerprint().to_owned());
        let spec = path.to_str().unwrap();
        let uncached = Dataset::open_within(spec, Split::Train, &rgb(4), 0, &|_| ()).unwrap();
        assert_tree(&uncached);
        assert_eq!(uncached.fingerprint(), set.fingerprint(), "{name}");
    }
    // The same files, unpacked: in a stored archive each follows its name, and its length is 12
    // bytes before that.
    let again = unpacked();
    let zip = fs::read(fixture("archives/stored.zip")).unwrap();
    for name in ["a/0.png", "a/1.png", "b/2.png"] {
        let at = zip.windows(name.len()).position(|window| window == name.as_bytes()).unwrap();
        let length =
            u32::from_le_bytes(zip[at - "set/".len() - 12..][..4].try_into().unwrap()) as usize;
        write(again.path(), name, &zip[at + name.len()..][..length]);
    }
    prints.push(open(again.path(), &rgb(4)).unwrap().fingerprint().to_owned());
    prints.dedup();
    assert_eq!(prints.len(), 1);
}

#[test]
fn content_decides_whatever_the_name() {
    let folder = tempdir().unwrap();
    for name in ["tree.zip", "tree.tar", "tree.tar.gz"] {
        let path = folder.path().join("set");
        fs::copy(fixture("archives").join(name), &path).unwrap();
        assert_eq!(open(&path, &rgb(4)).unwrap().len(), 3, "{name}");
    }
}

#[test]
fn archives_have_splits_and_long_names() {
    let path = fixture("archives/splits.zip");
    let of = |split| open_as("zip:", &path, split, &rgb(4)).unwrap();
    let (train, test) = (of(Split::Train), of(Split::Test));
    assert_eq!((train.len(), test.len(), test.class_names().len()), (1, 2, 2));
    assert_eq!(
        (train.image_name(0), test.image_name(1)),
        ("a/0.png".to_owned(), "b/2.png".to_owned())
    );
    let test = open_as("", &fixture("archives/tree.tar"), Split::Test, &rgb(4));
    assert_refused!(test, DataError::NoSplit { split: "test", .. });
    let long = open(&fixture("archives/long.tar"), &rgb(4)).unwrap();
    assert_eq!((bytes(&long, 1), long.image_name(0).len()), (pixels(1, 4), 124));
}

#[test]
fn webdataset_labels() {
    let set = open(&fixture("archives/cls.tar"), &rgb(4)).unwrap();
    assert_eq!(
        (labels(&set), set.class_names()),
        (vec![2, 0, 2], &["0", "1", "2"].map(str::to_owned)[..])
    );
    let set = open(&fixture("archives/json.tar"), &rgb(4)).unwrap();
    assert_eq!(
        (labels(&set), set.class_names()),
        (vec![1, 0, 1], &["cat", "owl"].map(str::to_owned)[..])
    );
}

/// A tar archive of these files.
fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, name, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

#[test]
fn archives_may_follow_each_other_in_one_file() {
    let folder = tempdir().unwrap();
    plain(folder.path(), "x.png", 2, [1; 3]);
    let png = fs::read(folder.path().join("x.png")).unwrap();
    let first = tar(&[("0.png", &png[..])]);
    let both = [first, tar(&[("1.png", &png[..]), ("2.png", &png[..])])].concat();
    for (name, content) in [("x.tar", both.clone()), ("x.tar.gz", gzip(&both))] {
        write(folder.path(), name, &content);
        assert_eq!(open(&folder.path().join(name), &rgb(2)).unwrap().len(), 3, "{name}");
    }
    write(folder.path(), "y.tar", &[&both[..], &[7; 1024]].concat());
    let (_, problem) = problem(open(&folder.path().join("y.tar"), &rgb(2)));
    assert!(matches!(problem, FileProblem::Damaged(_)), "{problem}");
}

#[test]
fn a_folder_of_shards_is_one_set() {
    let folder = tempdir().unwrap();
    let shard = fs::read(fixture("archives/cls.tar")).unwrap();
    // Each shard counts from 0000, as some writers do.
    for name in ["x-train-1.tar", "x-train-0.tar", "x-val-0.tar"] {
        write(folder.path(), name, &shard);
    }
    let train = open(folder.path(), &rgb(4)).unwrap();
    assert_eq!((labels(&train), train.class_names().len()), (vec![2, 0, 2, 2, 0, 2], 3));
    for index in 0..6 {
        assert_eq!(bytes(&train, index), pixels(index % 3, 4));
    }
    assert_eq!(open_as("tar:", folder.path(), Split::Test, &rgb(4)).unwrap().len(), 3);
    fs::remove_file(folder.path().join("x-val-0.tar")).unwrap();
    let test = open_as("", folder.path(), Split::Test, &rgb(4));
    assert_refused!(test, DataError::NoSplit { split: "test", .. });
    let held_out = tempdir().unwrap();
    write(held_out.path(), "val_1.tar", &shard);
    write(held_out.path(), "val_2.tar", &shard);
    assert!(matches!(
        open(held_out.path(), &rgb(4)),
        Err(DataError::HeldOutOnly { folder, .. }) if folder == "val_1.tar"
    ));
    assert_eq!(open_as("", held_out.path(), Split::Test, &rgb(4)).unwrap().len(), 6);
    write(folder.path(), "x-train-1.tar", &shard[..1024]);
    let (path, problem) = problem(open(folder.path(), &rgb(4)));
    assert!(
        path.ends_with("x-train-1.tar") && matches!(problem, FileProblem::Truncated(_)),
        "{problem}"
    );
}

/// A file that cannot be read is reported in one line by every format.
#[cfg(target_os = "linux")]
#[test]
fn unreadable_files() {
    let folder = tempdir().unwrap();
    // Reading it fails for every user, root included.
    for name in [
        "x",
        "train_X.bin",
        "train_32x32.mat",
        "data.mdb",
        "data_batch_1.bin",
        "train.bin",
        "list_attr_celeba.txt",
    ] {
        std::os::unix::fs::symlink("/proc/self/mem", folder.path().join(name)).unwrap();
    }
    fs::create_dir(folder.path().join("img_align_celeba")).unwrap();
    plain(folder.path(), "img_align_celeba/0.png", 4, [1; 3]);
    for kind in
        ["idx", "zip", "tar", "svhn", "stl10", "cifar10", "cifar100", "lsun", "packed", "celeba"]
    {
        let path = if ["idx", "zip", "tar", "packed"].contains(&kind) {
            folder.path().join("x")
        } else {
            folder.path().to_owned()
        };
        let refused = open_as(&format!("{kind}:"), &path, Split::Train, &rgb(4));
        // The file claims to be empty, so some formats miss its header.
        assert_refused!(refused, DataError::Io { .. } | DataError::Malformed { .. });
    }
    assert_refused!(open(&folder.path().join("x"), &rgb(4)), DataError::Io { .. });
}

#[test]
fn bad_webdataset_labels() {
    let folder = tempdir().unwrap();
    let png = {
        plain(folder.path(), "x.png", 2, [1; 3]);
        fs::read(folder.path().join("x.png")).unwrap()
    };
    type Files<'a> = &'a [(&'a str, &'a [u8])];
    let cases: &[Files] = &[
        // More classes than are read.
        &[("0.png", &png), ("0.cls", b"4000000000")],
        // Not labels.
        &[("0.png", &png), ("0.cls", b"-1")],
        &[("0.png", &png), ("0.cls", b"\xFF")],
        &[("0.png", &png), ("0.json", b"{")],
        &[("0.png", &png), ("0.json", b"{\"label\":[1]}")],
        // An image without a label, a label without an image, two labels, two kinds of labels.
        &[("0.png", &png), ("0.cls", b"1"), ("1.png", &png)],
        &[("0.png", &png), ("0.cls", b"1"), ("1.cls", b"1")],
        &[("0.png", &png), ("0.cls", b"1"), ("0.json", b"{\"label\":1}")],
        &[("0.png", &png), ("0.cls", b"1"), ("1.png", &png), ("1.json", b"{\"label\":\"a\"}")],
    ];
    for files in cases {
        write(folder.path(), "x.tar", &tar(files));
        let (path, problem) = problem(open(&folder.path().join("x.tar"), &rgb(2)));
        assert!(
            path.ends_with("x.tar") && matches!(problem, FileProblem::Labels(_)),
            "{files:?}: {problem}"
        );
    }
}

#[test]
fn archives_that_mean_harm_are_refused() {
    let entry = |name: &str, problem| FileProblem::Entry { name: name.to_owned(), problem };
    let twice = || FileProblem::Twice { what: "files", name: "a.png".to_owned() };
    for (name, wanted) in [
        ("parent.zip", entry("a/../../b.png", EntryProblem::LeadsOut)),
        ("parent.tar", entry("a/../../b.png", EntryProblem::LeadsOut)),
        ("absolute.zip", entry("/etc/b.png", EntryProblem::Absolute)),
        ("absolute.tar", entry("/etc/b.png", EntryProblem::Absolute)),
        ("drive.tar", entry("C:\\b.png", EntryProblem::Absolute)),
        ("drive.zip", entry("C:\\b.png", EntryProblem::Absolute)),
        ("symlink.zip", entry("b.png", EntryProblem::Link)),
        ("symlink.tar", entry("b.png", EntryProblem::Link)),
        ("hardlink.tar", entry("b.png", EntryProblem::Link)),
        ("device.tar", entry("b.png", EntryProblem::Special('3'))),
        ("twice.zip", twice()),
        ("twice.tar", twice()),
    ] {
        let (path, found) = problem(open(&fixture("bad").join(name), &rgb(4)));
        assert_eq!((path, &found), (fixture("bad").join(name), &wanted), "{name}");
        if name.ends_with(".tar") {
            let folder = tempdir().unwrap();
            write(folder.path(), "x.tar.gz", &gzip(&fs::read(fixture("bad").join(name)).unwrap()));
            let (_, found) = problem(open(&folder.path().join("x.tar.gz"), &rgb(4)));
            assert_eq!(found, wanted, "{name}.gz");
        }
    }
    let (_, bomb) = problem(open(&fixture("bad/overlap.zip"), &rgb(4)));
    assert!(matches!(bomb, FileProblem::TooLarge(_)), "{bomb}");
}

#[test]
fn truncated_archives_say_so() {
    let folder = tempdir().unwrap();
    for name in ["tree.zip", "tree.tar", "pax.tar", "tree.tar.gz"] {
        let whole = fs::read(fixture("archives").join(name)).unwrap();
        let content = whole.iter().rposition(|&byte| byte != 0).unwrap();
        let path = folder.path().join(name);
        for length in (1..20)
            .map(|k| content * k / 20)
            .chain([content, content.next_multiple_of(512).min(whole.len() - 1)])
        {
            fs::write(&path, &whole[..length]).unwrap();
            let (found, problem) = problem(open(&path, &rgb(4)));
            assert!(
                found == path && matches!(problem, FileProblem::Truncated(_)),
                "{name} cut at {length} of {}: {problem}",
                whole.len()
            );
        }
    }
}

#[test]
fn archives_are_known_by_their_content() {
    let folder = tempdir().unwrap();
    let read = |name: &str| fs::read(fixture("archives").join(name)).unwrap();
    for (name, content) in [
        ("a.zip", read("tree.tar")),
        ("b.zip", read("tree.tar.gz")),
        ("c.tar", read("tree.zip")),
        // With other bytes before it.
        ("d.zip", [b"junk".repeat(50), read("tree.zip")].concat()),
    ] {
        write(folder.path(), name, &content);
        let set = open(&folder.path().join(name), &rgb(4)).unwrap();
        assert!(set.len() > 1, "{name}");
    }
    let twice = gzip(&read("tree.tar.gz"));
    for (name, content, wanted) in [
        ("e.tar.gz", &twice[..], "compressed twice"),
        ("f.zip", b"404: Not Found", "neither starts nor ends as one"),
        ("g.zip", b"", "neither starts nor ends as one"),
    ] {
        write(folder.path(), name, content);
        let (path, problem) = problem(open(&folder.path().join(name), &rgb(4)));
        assert!(path.ends_with(name) && problem.to_string().contains(wanted), "{problem}");
    }
}

#[test]
fn bad_files_in_a_good_archive_are_skipped() {
    let set = open(&fixture("bad/zeros.zip"), &rgb(4)).unwrap();
    assert_eq!((set.len(), set.skipped().len()), (19, 1));
    assert!(
        set.skipped()[0]
            .to_string()
            .starts_with("cannot decode \"z.png\": not in a known image format")
    );
    let (_, problem) = problem(open(&fixture("archives/bzip2.zip"), &rgb(4)));
    let text = problem.to_string();
    assert!(
        text.contains("method 12 (BZIP2), and only stored and deflated files are read"),
        "{text}"
    );
    // One flipped byte inside a stored image: the checksum detects it, whatever the decoder would.
    let folder = tempdir().unwrap();
    let mut zip = fs::read(fixture("archives/tiny.zip")).unwrap();
    let at = zip.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    zip[at - 1] ^= 1;
    write(folder.path(), "x.zip", &zip);
    assert!(open(&folder.path().join("x.zip"), &rgb(1)).is_err());
}

#[test]
fn promised_sizes_are_not_believed() {
    let folder = tempdir().unwrap();
    let good = fs::read(fixture("bad/zeros.zip")).unwrap();
    let entry = good.windows(5).rposition(|window| window == b"z.png").unwrap() - 46;
    let reason = |size: u32| {
        let mut zip = good.clone();
        zip[entry + 24..entry + 28].copy_from_slice(&size.to_le_bytes());
        write(folder.path(), "x.zip", &zip);
        open(&folder.path().join("x.zip"), &rgb(4)).map(|set| set.skipped()[0].reason.clone())
    };
    assert!(reason(1000).unwrap().starts_with("Invalid"), "{:?}", reason(1000));
    let (_, bomb) = problem(reason(300 << 20));
    assert!(matches!(bomb, FileProblem::TooLarge(_)), "{bomb}");
    let mut tar = tar(&[("a.png", b"x")]);
    tar[124..135].copy_from_slice(b"77777777777");
    let sum: u32 =
        tar[..148].iter().chain(&tar[156..512]).map(|&byte| u32::from(byte)).sum::<u32>() + 8 * 32;
    tar[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    write(folder.path(), "x.tar", &tar);
    write(folder.path(), "x.tar.gz", &gzip(&tar));
    for name in ["x.tar", "x.tar.gz"] {
        let (_, problem) = problem(open(&folder.path().join(name), &rgb(4)));
        assert!(matches!(problem, FileProblem::Truncated(_)), "{name}: {problem}");
    }
}

#[test]
fn archives_without_images() {
    let folder = tempdir().unwrap();
    write(folder.path(), "x.tar", &tar(&[("readme.txt", b"hello")]));
    let none = open(&folder.path().join("x.tar"), &rgb(4));
    assert_refused!(none, DataError::NoImages { files: 1, .. });
    write(folder.path(), "empty.zip", b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    let none = open(&folder.path().join("empty.zip"), &rgb(4));
    assert_refused!(none, DataError::NoImages { files: 0, .. });
}

#[test]
fn bad_tables() {
    let folder = tempdir().unwrap();
    ["0.png", "1.png"].iter().for_each(|name| plain(folder.path(), name, 4, [1; 3]));
    let found = |text: &[u8]| {
        write(folder.path(), "attributes.csv", text);
        let (path, problem) = problem(open(folder.path(), &rgb(4)));
        assert!(path.ends_with("attributes.csv"), "{path:?}");
        problem
    };
    let row = |name: &str| name.to_owned();
    for (text, wanted) in [
        ("file,x\n0.png,1\n", FileProblem::NoRow { name: row("1.png"), more: 0 }),
        (
            "file,x\n0.png,1\n1.png,2\n2.png,3\n3.png,3\n",
            FileProblem::NoImage { name: row("2.png"), more: 1 },
        ),
        (
            "file,x\n0.png,1\n1.png,2\n0.png,3\n",
            FileProblem::Twice { what: "rows", name: row("0.png") },
        ),
        (
            "file,x,x\n0.png,1,1\n1.png,1,1\n",
            FileProblem::Twice { what: "columns", name: row("x") },
        ),
    ] {
        assert_eq!(found(text.as_bytes()), wanted, "{text}");
    }
    let empty = found(b"file,x\n0.png,1\n1.png,\n");
    assert!(matches!(empty, FileProblem::Line { line: 3, .. }), "{empty}");
    for text in ["file\n0.png\n1.png\n", ""] {
        let problem = found(text.as_bytes());
        assert!(matches!(problem, FileProblem::Missing(_)), "{text:?}: {problem}");
    }
    // A short row, which the CSV library refuses.
    let short = found(b"file,x\n0.png,1\n1.png\n");
    assert!(matches!(short, FileProblem::Other(_)), "{short}");
    let latin = found(b"file,x\n0.png,\xFF\n1.png,1\n");
    assert!(matches!(latin, FileProblem::NotUtf8(_)), "{latin}");
    // The first column if none is named `file`, with a byte order mark before it.
    write(folder.path(), "attributes.csv", b"\xEF\xBB\xBFimage,x\n1.png,yes\n0.png,no\n");
    let set = open(folder.path(), &rgb(4)).unwrap();
    assert_eq!((set.attributes(0), set.attributes(1)), (vec![0.0], vec![1.0]));
}

#[test]
fn tables_cover_splits_from_above_or_inside() {
    let folder = tempdir().unwrap();
    for name in ["train/a/0.png", "test/a/1.png"] {
        plain(folder.path(), name, 4, [1; 3]);
    }
    write(folder.path(), "attributes.csv", b"file,x\ntrain/a/0.png,5\ntest/a/1.png,7\n");
    let of = |split| open_as("", folder.path(), split, &rgb(4));
    assert_eq!(
        (of(Split::Train).unwrap().attributes(0), of(Split::Test).unwrap().attributes(0)),
        (vec![5.0], vec![7.0])
    );
    write(folder.path(), "train/attributes.csv", b"file,x\na/0.png,9\n");
    assert_eq!(of(Split::Train).unwrap().attributes(0), [9.0]);
    fs::remove_file(folder.path().join("train/attributes.csv")).unwrap();
    write(
        folder.path(),
        "attributes.csv",
        b"file,x\ntrain/a/0.png,5\ntrain/a/2.png,5\ntest/a/1.png,7\n",
    );
    let missing = FileProblem::NoImage { name: "train/a/2.png".to_owned(), more: 0 };
    assert_eq!(problem(of(Split::Train)).1, missing);
}

#[test]
fn fingerprints_see_attributes_and_only_where_there_are_some() {
    let folder = tempdir().unwrap();
    ["0.png", "1.png"].iter().for_each(|name| plain(folder.path(), name, 4, [1; 3]));
    let print = || open(folder.path(), &rgb(4)).unwrap().fingerprint().to_owned();
    let mut seen = std::collections::HashSet::from([print()]);
    for text in [
        "file,x\n0.png,1\n1.png,2\n",
        "file,x\n0.png,1\n1.png,3\n",
        "file,y\n0.png,1\n1.png,3\n",
        "file,y\n0.png,a\n1.png,b\n",
    ] {
        write(folder.path(), "attributes.csv", text.as_bytes());
        assert!(seen.insert(print()), "{text}");
    }
    // The order of rows and the quotes of columns do not matter.
    write(folder.path(), "attributes.csv", b"file,y\n1.png,\"b\"\n0.png,a\n");
    assert!(!seen.insert(print()));
}

#[cfg(unix)]
#[test]
fn classes_that_read_the_same_are_refused() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let folder = tempdir().unwrap();
    plain(folder.path(), "plain/0.png", 4, [1; 3]);
    for name in [&b"\xE8"[..], b"\xE9"] {
        let class = folder.path().join(OsStr::from_bytes(name));
        fs::create_dir(&class).unwrap();
        plain(&class, "0.png", 4, [1; 3]);
        let set = open(folder.path(), &rgb(4));
        match name {
            b"\xE8" => assert_eq!(set.unwrap().class_names(), ["plain", "\u{fffd}"]),
            _ => {
                let (_, problem) = problem(set);
                let is_twice = |name: &str| name == "\u{fffd}";
                assert!(
                    matches!(&problem, FileProblem::Twice { name, .. } if is_twice(name)),
                    "{problem}"
                );
            }
        }
    }
}
