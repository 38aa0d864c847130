//! Every operation compared with PyTorch in float64: value, first-order and second-order gradients
//! (generator: `xtask/golden/ops.py`). The error is max|a − b| / max|reference| per tensor.

use super::{error, run};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use tensor::{Device, Tensor, autograd};

struct Golden<'a>(SafeTensors<'a>, &'a Device);

impl Golden<'_> {
    fn reference(&self, name: &str) -> Option<(Vec<usize>, Vec<f64>)> {
        let view = self.0.tensor(name).ok()?;
        let values = match view.dtype() {
            Dtype::F64 => view
                .data()
                .chunks_exact(8)
                .map(|b| f64::from_le_bytes(b.try_into().unwrap()))
                .collect(),
            Dtype::F32 => view
                .data()
                .chunks_exact(4)
                .map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap())))
                .collect(),
            other => panic!("{name}: {other:?}"),
        };
        Some((view.shape().to_vec(), values))
    }

    fn tensor(&self, name: &str) -> Tensor {
        let (shape, values) = self.reference(name).unwrap_or_else(|| panic!("no {name}"));
        Tensor::from_slice(&values.iter().map(|&v| v as f32).collect::<Vec<_>>(), &shape[..])
            .to_device(self.1)
    }
}

fn cases() -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/ops.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The operations with golden vectors.
pub fn operations() -> BTreeSet<String> {
    cases().iter().map(|case| case["op"].as_str().unwrap().to_string()).collect()
}

/// # Panics
/// Panics if a comparison on this device is out of bounds.
pub fn every_operation_equals_pytorch_in_float64(device: &Device) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/ops.safetensors");
    let bytes = std::fs::read(path).unwrap();
    let golden = Golden(SafeTensors::deserialize(&bytes).unwrap(), device);
    let cases = cases();
    assert!(cases.len() > 300, "the table shrank to {}", cases.len());
    let mut failures = Vec::new();
    let mut compared = [0usize; 3];
    for case in &cases {
        let name = case["case"].as_str().unwrap();
        let op = case["op"].as_str().unwrap();
        let attrs = &case["attrs"];
        let count = case["inputs"].as_u64().unwrap() as usize;
        let differentiable: Vec<usize> = case["differentiable"]
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v.as_u64().unwrap() as usize)
            .collect();
        let mut check = |what: &str, order: usize, ours: &Tensor, bound: f64| {
            let (shape, reference) = golden
                .reference(&format!("{name}/{what}"))
                .unwrap_or_else(|| panic!("no {name}/{what}"));
            assert_eq!(ours.shape()[..], shape[..], "{name}/{what}");
            let e = error(&ours.to_vec(), &reference);
            compared[order] += 1;
            if e > bound {
                failures.push(format!("{name}/{what}: {e:.2e}"));
            }
        };
        let inputs: Vec<Tensor> = (0..count)
            .map(|i| {
                let t = golden.tensor(&format!("{name}/in{i}"));
                if differentiable.contains(&i) { t.leaf() } else { t }
            })
            .collect();
        let gout = golden.tensor(&format!("{name}/gout")).leaf();
        let out = run(op, attrs, &inputs);
        check("out", 0, &out, 1e-5);
        let keys: Vec<_> = differentiable.iter().map(|&i| inputs[i].id().unwrap()).collect();
        // The composite path, kept differentiable; its first order must agree too.
        let grads = autograd::grad(&[(&out, &gout)], &keys, true);
        let grads: Vec<Tensor> = grads
            .into_iter()
            .zip(&differentiable)
            .map(|(g, &i)| g.unwrap_or_else(|| Tensor::zeros(*inputs[i].shape())))
            .collect();
        for (g, i) in grads.iter().zip(&differentiable) {
            check(&format!("din{i}"), 1, g, 1e-5);
        }
        if golden.reference(&format!("{name}/d2gout")).is_some() {
            let directions: Vec<Tensor> =
                differentiable.iter().map(|i| golden.tensor(&format!("{name}/v{i}"))).collect();
            let outputs: Vec<(&Tensor, &Tensor)> = grads.iter().zip(&directions).collect();
            let mut keys = keys.clone();
            keys.push(gout.id().unwrap());
            let second = autograd::grad(&outputs, &keys, true);
            for (slot, (g, what)) in second
                .into_iter()
                .zip(
                    differentiable.iter().map(|i| format!("d2in{i}")).chain(["d2gout".to_string()]),
                )
                .enumerate()
            {
                let like = differentiable.get(slot).map_or(&gout, |&i| &inputs[i]);
                check(&what, 2, &g.unwrap_or_else(|| Tensor::zeros(*like.shape())), 2e-5);
            }
        }
        // The fused path, which consumes the graph.
        let fused = autograd::backward(&[(&out, &gout.detach())]);
        for &i in &differentiable {
            let zero = Tensor::zeros(*inputs[i].shape());
            check(&format!("din{i}"), 1, fused.of(&inputs[i]).unwrap_or(&zero), 1e-5);
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {compared:?} comparisons:\n{}",
        failures.len(),
        failures.join("\n")
    );
    assert!(compared[2] > 500, "second-order comparisons: {}", compared[2]);
}
