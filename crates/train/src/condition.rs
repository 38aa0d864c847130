//! The conditions of images (conditional GANs, Mirza & Osindero 2014): class labels, attributes or
//! vectors as rows `[N, K]`.
//!
//! ```
//! use nn::recipe::{ConditionConfig, ConditionKind, ConditioningMethod};
//! use train::condition::parse_condition;
//!
//! let condition = ConditionConfig {
//!     kind: ConditionKind::Class,
//!     size: 3,
//!     names: ["cat", "dog", "owl"].map(String::from).to_vec(),
//!     generator: ConditioningMethod::Input,
//!     discriminator: ConditioningMethod::Projection,
//!     embedding: 0,
//!     auxiliary_weight: 1.0,
//! };
//! assert_eq!(parse_condition(&condition, Some("dog"), &[])?.to_vec(), [0.0, 1.0, 0.0]);
//! assert!(parse_condition(&condition, Some("bee"), &[]).is_err());
//! # Ok::<(), train::TrainError>(())
//! ```

use crate::TrainError;
pub use crate::condition_error::ConditionError;
use data::{Attribute, AttributeKind, Batch, Dataset};
use nn::recipe::{ConditionConfig, ConditionKind};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use tensor::Tensor;

/// The most classes, and the most values of a condition.
const MAX_SIZE: usize = 65_536;

/// The conditions of a dataset's images.
pub struct Conditions {
    dataset: Arc<Dataset>,
    kind: ConditionKind,
    size: usize,
    /// `[images, size]`, from a file.
    vectors: Option<Vec<f32>>,
    /// The attribute columns that the networks are conditioned on.
    columns: Vec<usize>,
    /// Which images have a label, if not all.
    has_label: Option<Vec<bool>>,
}

/// The condition that a dataset gives to a new recipe: the number of its values, and their names.
/// A column of words gives one value per word, named `column=word`.
///
/// The columns are those that `condition` names (by the column or by one of its values); otherwise
/// all but those that identify images or name a split: `split`, and columns of words or whole
/// numbers where more than half of the images have a value that no other image has.
///
/// # Errors
/// Returns an error if the dataset has no labels or only one class, no attributes or not those
/// named, or if the file of vectors does not have one row per image.
pub fn condition_schema(
    condition: &ConditionConfig,
    dataset: &Dataset,
    vectors: Option<&Path>,
) -> Result<(usize, Vec<String>), TrainError> {
    let columns = match condition.kind {
        ConditionKind::Attributes if condition.names.is_empty() => {
            default_condition_columns(dataset)
        }
        ConditionKind::Attributes => columns_by_name(&condition.names, dataset)?,
        ConditionKind::Class | ConditionKind::Vector => Vec::new(),
    };
    let schema = schema_of_columns(condition.kind, &columns, dataset, vectors)?;
    match (condition.kind, &schema.1[..]) {
        (ConditionKind::Class, [class]) => {
            let (dataset, class) = (dataset.name().to_owned(), class.clone());
            Err(ConditionError::OneClass { dataset, class }.into())
        }
        _ => Ok(schema),
    }
}

/// The attribute columns of a condition that names none.
fn default_condition_columns(dataset: &Dataset) -> Vec<usize> {
    let columns = dataset.attribute_columns();
    let mut counts: Vec<HashMap<u32, u32>> = vec![HashMap::new(); columns.len()];
    for index in 0..dataset.len() {
        for (count, value) in counts.iter_mut().zip(dataset.attributes(index)) {
            *count.entry(value.to_bits()).or_default() += 1;
        }
    }
    let describes_images = |column: &usize| {
        let unique = counts[*column].values().filter(|count| **count == 1).count();
        // A measured quantity is different for every image without identifying any.
        let is_fractional = columns[*column].kind == AttributeKind::Number
            && counts[*column].keys().any(|bits| f32::from_bits(*bits).fract() != 0.0);
        columns[*column].describes() && (2 * unique <= dataset.len() || is_fractional)
    };
    (0..columns.len()).filter(describes_images).collect()
}

/// The attribute columns with these names, or with values of these names, in the table's order.
fn columns_by_name(names: &[String], dataset: &Dataset) -> Result<Vec<usize>, ConditionError> {
    let columns = dataset.attribute_columns();
    let find = |name: &String| {
        let matches = |column: &Attribute| {
            column.name == *name
                || name.strip_prefix(&column.name).is_some_and(|rest| rest.starts_with('='))
        };
        columns.iter().position(matches).ok_or_else(|| ConditionError::NoSuchAttribute {
            dataset: dataset.name().to_string(),
            name: name.clone(),
            known: columns.iter().map(|column| column.name.clone()).collect(),
        })
    };
    let mut found = names.iter().map(find).collect::<Result<Vec<_>, _>>()?;
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// [`condition_schema`] of these attribute columns.
fn schema_of_columns(
    kind: ConditionKind,
    columns: &[usize],
    dataset: &Dataset,
    vectors: Option<&Path>,
) -> Result<(usize, Vec<String>), TrainError> {
    let name = || dataset.name().to_string();
    let names = match kind {
        ConditionKind::Class => dataset.class_names().to_vec(),
        ConditionKind::Attributes => {
            let columns = columns.iter().map(|column| &dataset.attribute_columns()[*column]);
            let names = columns.flat_map(|column| match &column.kind {
                AttributeKind::Binary | AttributeKind::Number => vec![column.name.clone()],
                AttributeKind::Category(words) => {
                    words.iter().map(|word| format!("{}={word}", column.name)).collect()
                }
            });
            names.collect()
        }
        ConditionKind::Vector => {
            let file = vectors.ok_or(ConditionError::NoVectorFile)?;
            return Ok((read_vectors(file, dataset.len())?.0, Vec::new()));
        }
    };
    match (names.len(), kind) {
        (0, ConditionKind::Class) => {
            let layout = dataset.report().map(|report| report.description.clone());
            Err(ConditionError::NoLabels { dataset: name(), layout }.into())
        }
        (0, _) if dataset.attribute_columns().is_empty() => {
            Err(ConditionError::NoAttributes { dataset: name() }.into())
        }
        (0, _) => Err(ConditionError::OnlyIdentifiers { dataset: name() }.into()),
        (size, _) if size > MAX_SIZE => {
            Err(ConditionError::TooLarge { dataset: name(), size, max: MAX_SIZE }.into())
        }
        (size, _) => Ok((size, names)),
    }
}

/// The width and values of a file's one tensor, `[rows, width]`.
fn read_vectors(file: &Path, rows: usize) -> Result<(usize, Vec<f32>), TrainError> {
    let mut tensors = runs::read_state_dict(file)?;
    let tensor = if tensors.len() == 1 {
        tensors.pop_first().map(|(_, tensor)| tensor)
    } else {
        tensors.remove("condition")
    };
    let invalid = |problem: String| {
        TrainError::from(ConditionError::VectorFile { path: file.to_owned(), problem, rows })
    };
    let tensor = tensor.ok_or_else(|| {
        invalid(format!("holds {} tensors, none named \"condition\"", tensors.len()))
    })?;
    match (&tensor.shape[..], tensor.as_f32()) {
        ([count, width], Some(values)) if *count == rows && (1..=MAX_SIZE).contains(width) => {
            match values.iter().find(|value| !value.is_finite()) {
                Some(value) => Err(invalid(format!("holds {value}"))),
                None => Ok((*width, values.to_vec())),
            }
        }
        (shape, Some(_)) => Err(invalid(format!("holds a tensor of shape {shape:?}"))),
        (_, None) => Err(invalid("holds integers".into())),
    }
}

impl Conditions {
    /// The conditions of `dataset`'s images for a recipe.
    ///
    /// # Errors
    /// Returns an error if the dataset or the file does not have the values that the recipe was
    /// made for.
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
            return Err(ConditionError::OtherDataset {
                size: condition.size,
                dataset: dataset.name().to_string(),
                available: size,
            }
            .into());
        }
        let vectors = match (condition.kind, vectors) {
            (ConditionKind::Vector, Some(file)) => Some(read_vectors(file, dataset.len())?.1),
            _ => None,
        };
        Ok(Self {
            dataset: Arc::clone(dataset),
            kind: condition.kind,
            size,
            vectors,
            columns,
            has_label: None,
        })
    }

    /// A checksum of the vectors of the file; 0 without one.
    pub(crate) fn vectors_checksum(&self) -> u32 {
        let values = self.vectors.iter().flatten();
        values.fold(0, |sum, value| crc32c::crc32c_append(sum, &value.to_le_bytes()))
    }

    /// Semi-supervised conditions: keeps the labels of `count` images, as many of each class as
    /// possible; the rows of the others are zeros. 0 keeps all labels. Which ones are kept depends
    /// on the dataset alone.
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
        let mut has_label = vec![false; self.dataset.len()];
        rounds.take(count).for_each(|(_, index)| has_label[*index] = true);
        self.has_label = Some(has_label);
        self
    }

    /// The conditions of a batch, `[N, size]` row after row.
    pub fn of(&self, batch: &Batch) -> Vec<f32> {
        batch.indices.iter().flat_map(|&index| self.row(index)).collect()
    }

    /// The first `count` different conditions among the dataset's first thousand images, `[count,
    /// size]` on the CPU, in their order; fewer if there are fewer.
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
            (ConditionKind::Class, _) if self.has_label.as_ref().is_some_and(|has| !has[index]) => {
                vec![0.0; self.size]
            }
            (ConditionKind::Class, _) => one_hot(
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
            AttributeKind::Category(words) => one_hot(words.len(), values[at] as usize),
        });
        numbers.collect()
    }
}

/// A pseudo-random permutation of 64-bit integers (the finalizer of SplitMix64, Steele et al.
/// 2014).
fn splitmix64(index: u64) -> u64 {
    let mixed = (index ^ (index >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A one-hot vector: zeros, and a one at `at`.
fn one_hot(count: usize, at: usize) -> Vec<f32> {
    (0..count).map(|i| f32::from(u8::from(i == at))).collect()
}

/// Parses a condition that a user describes: a class by index or name; or attributes, such as
/// `smiling=1` or `gender=female`, of which those that are not named are 0. `[1, size]`.
///
/// # Errors
/// Returns an error with the known names if the networks do not know one, or if they take a
/// condition of another kind.
pub fn parse_condition(
    condition: &ConditionConfig,
    class: Option<&str>,
    attributes: &[String],
) -> Result<Tensor, TrainError> {
    let known = || match &condition.names[..] {
        [] => format!("0 to {}", condition.size.saturating_sub(1)),
        names => names.join(", "),
    };
    let index_of = |name: &str| condition.names.iter().position(|known| known == name);
    let mut row = vec![0.0; condition.size];
    match (condition.kind, class) {
        (ConditionKind::Class, Some(text)) => {
            let by_name = condition.names.iter().position(|name| name.eq_ignore_ascii_case(text));
            let index = by_name.or_else(|| text.parse().ok());
            match index.and_then(|index: usize| row.get_mut(index)) {
                Some(value) => *value = 1.0,
                None => {
                    let (class, known) = (text.to_owned(), known());
                    return Err(ConditionError::UnknownClass { class, known }.into());
                }
            }
        }
        (ConditionKind::Attributes, None) => {
            for text in attributes {
                let (name, value) = text.split_once('=').unwrap_or((text, "1"));
                let value = value.parse::<f32>().ok().filter(|value| value.is_finite());
                // A name may hold an equals sign itself: `gender=female` is one of a category.
                match (index_of(text), index_of(name), value) {
                    (Some(index), ..) => row[index] = 1.0,
                    (None, Some(index), Some(value)) => row[index] = value,
                    _ => {
                        let (attribute, known) = (text.clone(), known());
                        return Err(ConditionError::UnknownAttribute { attribute, known }.into());
                    }
                }
            }
        }
        (ConditionKind::Vector, _) => {
            let (kind, known) = (condition.kind, String::new());
            return Err(ConditionError::OtherKind { kind, known }.into());
        }
        (kind, _) => return Err(ConditionError::OtherKind { kind, known: known() }.into()),
    }
    Ok(Tensor::from_slice(&row, [1, condition.size]))
}
