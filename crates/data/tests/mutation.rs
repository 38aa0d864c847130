//! Damaged files of every format: an error or a dataset, never a panic, and never more memory than
//! the file could hold.
//!
//! Each valid file is changed in a few positions (`common/mutations.rs`), checksums that would stop
//! the reader early are recomputed, and the dataset is opened and read to its end.

mod common;
#[path = "common/mutations.rs"]
mod mutations;

use std::fs;
use std::io::Write;
use std::path::Path;

use common::{fixture, gzip, idx, open_as};
use data::{Preprocess, Split};
use heed::CommitOrAbort;
use heed::types::Bytes;
use mutations::FIXED;
use proptest::prelude::*;

/// For values that are JPEG and WebP files, which may claim any size: the memory that a few threads
/// may decode to.
const DECODED: usize = 4 * data::MAX_DECODED_BYTES as usize;

/// The window of xz and Zstandard.
const WINDOW: usize = 128 << 20;

/// Inputs for each seed.
const CASES: u32 = 600;

/// Damages `seed` repeatedly, has `write` build a dataset of it in a folder, and opens `name`
/// there.
fn mutate(kind: &str, seed: &[u8], name: &str, allowed: usize, write: impl Fn(&Path, Vec<u8>)) {
    let folder = tempfile::tempdir().unwrap();
    let (folder, preprocess) = (folder.path(), Preprocess::new([2, 2], 3));
    mutations::for_each_damaged(&format!("{kind} {name}"), CASES, seed, |bytes| {
        write(folder, bytes);
        mutations::within_memory(sizes(folder), allowed, || {
            let opened = open_as(kind, &folder.join(name), Split::Train, &preprocess);
            let Ok(set) = opened else { return Ok(false) };
            let mut values = [0.0; 12];
            for index in 0..set.len() {
                // A cached image was decoded when the dataset was opened; others may turn out bad.
                let written = set.write(index, &mut values);
                prop_assert!(written.is_ok() || !set.is_cached());
                let classes = set.class_names().len();
                prop_assert!(set.label(index).is_none_or(|label| (label as usize) < classes));
                prop_assert_eq!(set.attributes(index).len(), set.attribute_columns().len());
            }
            Ok(true)
        })?
    });
}

fn sizes(path: &Path) -> usize {
    if path.is_dir() {
        return path.read_dir().unwrap().map(|entry| sizes(&entry.unwrap().path())).sum();
    }
    fs::metadata(path).unwrap().len() as usize
}

/// Writes it unchanged into the file of this name.
fn plainly(name: &str) -> impl Fn(&Path, Vec<u8>) {
    move |folder, bytes| fs::write(folder.join(name), bytes).unwrap()
}

fn read(name: &str) -> Vec<u8> {
    fs::read(fixture(name)).unwrap()
}

#[test]
fn idx_files() {
    let bytes = idx(&[4, 3, 2], &(0..24).collect::<Vec<_>>());
    mutate("idx:", &bytes, "x", FIXED, plainly("x"));
    mutate("idx:", &bytes, "x", FIXED, |folder, bytes| {
        fs::write(folder.join("x"), gzip(&bytes)).unwrap()
    });
    let packed = gzip(&bytes);
    mutate("", &packed, "idx3", FIXED, plainly("idx3"));
}

#[test]
fn cifar_files() {
    mutate("cifar10:", &read("cifar10/data_batch_1.bin"), "x", FIXED, plainly("x"));
    mutate("cifar100:", &read("cifar100/train.bin"), "x", FIXED, plainly("x"));
    for (kind, name) in [
        ("cifar10:", "cifar10-python/data_batch_1"),
        ("cifar10:", "cifar10-numpy/data_batch_1"),
        ("cifar100:", "cifar100-python/train"),
    ] {
        mutate(kind, &read(name), "x", FIXED, plainly("x"));
    }
    let batch = read("cifar10-python/data_batch_1");
    mutate("cifar10:", &read("cifar10-python/batches.meta"), "", FIXED, |folder, bytes| {
        fs::write(folder.join("data_batch_1"), &batch).unwrap();
        fs::write(folder.join("batches.meta"), bytes).unwrap();
    });
}

#[test]
fn mat_files() {
    // The head and the labels' array at the end, which hold the structure, without most of the
    // pixels between.
    let mut plain = read("svhn/test_32x32.mat");
    mutate("svhn:", &plain, "x", FIXED, plainly("x"));
    // Compressed again after the change: one stream for each array.
    let matrices = plain.split_off(128);
    let zlib = |bytes: &[u8]| {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    mutate("svhn:", &matrices, "x", FIXED, move |folder, matrices| {
        let mut file = plain.clone();
        let mut rest = &matrices[..];
        while rest.len() >= 8 {
            let length = (u32::from_le_bytes(rest[4..8].try_into().unwrap()) as usize)
                .min(rest.len() - 8)
                + 8;
            let packed = zlib(&rest[..length]);
            file.extend(15u32.to_le_bytes());
            file.extend((packed.len() as u32).to_le_bytes());
            file.extend(packed);
            rest = &rest[length..];
        }
        fs::write(folder.join("x"), file).unwrap();
    });
    mutate("svhn:", &read("svhn/train_32x32.mat"), "x", FIXED, plainly("x"));
}

/// A database of a few hundred small images with long names: two levels of pages, and values on
/// pages of their own.
fn database() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    // SAFETY: nobody else knows of this folder.
    let env = unsafe { heed::EnvOpenOptions::new().open(folder.path()) }.unwrap();
    let database = env
        .create_databases_and_commit(env.write_txn().unwrap(), |opener, transaction| {
            Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit(
                opener.create_database::<Bytes, Bytes>(transaction, None)?,
            ))
        })
        .unwrap()
        .unwrap_commit();
    let mut transaction = env.write_txn().unwrap();
    for k in 0..120u8 {
        let side = if k % 40 == 7 { 60 } else { 1 };
        let head = format!("P6\n{side} {side}\n255\n");
        let image = [head.as_bytes(), &vec![k; 3 * side * side]].concat();
        let name = format!("{k:03}-{}", "x".repeat(150));
        database.put(&mut transaction, name.as_bytes(), &image).unwrap();
    }
    transaction.commit().unwrap();
    drop(env);
    fs::read(folder.path().join("data.mdb")).unwrap()
}

/// The library trusts the pages: a file that passes the check must not crash it.
#[test]
fn lmdb_pages() {
    // A new file each time: the previous one may still be mapped.
    let write = |folder: &Path, bytes: Vec<u8>| {
        let _ = fs::remove_file(folder.join("data.mdb"));
        fs::write(folder.join("data.mdb"), bytes).unwrap();
    };
    mutate("lsun:", &read("lsun/church_train_lmdb/data.mdb"), "data.mdb", FIXED + DECODED, write);
    let database = database();
    let page = 4096;
    assert!(database.chunks(page).any(|bytes| bytes[10] == 1), "no branch page");
    mutate("lsun:", &database, "data.mdb", FIXED + DECODED, write);
    // The structure alone, since most of a file is values: heads of pages, offsets, heads of nodes.
    let mut places: Vec<usize> = (0..2).flat_map(|meta| meta * page..meta * page + 152).collect();
    for (number, bytes) in database.chunks(page).enumerate().skip(2) {
        let number_at = |at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
        if [1, 2].contains(&bytes[10]) {
            let nodes = (16..number_at(12)).step_by(2).map(number_at);
            places.extend(
                (0..number_at(12))
                    .chain(nodes.flat_map(|at| at..at + 8))
                    .map(|at| number * page + at),
            );
        }
    }
    let structure: Vec<u8> = places.iter().map(|&at| database[at]).collect();
    mutate("lsun:", &structure, "data.mdb", FIXED + DECODED, |folder, mut structure| {
        structure.resize(places.len(), 0);
        let mut changed = database.clone();
        places.iter().zip(structure).for_each(|(&at, byte)| changed[at] = byte);
        write(folder, changed);
    });
}

/// The values alone.
#[test]
fn lmdb_values() {
    let database = read("lsun/church_train_lmdb/data.mdb");
    let find = |start: &[u8], end: &[u8]| {
        let at = database.windows(start.len()).position(|window| window == start).unwrap();
        let length =
            database[at..].windows(end.len()).position(|window| window == end).unwrap() + end.len();
        at..at + length
    };
    let webp = {
        let at = database.windows(4).position(|window| window == b"RIFF").unwrap();
        at..at + 8 + u32::from_le_bytes(database[at + 4..at + 8].try_into().unwrap()) as usize
    };
    for value in
        [find(&[0xFF, 0xD8, 0xFF], &[0xFF, 0xD9]), webp, find(b"\x89PNG", b"IEND\xAE\x42\x60\x82")]
    {
        mutate(
            "lsun:",
            &database[value.clone()],
            "data.mdb",
            FIXED + DECODED,
            |folder, mut bytes| {
                bytes.resize(value.len(), 0);
                let mut changed = database.clone();
                changed[value.clone()].copy_from_slice(&bytes);
                // A new file each time: the previous one may still be mapped.
                let _ = fs::remove_file(folder.join("data.mdb"));
                fs::write(folder.join("data.mdb"), changed).unwrap();
            },
        );
    }
}

/// Recomputes the checksums of headers, so that the reader gets past them.
fn mend_tar(bytes: &mut [u8]) {
    for block in bytes.as_chunks_mut::<512>().0 {
        if &block[257..262] == b"ustar" {
            let sum =
                block[..148].iter().chain(&block[156..]).map(|&byte| u32::from(byte)).sum::<u32>()
                    + 8 * 32;
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
}

#[test]
fn tar_archives() {
    // Without most of the zeros at its end.
    for name in ["archives/tiny.tar", "archives/long.tar", "archives/pax.tar", "archives/json.tar"]
    {
        let mut tar = read(name);
        tar.truncate(tar.iter().rposition(|&byte| byte != 0).unwrap().next_multiple_of(512) + 1024);
        mutate("tar:", &tar, "x", FIXED, |folder, mut bytes| {
            mend_tar(&mut bytes);
            fs::write(folder.join("x"), bytes).unwrap();
        });
        mutate("tar:", &tar, "x", FIXED, |folder, mut bytes| {
            mend_tar(&mut bytes);
            fs::write(folder.join("x"), gzip(&bytes)).unwrap();
        });
    }
    mutate("tar:", &read("archives/tiny.tar.gz"), "x", FIXED, plainly("x"));
    for name in ["archives/tree.tar.bz2", "archives/tree.tar.xz", "archives/tree.tar.zst"] {
        mutate("tar:", &read(name), "x", FIXED + WINDOW, plainly("x"));
    }
}

#[test]
fn numpy_arrays() {
    for name in ["quickdraw.npy", "mnist.npz", "medmnist.npz"] {
        let kind = if name.ends_with(".npy") { "npy:" } else { "npz:" };
        mutate(kind, &read(&format!("numpy/{name}")), "x", FIXED, plainly("x"));
    }
    for (images, labels) in [
        ("numpy/apart/X_train.npy", "numpy/apart/y_train.npy"),
        ("numpy/k49-train-imgs.npz", "numpy/k49-train-labels.npz"),
    ] {
        let (images, labels) = (read(images), read(labels));
        mutate("npy:", &labels, "x.npy", FIXED, |folder, bytes| {
            fs::write(folder.join("x.npy"), &images).unwrap();
            fs::write(folder.join("x_labels.npy"), bytes).unwrap();
        });
    }
    let folder = ["X_train.npy", "y_train.npy"];
    let files = folder.map(|name| read(&format!("numpy/apart/{name}")));
    for changed in 0..2 {
        mutate("npy:", &files[changed], "", FIXED, |at, bytes| {
            for (k, name) in folder.iter().enumerate() {
                fs::write(at.join(name), if k == changed { &bytes } else { &files[k] }).unwrap();
            }
        });
    }
}

/// Zstandard's decoder keeps a window.
#[cfg(feature = "parquet")]
#[test]
fn parquet_files() {
    let names = ["hf/data/train-00000-of-00002", "snappy", "gzip", "zstd", "lz4", "raw", "delta"];
    for name in names {
        let bytes = read(&format!("parquet/{name}.parquet"));
        let allowed = FIXED + DECODED + if name == "zstd" { WINDOW } else { 0 };
        mutate("parquet:", &bytes, "x", allowed, plainly("x"));
        // The footer alone, which has the schema and the places of all columns.
        let length = u32::from_le_bytes(bytes[bytes.len() - 8..][..4].try_into().unwrap());
        let (pages, footer) = bytes.split_at(bytes.len() - 8 - length as usize);
        mutate("parquet:", &footer[..length as usize], "x", allowed, |folder, footer| {
            let length = (footer.len() as u32).to_le_bytes();
            fs::write(folder.join("x"), [pages, &footer, &length, b"PAR1"].concat()).unwrap();
        });
    }
}

#[test]
fn zip_archives() {
    for name in ["archives/tiny.zip", "archives/stored.zip"] {
        mutate("zip:", &read(name), "x", FIXED, plainly("x"));
    }
}

#[test]
fn tables() {
    let table = b"file,age,hair,smiles\n\"0.ppm\",1.5,\"red, or so\",yes\n1.ppm,2,brown,no\n\
                  2.ppm,7e3,,no\n";
    mutate("folder:", table, "", FIXED, |folder, bytes| {
        for k in 0..3u8 {
            fs::write(folder.join(format!("{k}.ppm")), [&b"P6\n1 1\n255\n"[..], &[k; 3]].concat())
                .unwrap();
        }
        fs::write(folder.join("attributes.csv"), bytes).unwrap();
    });
    for name in ["list_attr_celeba.txt", "list_eval_partition.txt"] {
        mutate(
            "celeba:",
            &read(&format!("celeba/{name}")),
            "",
            FIXED + DECODED,
            |folder, bytes| {
                fs::create_dir_all(folder.join("img_align_celeba")).unwrap();
                for k in 1..6u8 {
                    fs::write(
                        folder.join(format!("img_align_celeba/{k:06}.jpg")),
                        [&b"P6\n1 1\n255\n"[..], &[k; 3]].concat(),
                    )
                    .unwrap();
                }
                for other in ["list_attr_celeba.txt", "list_eval_partition.txt"] {
                    fs::write(folder.join(other), read(&format!("celeba/{other}"))).unwrap();
                }
                fs::write(folder.join(name), bytes).unwrap();
            },
        );
    }
}

#[test]
fn packed_files() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("set");
    let spec = fixture("archives/tiny.zip").display().to_string();
    data::prepare(&spec, Split::Train, &Preprocess::new([2, 2], 3), &out, false, &|_| ()).unwrap();
    let packed = fs::read(&out).unwrap();
    // A new file each time: the previous one may still be mapped.
    let write = |folder: &Path, bytes: &[u8]| {
        let _ = fs::remove_file(folder.join("x"));
        fs::write(folder.join("x"), bytes).unwrap();
    };
    mutate("packed:", &packed, "x", FIXED, |folder, bytes| write(folder, &bytes));
    // The footer alone, with its checksum recomputed.
    let tail = packed.len() - 20;
    let length = u64::from_le_bytes(packed[tail..tail + 8].try_into().unwrap()) as usize;
    let (records, footer) = packed[..tail].split_at(tail - length);
    mutate("packed:", footer, "x", FIXED, |folder, footer| {
        let sum = crc32c::crc32c(&footer).to_le_bytes();
        let size = (footer.len() as u64).to_le_bytes();
        write(folder, &[records, &footer, &size, &sum, &packed[tail + 12..]].concat());
    });
}
