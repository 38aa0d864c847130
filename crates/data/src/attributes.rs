//! Attributes of images other than the class: a table with one row per image.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// One column of a dataset's attributes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attribute {
    /// The column's name.
    pub name: String,
    /// The meaning of its values.
    pub kind: AttributeKind,
}

impl Attribute {
    /// Whether the attribute describes the image's content. The column `split` does not: it assigns
    /// the image to a split.
    pub fn describes(&self) -> bool {
        self.name != "split"
    }
}

/// The type of an attribute's values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AttributeKind {
    /// 0 (no) or 1 (yes).
    Binary,
    /// A finite number.
    Number,
    /// The index of one of these words.
    Category(Vec<String>),
}

/// The columns, and one row per image.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Attributes {
    pub columns: Vec<Attribute>,
    /// `[images, columns]`.
    pub values: Vec<f32>,
}

/// The table of a source without attributes.
pub(crate) static NONE: Attributes = Attributes { columns: Vec::new(), values: Vec::new() };

impl Attributes {
    /// The values of one image, one per column.
    pub fn of(&self, index: usize) -> &[f32] {
        let width = self.columns.len();
        &self.values[index * width..][..width]
    }
}

/// Words for yes and no.
const BINARY: &[(&str, f32)] = &[
    ("0", 0.0),
    ("1", 1.0),
    ("-1", 0.0),
    ("false", 0.0),
    ("true", 1.0),
    ("no", 0.0),
    ("yes", 1.0),
];

/// Whether a cell is a number or a word for yes or no.
pub(crate) fn is_number(cell: &str) -> bool {
    binary(cell).or_else(|| number(cell)).is_some()
}

fn binary(cell: &str) -> Option<f32> {
    BINARY.iter().find(|(word, _)| cell.eq_ignore_ascii_case(word)).map(|&(_, value)| value)
}

fn number(cell: &str) -> Option<f32> {
    cell.parse::<f32>().ok().filter(|value| value.is_finite())
}

/// Parses a column of a table: binary if all cells are yes or no, numbers if all are numbers, else
/// words.
///
/// An empty cell is a word like any other in a column of words. In a column of numbers, where it
/// could be mistaken for 0, its index is returned as an error.
pub(crate) fn column(name: &str, cells: &[&str]) -> Result<(Attribute, Vec<f32>), usize> {
    let of = |kind| Attribute { name: name.to_owned(), kind };
    let filled = || cells.iter().filter(|cell| !cell.is_empty());
    let empty = cells.iter().position(|cell| cell.is_empty());
    for (kind, value) in [
        (AttributeKind::Binary, &binary as &dyn Fn(&str) -> Option<f32>),
        (AttributeKind::Number, &number),
    ] {
        if filled().next().is_some() && filled().all(|cell| value(cell).is_some()) {
            let values = cells.iter().filter_map(|cell| value(cell)).collect();
            return empty.map_or(Ok((of(kind), values)), Err);
        }
    }
    let mut words: Vec<&str> = cells.to_vec();
    words.sort_unstable();
    words.dedup();
    // Exact up to 2²⁴ words.
    let values = cells
        .iter()
        .filter_map(|cell| words.binary_search(cell).ok())
        .map(|word| word as f32)
        .collect();
    let words = words.into_iter().map(str::to_owned).collect();
    Ok((of(AttributeKind::Category(words)), values))
}

/// Hashes the columns into a fingerprint. Without columns it adds nothing, so that fingerprints of
/// datasets without attributes stay as they were before attributes existed.
pub(crate) fn hash_into(columns: &[Attribute], hash: &mut Sha256) {
    if columns.is_empty() {
        return;
    }
    let mut text = |text: &str| {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    };
    text("attributes");
    for Attribute { name, kind } in columns {
        text(name);
        match kind {
            AttributeKind::Binary => text("binary"),
            AttributeKind::Number => text("number"),
            AttributeKind::Category(words) => {
                text("category");
                words.iter().for_each(|word| text(word));
            }
        }
    }
    text("images");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_decide_the_kind() {
        let kind =
            |cells: &[&str]| column("x", cells).map(|(column, values)| (column.kind, values));
        assert_eq!(
            kind(&["1", "0", "-1", "Yes"]),
            Ok((AttributeKind::Binary, vec![1.0, 0.0, 0.0, 1.0]))
        );
        assert_eq!(kind(&["1", "2.5"]), Ok((AttributeKind::Number, vec![1.0, 2.5])));
        let words = AttributeKind::Category(["", "a", "nan"].map(str::to_owned).to_vec());
        assert_eq!(kind(&["nan", "", "a", "nan"]), Ok((words, vec![2.0, 0.0, 1.0, 2.0])));
        assert_eq!(kind(&["1", "", "0"]), Err(1));
        assert_eq!(kind(&["", ""]).unwrap().1, [0.0, 0.0]);
    }
}
