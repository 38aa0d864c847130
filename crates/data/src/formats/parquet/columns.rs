//! Which columns of a Parquet file are images, labels and attributes.
//!
//! Hugging Face's library notes its own types under the key `huggingface`: `Image` for a structure
//! of `bytes` and `path`, `ClassLabel` for an integer with the classes' names. Without that note,
//! names and types decide.

use std::collections::BTreeMap;

use parquet::basic::{ConvertedType, LogicalType, Type};
use parquet::schema::types::ColumnDescriptor;
use serde_json::Value;

use super::file::ParquetFile;
use crate::decode::one_line;
use crate::error::FileProblem;
use crate::formats::split_name::preferred;

/// Words of the names of columns of images, in order of preference.
const IMAGE_WORDS: &[&str] = &[
    "image", "img", "images", "picture", "photo", "pixels", "jpg", "jpeg", "png", "webp", "bytes",
    "content", "data",
];

/// Words of the names of columns of labels, in order of preference. CIFAR-100 has fine and coarse
/// labels.
const LABEL_WORDS: &[&str] =
    &["fine", "label", "labels", "class", "classes", "target", "targets", "category", "y"];

/// More columns than these are not attributes of images.
const MAX_ATTRIBUTES: usize = 256;

/// The most classes that a note may name.
const MAX_NAMES: usize = 65_536;

/// The columns that are read, by their indices among the leaves of the schema.
#[derive(Debug, PartialEq)]
pub(super) struct Columns {
    pub image: usize,
    /// The name of the column of images.
    pub image_name: String,
    pub label: Option<LabelColumn>,
    /// In the order of the file.
    pub attributes: Vec<AttributeColumn>,
}

#[derive(Debug, PartialEq)]
pub(super) struct LabelColumn {
    pub column: usize,
    pub name: String,
    /// The names of classes 0, 1, …, if they are noted.
    pub names: Option<Vec<String>>,
    /// Whether labels are words.
    pub words: bool,
}

#[derive(Debug, PartialEq)]
pub(super) struct AttributeColumn {
    pub column: usize,
    pub name: String,
    /// The names of its values 0, 1, …, if they are noted.
    pub names: Option<Vec<String>>,
    pub is_bool: bool,
}

/// A column at the top of the schema, or the bytes of one.
struct Leaf<'a> {
    column: usize,
    name: &'a str,
    kind: LeafKind,
}

#[derive(Clone, Copy, PartialEq)]
enum LeafKind {
    Bytes,
    Text,
    Integer,
    Bool,
    Float,
    Other,
}

impl Columns {
    pub fn of(file: &ParquetFile) -> Result<Self, FileProblem> {
        let leaves = leaves(file);
        let notes = Notes::of(file)?;
        let is_noted =
            |name: &str| notes.images.is_empty() || notes.images.iter().any(|noted| noted == name);
        let is_image = |leaf: &Leaf<'_>| leaf.kind == LeafKind::Bytes && is_noted(leaf.name);
        let images: Vec<usize> = (0..leaves.len()).filter(|&k| is_image(&leaves[k])).collect();
        let name = |k: usize| leaves[k].name;
        let image = match preferred(&images, name, IMAGE_WORDS)[..] {
            [one] => one,
            [] => {
                let known: Vec<&str> = leaves.iter().take(20).map(|leaf| leaf.name).collect();
                let problem = format!("column of images (its columns are {})", known.join(", "));
                return Err(FileProblem::Missing(problem));
            }
            [..] => {
                let names = images.iter().map(|&k| name(k)).collect::<Vec<_>>().join(", ");
                let problem = format!("it has several columns of images: {names}");
                return Err(FileProblem::Unsupported(problem));
            }
        };
        let label = choose_label(&leaves, &notes);
        let attributes: Vec<AttributeColumn> = leaves
            .iter()
            .filter(|leaf| {
                let number =
                    matches!(leaf.kind, LeafKind::Integer | LeafKind::Bool | LeafKind::Float);
                number
                    && !leaf.name.starts_with("__")
                    && label.as_ref().is_none_or(|label| label.column != leaf.column)
            })
            .map(|leaf| AttributeColumn {
                column: leaf.column,
                name: leaf.name.to_owned(),
                names: notes.classes.get(leaf.name).cloned(),
                is_bool: leaf.kind == LeafKind::Bool,
            })
            .collect();
        if attributes.len() > MAX_ATTRIBUTES {
            let count = attributes.len();
            return Err(FileProblem::Unsupported(format!(
                "it has {count} columns of numbers, more than {MAX_ATTRIBUTES} attributes"
            )));
        }
        let image_name = name(image).to_owned();
        Ok(Self { image: leaves[image].column, image_name, label, attributes })
    }
}

/// The columns without lists and structures; of an image the bytes.
fn leaves(file: &ParquetFile) -> Vec<Leaf<'_>> {
    let columns = file.schema().columns().iter().enumerate();
    let leaf = |(column, descriptor): (usize, &'_ std::sync::Arc<ColumnDescriptor>)| {
        let descriptor: &ColumnDescriptor = descriptor;
        (descriptor.max_rep_level() == 0).then_some((column, kind_of(descriptor)))
    };
    let parts = |column: usize| file.schema().columns()[column].path().parts();
    columns
        .filter_map(leaf)
        .filter_map(|(column, kind)| match parts(column) {
            [name] => Some(Leaf { column, name, kind }),
            [name, part] if part == "bytes" && kind == LeafKind::Bytes => {
                Some(Leaf { column, name, kind })
            }
            _ => None,
        })
        .collect()
}

fn kind_of(column: &ColumnDescriptor) -> LeafKind {
    let converted = column.converted_type();
    // Times and decimals are integers with another meaning.
    let is_plain = matches!(
        column.logical_type_ref(),
        None | Some(LogicalType::Integer { .. } | LogicalType::String)
    ) && !matches!(
        converted,
        ConvertedType::DECIMAL
            | ConvertedType::DATE
            | ConvertedType::TIME_MILLIS
            | ConvertedType::TIME_MICROS
            | ConvertedType::TIMESTAMP_MILLIS
            | ConvertedType::TIMESTAMP_MICROS
    );
    match column.physical_type() {
        _ if !is_plain => LeafKind::Other,
        Type::BYTE_ARRAY if converted == ConvertedType::UTF8 => LeafKind::Text,
        Type::BYTE_ARRAY => LeafKind::Bytes,
        Type::INT32 | Type::INT64 => LeafKind::Integer,
        Type::BOOLEAN => LeafKind::Bool,
        Type::FLOAT | Type::DOUBLE => LeafKind::Float,
        _ => LeafKind::Other,
    }
}

/// The column of labels: one with noted classes or the name of labels.
fn choose_label(leaves: &[Leaf<'_>], notes: &Notes) -> Option<LabelColumn> {
    let is_noted = |leaf: &Leaf<'_>| notes.classes.contains_key(leaf.name);
    let has_type =
        |leaf: &Leaf<'_>| matches!(leaf.kind, LeafKind::Integer | LeafKind::Bool | LeafKind::Text);
    let name = |k: usize| leaves[k].name;
    let all: Vec<usize> = (0..leaves.len()).filter(|&k| has_type(&leaves[k])).collect();
    let noted: Vec<usize> = all.iter().copied().filter(|&k| is_noted(&leaves[k])).collect();
    let named = |from: &[usize]| -> Vec<usize> {
        let best = preferred(from, name, LABEL_WORDS);
        let words = |k: usize| crate::formats::split_name::words(name(k));
        let is_named =
            |&k: &usize| words(k).iter().any(|word| LABEL_WORDS.contains(&word.as_str()));
        best.into_iter().filter(is_named).collect()
    };
    // Of several with the same word none is the label: they are attributes.
    let chosen = match (named(&noted)[..].first(), &noted[..]) {
        (Some(_), _) => named(&noted),
        (None, [only]) => vec![*only],
        (None, _) => named(&all),
    };
    let [chosen] = chosen[..] else { return None };
    let Leaf { column, name, kind } = leaves[chosen];
    let names = notes.classes.get(name).cloned();
    Some(LabelColumn { column, name: name.to_owned(), names, words: kind == LeafKind::Text })
}

/// What Hugging Face's library noted about the columns.
#[derive(Default)]
struct Notes {
    images: Vec<String>,
    /// The names of classes 0, 1, … of each column that has them.
    classes: BTreeMap<String, Vec<String>>,
}

impl Notes {
    fn of(file: &ParquetFile) -> Result<Self, FileProblem> {
        let Some(text) = file.note("huggingface") else { return Ok(Self::default()) };
        let note: Value = serde_json::from_str(text).map_err(|error| {
            FileProblem::Damaged(format!("its note \"huggingface\": {}", one_line(&error)))
        })?;
        let mut notes = Self::default();
        let Some(Value::Object(features)) = note.pointer("/info/features") else {
            return Ok(notes);
        };
        for (column, feature) in features {
            match feature.get("_type").and_then(Value::as_str) {
                Some("Image") => notes.images.push(column.clone()),
                Some("ClassLabel") => {
                    let names = feature.get("names").and_then(Value::as_array);
                    let names: Option<Vec<String>> = names.and_then(|names| {
                        names.iter().map(|name| name.as_str().map(str::to_owned)).collect()
                    });
                    // Without names its values are numbers.
                    let Some(names) = names.filter(|names| !names.is_empty()) else { continue };
                    if names.len() > MAX_NAMES {
                        let (found, wanted) = (names.len(), MAX_NAMES);
                        return Err(FileProblem::ClassCount { found, wanted });
                    }
                    notes.classes.insert(column.clone(), names);
                }
                _ => {}
            }
        }
        Ok(notes)
    }
}
