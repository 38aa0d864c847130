//! Formats that are not read are named.

use std::fs;
use std::path::Path;

use crate::common::{open, open_as, write};
use data::{DataError, DataSpec, Dataset, FileProblem, ForeignFormat, Preprocess, Split};
use heed::CommitOrAbort;
use heed::types::Bytes;
use tempfile::tempdir;

fn rgb() -> Preprocess {
    Preprocess::new([4, 4], 3)
}

/// The path and the format that an error names.
fn foreign(result: Result<Dataset, DataError>) -> (String, ForeignFormat) {
    match result.unwrap_err() {
        DataError::Foreign { path, format } => {
            (path.file_name().unwrap().to_str().unwrap().to_owned(), format)
        }
        other => panic!("{other}"),
    }
}

const PICKLE: &[u8] = b"\x80\x02}q\x01(U\x0bbatch_labelq\x02U\x15training batch 1 of 5";

#[test]
fn files_are_named() {
    let folder = tempdir().unwrap();
    let cases: [(&str, &[u8], ForeignFormat); 9] = [
        ("celeba.h5", b"\x89HDF\r\n\x1a\n\0\0\0\0", ForeignFormat::Hdf5),
        ("faces.7z", b"7z\xbc\xaf\x27\x1c\0\x04", ForeignFormat::SevenZip),
        ("clip.mp4", b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2", ForeignFormat::Video),
        ("pairs", PICKLE, ForeignFormat::Pickle),
        ("protocol0.pkl", b"(lp0\nI1\na.", ForeignFormat::Pickle),
        ("list.csv", b"file,label\n0.png,1\n", ForeignFormat::Text),
        ("list.xz", b"\xFD7zXZ\0\0\x04\xE6\xD6\xB4\x46", ForeignFormat::CompressedFile),
        // A name does not make an archive.
        ("photos.zip", b"<!DOCTYPE html>\n<html><head><title>Sign in", ForeignFormat::WebPage),
        (
            "shard.tar",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a",
            ForeignFormat::LfsPointer,
        ),
    ];
    for (name, content, format) in cases {
        write(folder.path(), name, content);
        let found = foreign(open(&folder.path().join(name), &rgb()));
        assert_eq!(found, (name.to_owned(), format));
    }
}

#[test]
fn folders_and_archives_of_them_are_named() {
    for (name, content, format) in [
        ("pairs/pairs_1", PICKLE, ForeignFormat::Pickle),
        ("a/b/weights.h5", &b"\x89HDF\r\n\x1a\n\0"[..], ForeignFormat::Hdf5),
    ] {
        let folder = tempdir().unwrap();
        write(folder.path(), name, content);
        write(folder.path(), "readme.txt", b"hello");
        let file = Path::new(name).file_name().unwrap().to_str().unwrap().to_owned();
        assert_eq!(foreign(open(folder.path(), &rgb())), (file.clone(), format));

        let mut archive = tar::Builder::new(Vec::new());
        archive.append_dir_all("set", folder.path()).unwrap();
        let place = tempdir().unwrap();
        write(place.path(), "set.tar", &archive.into_inner().unwrap());
        assert_eq!(foreign(open(&place.path().join("set.tar"), &rgb())), (file, format));
    }
}

#[test]
fn images_that_are_something_else_are_named() {
    let folder = tempdir().unwrap();
    for (name, content, format) in [
        ("a.png", &b"version https://git-lfs.github.com/spec/v1\n"[..], ForeignFormat::LfsPointer),
        ("b.jpg", b"<html>404", ForeignFormat::WebPage),
        ("c.png", b"\0\0\0\x20ftypavif\0\0\0\0", ForeignFormat::Heif),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        match data::load_image(&path, &rgb()).unwrap_err() {
            DataError::Decode { reason, .. } => assert!(reason.contains(&format.to_string())),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn addresses_are_not_paths() {
    for spec in ["https://host/set.zip", "hf://datasets/cifar10", "s3://bucket/set", "zip:http://x"]
    {
        match DataSpec::parse(spec).unwrap_err() {
            DataError::Url { spec: found } => assert_eq!(found, spec),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn named_databases_are_named() {
    let folder = tempdir().unwrap();
    // SAFETY: no other process knows the folder.
    let env =
        unsafe { heed::EnvOpenOptions::new().max_dbs(2).map_size(1 << 20).open(folder.path()) };
    let env = env.unwrap();
    let images = env
        .create_databases_and_commit(env.write_txn().unwrap(), |opener, transaction| {
            Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit(
                opener.create_database::<Bytes, Bytes>(transaction, Some("images"))?,
            ))
        })
        .unwrap()
        .unwrap_commit();
    let mut transaction = env.write_txn().unwrap();
    images.put(&mut transaction, b"0", b"not read").unwrap();
    transaction.commit().unwrap();
    drop(env);
    match open_as("lsun:", folder.path(), Split::Train, &rgb()).unwrap_err() {
        DataError::Malformed { problem, .. } => {
            assert!(matches!(problem, FileProblem::Unsupported(_)), "{problem}");
        }
        other => panic!("{other}"),
    }
}
