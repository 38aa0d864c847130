//! State dicts: named tensors in PyTorch's layouts.

use crate::error::{NnError, TensorProblem};
use crate::layout::Layout;
use std::collections::BTreeMap;
use tensor::{HostTensor, Tensor, TensorData};

/// Tensors by name.
pub type StateDict = BTreeMap<String, HostTensor>;

/// The expected content of a state dict entry.
pub(crate) enum TensorSpec {
    /// Floating-point elements in this layout.
    F32(Layout),
    /// A rank-0 integer.
    Count,
}

impl TensorSpec {
    /// The shape in PyTorch's layout.
    fn shape(&self) -> &[usize] {
        match self {
            Self::F32(layout) => layout.outer(),
            Self::Count => &[],
        }
    }
}

/// The content of a state dict entry.
pub(crate) enum StateTensor {
    F32(Tensor),
    Count(i64),
}

/// Reads exactly the `expected` names, in their order, or changes nothing: on an error no entry is
/// used.
pub(crate) fn read_state(
    expected: &[(String, TensorSpec)],
    given: &StateDict,
) -> Result<Vec<StateTensor>, NnError> {
    let mut loaded = Vec::with_capacity(expected.len());
    for (name, what) in expected {
        let Some(value) = given.get(name) else {
            let shape = what.shape().to_vec();
            return Err(NnError::MissingTensor { name: name.clone(), shape });
        };
        loaded.push(read_one(name, what, value)?);
    }
    if let Some((name, value)) =
        given.iter().find(|(name, _)| !expected.iter().any(|(e, _)| e == *name))
    {
        let known = expected.iter().map(|(name, _)| name.clone()).collect();
        let (name, shape) = (name.clone(), value.shape.clone());
        return Err(NnError::UnexpectedTensor { name, shape, known });
    }
    Ok(loaded)
}

/// Undoes what other programs do to a state dict: a prefix that all names share, such as `module.`
/// of `DataParallel` or `_orig_mod.` of `torch.compile`, is stripped, a missing
/// `num_batches_tracked` (PyTorch before 0.4.1 has none) is 0, and one that was converted to a
/// floating-point type with all other tensors is an integer again.
pub(crate) fn adapt(expected: &[(String, TensorSpec)], given: StateDict) -> StateDict {
    let prefix = shared_prefix(expected, given.keys()).unwrap_or_default();
    let mut adapted: StateDict =
        given.into_iter().map(|(name, tensor)| (name[prefix.len()..].to_owned(), tensor)).collect();
    for (name, what) in expected {
        if matches!(what, TensorSpec::Count) && name.ends_with("num_batches_tracked") {
            let count = adapted.entry(name.clone()).or_insert_with(|| HostTensor::scalar_i64(0));
            if let Some(&[number]) = count.as_f32()
                // As an integer, infinity would be the largest one.
                && (0.0..2f32.powi(63)).contains(&number)
                && number.fract() == 0.0
            {
                *count = HostTensor::scalar_i64(number as i64);
            }
        }
    }
    adapted
}

/// Refuses a running variance below 0, which has no square root.
pub(crate) fn check_variances(state: &StateDict) -> Result<(), NnError> {
    for (name, tensor) in state.iter().filter(|(name, _)| name.ends_with("running_var")) {
        let values = tensor.as_f32().unwrap_or_default();
        if let Some(index) = values.iter().position(|value| *value < 0.0) {
            let problem = TensorProblem::Variance { value: values[index], index };
            return Err(NnError::BadTensor { name: name.clone(), problem });
        }
    }
    Ok(())
}

/// Compares shapes with the `expected` tensors, as [`adapt`] and [`read_state`] would: the number
/// of tensors before the first that differs, and that difference.
pub(crate) fn first_difference(
    expected: &[(String, TensorSpec)],
    given: &BTreeMap<String, Vec<usize>>,
) -> (usize, Result<(), NnError>) {
    let prefix = shared_prefix(expected, given.keys()).unwrap_or_default();
    for (count, (name, what)) in expected.iter().enumerate() {
        let wanted = what.shape();
        let name = name.clone();
        let difference = match given.get(&format!("{prefix}{name}")) {
            None if matches!(what, TensorSpec::Count) => continue,
            None => NnError::MissingTensor { name, shape: wanted.to_vec() },
            Some(found) if found == wanted => continue,
            Some(found) => {
                NnError::WrongShape { name, expected: wanted.to_vec(), found: found.clone() }
            }
        };
        return (count, Err(difference));
    }
    let own = |name: &str| expected.iter().any(|(known, _)| known == name);
    let unexpected = given.iter().find(|(name, _)| !own(&name[prefix.len()..]));
    let result = match unexpected {
        None => Ok(()),
        Some((name, shape)) => Err(NnError::UnexpectedTensor {
            name: name[prefix.len()..].to_owned(),
            shape: shape.clone(),
            known: expected.iter().map(|(name, _)| name.clone()).collect(),
        }),
    };
    (expected.len(), result)
}

/// The prefix, up to a dot, that all given names have before the expected ones; `None` if none.
fn shared_prefix<'a>(
    expected: &[(String, TensorSpec)],
    mut given: impl Iterator<Item = &'a String>,
) -> Option<String> {
    let first = given.next()?;
    let prefix = expected.iter().find_map(|(name, _)| first.strip_suffix(name.as_str()))?;
    let shared = prefix.ends_with('.') && given.all(|name| name.starts_with(prefix));
    shared.then(|| prefix.to_owned())
}

fn read_one(name: &str, what: &TensorSpec, value: &HostTensor) -> Result<StateTensor, NnError> {
    let bad = |problem| Err(NnError::BadTensor { name: name.into(), problem });
    let wrong = |expected: &[usize]| {
        Err(NnError::WrongShape {
            name: name.into(),
            expected: expected.into(),
            found: value.shape.clone(),
        })
    };
    let expected = what.shape();
    match (what, &value.data) {
        (TensorSpec::F32(_), TensorData::I64(_)) => {
            bad(TensorProblem::Type { found: "I64", expected: "F32" })
        }
        (TensorSpec::Count, TensorData::F32(_)) => {
            bad(TensorProblem::Type { found: "F32", expected: "I64" })
        }
        _ if value.shape != expected => wrong(expected),
        _ if !value.fills_shape() => {
            bad(TensorProblem::Elements { elements: value.len(), shape: value.shape.clone() })
        }
        (TensorSpec::F32(layout), TensorData::F32(data)) => {
            match data.iter().position(|value| !value.is_finite()) {
                Some(index) => {
                    let (name, value) = (name.into(), data[index]);
                    Err(NnError::NonFiniteTensor { name, value, index })
                }
                None => Ok(StateTensor::F32(layout.import(data))),
            }
        }
        (TensorSpec::Count, TensorData::I64(data)) => Ok(StateTensor::Count(data[0])),
    }
}
