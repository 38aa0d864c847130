//! What pictures are conditioned on: labels, attributes or vectors as rows of numbers.

use crate::TrainError;
use crate::artefacts;
use data::{AttributeKind, Batch, Dataset};
use nn::recipe::{Condition, ConditionKind};
use std::path::Path;
use std::sync::Arc;
use tensor::Tensor;

/// The most classes, and numbers in a condition.
const MOST: usize = 65_536;

/// Where the conditions of a set's pictures come from.
pub struct Conditions {
    dataset: Arc<Dataset>,
    kind: ConditionKind,
    size: usize,
    /// `[pictures, size]`, of a file.
    vectors: Option<Vec<f32>>,
}

/// What a set offers as condition of this kind: its length, and what each of its numbers is called. A column of words gives a number for each
/// word, called `column=word`.
///
/// # Errors
/// A set without labels, or without attributes; a file of vectors that is not one row for each picture.
pub fn offered(kind: ConditionKind, dataset: &Dataset, vectors: Option<&Path>) -> Result<(usize, Vec<String>), TrainError> {
    let bad = |text: String| Err(TrainError::Setting(text));
    match kind {
        ConditionKind::Class => {
            let names = dataset.class_names().to_vec();
            match names.len() {
                0 => bad(format!(
                    "{:?} has no labels to condition on: name a set with classes, or leave the condition out",
                    dataset.name()
                )),
                n if n > MOST => bad(format!("{:?} has {n} classes, over {MOST}", dataset.name())),
                n => Ok((n, names)),
            }
        }
        ConditionKind::Attributes => {
            let mut names = Vec::new();
            for column in dataset.attribute_columns() {
                match &column.kind {
                    AttributeKind::Binary | AttributeKind::Number => names.push(column.name.clone()),
                    AttributeKind::Category(words) => names.extend(words.iter().map(|word| format!("{}={word}", column.name))),
                }
            }
            match names.len() {
                0 => bad(format!(
                    "{:?} has no attributes to condition on: put a table attributes.csv beside the pictures, or leave the condition out",
                    dataset.name()
                )),
                n if n > MOST => bad(format!("the attributes of {:?} make {n} numbers, over {MOST}", dataset.name())),
                n => Ok((n, names)),
            }
        }
        ConditionKind::Vector => {
            let Some(file) = vectors else {
                return bad("a condition of vectors needs the file that holds them: --condition FILE.safetensors".into());
            };
            Ok((read(file, dataset.len())?.0, Vec::new()))
        }
    }
}

/// The width and numbers of a file's one tensor, `[pictures, width]`.
fn read(file: &Path, pictures: usize) -> Result<(usize, Vec<f32>), TrainError> {
    let mut arrays = artefacts::read_state_dict(file)?;
    let array = if arrays.len() == 1 { arrays.pop_first().map(|(_, array)| array) } else { arrays.remove("condition") };
    let wrong = |what: String| {
        TrainError::Setting(format!(
            "{file:?} {what}: give one tensor of F32 (or one called \"condition\"), a row for each of the {pictures} pictures"
        ))
    };
    let array = array.ok_or_else(|| wrong(format!("holds {} tensors, none called \"condition\"", arrays.len())))?;
    match (&array.shape[..], array.as_f32()) {
        ([rows, width], Some(values)) if *rows == pictures && (1..=MOST).contains(width) => {
            match values.iter().find(|v| !v.is_finite()) {
                Some(value) => Err(wrong(format!("holds {value}"))),
                None => Ok((*width, values.to_vec())),
            }
        }
        (shape, Some(_)) => Err(wrong(format!("holds a tensor of shape {shape:?}"))),
        (_, None) => Err(wrong("holds whole numbers".into())),
    }
}

impl Conditions {
    /// The conditions of `dataset`'s pictures as a recipe wants them.
    ///
    /// # Errors
    /// A set or file that does not offer what the recipe was made for.
    pub fn new(condition: &Condition, dataset: &Arc<Dataset>, vectors: Option<&Path>) -> Result<Self, TrainError> {
        let (size, names) = offered(condition.kind, dataset, vectors)?;
        if size != condition.size || !condition.names.is_empty() && names != condition.names {
            return Err(TrainError::Mismatch(format!(
                "the networks are conditioned on {} numbers, {:?} offers {size} or calls them otherwise: use the set they were made for",
                condition.size,
                dataset.name()
            )));
        }
        let vectors = match (condition.kind, vectors) {
            (ConditionKind::Vector, Some(file)) => Some(read(file, dataset.len())?.1),
            _ => None,
        };
        Ok(Self { dataset: Arc::clone(dataset), kind: condition.kind, size, vectors })
    }

    /// The conditions of a batch, `[N, size]` row after row.
    pub fn of(&self, batch: &Batch) -> Vec<f32> {
        batch.indices.iter().flat_map(|&index| self.row(index)).collect()
    }

    /// The conditions of the set's first pictures, one of each kind that there is among the first thousand, `[count, size]` on the CPU, in their
    /// order; fewer where there are fewer.
    pub fn examples(&self, count: usize) -> Tensor {
        let mut rows: Vec<Vec<f32>> = Vec::new();
        for index in 0..self.dataset.len().min(1000) {
            let row = self.row(index);
            if rows.len() < count && !rows.contains(&row) {
                rows.push(row);
            }
        }
        Tensor::from_slice(&rows.concat(), [rows.len(), self.size])
    }

    fn row(&self, index: usize) -> Vec<f32> {
        match (self.kind, &self.vectors) {
            (ConditionKind::Vector, Some(vectors)) => vectors[index * self.size..][..self.size].to_vec(),
            (ConditionKind::Class, _) => one_of(self.size, self.dataset.label(index).map_or(usize::MAX, |label| label as usize)),
            _ => self.attributes(index),
        }
    }

    fn attributes(&self, index: usize) -> Vec<f32> {
        let values = self.dataset.attributes(index);
        let columns = self.dataset.attribute_columns().iter().zip(values);
        columns
            .flat_map(|(column, value)| match &column.kind {
                AttributeKind::Binary | AttributeKind::Number => vec![value],
                AttributeKind::Category(words) => one_of(words.len(), value as usize),
            })
            .collect()
    }
}

/// Zeros, and a one at `at`.
fn one_of(count: usize, at: usize) -> Vec<f32> {
    (0..count).map(|i| f32::from(u8::from(i == at))).collect()
}

/// A condition that a user describes: `3` or a class's name; or attributes, `smiling=1` or `gender=woman` each, the others 0. `[1, size]`.
///
/// # Errors
/// A name that the networks do not know, with those they know.
pub fn described(condition: &Condition, class: Option<&str>, attributes: &[String]) -> Result<Tensor, TrainError> {
    let bad = |text: String| Err(TrainError::Setting(text));
    let known = || {
        if condition.names.is_empty() { format!("0 to {}", condition.size.saturating_sub(1)) } else { condition.names.join(", ") }
    };
    let mut row = vec![0.0; condition.size];
    match (condition.kind, class) {
        (ConditionKind::Class, Some(text)) => {
            let named = condition.names.iter().position(|name| name.eq_ignore_ascii_case(text));
            match named.or_else(|| text.parse().ok()).and_then(|at: usize| row.get_mut(at)) {
                Some(value) => *value = 1.0,
                None => return bad(format!("--class {text}: these networks know {}", known())),
            }
        }
        (ConditionKind::Attributes, None) => {
            for text in attributes {
                let (name, value) = text.split_once('=').unwrap_or((text, "1"));
                let number = value.parse::<f32>().ok().filter(|value| value.is_finite());
                let whole = condition.names.iter().position(|known| known == text);
                match (whole, condition.names.iter().position(|known| known == name), number) {
                    (Some(at), ..) => row[at] = 1.0,
                    (None, Some(at), Some(number)) => row[at] = number,
                    _ => return bad(format!("--attr {text}: these networks know {}", known())),
                }
            }
        }
        (ConditionKind::Class, None) => {
            return bad(format!("these networks are conditioned on a class: --class, one of {}", known()));
        }
        (ConditionKind::Attributes, Some(_)) => {
            return bad(format!("these networks are conditioned on attributes: use --attr, with {}", known()));
        }
        (ConditionKind::Vector, _) => {
            return bad("these networks are conditioned on vectors: give them with --condition FILE.safetensors".into());
        }
    }
    Ok(Tensor::from_slice(&row, [1, condition.size]))
}
