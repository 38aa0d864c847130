//! Recipes other than the default one, ten steps each compared with PyTorch, and three steps of
//! three recipes wide enough for Winograd's convolutions (generator: `xtask/golden/objectives.py`,
//! whose docstring describes the files). The tolerance is three times PyTorch's own float32 drift,
//! and a millionth, since the drift of so small a network may be small by luck. Tensors are
//! compared as the drift is measured: |ours − PyTorch's| / |PyTorch's|, norms of whole tensors.
// Each test binary uses its own part of this.
#![allow(dead_code)]

use data::{Batch, Cursor};
use nn::{Recipe, StateDict};
use runs::Checkpoint;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use tensor::distributed::ProcessGroup;
use tensor::{Device, HostTensor, TensorData};
use train::{RealBatch, Settings, Trainer};

const LEAST: f64 = 1e-6;

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

/// The tensors of a golden state dict, `CASE/PART/…`.
fn strip_prefix(file: &SafeTensors<'_>, prefix: &str) -> Vec<(String, HostTensor)> {
    let array = |view: safetensors::tensor::TensorView<'_>| {
        let data = match view.dtype() {
            Dtype::F32 => TensorData::F32(floats(view.data())),
            Dtype::I64 => TensorData::I64(
                view.data()
                    .chunks_exact(8)
                    .map(|b| i64::from_le_bytes(b.try_into().unwrap()))
                    .collect(),
            ),
            other => panic!("{other:?}"),
        };
        HostTensor { shape: view.shape().to_vec(), data }
    };
    file.iter()
        .filter_map(|(name, view)| Some((name.strip_prefix(prefix)?.to_owned(), array(view))))
        .collect()
}

fn recipe(case: &Value) -> Recipe {
    let base = [
        ("image.size", "[16, 16]"),
        ("image.channels", "1"),
        ("generator.width", "4"),
        ("generator.latent", "4"),
        ("generator.distribution", "\"uniform\""),
        ("discriminator.width", "4"),
        ("train.batch", "4"),
    ];
    let own = case["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pair| (pair[0].as_str().unwrap(), pair[1].as_str().unwrap()));
    let changes: Vec<_> = base
        .into_iter()
        .chain(own)
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    Recipe::preset("torch").unwrap().with(&changes).unwrap()
}

/// The device and the ranks that compute a trajectory, and how far it may be from PyTorch's, in
/// multiples of PyTorch's own float32 drift.
pub struct Setup {
    pub device: Device,
    pub group: ProcessGroup,
    pub tolerance: f64,
}

impl Setup {
    /// One process.
    pub fn single(device: &Device) -> Self {
        Self { device: device.clone(), group: ProcessGroup::default(), tolerance: 3.0 }
    }
}

/// These rows, of `len` elements each, one range after the other.
pub fn select<T: Copy>(values: &[T], rows: &[Range<usize>], len: usize) -> Vec<T> {
    rows.iter().flat_map(|rows| values[rows.start * len..rows.end * len].to_vec()).collect()
}

fn trainer(name: &str, recipe: Recipe, file: &SafeTensors<'_>, setup: &Setup) -> Trainer {
    let settings = Settings { seed: 0, ..crate::settings::base(recipe, 10) };
    let mut trainer = Trainer::new(settings, &setup.device).unwrap();
    let mut start = Checkpoint::default();
    for part in ["g", "d"] {
        let tensors = strip_prefix(file, &format!("{name}/{part}/"));
        start
            .tensors
            .extend(tensors.into_iter().map(|(key, array)| (format!("{part}.{key}"), array)));
    }
    trainer.load_weights(&start).unwrap();
    trainer.with_process_group(setup.group.clone()).unwrap()
}

fn batch(file: &SafeTensors<'_>, size: usize, number: usize, rows: &[Range<usize>]) -> Batch {
    let view = file.tensor(&format!("real/{size}/{number}")).unwrap();
    let images: Vec<f32> = view.data().iter().map(|&byte| f32::from(byte) / 127.5 - 1.0).collect();
    let images = select(&images, rows, images.len() / size);
    let cursor = Cursor { batch: number as u64, ..Cursor::new(0) };
    Batch {
        images,
        labels: None,
        indices: rows.iter().cloned().flatten().collect(),
        cursor,
        epoch_end: false,
    }
}

/// Image i of batch n is of class (n + i) mod K.
fn one_hot_labels(size: usize, number: usize, classes: usize) -> Vec<f32> {
    let row = |i: usize| {
        (0..classes).map(move |class| f32::from(u8::from(class == (number + i) % classes)))
    };
    (0..size).flat_map(row).collect()
}

/// # Panics
/// Panics if a loss or a weight exceeds the tolerance.
pub fn losses_follow_pytorch(setup: &Setup) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let bytes = std::fs::read(dir.join("objectives.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let cases: Vec<Value> =
        serde_json::from_slice(&std::fs::read(dir.join("objectives.json")).unwrap()).unwrap();
    let is_wide = |case: &&Value| case["case"].as_str().unwrap().starts_with("wide-");
    assert!(cases.len() >= 16 && cases.iter().filter(is_wide).count() == 3);
    for case in &cases {
        let name = case["case"].as_str().unwrap();
        let recipe = recipe(case);
        let (size, count) = (recipe.train.batch, recipe.train.batches_per_step());
        let classes = recipe.condition_size();
        let mut trainer = trainer(name, recipe, &file, setup);
        let rows = trainer.rows();
        for step in 0..case["d_loss"].as_array().unwrap().len() {
            let numbers = step * count..(step + 1) * count;
            let batches: Vec<_> =
                numbers.clone().map(|number| batch(&file, size, number, &rows)).collect();
            let given: Vec<_> = (numbers.zip(&batches))
                .map(|(number, batch)| RealBatch {
                    batch,
                    condition: (classes > 0)
                        .then(|| select(&one_hot_labels(size, number, classes), &rows, classes)),
                })
                .collect();
            let losses = trainer.train_step(&given).wait().unwrap();
            for (what, ours) in [("d_loss", losses.d_loss), ("g_loss", losses.g_loss)] {
                let reference = case[what][step]
                    .as_f64()
                    .unwrap_or_else(|| panic!("{name}, step {step}: PyTorch has no {what}"));
                let error = (f64::from(ours) - reference).abs();
                let drift = case["drift"][what]
                    .as_f64()
                    .unwrap_or_else(|| panic!("{name}: PyTorch has no drift of {what}"));
                let bound = setup.tolerance * drift + LEAST * reference.abs().max(1.0);
                assert!(
                    error <= bound,
                    "{name}, step {step}: {what} is {ours}, PyTorch's {reference}: {error:.2e} > \
                     {bound:.2e}"
                );
            }
        }
        let (g, d) = trainer.networks();
        let drift = &case["drift"]["final"];
        compare(name, "g", &g.state_dict(), &file, drift, setup.tolerance);
        compare(name, "d", &d.state_dict(), &file, drift, setup.tolerance);
    }
}

fn norm(values: &[f32]) -> f64 {
    values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt()
}

fn compare(
    name: &str,
    part: &str,
    state: &StateDict,
    file: &SafeTensors<'_>,
    drift: &Value,
    tolerance: f64,
) {
    let expected = strip_prefix(file, &format!("{name}/final_{part}/"));
    assert_eq!(expected.len(), state.len(), "{name}");
    for (key, array) in expected {
        match (&state[&key], &array.data) {
            (HostTensor { data: TensorData::I64(data), .. }, TensorData::I64(reference)) => {
                assert_eq!(data, reference, "{name}: {part}/{key}")
            }
            (HostTensor { data: TensorData::F32(data), .. }, TensorData::F32(reference)) => {
                assert_eq!(data.len(), reference.len(), "{name}: {part}/{key}");
                let away: Vec<f32> = data.iter().zip(reference).map(|(a, b)| a - b).collect();
                let error = norm(&away) / norm(reference);
                let drift = drift[format!("{part}/{key}")].as_f64().unwrap();
                let bound = tolerance * drift + LEAST;
                assert!(error <= bound, "{name}: {part}/{key}: {error:.2e} > {bound:.2e}");
            }
            other => panic!("{name}: {part}/{key}: {other:?}"),
        }
    }
}

/// Prints, for each game of the runs in `folder`, our drift from float64 and PyTorch's: medians
/// over the seeds, the ratios, and the drifts in ascending order.
pub fn print_drift(folder: &Path) {
    let bytes = std::fs::read(folder.join("drift.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let cases: Vec<Value> =
        serde_json::from_slice(&std::fs::read(folder.join("drift.json")).unwrap()).unwrap();
    let mut games: BTreeMap<&str, Vec<[f64; 3]>> = BTreeMap::new();
    for case in &cases {
        let (ours, theirs) = (drift(case, &file), case["drift"].as_f64().unwrap());
        let game = case["game"].as_str().unwrap();
        games.entry(game).or_default().push([ours, theirs, ours / theirs]);
    }
    for (game, runs) in games {
        let [ours, theirs, ratios] = [0, 1, 2].map(|i| {
            let mut values: Vec<f64> = runs.iter().map(|run| run[i]).collect();
            values.sort_by(f64::total_cmp);
            values
        });
        let median = |v: &[f64]| (v[(v.len() - 1) / 2] + v[v.len() / 2]) / 2.0;
        let list = |v: &[f64]| v.iter().map(|v| format!("{v:.1e}")).collect::<Vec<_>>().join(" ");
        println!(
            "{game}: drift {:.2e}, PyTorch's {:.2e}, ratio {:.2} ({:.2} to {:.2})",
            median(&ours),
            median(&theirs),
            median(&ratios),
            ratios[0],
            ratios[ratios.len() - 1]
        );
        println!("  ours {}\n  PyTorch's {}", list(&ours), list(&theirs));
    }
}

/// |weights − float64's| / |float64's|, the norms over all weights of both networks.
fn drift(case: &Value, file: &SafeTensors<'_>) -> f64 {
    let (name, recipe) = (case["case"].as_str().unwrap(), recipe(case));
    let (size, count) = (recipe.train.batch, recipe.train.batches_per_step());
    let mut trainer = trainer(name, recipe, file, &Setup::single(&Device::Cpu));
    let rows = trainer.rows();
    for step in 0..case["steps"].as_u64().unwrap() as usize {
        let numbers = step * count..(step + 1) * count;
        let batches: Vec<_> = numbers.map(|number| batch(file, size, number, &rows)).collect();
        let given: Vec<_> =
            batches.iter().map(|batch| RealBatch { batch, condition: None }).collect();
        trainer.train_step(&given).wait().unwrap();
    }
    let (g, d) = trainer.networks();
    let (mut off, mut all) = (0.0, 0.0);
    for (part, state) in [("g", g.state_dict()), ("d", d.state_dict())] {
        for (key, reference) in strip_prefix(file, &format!("{name}/final_{part}/")) {
            let is_weight = [".weight", ".weight_orig", ".bias"].iter().any(|w| key.ends_with(w));
            if let (true, TensorData::F32(data), TensorData::F32(reference)) =
                (is_weight, &state[&key].data, &reference.data)
            {
                for (a, b) in data.iter().zip(reference) {
                    off += (f64::from(*a) - f64::from(*b)).powi(2);
                    all += f64::from(*b).powi(2);
                }
            }
        }
    }
    (off / all).sqrt()
}
