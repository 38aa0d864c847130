//! The Inception network with random weights against pytorch-fid (generator:
//! `xtask/golden/inception.py`), and its files.

#[path = "../../tensor/tests/common/numerics_env.rs"]
mod numerics_env;

use eval::EvalError;
use eval::features::Features;
use eval::inception::{Inception, InputScaling};
use eval::metrics::frechet;
use runs::{read_state_dict, write_state_dict};
use std::collections::BTreeMap;
use std::path::Path;
use tensor::{Device, HostTensor, Tensor, set_conv_algorithm, set_isa};

/// The shapes of the images of the two sets.
const FIRST: [usize; 3] = [32, 40, 3];
const SECOND: [usize; 3] = [310, 301, 1];
/// Images in a set.
const IMAGES: usize = 4;

/// CRC-32 as in zlib.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

/// The hashes of the golden file's script: 32 bits for each element.
fn hashes(name: &str, count: usize) -> impl Iterator<Item = u32> + use<> {
    let offset = crc32(name.as_bytes());
    (0..count as u32).map(move |j| {
        let mut h = j.wrapping_mul(0x9E37_79B1).wrapping_add(offset);
        h = (h ^ (h >> 16)).wrapping_mul(0x85EB_CA6B);
        h = (h ^ (h >> 13)).wrapping_mul(0xC2B2_AE35);
        h ^ (h >> 16)
    })
}

/// The weights of the golden file's script.
fn weights(name: &str, shape: &[usize]) -> Vec<f32> {
    let scale = (6.0 / shape.iter().skip(1).product::<usize>() as f64).sqrt();
    let hashes = hashes(name, shape.iter().product());
    let values = hashes.map(|h| f64::from(h >> 8) / f64::from(1 << 23) - 1.0);
    let of = |value: f64| match name {
        _ if name.ends_with("conv.weight") || name == "fc.weight" => value * scale,
        _ if name.ends_with("running_var") => 1.0 + value / 2.0,
        _ if name.ends_with("bn.weight") => 1.0 + value / 4.0,
        _ => value / 4.0,
    };
    values.map(|value| of(value) as f32).collect()
}

/// The images of a set, `[4, H, W, C]` in [−1, 1].
fn images(first: usize, shape: [usize; 3], least: u8) -> Tensor {
    let pixels = (first..first + IMAGES)
        .flat_map(|k| hashes(&format!("image {k}"), shape.iter().product()))
        .map(|h| f32::from(((h >> 24) as u8).max(least)) / 127.5 - 1.0);
    let [h, w, c] = shape;
    Tensor::from_slice(&pixels.collect::<Vec<_>>(), [IMAGES, h, w, c])
}

fn golden() -> (BTreeMap<String, HostTensor>, f64) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let numbers = std::fs::read(dir.join("inception.json")).unwrap();
    let numbers: serde_json::Value = serde_json::from_slice(&numbers).unwrap();
    let tensors = read_state_dict(&dir.join("inception.safetensors")).unwrap();
    (tensors, numbers["fid"].as_f64().unwrap())
}

/// max |a − b| / max |b|.
fn error(ours: &[f32], reference: &[f32]) -> f32 {
    assert_eq!(ours.len(), reference.len());
    let most = |values: &mut dyn Iterator<Item = f32>| values.fold(0.0, f32::max);
    most(&mut ours.iter().zip(reference).map(|(a, b)| (a - b).abs()))
        / most(&mut reference.iter().map(|b| b.abs()))
}

/// The class probabilities of logits `[1008]`.
fn softmax(logits: &[f32]) -> Vec<f32> {
    Tensor::from_slice(logits, [1, logits.len()]).softmax(1).to_vec()
}

#[test]
fn features_and_fid_equal_pytorch_fid() {
    let (golden, fid) = golden();
    let reference = golden["features"].as_f32().unwrap();
    let logits = golden["logits"].as_f32().unwrap();
    let mut tensors = 0;
    let network = |scaling, count: &mut usize| {
        let counted = |name: &str, shape: &[usize]| {
            *count += 1;
            weights(name, shape)
        };
        Inception::from_fn(counted, scaling, &Device::Cpu)
    };
    let like_pytorch_fid = network(InputScaling::PytorchFid, &mut tensors);
    // 94 convolutions with a weight and four tensors of batch norm each, and the classifier.
    assert_eq!(tensors, 94 * 5 + 2);
    let (first, classes) = like_pytorch_fid.extract(&images(0, FIRST, 0)).unwrap();
    let (second, _) = like_pytorch_fid.extract(&images(IMAGES, SECOND, 128)).unwrap();
    let like_clean_fid = network(InputScaling::CleanFid, &mut 0);
    let (clean, _) = like_clean_fid.extract(&images(0, FIRST, 0).narrow(0, 1, 1)).unwrap();
    let rows = [first.row(0), first.row(1), second.row(0), clean.row(0)];
    for (row, reference) in rows.iter().zip(reference.chunks_exact(2048)) {
        let error = error(row, reference);
        assert!(error < 1e-4, "features are off by {error}");
    }
    for (row, logits) in logits.chunks_exact(1008).enumerate() {
        let error = error(classes.row(row), &softmax(logits));
        assert!(error < 1e-3, "class probabilities are off by {error}");
    }
    let distance = frechet::distance(&first, &second).unwrap();
    assert!((distance - fid).abs() < 1e-3 * fid, "FID {distance} against {fid}");
    // The number of an image's batch changes no bit of its features.
    let alone = like_pytorch_fid.extract(&images(0, FIRST, 0).narrow(0, 2, 1)).unwrap().0;
    assert_eq!(alone, first.select(&[2]));
    let many: Vec<usize> = (2..19).map(|i| i % IMAGES).collect();
    let full = like_pytorch_fid.extract(&images(0, FIRST, 0).index_select(&many)).unwrap().0;
    assert_eq!(full, first.select(&many));
}

#[test]
fn a_file_is_read_and_its_tensors_are_checked() {
    let dir = tempfile::tempdir().unwrap();
    let mut state = BTreeMap::new();
    let record = |name: &str, shape: &[usize]| {
        let values =
            vec![if name.ends_with("running_var") { 1.0 } else { 0.0 }; shape.iter().product()];
        state.insert(name.to_owned(), HostTensor::f32(shape, values.clone()));
        values
    };
    Inception::from_fn(record, InputScaling::PytorchFid, &Device::Cpu);
    let counter = "Conv2d_1a_3x3.bn.num_batches_tracked";
    state.insert(counter.into(), HostTensor::scalar_i64(0));
    // One file after the other: each has 96 MB.
    let path = dir.path().join("weights.safetensors");
    let load = |path: &Path, state: &BTreeMap<String, HostTensor>| {
        write_state_dict(path, state).unwrap();
        Inception::load(path, InputScaling::CleanFid, &Device::Cpu)
    };
    let network = load(&path, &state).unwrap();
    assert!(!network.is_published());
    assert!(network.id().starts_with("inception with other weights "), "{}", network.id());
    assert!(network.id().ends_with(", clean-fid resizing"), "{}", network.id());

    let problem = |state: &BTreeMap<String, HostTensor>| match load(&path, state) {
        Err(EvalError::InceptionFile { problem, .. }) => problem,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("the file was read"),
    };
    // The weights of torchvision, for ImageNet's classes.
    let classifier = HostTensor::f32([1000, 2048], vec![0.0; 1000 * 2048]);
    let own = state.insert("fc.weight".into(), classifier).unwrap();
    assert_eq!(problem(&state), "tensor \"fc.weight\" is [1000, 2048], not [1008, 2048]");
    state.insert("fc.weight".into(), own);
    let variance = "Mixed_7c.branch_pool.bn.running_var";
    let own = state.insert(variance.into(), HostTensor::f32([192], vec![-0.5; 192])).unwrap();
    assert!(problem(&state).contains("has a value of -0.5"));
    state.remove(variance);
    assert!(problem(&state).contains(&format!("no tensor {variance:?}")));
    state.insert(variance.into(), own);
    state.insert("AuxLogits.fc.bias".into(), HostTensor::f32([1], vec![0.0]));
    assert!(problem(&state).contains("no tensor \"AuxLogits.fc.bias\""));

    let named = dir.path().join("pt_inception-2015-12-05-6726825d.pth");
    match load(&named, &BTreeMap::new()) {
        Err(EvalError::InceptionHash { expected, found, .. }) => {
            assert!(expected == "6726825d" && found.len() == 64);
        }
        _ => panic!("a file with the name of the published weights was read"),
    }
}

#[test]
fn images_have_one_channel_or_three() {
    let zero = |_: &str, shape: &[usize]| vec![0.0; shape.iter().product()];
    let network = Inception::from_fn(zero, InputScaling::PytorchFid, &Device::Cpu);
    let refused = network.extract(&Tensor::zeros([1, 8, 8, 4]));
    assert!(matches!(refused, Err(EvalError::InceptionImages { found }) if found == [8, 8, 4]));
    let (features, classes) = network.extract(&Tensor::zeros([1, 1, 1, 1])).unwrap();
    assert_eq!((features, classes.width()), (Features::new(2048, vec![0.0; 2048]), 1008));
}
