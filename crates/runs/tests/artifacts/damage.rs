//! A damaged file is rejected, or loads with the same contents.

use crate::{assert_names, sample};
use proptest::prelude::*;
use runs::checkpoint::{inspect, load, save};
use runs::{read_npy, read_state_dict};
use std::fs;

#[test]
fn truncated_files_are_rejected() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.safetensors");
    save(&path, &sample(5)).unwrap();
    let whole = fs::read(&path).unwrap();
    for len in (0..whole.len()).step_by(64).chain(0..40).chain(whole.len() - 40..whole.len()) {
        fs::write(&path, &whole[..len]).unwrap();
        let error = load(&path).expect_err(&format!("the first {len} bytes load"));
        assert_names(&error, &path);
        assert!(inspect(&path).is_err() && read_state_dict(&path).is_err(), "{len}");
    }
}

#[test]
fn flipped_bits_are_rejected() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.safetensors");
    save(&path, &sample(5)).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    for index in 0..bytes.len() {
        // One bit of each byte, another one each time: all 8 positions are met in every part of the
        // file.
        let bit = 1 << ((index + index / 8) % 8);
        bytes[index] ^= bit;
        fs::write(&path, &bytes).unwrap();
        let error =
            load(&path).expect_err(&format!("loads with bit {bit:#x} of byte {index} flipped"));
        assert!(!error.to_string().contains('\n'));
        assert!(inspect(&path).is_err(), "passes with bit {bit:#x} of byte {index} flipped");
        let _ = read_state_dict(&path);
        bytes[index] ^= bit;
    }
    fs::write(&path, &bytes).unwrap();
    assert_eq!(load(&path).unwrap(), sample(5));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn scrambled_ranges_never_load_other_contents(start in 0usize..1200,
        noise in prop::collection::vec(any::<u8>(), 1..24)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.safetensors");
        save(&path, &sample(5)).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        bytes.iter_mut().skip(start).zip(noise).for_each(|(byte, noise)| *byte = noise);
        fs::write(&path, &bytes).unwrap();
        if let Ok(loaded) = load(&path) {
            prop_assert_eq!(loaded, sample(5));
        }
    }

    #[test]
    fn garbage_never_panics(
        noise in prop::collection::vec(any::<u8>(), 0..200),
        header in any::<bool>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("garbage");
        let mut bytes = noise;
        if header {
            let len = (bytes.len() / 2) as u64;
            bytes.splice(0..0, len.to_le_bytes().into_iter().chain(*b"{"));
        }
        fs::write(&path, &bytes).unwrap();
        prop_assert!(load(&path).is_err());
        bytes.splice(0..0, *b"\x93NUMPY\x01\x00\x20\x00");
        fs::write(&path, &bytes).unwrap();
        prop_assert!(read_npy(&path).is_err());
    }
}
