//! The SVHN networks of the paper's authors, if they are present next to the repository.

mod common;

use nn::{Mode, Network, NnError, Recipe, TensorProblem, newmu_svhn_state};
use std::path::{Path, PathBuf};
use tensor::rng::Philox;
use tensor::{Device, HostTensor, Tensor, TensorData};

const GEN: [&[usize]; 10] = [
    &[100, 4096],
    &[4096],
    &[4096],
    &[256, 128, 5, 5],
    &[128],
    &[128],
    &[128, 64, 5, 5],
    &[64],
    &[64],
    &[64, 3, 5, 5],
];
const DISCRIM: [&[usize]; 8] = [
    &[64, 3, 5, 5],
    &[128, 64, 5, 5],
    &[128],
    &[128],
    &[256, 128, 5, 5],
    &[256],
    &[256],
    &[4096, 1],
];

/// Arrays of the release's shapes with increasing values.
fn counting(shapes: &[&[usize]]) -> Vec<HostTensor> {
    let value = |shape: &&[usize]| {
        HostTensor::f32(
            shape.to_vec(),
            (0..shape.iter().product::<usize>()).map(|i| i as f32).collect(),
        )
    };
    shapes.iter().map(value).collect()
}

fn networks() -> (Recipe, Network, Network) {
    let recipe = Recipe::preset("newmu-svhn").expect("a preset");
    let (g, d) = recipe.build(&mut Philox::new(1, 0)).expect("valid");
    (recipe, g, d)
}

#[test]
fn arrays_become_the_recipe_s_state_dicts() {
    let (g_state, d_state) =
        newmu_svhn_state(&counting(&GEN), &counting(&DISCRIM)).expect("the release's shapes");
    let (_, g, d) = networks();
    g.load_state_dict(&g_state).expect("names and shapes of the recipe");
    d.load_state_dict(&d_state).expect("names and shapes of the recipe");
    let linear = common::floats(&g_state, "main.0.weight");
    assert_eq!(linear[..3], [0.0, 4096.0, 8192.0], "transposed");
    let kernel = common::floats(&g_state, "main.4.weight");
    assert_eq!(
        (kernel[0], kernel[4], kernel[24], kernel[25]),
        (24.0, 20.0, 0.0, 49.0),
        "both axes flipped, plane by plane"
    );
    assert_eq!(common::floats(&d_state, "main.3.running_var"), [1.0; 128]);
    assert_eq!(d_state["main.6.num_batches_tracked"], HostTensor::scalar_i64(0));
}

#[test]
fn arrays_that_do_not_fit_are_named() {
    let (gen_arrays, discrim) = (counting(&GEN), counting(&DISCRIM));
    let error =
        |g: &[HostTensor], d: &[HostTensor]| newmu_svhn_state(g, d).expect_err("does not fit");
    let (name, shape) = ("gen_params_10".into(), vec![64, 3, 5, 5]);
    assert_eq!(error(&gen_arrays[..9], &discrim), NnError::MissingTensor { name, shape });
    let (name, shape) = ("discrim_params_09".into(), vec![64]);
    let extra = NnError::UnexpectedTensor { name, shape, known: vec![] };
    assert_eq!(error(&gen_arrays, &gen_arrays), extra);
    let mut swapped = gen_arrays.clone();
    swapped.swap(3, 6);
    assert_eq!(
        error(&swapped, &discrim),
        NnError::WrongShape {
            name: "gen_params_04".into(),
            expected: vec![256, 128, 5, 5],
            found: vec![128, 64, 5, 5],
        }
    );
    let mut short = discrim.clone();
    short[3] = HostTensor::f32(vec![128], vec![0.0; 127]);
    let problem = TensorProblem::Elements { elements: 127, shape: vec![128] };
    let name = "discrim_params_04".into();
    assert_eq!(error(&gen_arrays, &short), NnError::BadTensor { name, problem });
}

/// A little-endian f32 .npy file, row-major.
fn npy(path: &Path) -> HostTensor {
    let bytes = std::fs::read(path).expect("a readable file");
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00", "{path:?}");
    let end = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = std::str::from_utf8(&bytes[10..end]).expect("text");
    assert!(header.contains("'<f4'") && header.contains("'fortran_order': False"), "{header}");
    let axes = header
        .split_once("'shape': (")
        .and_then(|(_, rest)| rest.split_once(')'))
        .expect("a shape")
        .0;
    let shape: Vec<usize> = axes.split(',').filter_map(|n| n.trim().parse().ok()).collect();
    let data = bytes[end..]
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect();
    HostTensor::f32(shape, data)
}

fn released() -> Option<(Vec<HostTensor>, Vec<HostTensor>)> {
    let folder: PathBuf =
        [env!("CARGO_MANIFEST_DIR"), "..", "..", "..", "shared", "newmu-svhn"].iter().collect();
    if !folder.is_dir() {
        eprintln!(
            "skipped: the authors' networks are not there (looked for ../shared/newmu-svhn beside \
             the repository)"
        );
        return None;
    }
    let read = |part: &str, count: usize| {
        (1..=count).map(|i| npy(&folder.join(format!("200_{part}_params.jl_{i:02}.npy")))).collect()
    };
    Some((read("gen", 10), read("discrim", 8)))
}

/// The mean over images of the correlation between horizontal neighbors, and of the standard
/// deviation of pixels.
fn smoothness(images: &Tensor) -> (f64, f64) {
    let [n, h, w, c] = images.shape()[..] else { panic!("images") };
    let data = images.to_vec();
    let (mut correlation, mut deviation) = (0.0, 0.0);
    for image in data.chunks(h * w * c) {
        let mean = image.iter().map(|&x| f64::from(x)).sum::<f64>() / image.len() as f64;
        let centered: Vec<f64> = image.iter().map(|&x| f64::from(x) - mean).collect();
        let variance = centered.iter().map(|x| x * x).sum::<f64>() / image.len() as f64;
        let pairs: Vec<f64> = centered
            .chunks(w * c)
            .flat_map(|row| row.iter().zip(&row[c..]).map(|(a, b)| a * b))
            .collect();
        correlation += pairs.iter().sum::<f64>() / pairs.len() as f64 / variance / n as f64;
        deviation += variance.sqrt() / n as f64;
    }
    (correlation, deviation)
}

#[test]
fn the_authors_generator_draws_house_numbers() {
    let Some((gen_arrays, discrim)) = released() else { return };
    let (g_state, d_state) = newmu_svhn_state(&gen_arrays, &discrim).expect("the release");
    let (recipe, g, d) = networks();
    g.load_state_dict(&g_state).expect("the recipe's names and shapes");
    d.load_state_dict(&d_state).expect("the recipe's names and shapes");
    let mut rng = Philox::new(7, 0);
    let z = recipe.sample_z(&mut rng, 64, &Device::Cpu);
    let images = g.forward(&z, Mode::BATCH);
    assert_eq!(images.shape()[..], [64, 32, 32, 3]);
    let (correlation, deviation) = smoothness(&images);
    let logits = d.forward(&images, Mode::BATCH).mean_all().item();
    let noise = d.forward(&rng.uniform([64, 32, 32, 3], -1.0, 1.0), Mode::BATCH).mean_all().item();
    // Neighboring pixels are correlated, images have contrast, and the authors' discriminator
    // distinguishes its own generator's images.
    assert!(
        correlation > 0.8 && (0.1..0.5).contains(&deviation),
        "correlation {correlation}, deviation {deviation}"
    );
    assert!(logits > noise + 5.0, "logits of images {logits}, of noise {noise}");
    let mut unflipped = g_state;
    for value in unflipped.values_mut() {
        if let HostTensor { shape, data: TensorData::F32(data) } = value
            && shape.len() == 4
        {
            data.chunks_mut(25).for_each(<[f32]>::reverse);
        }
    }
    g.load_state_dict(&unflipped).expect("the same shapes");
    let smears = d.forward(&g.forward(&z, Mode::BATCH), Mode::BATCH).mean_all().item();
    assert!(logits > smears + 3.0, "logits of images {logits}, with kernels unflipped {smears}");
}
