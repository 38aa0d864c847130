//! Zip and tar archives and tables of attributes, valid and damaged.

use std::fs;
use std::path::Path;

use crate::common::{
    bytes, column_names, fixture, gzip, labels, message, open, open_as, pixels, plain, write,
};
use data::{AttributeKind, DataError, Dataset, Preprocess, Split};
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
    let text = message(open_as("", &fixture("archives/tree.tar"), Split::Test, &rgb(4)));
    assert!(text.contains("has no test split"), "{text}");
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
    assert!(message(open(&folder.path().join("y.tar"), &rgb(2))).contains("damaged"));
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
    assert!(
        message(open_as("", folder.path(), Split::Test, &rgb(4))).contains("has no test split")
    );
    let held_out = tempdir().unwrap();
    write(held_out.path(), "val_1.tar", &shard);
    write(held_out.path(), "val_2.tar", &shard);
    assert!(matches!(
        open(held_out.path(), &rgb(4)),
        Err(DataError::HeldOutOnly { folder, .. }) if folder == "val_1.tar"
    ));
    assert_eq!(open_as("", held_out.path(), Split::Test, &rgb(4)).unwrap().len(), 6);
    write(folder.path(), "x-train-1.tar", &shard[..1024]);
    let text = message(open(folder.path(), &rgb(4)));
    assert!(text.contains("x-train-1.tar") && text.contains("truncated"), "{text}");
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
        message(open_as(&format!("{kind}:"), &path, Split::Train, &rgb(4)));
    }
    assert!(message(open(&folder.path().join("x"), &rgb(4))).starts_with("cannot read"));
}

#[test]
fn bad_webdataset_labels() {
    let folder = tempdir().unwrap();
    let png = {
        plain(folder.path(), "x.png", 2, [1; 3]);
        fs::read(folder.path().join("x.png")).unwrap()
    };
    type Files<'a> = &'a [(&'a str, &'a [u8])];
    let cases: &[(Files, &str)] = &[
        (
            &[("0.png", &png), ("0.cls", b"4000000000")],
            "label 4000000000 is out of range: at most 65536 classes",
        ),
        (&[("0.png", &png), ("0.cls", b"-1")], "\"0.cls\" holds \"-1\", which is not a label"),
        (&[("0.png", &png), ("0.cls", b"\xFF")], "which is not a label"),
        (&[("0.png", &png), ("0.json", b"{")], "\"0.json\" is not JSON"),
        (&[("0.png", &png), ("0.json", b"{\"label\":[1]}")], "neither a number from 0 nor a word"),
        (&[("0.png", &png), ("0.cls", b"1"), ("1.png", &png)], "\"1.png\" has no label file"),
        (&[("0.png", &png), ("0.cls", b"1"), ("1.cls", b"1")], "a label \"1\" without an image"),
        (&[("0.png", &png), ("0.cls", b"1"), ("0.json", b"{\"label\":1}")], "two labels"),
        (
            &[("0.png", &png), ("0.cls", b"1"), ("1.png", &png), ("1.json", b"{\"label\":\"a\"}")],
            "some are words",
        ),
    ];
    for (files, wanted) in cases {
        write(folder.path(), "x.tar", &tar(files));
        let text = message(open(&folder.path().join("x.tar"), &rgb(2)));
        assert!(text.contains(wanted) && text.contains("x.tar"), "{text}");
    }
}

#[test]
fn archives_that_mean_harm_are_refused() {
    for (name, wanted) in [
        ("parent.zip", "a path that leads out of it"),
        ("parent.tar", "a path that leads out of it"),
        ("absolute.zip", "\"/etc/b.png\", an absolute path"),
        ("absolute.tar", "\"/etc/b.png\", an absolute path"),
        ("drive.tar", "an absolute path"),
        ("drive.zip", "an absolute path"),
        ("symlink.zip", "\"b.png\" in it is a link"),
        ("symlink.tar", "\"b.png\" in it is a link"),
        ("hardlink.tar", "\"b.png\" in it is a link"),
        ("device.tar", "neither a file nor a folder (type '3')"),
        ("twice.zip", "two of its files are called \"a.png\""),
        ("twice.tar", "two of its files are called \"a.png\""),
        ("name.tar", "the name of \"b\u{fffd}.png\" is not UTF-8"),
        (
            "overlap.zip",
            "would unpack to 2097152000 bytes, more than 103090 bytes can hold: a zip bomb",
        ),
    ] {
        let text = message(open(&fixture("bad").join(name), &rgb(4)));
        assert!(text.contains(wanted) && text.contains(name), "{name}: {text}");
        if name.ends_with(".tar") {
            let folder = tempdir().unwrap();
            write(folder.path(), "x.tar.gz", &gzip(&fs::read(fixture("bad").join(name)).unwrap()));
            let text = message(open(&folder.path().join("x.tar.gz"), &rgb(4)));
            assert!(text.contains(wanted), "{name}.gz: {text}");
        }
    }
}

#[test]
fn truncated_archives_say_so() {
    let folder = tempdir().unwrap();
    for (name, wanted) in [
        ("tree.zip", "truncated"),
        ("tree.tar", "truncated"),
        ("pax.tar", "truncated"),
        ("tree.tar.gz", "truncated"),
    ] {
        let whole = fs::read(fixture("archives").join(name)).unwrap();
        let content = whole.iter().rposition(|&byte| byte != 0).unwrap();
        let path = folder.path().join(name);
        for length in (1..20)
            .map(|k| content * k / 20)
            .chain([content, content.next_multiple_of(512).min(whole.len() - 1)])
        {
            fs::write(&path, &whole[..length]).unwrap();
            let text = message(open(&path, &rgb(4)));
            assert!(
                text.contains(wanted) && text.contains(name),
                "{name} cut at {length} of {}: {text}",
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
        let text = message(open(&folder.path().join(name), &rgb(4)));
        assert!(text.contains(name) && text.contains(wanted), "{text}");
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
    let text = message(open(&fixture("archives/bzip2.zip"), &rgb(4)));
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
    assert!(message(reason(300 << 20)).contains("a zip bomb"));
    let mut tar = tar(&[("a.png", b"x")]);
    tar[124..135].copy_from_slice(b"77777777777");
    let sum: u32 =
        tar[..148].iter().chain(&tar[156..512]).map(|&byte| u32::from(byte)).sum::<u32>() + 8 * 32;
    tar[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    write(folder.path(), "x.tar", &tar);
    assert!(
        message(open(&folder.path().join("x.tar"), &rgb(4)))
            .contains("truncated: it ends inside \"a.png\"")
    );
    write(folder.path(), "x.tar.gz", &gzip(&tar));
    assert!(
        message(open(&folder.path().join("x.tar.gz"), &rgb(4)))
            .contains("truncated: it ends early")
    );
}

#[test]
fn archives_without_images() {
    let folder = tempdir().unwrap();
    write(folder.path(), "x.tar", &tar(&[("readme.txt", b"hello")]));
    assert!(message(open(&folder.path().join("x.tar"), &rgb(4))).contains("no images in"));
    write(folder.path(), "empty.zip", b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    assert!(message(open(&folder.path().join("empty.zip"), &rgb(4))).contains("no images in"));
}

fn table(folder: &Path, text: &[u8]) -> String {
    write(folder, "attributes.csv", text);
    message(open(folder, &rgb(4)))
}

#[test]
fn bad_tables() {
    let folder = tempdir().unwrap();
    ["0.png", "1.png"].iter().for_each(|name| plain(folder.path(), name, 4, [1; 3]));
    for (text, wanted) in [
        (&b"file,x\n0.png,1\n"[..], "it has no row for \"1.png\""),
        (
            b"file,x\n0.png,1\n1.png,2\n2.png,3\n3.png,3\n",
            "there is no image for its row \"2.png\" (nor for 1 more)",
        ),
        (b"file,x\n0.png,1\n1.png,2\n0.png,3\n", "two rows for \"0.png\""),
        (b"file,x\n0.png,1\n1.png\n", "found record with 1 fields"),
        (b"file,x,x\n0.png,1,1\n1.png,1,1\n", "two columns are called \"x\""),
        (b"file,x\n0.png,1\n1.png,\n", "line 3 leaves \"x\" empty, a column of numbers"),
        (b"file,x\n0.png,\xFF\n1.png,1\n", "invalid utf-8"),
        (b"file\n0.png\n1.png\n", "it has no attribute"),
        (b"", "it has no attribute"),
    ] {
        let text = table(folder.path(), text);
        assert!(text.to_lowercase().contains(wanted) && text.contains("attributes.csv"), "{text}");
    }
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
    assert!(message(of(Split::Train)).contains("there is no image for its row"));
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
            _ => assert!(message(set).contains("two of its folders read \"\u{fffd}\"")),
        }
    }
}
