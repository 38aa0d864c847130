//! Damaged files of PyTorch and NumPy: an error or the tensors, never a panic, and never more memory
//! than the file could hold.
//!
//! Each fixture is changed in a few positions (`common/mutations.rs` of `data`); in a zip archive
//! the checksums of its entries are recomputed, so that the reader gets past them.

#[path = "../../data/tests/common/mutations.rs"]
mod mutations;

use std::fs;
use std::path::Path;

use mutations::FIXED;
use proptest::prelude::*;
use runs::{NpzArray, StateDictFile, read_npz, read_state_dict, write_npz};

/// Inputs for each fixture.
const CASES: u32 = 100;

/// Recomputes the checksums of a zip archive's stored entries, where its headers still make sense.
fn mend_zip(bytes: &mut [u8]) {
    let number = |bytes: &[u8], at: usize| {
        let four = bytes.get(at..at + 4).map(|b| [b[0], b[1], b[2], b[3]]);
        four.map_or(0, |b| u32::from_le_bytes(b) as usize)
    };
    let entries: Vec<usize> = (0..bytes.len().saturating_sub(46))
        .filter(|&at| bytes[at..].starts_with(b"PK\x01\x02"))
        .collect();
    for entry in entries {
        let (size, local) = (number(bytes, entry + 20), number(bytes, entry + 42));
        let lengths = number(bytes, local.saturating_add(26));
        let start = local.saturating_add(30 + (lengths & 0xFFFF) + (lengths >> 16));
        let Some(data) = bytes.get(start..start.saturating_add(size)) else { continue };
        let sum = crc32(data).to_le_bytes();
        bytes[entry + 16..entry + 20].copy_from_slice(&sum);
        // PyTorch's entries have a descriptor after their data instead of these in front of it.
        let descriptor = start + size;
        if bytes.get(descriptor..).is_some_and(|rest| rest.starts_with(b"PK\x07\x08"))
            && let Some(place) = bytes.get_mut(descriptor + 4..descriptor + 8)
        {
            place.copy_from_slice(&sum);
        }
    }
}

/// The CRC-32 of zip, which no dependency has.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ (0xEDB8_8320 & (sum & 1).wrapping_neg())
        })
    })
}

/// Reads a file: an error of one line, or nothing.
type Read = fn(&Path) -> Result<(), String>;

/// Changes a file in many ways, and reads each with less memory than its length allows.
fn mutate(name: &str, seed: &[u8], read: Read) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    mutations::for_each_damaged(name, CASES, seed, |mut bytes| {
        if seed.starts_with(b"PK") {
            mend_zip(&mut bytes);
        }
        fs::write(&path, &bytes).unwrap();
        mutations::within_memory(bytes.len(), FIXED, || match read(&path) {
            Ok(()) => Ok(true),
            Err(error) => {
                prop_assert!(!error.contains('\n'), "{}", error);
                Ok(false)
            }
        })?
    });
}

#[test]
fn pytorch_files() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pytorch");
    let mut paths: Vec<_> = fixtures
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "pt" || e == "pth"))
        .collect();
    paths.sort();
    for fixture in paths {
        let name = fixture.file_name().unwrap().display().to_string();
        mutate(&name, &fs::read(&fixture).unwrap(), |path| {
            if let Ok(file) = StateDictFile::open(path) {
                drop((file.dicts(), file.into_unread()));
            }
            let state = read_state_dict(path).map_err(|error| error.to_string())?;
            assert!(state.values().all(|tensor| tensor.fills_shape()));
            Ok(())
        });
    }
}

#[test]
fn npz_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("seed.npz");
    let array = |shape: &[usize]| NpzArray {
        shape: shape.to_vec(),
        values: (0..shape.iter().product()).map(|i: usize| i as f64).collect(),
    };
    write_npz(&path, &[("mu", &array(&[5])), ("sigma", &array(&[5, 5]))]).unwrap();
    mutate("statistics.npz", &fs::read(&path).unwrap(), |path| {
        let arrays = read_npz(path, ["mu", "sigma"]).map_err(|error| error.to_string())?;
        for array in arrays {
            assert_eq!(array.values.len(), array.shape.iter().product::<usize>());
        }
        Ok(())
    });
}

/// Files that are small and promise much: one name, shape or storage that everything shares.
#[test]
fn shared_values_take_no_more_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.pth");
    let legacy = |object: &[u8]| {
        let magic = b"\x80\x02\x8A\nl\xFC\x9CF\xF9 j\xA8P\x19.\x80\x02M\xE9\x03.\x80\x02}.";
        let keys = b"\x80\x02](X\x01\x00\x00\x000e.";
        let storage = [&2u64.to_le_bytes()[..], &[0; 8]].concat();
        [&magic[..], b"\x80\x02", object, b".", keys, &storage].concat()
    };
    // A tensor of 16 axes in memo entry 1, and a long name in entry 2.
    let tensor = {
        let storage =
            b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x02NtQ";
        let ones = [&b"("[..], &b"K\x01".repeat(16), b"t"].concat();
        let call = b"ctorch._utils\n_rebuild_tensor_v2\n(";
        [&call[..], storage, b"K\0", &ones, &ones, b"\x89NtRq\x010"].concat()
    };
    let name = [&b"X\xFA\0\0\0"[..], &[b'n'; 250], b"q\x020"].concat();
    let nested: Vec<u8> = {
        // Dicts inside each other, each with the one inside twice, and ten thousand entries.
        let mut text = b"}".to_vec();
        for level in 3..40u8 {
            text = [&text[..], b"q", &[level], b"0}(U\x01ah", &[level], b"U\x01bh", &[level], b"u"]
                .concat();
        }
        [&b"}(U\x01x"[..], &text, b"h\x02h\x01u"].concat()
    };
    let itself = b"}q\x03(U\x01ah\x03U\x01bh\x01u".to_vec();
    let many = [&b"}("[..], &b"h\x02h\x01".repeat(20_000), b"u"].concat();
    let numbers = (0..60_000u32)
        .flat_map(|i| [&b"X\x05\0\0\0"[..], format!("{i:05}").as_bytes(), b"h\x01"].concat());
    let different = [&b"}("[..], &numbers.collect::<Vec<u8>>(), b"u"].concat();
    let unread = [&b"}(h\x02}("[..], &b"h\x02N".repeat(20_000), b"uU\x01ah\x01u"].concat();
    for (object, tensors) in [(nested, 1), (itself, 1), (many, 1), (different, 60_000), (unread, 1)]
    {
        let bytes = legacy(&[&tensor[..], &name, &object].concat());
        fs::write(&path, &bytes).unwrap();
        let _turn = mutations::turn();
        let read = || read_state_dict(&path).unwrap();
        let state = mutations::within_memory(bytes.len(), FIXED, read).unwrap();
        assert_eq!(state.len(), tensors);
    }
}
