//! The tensors of a file with the network's weights.

use crate::EvalError;
use runs::{ArtifactError, read_state_dict};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use tensor::{HostTensor, Tensor};

/// The epsilon of every batch norm.
const EPS: f64 = 1e-3;

/// Named tensors, from which each layer takes its own.
pub(super) struct Weights {
    path: PathBuf,
    tensors: BTreeMap<String, HostTensor>,
}

impl Weights {
    /// Reads a state dict; entries that an evaluation does not use are left out.
    pub(super) fn open(path: &Path) -> Result<Self, EvalError> {
        let mut tensors = read_state_dict(path)?;
        tensors.retain(|name, _| !name.ends_with(".num_batches_tracked"));
        Ok(Self { path: path.into(), tensors })
    }

    fn problem(&self, problem: String) -> EvalError {
        EvalError::InceptionFile { path: self.path.clone(), problem }
    }

    /// Takes the tensor with this name.
    pub(super) fn take(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, EvalError> {
        let Some(tensor) = self.tensors.remove(name) else {
            return Err(self.problem(format!("it has no tensor {name:?}")));
        };
        if tensor.shape != shape {
            let found = tensor.shape;
            return Err(self.problem(format!("tensor {name:?} is {found:?}, not {shape:?}")));
        }
        let is_variance = name.ends_with(".running_var");
        let valid = |value: f32| value.is_finite() && (value >= 0.0 || !is_variance);
        match tensor.into_f32() {
            Some(values) => match values.iter().find(|&&value| !valid(value)) {
                None => Ok(values),
                Some(value) => Err(self.problem(format!("tensor {name:?} has a value of {value}"))),
            },
            None => Err(self.problem(format!("tensor {name:?} holds integers"))),
        }
    }

    /// Returns an error if tensors are left.
    pub(super) fn finish(self) -> Result<(), EvalError> {
        match self.tensors.keys().next() {
            None => Ok(()),
            Some(name) => Err(self.problem(format!("the network has no tensor {name:?}"))),
        }
    }
}

/// Where a layer takes its tensors from, by name and shape.
pub(super) type Source<'a, E> = dyn FnMut(&str, &[usize]) -> Result<Vec<f32>, E> + 'a;

/// The weight `[kh, kw, in, out]` and the bias `[out]` of a convolution and the batch norm after
/// it.
pub(super) fn convolution<E>(
    source: &mut Source<'_, E>,
    name: &str,
    [inputs, outputs]: [usize; 2],
    [height, width]: [usize; 2],
) -> Result<(Tensor, Tensor), E> {
    let stored = source(&format!("{name}.conv.weight"), &[outputs, inputs, height, width])?;
    let mut norm = |own: &str| source(&format!("{name}.bn.{own}"), &[outputs]);
    let (gamma, beta) = (norm("weight")?, norm("bias")?);
    let (mean, variance) = (norm("running_mean")?, norm("running_var")?);
    let scale: Vec<f64> = gamma
        .iter()
        .zip(&variance)
        .map(|(&gamma, &variance)| f64::from(gamma) / (f64::from(variance) + EPS).sqrt())
        .collect();
    let bias: Vec<f32> = beta
        .iter()
        .zip(&mean)
        .zip(&scale)
        .map(|((&beta, &mean), scale)| (f64::from(beta) - f64::from(mean) * scale) as f32)
        .collect();
    let taps = height * width;
    let mut weight = vec![0.0; stored.len()];
    for (out, (kernels, scale)) in stored.chunks_exact(inputs * taps).zip(&scale).enumerate() {
        for (i, &value) in kernels.iter().enumerate() {
            let (channel, tap) = (i / taps, i % taps);
            weight[(tap * inputs + channel) * outputs + out] = (f64::from(value) * scale) as f32;
        }
    }
    Ok((
        Tensor::from_slice(&weight, [height, width, inputs, outputs]),
        Tensor::from_slice(&bias, [outputs]),
    ))
}

/// The weight `[features, classes]` of the linear layer; its bias is read, but not used.
pub(super) fn classifier<E>(
    source: &mut Source<'_, E>,
    [classes, features]: [usize; 2],
) -> Result<Tensor, E> {
    let weight = source("fc.weight", &[classes, features])?;
    source("fc.bias", &[classes])?;
    Ok(Tensor::from_slice(&weight, [classes, features]).transpose())
}

/// The SHA-256 of a file in hexadecimal.
pub(super) fn sha256(path: &Path) -> Result<String, EvalError> {
    let read = |source| ArtifactError::Read { path: path.into(), source };
    let mut file = file_io::open(path).map_err(read)?;
    let mut digest = Sha256::new();
    io::copy(&mut file, &mut digest).map_err(read)?;
    Ok(hexadecimal(digest))
}

pub(super) fn hexadecimal(digest: Sha256) -> String {
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
