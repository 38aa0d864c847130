//! Tables of attributes: `attributes.csv` beside a folder of images or inside an archive.
//!
//! The first line names the columns. The one called `file` (else the first) holds each image's path inside the set; the
//! others are attributes. Every image has one row, and every row an image.

use std::collections::HashMap;
use std::path::Path;

use crate::attributes::{Attribute, Attributes, column};
use crate::decode::one_line;
use crate::error::DataError;

/// The table's name beside the images.
pub(super) const FILE_NAME: &str = "attributes.csv";

/// The rows of a table, not yet matched with images.
pub(super) struct Table {
    columns: Vec<Attribute>,
    /// Which image each row is about.
    files: Vec<String>,
    /// `[rows, columns]`.
    values: Vec<f32>,
}

impl Table {
    /// Rows that were made by another reader; `values` is `[files, columns]`.
    pub fn new(columns: Vec<Attribute>, files: Vec<String>, values: Vec<f32>) -> Self {
        Self { columns, files, values }
    }

    /// Parses comma-separated values; `path` is for messages.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, DataError> {
        let bad = |problem: String| DataError::bad("table of attributes", path, problem);
        let mut reader =
            csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes));
        let heads = reader.headers().map_err(|error| bad(one_line(&error)))?.clone();
        if heads.len() < 2 {
            return Err(bad("it has no attribute: its first line must name a column `file` and one or more others".to_owned()));
        }
        let mut sorted: Vec<&str> = heads.iter().collect();
        sorted.sort_unstable();
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(bad(format!("two columns are called {:?}", pair[0])));
        }
        let file = heads.iter().position(|head| head.eq_ignore_ascii_case("file")).unwrap_or(0);
        let records = reader.records().collect::<Result<Vec<_>, _>>().map_err(|error| bad(one_line(&error)))?;
        let files = records.iter().map(|record| record[file].replace('\\', "/")).collect();
        let mut columns = Vec::new();
        let mut by_column = Vec::new();
        for (k, head) in heads.iter().enumerate().filter(|(k, _)| *k != file) {
            let cells: Vec<&str> = records.iter().map(|record| &record[k]).collect();
            let (column, values) = column(head, &cells).map_err(|row| {
                let line = records[row].position().map_or(0, csv::Position::line);
                bad(format!("line {line} leaves {head:?} empty, a column of numbers: fill it in, or use words in it"))
            })?;
            columns.push(column);
            by_column.push(values);
        }
        let values = (0..records.len()).flat_map(|row| by_column.iter().map(move |values| values[row])).collect();
        Ok(Self { columns, files, values })
    }

    /// The rows in the order of `images`, their paths with `/` between the parts. Rows for which `elsewhere` is true
    /// belong to another split.
    pub fn match_images<'a>(
        &self,
        path: &Path,
        images: impl ExactSizeIterator<Item = &'a str>,
        elsewhere: impl Fn(&str) -> bool,
    ) -> Result<Attributes, DataError> {
        let bad = |problem: String| DataError::bad("table of attributes", path, problem);
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
            return Err(bad(format!("{without} images have no row in it, the first being {first:?}")));
        }
        let left = self.files.iter().filter(|file| rows.contains_key(file.as_str()) && !elsewhere(file)).collect::<Vec<_>>();
        match left.first() {
            Some(first) => Err(bad(format!("{} of its rows have no image, the first being that of {first:?}", left.len()))),
            None => Ok(Attributes { columns: self.columns.clone(), values }),
        }
    }
}
