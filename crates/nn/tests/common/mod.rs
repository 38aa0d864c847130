//! Helpers shared by the golden tests. Each test binary uses some of them.
#![allow(dead_code)]

#[path = "../../../tensor/tests/common/numerics_env.rs"]
mod numerics_env;

use nn::{Network, StateDict};
use safetensors::{Dtype, SafeTensors};
use std::collections::BTreeMap;
use std::path::Path;
use tensor::{HostTensor, Tensor, TensorData, set_conv_algorithm, set_isa};

/// A golden array: its shape and its values as f64.
pub struct Golden {
    pub shape: Vec<usize>,
    pub data: Vec<f64>,
}

impl Golden {
    pub fn tensor(&self) -> Tensor {
        let data: Vec<f32> = self.data.iter().map(|&x| x as f32).collect();
        Tensor::from_slice(&data, &self.shape[..])
    }
}

fn golden_path(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// The lines of a golden JSON file.
pub fn cases(name: &str) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(golden_path(name)).expect("a golden file");
    serde_json::from_str(&text).expect("a JSON list")
}

fn numbers<const N: usize, T>(bytes: &[u8], f: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.chunks_exact(N).map(|c| f(c.try_into().expect("N bytes"))).collect()
}

/// The arrays of a golden file by name.
pub fn arrays(name: &str) -> BTreeMap<String, Golden> {
    let bytes = std::fs::read(golden_path(name)).expect("a golden file");
    let file = SafeTensors::deserialize(&bytes).expect("safetensors");
    file.iter()
        .map(|(name, view)| {
            let data = match view.dtype() {
                Dtype::F32 => numbers(view.data(), |b| f64::from(f32::from_le_bytes(b))),
                Dtype::F64 => numbers(view.data(), f64::from_le_bytes),
                Dtype::I64 => numbers(view.data(), |b| i64::from_le_bytes(b) as f64),
                other => panic!("{name}: {other:?}"),
            };
            (name.to_string(), Golden { shape: view.shape().to_vec(), data })
        })
        .collect()
}

/// A state dict as PyTorch saved it.
pub fn state_dict(name: &str) -> StateDict {
    let bytes = std::fs::read(golden_path(name)).expect("a golden file");
    let file = SafeTensors::deserialize(&bytes).expect("safetensors");
    file.iter()
        .map(|(name, view)| {
            let shape = view.shape().to_vec();
            let value = match view.dtype() {
                Dtype::F32 => HostTensor::f32(shape, numbers(view.data(), f32::from_le_bytes)),
                Dtype::I64 => HostTensor::i64(shape, numbers(view.data(), i64::from_le_bytes)),
                other => panic!("{name}: {other:?}"),
            };
            (name.to_string(), value)
        })
        .collect()
}

/// Asserts max|a − b| ≤ tolerance · max|reference|.
#[track_caller]
pub fn assert_close(what: &str, found: &[f32], expected: &Golden, tolerance: f64) {
    assert_eq!(found.len(), expected.data.len(), "{what}: number of elements");
    let largest = expected.data.iter().fold(0.0f64, |a, b| a.max(b.abs()));
    let error = found
        .iter()
        .zip(&expected.data)
        .map(|(a, b)| (f64::from(*a) - b).abs())
        .fold(0.0, f64::max);
    assert!(
        error.is_finite() && error <= tolerance * largest.max(1e-30),
        "{what}: error {error:e} of {largest:e}, tolerance {tolerance:e}"
    );
}

/// The values of a floating-point entry.
#[track_caller]
pub fn floats<'a>(state: &'a StateDict, name: &str) -> &'a [f32] {
    match &state[name] {
        HostTensor { data: TensorData::F32(data), .. } => data,
        HostTensor { data: TensorData::I64(_), .. } => panic!("{name} is I64"),
    }
}

/// A network's parameter values by name.
pub fn values(net: &Network) -> BTreeMap<String, Vec<f32>> {
    net.params().into_iter().map(|(name, param)| (name, param.value().to_vec())).collect()
}
