//! The object of a file of PyTorch: its dicts of tensors, and what is not read.

use super::PyTorchProblem;
use pickle::{Pickle, Value, ValueId};
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};

/// Dicts inside each other.
const MAX_DEPTH: usize = 8;
/// The longest name in bytes: a name may be shared by many entries, and is copied for each.
const MAX_NAME: usize = 256;
/// The most axes of a tensor.
const MAX_RANK: usize = 16;
/// The name of a tensor that is the whole file.
const ALONE: &str = "tensor";

/// Something in a file of PyTorch that is not a tensor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UnreadEntry {
    /// The keys that lead to it, joined by dots.
    pub key: String,
    /// What it is, such as `a list of 3` or `an object of posix.system`.
    pub what: String,
}

/// What the pickle holds.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// The dicts that hold tensors, by the keys that lead to them.
    pub dicts: BTreeMap<String, BTreeMap<String, StoredTensor>>,
    pub unread: Vec<UnreadEntry>,
}

/// A view of a storage. Offset and strides count elements.
#[derive(Clone, Debug)]
pub(super) struct StoredTensor {
    pub element: ElementType,
    /// The storage's key.
    pub storage: String,
    pub offset: u64,
    pub shape: Vec<usize>,
    pub strides: Vec<u64>,
}

/// A reference to a storage.
pub(super) struct StorageId {
    /// `None` for a type that is not read, such as complex numbers.
    pub element: Option<ElementType>,
    pub key: String,
    pub count: u64,
}

/// The element types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ElementType {
    F64,
    F32,
    F16,
    BF16,
    I64,
    I32,
    I16,
    I8,
    U8,
    Bool,
}

impl ElementType {
    fn of_storage(class: &str) -> Option<Self> {
        Some(match class {
            "DoubleStorage" => Self::F64,
            "FloatStorage" => Self::F32,
            "HalfStorage" => Self::F16,
            "BFloat16Storage" => Self::BF16,
            "LongStorage" => Self::I64,
            "IntStorage" => Self::I32,
            "ShortStorage" => Self::I16,
            "CharStorage" => Self::I8,
            "ByteStorage" => Self::U8,
            "BoolStorage" => Self::Bool,
            _ => return None,
        })
    }

    /// As safetensors spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::F64 => "F64",
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::BF16 => "BF16",
            Self::I64 => "I64",
            Self::I32 => "I32",
            Self::I16 => "I16",
            Self::I8 => "I8",
            Self::U8 => "U8",
            Self::Bool => "BOOL",
        }
    }

    pub fn bytes(self) -> u64 {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::BF16 | Self::I16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }
}

impl Contents {
    /// Finds the tensors of a pickled object.
    pub fn of(pickle: &Pickle<'_>) -> Result<Self, PyTorchProblem> {
        let mut contents = Self::default();
        let root = pickle.root();
        if let Some(tensor) = tensor(pickle, root, ALONE)? {
            contents.dicts.insert(String::new(), BTreeMap::from([(ALONE.to_owned(), tensor)]));
            return Ok(contents);
        }
        if pickle.dict(root).is_none() {
            return Err(PyTorchProblem::Object { found: pickle.describe(root) });
        }
        contents.walk(pickle, root, "", &mut HashSet::new(), 0)?;
        if contents.dicts.is_empty() {
            let first = contents.unread.first();
            let first = first.map(|entry| format!("{:?} is {}", entry.key, entry.what));
            return Err(PyTorchProblem::NoTensors { first });
        }
        Ok(contents)
    }

    fn walk(
        &mut self,
        pickle: &Pickle<'_>,
        dict: ValueId,
        path: &str,
        visited: &mut HashSet<ValueId>,
        depth: usize,
    ) -> Result<(), PyTorchProblem> {
        visited.insert(dict);
        for &(key, value) in pickle.dict(dict).unwrap_or_default() {
            let text = pickle.text(key);
            let name = text.filter(|text| text.len() <= MAX_NAME);
            let mut joined = match name {
                Some(name) if path.is_empty() => name.to_owned(),
                Some(name) => format!("{path}.{name}"),
                None => format!("{path}[{}]", pickle.describe(key)),
            };
            let what = if joined.len() > MAX_NAME || name != text {
                "under a name that is too long".to_owned()
            } else if let Some(name) = name
                && let Some(tensor) = tensor(pickle, value, &joined)?
            {
                self.dicts.entry(path.to_owned()).or_default().insert(name.to_owned(), tensor);
                continue;
            } else if name.is_none() || pickle.dict(value).is_none_or(<[_]>::is_empty) {
                pickle.describe(value)
            } else if visited.contains(&value) {
                "a dict that is listed under another key".to_owned()
            } else if depth == MAX_DEPTH {
                "a dict inside too many others".to_owned()
            } else {
                self.walk(pickle, value, &joined, visited, depth + 1)?;
                continue;
            };
            let end = (0..=MAX_NAME).rev().find(|&end| joined.is_char_boundary(end));
            joined.truncate(end.unwrap_or(0));
            self.unread.push(UnreadEntry { key: joined, what });
        }
        Ok(())
    }
}

/// The tensor that a value is; `None` if it is something else, or of a type that is not read.
fn tensor(
    pickle: &Pickle<'_>,
    value: ValueId,
    name: &str,
) -> Result<Option<StoredTensor>, PyTorchProblem> {
    let malformed = |problem: &str| PyTorchProblem::Tensor {
        name: name.to_owned(),
        problem: problem.to_owned(),
    };
    let mut value = value;
    // A parameter is a call with a tensor; it is not inside another.
    if let Some((
        ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state"),
        args,
        _,
    )) = pickle.call(value)
    {
        value = *args.first().ok_or_else(|| malformed("it is a parameter without a tensor"))?;
    }
    let Some((("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor"), args, _)) =
        pickle.call(value)
    else {
        return Ok(None);
    };
    let [storage, offset, shape, strides, ..] = *args else {
        return Err(malformed("it has fewer than four arguments"));
    };
    let storage = match pickle.get(storage) {
        Value::Persistent(id) => storage_id(pickle, *id)?,
        _ => None,
    };
    let storage = storage.ok_or_else(|| malformed("it has no storage"))?;
    let Some(element) = storage.element else { return Ok(None) };
    let numbers = |id: ValueId| -> Option<Vec<u64>> {
        let items = pickle.tuple(id).filter(|items| items.len() <= MAX_RANK)?;
        items.iter().map(|&item| pickle.int(item)?.try_into().ok()).collect()
    };
    let offset = pickle.int(offset).and_then(|offset| u64::try_from(offset).ok());
    let offset = offset.ok_or_else(|| malformed("its offset is no number of elements"))?;
    let shape = numbers(shape).ok_or_else(|| malformed("its shape is no tuple of sizes"))?;
    let strides = numbers(strides).ok_or_else(|| malformed("its strides are no tuple of sizes"))?;
    if shape.len() != strides.len() {
        return Err(malformed("its shape and its strides have different lengths"));
    }
    let shape = shape.into_iter().map(|n| usize::try_from(n).ok()).collect::<Option<_>>();
    let shape = shape.ok_or_else(|| malformed("its shape is too large"))?;
    Ok(Some(StoredTensor { element, storage: storage.key, offset, shape, strides }))
}

/// The storage that a persistent id names: `("storage", torch.FloatStorage, key, device, numel)`,
/// in the legacy format with a sixth element for a view of another storage.
pub(super) fn storage_id(
    pickle: &Pickle<'_>,
    id: ValueId,
) -> Result<Option<StorageId>, PyTorchProblem> {
    let Some([kind, class, key, _device, count, view @ ..]) = pickle.tuple(id) else {
        return Ok(None);
    };
    if pickle.text(*kind) != Some("storage") {
        return Ok(None);
    }
    let key = match pickle.int(*key) {
        Some(number) => Some(number.to_string()),
        None => pickle.text(*key).filter(|key| key.len() <= MAX_NAME).map(str::to_owned),
    };
    let class =
        pickle.global(*class).filter(|(module, _)| ["torch", "torch.cuda"].contains(module));
    let count = pickle.int(*count).and_then(|count| u64::try_from(count).ok());
    let (Some(key), Some(count)) = (key, count) else { return Ok(None) };
    if view.iter().any(|view| !matches!(pickle.get(*view), Value::None)) {
        let problem = "it is a view of another storage, which is not read".to_owned();
        return Err(PyTorchProblem::Storage { key, problem });
    }
    let element = class.and_then(|(_, name)| ElementType::of_storage(name));
    Ok(Some(StorageId { element, key, count }))
}
