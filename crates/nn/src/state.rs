//! State dicts: named numbers in PyTorch's layouts.

use crate::error::{NnError, nearest};
use crate::layout::Layout;
use std::collections::BTreeMap;
use tensor::Tensor;

/// One tensor of a state dict, row-major.
#[derive(Clone, Debug, PartialEq)]
pub enum StateValue {
    /// Floating-point numbers.
    F32 {
        /// Lengths of the axes.
        shape: Vec<usize>,
        /// As many numbers as the shape has.
        data: Vec<f32>,
    },
    /// Integers: counters.
    I64 {
        /// Lengths of the axes.
        shape: Vec<usize>,
        /// As many numbers as the shape has.
        data: Vec<i64>,
    },
}

/// Tensors by name.
pub type StateDict = BTreeMap<String, StateValue>;

impl StateValue {
    /// A rank-0 integer.
    pub fn count(value: i64) -> Self {
        Self::I64 { shape: Vec::new(), data: vec![value] }
    }

    /// The lengths of the axes.
    pub fn shape(&self) -> &[usize] {
        match self {
            Self::F32 { shape, .. } | Self::I64 { shape, .. } => shape,
        }
    }

    pub(crate) fn of(layout: &Layout, value: &Tensor) -> Self {
        Self::F32 { shape: layout.outer().into(), data: layout.export(value) }
    }
}

/// What a name must hold.
pub(crate) enum Expected {
    /// Floating-point numbers in this layout.
    F32(Layout),
    /// A rank-0 integer.
    Count,
}

/// What a name held.
pub(crate) enum Loaded {
    F32(Tensor),
    Count(i64),
}

/// Reads exactly the `expected` names, in their order, or changes nothing: an error means that none was used.
pub(crate) fn read(
    expected: &[(String, Expected)],
    given: &StateDict,
) -> Result<Vec<Loaded>, NnError> {
    let mut loaded = Vec::with_capacity(expected.len());
    for (name, what) in expected {
        let Some(value) = given.get(name) else {
            let shape = match what {
                Expected::F32(layout) => layout.outer().to_vec(),
                Expected::Count => Vec::new(),
            };
            return Err(NnError::MissingTensor { name: name.clone(), shape });
        };
        loaded.push(read_one(name, what, value)?);
    }
    if let Some((name, value)) =
        given.iter().find(|(name, _)| !expected.iter().any(|(e, _)| e == *name))
    {
        let near = nearest(name, expected.iter().map(|(e, _)| e.as_str()));
        let hint = near.map_or_else(String::new, |n| format!(", which has \"{n}\""));
        return Err(NnError::UnexpectedTensor {
            name: name.clone(),
            shape: value.shape().to_vec(),
            hint,
        });
    }
    Ok(loaded)
}

fn read_one(name: &str, what: &Expected, value: &StateValue) -> Result<Loaded, NnError> {
    let bad = |problem: String| Err(NnError::BadTensor { name: name.into(), problem });
    let wrong = |expected: &[usize]| {
        Err(NnError::WrongShape {
            name: name.into(),
            expected: expected.into(),
            found: value.shape().into(),
        })
    };
    match (what, value) {
        (Expected::F32(layout), StateValue::F32 { shape, .. }) if shape != layout.outer() => {
            wrong(layout.outer())
        }
        (Expected::Count, StateValue::I64 { shape, .. }) if !shape.is_empty() => wrong(&[]),
        (Expected::F32(layout), StateValue::F32 { shape, data }) => {
            if data.len() != shape.iter().product::<usize>() {
                return bad(format!("has {} numbers for shape {shape:?}", data.len()));
            }
            Ok(Loaded::F32(layout.import(data)))
        }
        (Expected::Count, StateValue::I64 { data, .. }) => match data[..] {
            [count] => Ok(Loaded::Count(count)),
            _ => bad(format!("has {} numbers for shape []", data.len())),
        },
        (Expected::F32(_), StateValue::I64 { .. }) => bad("holds I64 where F32 belongs".into()),
        (Expected::Count, StateValue::F32 { .. }) => bad("holds F32 where I64 belongs".into()),
    }
}
