//! What pictures are conditioned on: labels, attributes or vectors as rows of numbers.

use crate::TrainError;

use data::{Attribute, AttributeKind, Batch, Dataset};
use nn::recipe::{ConditionConfig, ConditionKind};
use std::collections::HashMap;
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
    /// The columns of attributes that are told.
    columns: Vec<usize>,
    /// Whose label is told, where that is not everybody's.
    known: Option<Vec<bool>>,
}

/// What a set offers as the condition of a new recipe: its length, and what each of its numbers is called. A column of words gives a number for each
/// word, called `column=word`. Where the condition names columns of attributes, or single ones of these numbers, their columns are taken; else all but
/// those that tell pictures apart or say what they are for: `split`, and columns of words or whole numbers where more than half of the
/// pictures have one that no other has.
///
/// # Errors
/// A set without labels, or without attributes, or without those named; a file of vectors that is not one row for each picture.
pub fn condition_schema(
    condition: &ConditionConfig,
    dataset: &Dataset,
    vectors: Option<&Path>,
) -> Result<(usize, Vec<String>), TrainError> {
    let chosen = match condition.kind {
        ConditionKind::Attributes if condition.names.is_empty() => {
            default_condition_columns(dataset)
        }
        ConditionKind::Attributes => columns_by_name(&condition.names, dataset)?,
        ConditionKind::Class | ConditionKind::Vector => Vec::new(),
    };
    schema_of_columns(condition.kind, &chosen, dataset, vectors)
}

/// The columns of attributes that are told unless some are named.
fn default_condition_columns(dataset: &Dataset) -> Vec<usize> {
    let columns = dataset.attribute_columns();
    let mut counts: Vec<HashMap<u32, u32>> = vec![HashMap::new(); columns.len()];
    for index in 0..dataset.len() {
        for (count, value) in counts.iter_mut().zip(dataset.attributes(index)) {
            *count.entry(value.to_bits()).or_default() += 1;
        }
    }
    let telling = |at: &usize| {
        let alone = counts[*at].values().filter(|count| **count == 1).count();
        let measured = columns[*at].kind == AttributeKind::Number
            && counts[*at].keys().any(|bits| f32::from_bits(*bits).fract() != 0.0);
        columns[*at].describes() && (2 * alone <= dataset.len() || measured)
    };
    (0..columns.len()).filter(telling).collect()
}

/// The columns of attributes with these names, or with numbers of these names, in the table's order.
fn columns_by_name(names: &[String], dataset: &Dataset) -> Result<Vec<usize>, TrainError> {
    let columns = dataset.attribute_columns();
    let of = |name: &String| {
        let own = |column: &Attribute| {
            column.name == *name
                || name.strip_prefix(&column.name).is_some_and(|rest| rest.starts_with('='))
        };
        columns.iter().position(own).ok_or_else(|| {
            let known =
                columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ");
            let there = if known.is_empty() { "none".to_owned() } else { known };
            TrainError::Setting(format!(
                "{:?} has no attribute {name:?}: there are {there}",
                dataset.name()
            ))
        })
    };
    let mut chosen = names.iter().map(of).collect::<Result<Vec<_>, _>>()?;
    chosen.sort_unstable();
    chosen.dedup();
    Ok(chosen)
}

/// The same, of these columns of attributes.
fn schema_of_columns(
    kind: ConditionKind,
    chosen: &[usize],
    dataset: &Dataset,
    vectors: Option<&Path>,
) -> Result<(usize, Vec<String>), TrainError> {
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
            for column in chosen.iter().map(|at| &dataset.attribute_columns()[*at]) {
                match &column.kind {
                    AttributeKind::Binary | AttributeKind::Number => {
                        names.push(column.name.clone())
                    }
                    AttributeKind::Category(words) => {
                        names.extend(words.iter().map(|word| format!("{}={word}", column.name)))
                    }
                }
            }
            match names.len() {
                0 if !dataset.attribute_columns().is_empty() => bad(format!(
                    "the attributes of {:?} only tell its pictures apart: name those to condition on, --condition attributes:NAME,NAME",
                    dataset.name()
                )),
                0 => bad(format!(
                    "{:?} has no attributes to condition on: put a table attributes.csv beside the pictures, or leave the condition out",
                    dataset.name()
                )),
                n if n > MOST => bad(format!(
                    "the attributes of {:?} make {n} numbers, over {MOST}",
                    dataset.name()
                )),
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
    let mut arrays = runs::read_state_dict(file)?;
    let array = if arrays.len() == 1 {
        arrays.pop_first().map(|(_, array)| array)
    } else {
        arrays.remove("condition")
    };
    let wrong = |what: String| {
        TrainError::Setting(format!(
            "{file:?} {what}: give one tensor of F32 (or one called \"condition\"), a row for each of the {pictures} pictures"
        ))
    };
    let array = array.ok_or_else(|| {
        wrong(format!("holds {} tensors, none called \"condition\"", arrays.len()))
    })?;
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
    pub fn new(
        condition: &ConditionConfig,
        dataset: &Arc<Dataset>,
        vectors: Option<&Path>,
    ) -> Result<Self, TrainError> {
        let columns = match (condition.kind, condition.names.is_empty()) {
            (ConditionKind::Attributes, false) => columns_by_name(&condition.names, dataset)?,
            _ => (0..dataset.attribute_columns().len()).collect(),
        };
        let (size, names) = schema_of_columns(condition.kind, &columns, dataset, vectors)?;
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
        Ok(Self {
            dataset: Arc::clone(dataset),
            kind: condition.kind,
            size,
            vectors,
            columns,
            known: None,
        })
    }

    /// The same, with the labels of `count` pictures, as many of each class as can be, and none of the others, whose rows are zeros; 0 leaves all.
    /// Which ones is a function of the set alone.
    #[must_use]
    pub fn with_labels(mut self, count: usize) -> Self {
        if count == 0 || count >= self.dataset.len() {
            return self;
        }
        let mut classes: Vec<Vec<(u64, usize)>> = vec![Vec::new(); self.size];
        for index in 0..self.dataset.len() {
            if let Some(class) =
                self.dataset.label(index).and_then(|label| classes.get_mut(label as usize))
            {
                class.push((splitmix64(index as u64), index));
            }
        }
        classes.iter_mut().for_each(|class| class.sort_unstable());
        let longest = classes.iter().map(Vec::len).max().unwrap_or_default();
        let rounds =
            (0..longest).flat_map(|round| classes.iter().filter_map(move |class| class.get(round)));
        let mut known = vec![false; self.dataset.len()];
        rounds.take(count).for_each(|(_, index)| known[*index] = true);
        self.known = Some(known);
        self
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
            (ConditionKind::Vector, Some(vectors)) => {
                vectors[index * self.size..][..self.size].to_vec()
            }
            (ConditionKind::Class, _) if self.known.as_ref().is_some_and(|known| !known[index]) => {
                vec![0.0; self.size]
            }
            (ConditionKind::Class, _) => one_of(
                self.size,
                self.dataset.label(index).map_or(usize::MAX, |label| label as usize),
            ),
            _ => self.attributes(index),
        }
    }

    fn attributes(&self, index: usize) -> Vec<f32> {
        let values = self.dataset.attributes(index);
        let columns = self.dataset.attribute_columns();
        let numbers = self.columns.iter().flat_map(|&at| match &columns[at].kind {
            AttributeKind::Binary | AttributeKind::Number => vec![values[at]],
            AttributeKind::Category(words) => one_of(words.len(), values[at] as usize),
        });
        numbers.collect()
    }
}

/// A number that says nothing of `index`, of which each is another (the last steps of SplitMix64).
fn splitmix64(index: u64) -> u64 {
    let mixed = (index ^ (index >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Zeros, and a one at `at`.
fn one_of(count: usize, at: usize) -> Vec<f32> {
    (0..count).map(|i| f32::from(u8::from(i == at))).collect()
}

/// A condition that a user describes: `3` or a class's name; or attributes, `smiling=1` or `gender=female` each, the others 0. `[1, size]`.
///
/// # Errors
/// A name that the networks do not know, with those they know.
pub fn parse_condition(
    condition: &ConditionConfig,
    class: Option<&str>,
    attributes: &[String],
) -> Result<Tensor, TrainError> {
    let bad = |text: String| Err(TrainError::Setting(text));
    let known = || {
        if condition.names.is_empty() {
            format!("0 to {}", condition.size.saturating_sub(1))
        } else {
            condition.names.join(", ")
        }
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
            return bad(format!(
                "these networks are conditioned on a class: --class, one of {}",
                known()
            ));
        }
        (ConditionKind::Attributes, Some(_)) => {
            return bad(format!(
                "these networks are conditioned on attributes: use --attr, with {}",
                known()
            ));
        }
        (ConditionKind::Vector, _) => {
            return bad("these networks are conditioned on vectors: give them with --condition FILE.safetensors".into());
        }
    }
    Ok(Tensor::from_slice(&row, [1, condition.size]))
}
