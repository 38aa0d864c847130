//! The built-in Fashion-MNIST.

use crate::common::bytes;
use std::path::Path;

use data::{Dataset, Fit, Preprocess, Split};
use sha2::{Digest, Sha256};

fn fashion(split: Split, preprocess: &Preprocess) -> Dataset {
    Dataset::open("fashion-mnist", split, preprocess, &|_| ()).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn labels(set: &Dataset) -> Vec<u32> {
    (0..set.len()).map(|index| set.label(index).unwrap()).collect()
}

#[test]
fn training_split() {
    let set = fashion(Split::Train, &Preprocess::new([28, 28], 1));
    assert_eq!((set.len(), set.shape(), set.name()), (60_000, [28, 28, 1], "fashion-mnist"));
    assert!(set.is_cached() && set.skipped().is_empty());
    // The gzipped file is unpacked in memory while its images are taken.
    let pixels = 60_000 * 28 * 28;
    assert_eq!((set.cached_bytes(), set.source_bytes()), (pixels, pixels));
    assert_eq!((set.class_names().len(), &*set.class_names()[9]), (10, "Ankle boot"));
    let labels = labels(&set);
    assert_eq!(labels[..10], [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]);
    for class in 0..10 {
        assert_eq!(labels.iter().filter(|&&label| label == class).count(), 6000, "class {class}");
    }
    // Digest and sum as another program computed them from the files.
    let first = bytes(&set, 0);
    assert_eq!(first[4 * 28 + 14..][..6], [36, 136, 127, 62, 54, 0]);
    assert_eq!(
        hex(&Sha256::digest(&first)),
        "5bd44e331a6d6998daf675700cd0c13dcd7af8ab954b7585124124da61459e7b"
    );
    let all =
        (0..set.len()).map(|index| bytes(&set, index).iter().map(|&v| u64::from(v)).sum::<u64>());
    assert_eq!(all.sum::<u64>(), 3_431_114_169);
    // Pinned: if it changed, runs would report other data.
    assert_eq!(
        set.fingerprint(),
        "5ac0a588ad71f95a8c842dabc96d92ff82b738ae29a8acf051e56be97e516709"
    );
}

#[test]
fn test_split_padded_to_32() {
    let preprocess = Preprocess { fit: Fit::Pad, ..Preprocess::new([32, 32], 1) };
    let set = Dataset::open("fashion", Split::Test, &preprocess, &|_| ()).unwrap();
    assert_eq!((set.len(), set.shape()), (10_000, [32, 32, 1]));
    assert_eq!(labels(&set)[..10], [9, 2, 1, 1, 6, 1, 4, 6, 5, 7]);
    let image = bytes(&set, 0);
    assert_eq!(image.iter().map(|&v| u32::from(v)).sum::<u32>(), 33_456, "padding adds nothing");
    assert!(image[..64].iter().chain(&image[30 * 32..]).all(|&v| v == 0));
    let mut values = vec![0.0; 1024];
    set.write(0, &mut values).unwrap();
    assert!(values.iter().all(|value| (-1.0..=1.0).contains(value)) && values[0] == -1.0);
}

#[test]
fn checksums_are_those_listed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/fashion-mnist");
    let list = std::fs::read_to_string(folder.join("SHA256SUMS")).unwrap();
    assert_eq!(list.lines().count(), 4);
    for line in list.lines() {
        let (sum, name) = line.split_once("  ").unwrap();
        assert_eq!(hex(&Sha256::digest(std::fs::read(folder.join(name)).unwrap())), sum, "{name}");
    }
}
