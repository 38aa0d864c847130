//! Errors of conditions.

use nn::recipe::ConditionKind;
use std::path::PathBuf;

/// Conditions that do not fit the data or the networks.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages show what the fields are")]
pub enum ConditionError {
    /// A dataset without labels.
    #[error("{dataset:?} has no labels to condition on{}", in_parentheses(.layout))]
    NoLabels { dataset: String, layout: Option<String> },
    /// A dataset with one class.
    #[error("{dataset:?} has one class, {class:?}: there is nothing to distinguish")]
    OneClass { dataset: String, class: String },
    /// A dataset without attributes.
    #[error("{dataset:?} has no attributes to condition on")]
    NoAttributes { dataset: String },
    /// A dataset whose attributes only identify its images, such as file names.
    #[error("the attributes of {dataset:?} only distinguish its images")]
    OnlyIdentifiers { dataset: String },
    /// An attribute that the dataset does not have.
    #[error("{dataset:?} has no attribute {name:?}, only {}", list(.known))]
    NoSuchAttribute { dataset: String, name: String, known: Vec<String> },
    /// More classes or values than a condition may have.
    #[error("the condition of {dataset:?} has {size} values, over {max}")]
    TooLarge { dataset: String, size: usize, max: usize },
    /// A condition of vectors without their file.
    #[error("a condition of vectors needs the file that holds them")]
    NoVectorFile,
    /// A file that is not one row of finite F32 values per image.
    #[error(
        "{path:?} {problem}: it must hold one tensor of F32 (or one named \"condition\") with a \
         row for each of the {rows} images"
    )]
    VectorFile { path: PathBuf, problem: String, rows: usize },
    /// A dataset other than the one that the networks were made for.
    #[error(
        "the networks are conditioned on {size} values, {dataset:?} has {available} or gives them \
         other names"
    )]
    OtherDataset { size: usize, dataset: String, available: usize },
    /// A class that the networks do not know.
    #[error("no class {class:?}: the networks know {known}")]
    UnknownClass { class: String, known: String },
    /// An attribute that the networks do not know, or a value that is not finite.
    #[error("no attribute {attribute:?}: the networks know {known}")]
    UnknownAttribute { attribute: String, known: String },
    /// A condition of another kind than the networks take, or none.
    #[error("these networks are conditioned on {}{}", kind_name(*.kind), of_known(.known))]
    OtherKind { kind: ConditionKind, known: String },
    /// A condition for a generator that takes none.
    #[error("this generator takes no condition: it was trained without one")]
    Unconditional,
    /// No condition for a generator that takes one.
    #[error("this generator takes a condition of {size} values per image")]
    Missing { size: usize },
    /// Conditions of the wrong shape.
    #[error("the conditions have shape {shape:?}: {count} images take [{count}, {size}]")]
    Shape { shape: Vec<usize>, count: usize, size: usize },
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn in_parentheses(text: &Option<String>) -> String {
    text.as_ref().map_or_else(String::new, |text| format!(" ({text})"))
}

fn kind_name(kind: ConditionKind) -> &'static str {
    match kind {
        ConditionKind::Class => "a class",
        ConditionKind::Attributes => "attributes",
        ConditionKind::Vector => "vectors",
    }
}

fn of_known(known: &str) -> String {
    if known.is_empty() { String::new() } else { format!(" of {known}") }
}
