//! Ten full training steps compared with PyTorch, from the same weights, images and latents
//! (generator: `xtask/golden/trajectory.py`). The tolerance is three times PyTorch's own float32
//! drift from its float64 run.

use crate::objectives::{Setup, select};
use nn::{Recipe, StateDict};
use runs::Checkpoint;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::ops::Range;
use std::path::Path;
use tensor::{HostTensor, Tensor, TensorData};
use train::{Settings, Trainer};

fn numbers(view: &safetensors::tensor::TensorView<'_>) -> Vec<f64> {
    match view.dtype() {
        Dtype::F32 => view
            .data()
            .chunks_exact(4)
            .map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap())))
            .collect(),
        Dtype::F64 => {
            view.data().chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect()
        }
        Dtype::I64 => view
            .data()
            .chunks_exact(8)
            .map(|b| i64::from_le_bytes(b.try_into().unwrap()) as f64)
            .collect(),
        Dtype::U8 => view.data().iter().map(|&b| f64::from(b)).collect(),
        other => panic!("{other:?}"),
    }
}

/// # Panics
/// Panics if a loss or a weight exceeds the tolerance.
pub fn ten_steps_follow_pytorch(setup: &Setup) {
    let device = &setup.device;
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let bytes = std::fs::read(dir.join("trajectory.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let expected: Value =
        serde_json::from_slice(&std::fs::read(dir.join("trajectory.json")).unwrap()).unwrap();

    let mut recipe = Recipe::preset("torch").unwrap();
    recipe.generator.width = 4;
    recipe.discriminator.width = 4;
    recipe.generator.latent = 8;
    recipe.train.batch = 8;
    let settings = Settings { seed: 0, ..crate::settings::base(recipe, 10) };
    let mut trainer = Trainer::new(settings, device).unwrap();
    let mut start = Checkpoint::default();
    for (name, view) in
        file.iter().filter(|(name, _)| name.starts_with("g/") || name.starts_with("d/"))
    {
        let values = numbers(&view);
        let data = match view.dtype() {
            Dtype::I64 => TensorData::I64(values.iter().map(|&v| v as i64).collect()),
            _ => TensorData::F32(values.iter().map(|&v| v as f32).collect()),
        };
        start
            .tensors
            .insert(name.replacen('/', ".", 1), HostTensor { shape: view.shape().to_vec(), data });
    }
    trainer.load_weights(&start).unwrap();
    let mut trainer = trainer.with_process_group(setup.group.clone()).unwrap();
    let rows = trainer.rows();

    let drift = &expected["drift_of_three"];
    let bound = |what: &str| {
        let drift = drift["loss_drift"][what].as_f64();
        setup.tolerance * drift.unwrap_or_else(|| panic!("PyTorch has no drift of {what}"))
    };
    for step in 0..10 {
        let view = file.tensor(&format!("real/{step}")).unwrap();
        let mut shape: [usize; 4] = view.shape().try_into().unwrap();
        let real: Vec<f32> = numbers(&view).iter().map(|&v| v as f32 / 127.5 - 1.0).collect();
        let z = file.tensor(&format!("z/{step}")).unwrap();
        let z = Tensor::from_slice(
            &numbers(&z).iter().map(|&v| v as f32).collect::<Vec<_>>(),
            z.shape(),
        );
        let real = select(&real, &rows, shape[1..].iter().product());
        shape[0] = rows.iter().map(Range::len).sum();
        let real = Tensor::from_slice(&real, shape).to_device(device);
        let losses = trainer.train_step_on(&real, &z.to_device(device), None).wait().unwrap();
        for (what, ours) in [
            ("d_loss", losses.d_loss),
            ("g_loss", losses.g_loss),
            ("d_real", losses.d_real),
            ("d_fake", losses.d_fake),
        ] {
            let reference = expected["f64"][what][step]
                .as_f64()
                .unwrap_or_else(|| panic!("step {step}: PyTorch has no {what}"));
            let error = (f64::from(ours) - reference).abs();
            assert!(
                error <= bound(what),
                "step {step}: {what} is {ours}, PyTorch's {reference}: {error:.2e} > {:.2e}",
                bound(what)
            );
        }
    }
    let (g, d) = trainer.networks();
    let mut compared = 0;
    for (prefix, state) in [("g", g.state_dict()), ("d", d.state_dict())] {
        compared +=
            compare((prefix, &state), &file, drift, setup.tolerance, &expected["f64"]["norms"]);
    }
    assert!(compared > 30, "{compared} tensors compared");
}

fn compare(
    (prefix, state): (&str, &StateDict),
    file: &SafeTensors<'_>,
    drift: &Value,
    tolerance: f64,
    norms: &Value,
) -> usize {
    let mut count = 0;
    for (name, value) in state {
        let reference = numbers(&file.tensor(&format!("final_{prefix}/{name}")).unwrap());
        let full = format!("{prefix}/{name}");
        match value {
            HostTensor { data: TensorData::I64(data), .. } => {
                assert_eq!(data[0] as f64, reference[0], "{full}")
            }
            HostTensor { data: TensorData::F32(data), .. } => {
                let scale = reference.iter().fold(0f64, |m, v| m.max(v.abs()));
                let error = data
                    .iter()
                    .zip(&reference)
                    .fold(0f64, |m, (a, b)| m.max((f64::from(*a) - b).abs()))
                    / scale;
                let bound = tolerance
                    * drift["final_drift"][&full]
                        .as_f64()
                        .unwrap_or_else(|| panic!("no drift of {full}"));
                assert!(error <= bound, "{full}: {error:.2e} > {bound:.2e}");
                let norm = data.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
                let reference =
                    norms[&full].as_f64().unwrap_or_else(|| panic!("no norm of {full}"));
                assert!(
                    (norm - reference).abs() <= bound * scale * (data.len() as f64).sqrt() + 1e-9,
                    "norm of {full}: {norm}, PyTorch's {reference}"
                );
            }
        }
        count += 1;
    }
    count
}
