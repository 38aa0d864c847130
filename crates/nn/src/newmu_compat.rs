//! Import of the DCGAN authors' released networks (Newmu/dcgan_code) as state dicts of recipe
//! `newmu-svhn`.

use crate::error::{NnError, TensorProblem};
use crate::state::StateDict;
use tensor::HostTensor;

/// How an array of the release differs from the tensor of a state dict.
#[derive(Clone, Copy)]
enum ArrayKind {
    /// No difference: γ or β.
    Vector,
    /// A matrix `[in, out]` instead of `[out, in]`.
    Matrix,
    /// A kernel of true convolution, `[.., .., kh, kw]`: both spatial axes are reversed.
    Kernel,
}

use ArrayKind::{Kernel, Matrix, Vector};

const GENERATOR: [(&str, ArrayKind, &[usize]); 10] = [
    ("main.0.weight", Matrix, &[100, 4096]),
    ("main.1.weight", Vector, &[4096]),
    ("main.1.bias", Vector, &[4096]),
    ("main.4.weight", Kernel, &[256, 128, 5, 5]),
    ("main.5.weight", Vector, &[128]),
    ("main.5.bias", Vector, &[128]),
    ("main.7.weight", Kernel, &[128, 64, 5, 5]),
    ("main.8.weight", Vector, &[64]),
    ("main.8.bias", Vector, &[64]),
    ("main.10.weight", Kernel, &[64, 3, 5, 5]),
];

const DISCRIMINATOR: [(&str, ArrayKind, &[usize]); 8] = [
    ("main.0.weight", Kernel, &[64, 3, 5, 5]),
    ("main.2.weight", Kernel, &[128, 64, 5, 5]),
    ("main.3.weight", Vector, &[128]),
    ("main.3.bias", Vector, &[128]),
    ("main.5.weight", Kernel, &[256, 128, 5, 5]),
    ("main.6.weight", Vector, &[256]),
    ("main.6.bias", Vector, &[256]),
    ("main.9.weight", Matrix, &[4096, 1]),
];

/// Returns the state dicts of generator and discriminator for recipe `newmu-svhn`, from the arrays
/// of `svhn_unsup_all_conv_dcgan_100z_gaussian_lr_0.0005_64mb` in Newmu/dcgan_code: the ten arrays
/// `…_gen_params.jl_01` to `_10` and the eight `…_discrim_params.jl_01` to `_08`, in that order.
/// Those networks normalize only with batch statistics: running statistics are left at 0 and 1 with
/// `num_batches_tracked` 0, to be filled by [`Network::recalibrate`](crate::Network::recalibrate).
///
/// # Errors
/// Returns an error if the number of arrays, a shape, or an element type differs from the release.
pub fn newmu_svhn_state(
    gen_arrays: &[HostTensor],
    discrim_arrays: &[HostTensor],
) -> Result<(StateDict, StateDict), NnError> {
    Ok((
        convert("gen_params", &GENERATOR, gen_arrays)?,
        convert("discrim_params", &DISCRIMINATOR, discrim_arrays)?,
    ))
}

fn convert(
    file: &str,
    table: &[(&str, ArrayKind, &[usize])],
    arrays: &[HostTensor],
) -> Result<StateDict, NnError> {
    let mut state = StateDict::new();
    if let Some(extra) = arrays.get(table.len()) {
        let name = format!("{file}_{:02}", table.len() + 1);
        return Err(NnError::UnexpectedTensor {
            name,
            shape: extra.shape.clone(),
            known: Vec::new(),
        });
    }
    for (i, &(name, kind, expected)) in table.iter().enumerate() {
        let array = format!("{file}_{:02}", i + 1);
        let Some(value) = arrays.get(i) else {
            return Err(NnError::MissingTensor { name: array, shape: expected.into() });
        };
        let (shape, Some(data)) = (&value.shape, value.as_f32()) else {
            let problem = TensorProblem::Type { found: "I64", expected: "F32" };
            return Err(NnError::BadTensor { name: array, problem });
        };
        if shape != expected {
            return Err(NnError::WrongShape {
                name: array,
                expected: expected.into(),
                found: shape.clone(),
            });
        }
        if data.len() != shape.iter().product::<usize>() {
            let problem = TensorProblem::Elements { elements: data.len(), shape: shape.clone() };
            return Err(NnError::BadTensor { name: array, problem });
        }
        state.insert(name.into(), to_pytorch(kind, shape, data));
        if let Some(layer) = name.strip_suffix(".bias") {
            let filled = |value| HostTensor::f32(shape.clone(), vec![value; data.len()]);
            state.insert(format!("{layer}.running_mean"), filled(0.0));
            state.insert(format!("{layer}.running_var"), filled(1.0));
            state.insert(format!("{layer}.num_batches_tracked"), HostTensor::scalar_i64(0));
        }
    }
    Ok(state)
}

fn to_pytorch(kind: ArrayKind, shape: &[usize], data: &[f32]) -> HostTensor {
    match (kind, shape) {
        (Matrix, &[rows, columns]) => {
            let transposed =
                (0..rows * columns).map(|i| data[i % rows * columns + i / rows]).collect();
            HostTensor::f32(vec![columns, rows], transposed)
        }
        (Kernel, &[.., kh, kw]) => {
            // Reversing a plane row-major reverses both of its axes.
            let flipped =
                data.chunks_exact(kh * kw).flat_map(|plane| plane.iter().rev().copied()).collect();
            HostTensor::f32(shape, flipped)
        }
        _ => HostTensor::f32(shape, data.into()),
    }
}
