//! Tables of attributes: `attributes.csv` in a folder of images or inside an archive.
//!
//! The first line names the columns. The one named `file` (else the first) holds each image's path
//! inside the dataset; the others are attributes. Every image has one row, and every row an image.

use std::collections::HashMap;
use std::path::Path;

use crate::attributes::{Attribute, Attributes, column};
use crate::decode::one_line;
use crate::error::DataError;

/// The table's file name.
pub(crate) const FILE_NAME: &str = "attributes.csv";

const FORMAT_NAME: &str = "table of attributes";

/// A table as text.
pub(crate) struct CsvTable {
    pub heads: csv::StringRecord,
    /// Each row has as many cells as there are heads.
    pub rows: Vec<csv::StringRecord>,
    /// The index of the column of the images' paths.
    pub file: usize,
}

impl CsvTable {
    /// Parses comma-separated values; `path` is for messages.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, DataError> {
        let bad = |error: csv::Error| DataError::malformed(FORMAT_NAME, path, one_line(&error));
        let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(bytes);
        let heads = reader.headers().map_err(bad)?.clone();
        if heads.len() < 2 {
            let problem =
                "it has no attribute: its first line must name a column `file` and one or more \
                 others, with commas between"
                    .to_owned();
            return Err(DataError::malformed(FORMAT_NAME, path, problem));
        }
        let file = heads.iter().position(|head| head.eq_ignore_ascii_case("file")).unwrap_or(0);
        Ok(Self { heads, rows: reader.records().collect::<Result<_, _>>().map_err(bad)?, file })
    }

    /// The image of each row, with `/` between the components of its path.
    pub fn files(&self) -> impl Iterator<Item = String> {
        self.rows.iter().map(|row| row[self.file].replace('\\', "/"))
    }
}

/// The rows of a table, not yet matched with images.
pub(super) struct AttributeTable {
    columns: Vec<Attribute>,
    /// The image of each row.
    files: Vec<String>,
    /// `[rows, columns]`.
    values: Vec<f32>,
}

impl AttributeTable {
    /// Rows that another reader parsed; `values` is `[files, columns]`.
    pub fn new(columns: Vec<Attribute>, files: Vec<String>, values: Vec<f32>) -> Self {
        Self { columns, files, values }
    }

    /// Parses comma-separated values; `path` is for messages.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, DataError> {
        let bad = |problem: String| DataError::malformed(FORMAT_NAME, path, problem);
        let cells = CsvTable::parse(path, bytes)?;
        let files = cells.files().collect();
        let CsvTable { heads, rows: records, file } = cells;
        let mut sorted: Vec<&str> = heads.iter().collect();
        sorted.sort_unstable();
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(bad(format!("two columns are called {:?}", pair[0])));
        }
        let mut columns = Vec::new();
        let mut by_column = Vec::new();
        for (k, head) in heads.iter().enumerate().filter(|(k, _)| *k != file) {
            let cells: Vec<&str> = records.iter().map(|record| &record[k]).collect();
            let (column, values) = column(head, &cells).map_err(|row| {
                let line = records[row].position().map_or(0, csv::Position::line);
                bad(format!(
                    "line {line} leaves {head:?} empty, a column of numbers: fill it in, \
                    or use words in it"
                ))
            })?;
            columns.push(column);
            by_column.push(values);
        }
        let values = (0..records.len())
            .flat_map(|row| by_column.iter().map(move |values| values[row]))
            .collect();
        Ok(Self { columns, files, values })
    }

    /// The rows in the order of `images`, whose paths have `/` between the components. Rows for
    /// which `elsewhere` is true belong to another split.
    pub fn match_images<'a>(
        &self,
        path: &Path,
        images: impl ExactSizeIterator<Item = &'a str>,
        elsewhere: impl Fn(&str) -> bool,
    ) -> Result<Attributes, DataError> {
        let bad = |problem: String| DataError::malformed(FORMAT_NAME, path, problem);
        let mut rows = HashMap::with_capacity(self.files.len());
        for (row, file) in self.files.iter().enumerate() {
            if rows.insert(file.as_str(), row).is_some() {
                return Err(bad(format!("it has two rows for {file:?}")));
            }
        }
        let width = self.columns.len();
        let mut values = Vec::with_capacity(images.len() * width);
        let (mut without, mut first) = (0usize, None);
        for image in images {
            match rows.remove(image) {
                Some(row) => values.extend_from_slice(&self.values[row * width..][..width]),
                None => {
                    without += 1;
                    first.get_or_insert(image);
                }
            }
        }
        if let Some(first) = first {
            return Err(bad(format!("it has no row for {first:?}{}", others(without))));
        }
        let left = self
            .files
            .iter()
            .filter(|file| rows.contains_key(file.as_str()) && !elsewhere(file))
            .collect::<Vec<_>>();
        match left.first() {
            Some(first) => {
                Err(bad(format!("there is no image for its row {first:?}{}", others(left.len()))))
            }
            None => Ok(Attributes { columns: self.columns.clone(), values }),
        }
    }
}

/// The count of further images, for a message that names the first.
fn others(count: usize) -> String {
    if count > 1 { format!(" (nor for {} more)", count - 1) } else { String::new() }
}
