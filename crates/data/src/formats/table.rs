//! Tables of attributes: `attributes.csv` in a folder of images or inside an archive.
//!
//! The first line names the columns. The one named `file` (else the first) holds each image's path
//! inside the dataset; the others are attributes. Every image has one row, and every row an image.

use std::collections::HashMap;
use std::iter;
use std::path::Path;

use super::file_store::clean_path;
use crate::attributes::{Attribute, AttributeKind, Attributes, column, is_number};
use crate::decode::one_line;
use crate::error::{DataError, FileProblem};
use crate::layout_report::LayoutNote;

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
        let bad = |error: csv::Error| {
            let problem = match error.kind() {
                csv::ErrorKind::Utf8 { .. } => FileProblem::NotUtf8("its text".to_owned()),
                _ => FileProblem::Other(one_line(&error)),
            };
            DataError::malformed(FORMAT_NAME, path, problem)
        };
        let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(bytes);
        let heads = reader.headers().map_err(bad)?.clone();
        let file = heads.iter().position(|head| head.eq_ignore_ascii_case("file")).unwrap_or(0);
        Ok(Self { heads, rows: reader.records().collect::<Result<_, _>>().map_err(bad)?, file })
    }

    /// The image of each row, with `/` between the components of its path.
    pub fn files(&self) -> impl Iterator<Item = String> {
        self.rows.iter().map(|row| clean_path(&row[self.file]))
    }

    /// The line of a row in its file, or 0 if it has none.
    pub fn line(&self, row: usize) -> u64 {
        self.rows[row].position().map_or(0, csv::Position::line)
    }

    /// Puts `folder`, which ends with a slash, before the path of each row.
    pub fn place_files(&mut self, folder: &str) {
        let paths: Vec<_> = self.files().map(|file| Some(format!("{folder}{file}"))).collect();
        self.set_files(paths);
    }

    /// Keeps the rows of files in `folder`, which ends with a slash, and makes their paths relative
    /// to it.
    pub fn keep_files_in(&mut self, folder: &str) {
        let inside = |file: String| file.strip_prefix(folder).map(str::to_owned);
        let paths: Vec<_> = self.files().map(inside).collect();
        self.set_files(paths);
    }

    /// Sets the path of each row, and removes rows without one.
    fn set_files(&mut self, paths: Vec<Option<String>>) {
        let file = self.file;
        let rows = std::mem::take(&mut self.rows).into_iter().zip(paths);
        let changed = rows.filter_map(|(row, path)| {
            let path = path?;
            let cells = row.iter().enumerate();
            let mut changed: csv::StringRecord =
                cells.map(|(k, cell)| if k == file { &*path } else { cell }).collect();
            changed.set_position(row.position().cloned());
            Some(changed)
        });
        self.rows = changed.collect();
    }

    /// Removes a column other than that of the paths.
    pub fn remove_column(&mut self, column: usize) {
        for record in iter::once(&mut self.heads).chain(&mut self.rows) {
            let cells = record.iter().enumerate().filter(|(k, _)| *k != column);
            let mut left: csv::StringRecord = cells.map(|(_, cell)| cell).collect();
            left.set_position(record.position().cloned());
            *record = left;
        }
        self.file -= usize::from(column < self.file);
    }

    /// The rows of both tables with the columns of both; a cell that one lacks is empty.
    pub fn joined(self, other: Self) -> Self {
        let of_other = |head: &str| match head == &self.heads[self.file] {
            true => Some(other.file),
            false => other.heads.iter().position(|own| own == head),
        };
        let own: Vec<Option<usize>> = self.heads.iter().map(of_other).collect();
        let more: Vec<usize> =
            (0..other.heads.len()).filter(|k| !own.contains(&Some(*k))).collect();
        let mut heads = self.heads.clone();
        more.iter().for_each(|&k| heads.push_field(&other.heads[k]));
        let mut rows = self.rows;
        for row in &mut rows {
            more.iter().for_each(|_| row.push_field(""));
        }
        for row in &other.rows {
            let cells = own.iter().map(|k| k.map_or("", |k| &row[k]));
            let mut joined: csv::StringRecord =
                cells.chain(more.iter().map(|&k| &row[k])).collect();
            joined.set_position(row.position().cloned());
            rows.push(joined);
        }
        Self { heads, rows, file: self.file }
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
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<(Self, Vec<LayoutNote>), DataError> {
        Self::of_cells(path, CsvTable::parse(path, bytes)?, false)
    }

    /// The values of a table. A column of numbers with empty cells is left out if `gaps` are
    /// allowed, else it is an error.
    pub fn of_cells(
        path: &Path,
        table: CsvTable,
        gaps: bool,
    ) -> Result<(Self, Vec<LayoutNote>), DataError> {
        let bad = |problem: FileProblem| DataError::malformed(FORMAT_NAME, path, problem);
        let CsvTable { heads, rows, file } = &table;
        if heads.len() < 2 {
            let problem = "attribute: its first line must name a column `file` and one \
                           or more others, with commas between";
            return Err(bad(FileProblem::Missing(problem.to_owned())));
        }
        let mut sorted: Vec<&str> = heads.iter().collect();
        sorted.sort_unstable();
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            let name = pair[0].to_owned();
            return Err(bad(FileProblem::Twice { what: "columns", name }));
        }
        let shown = || path.display().to_string();
        let (mut columns, mut by_column, mut notes) = (Vec::new(), Vec::new(), Vec::new());
        for (k, head) in heads.iter().enumerate().filter(|(k, _)| k != file) {
            let cells: Vec<&str> = rows.iter().map(|record| &record[k]).collect();
            let name = head.to_owned();
            match column(head, &cells) {
                Ok((column, values)) => {
                    if matches!(column.kind, AttributeKind::Category(_))
                        && let Some(row) = odd_cell(&cells)
                    {
                        let (line, cell) = (table.line(row), cells[row].to_owned());
                        let note =
                            |table, column| LayoutNote::ColumnOfWords { table, column, line, cell };
                        notes.push(note(shown(), name));
                    }
                    columns.push(column);
                    by_column.push(values);
                }
                Err(row) if gaps => {
                    let (table, line) = (shown(), table.line(row));
                    notes.push(LayoutNote::ColumnWithGaps { table, column: name, line });
                }
                Err(row) => {
                    let line = table.line(row);
                    let problem = format!(
                        "{head:?} is empty, a column of numbers: fill it in, or use words in it"
                    );
                    return Err(bad(FileProblem::Line { line, problem }));
                }
            }
        }
        let values = (0..rows.len())
            .flat_map(|row| by_column.iter().map(move |values| values[row]))
            .collect();
        Ok((Self { columns, files: table.files().collect(), values }, notes))
    }

    /// The rows in the order of `images`, whose paths have `/` between the components. Rows for
    /// which `elsewhere` is true belong to another split.
    pub fn match_images<'a>(
        &self,
        path: &Path,
        images: impl ExactSizeIterator<Item = &'a str>,
        elsewhere: impl Fn(&str) -> bool,
    ) -> Result<Attributes, DataError> {
        let bad = |problem: FileProblem| DataError::malformed(FORMAT_NAME, path, problem);
        let mut rows = HashMap::with_capacity(self.files.len());
        for (row, file) in self.files.iter().enumerate() {
            if rows.insert(file.as_str(), row).is_some() {
                return Err(bad(FileProblem::Twice { what: "rows", name: file.clone() }));
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
            let (name, more) = (first.to_owned(), without - 1);
            return Err(bad(FileProblem::NoRow { name, more }));
        }
        let left = self
            .files
            .iter()
            .filter(|file| rows.contains_key(file.as_str()) && !elsewhere(file))
            .collect::<Vec<_>>();
        match left.first() {
            Some(first) => {
                let (name, more) = (first.to_string(), left.len() - 1);
                Err(bad(FileProblem::NoImage { name, more }))
            }
            None => Ok(Attributes { columns: self.columns.clone(), values }),
        }
    }
}

/// The first cell that is not a number, if most of them are numbers (or yes and no).
fn odd_cell(cells: &[&str]) -> Option<usize> {
    let is_word = |cell: &str| !cell.is_empty() && !is_number(cell);
    let words = cells.iter().filter(|&&cell| is_word(cell)).count();
    let numbers = cells.iter().filter(|&&cell| is_number(cell)).count();
    cells.iter().position(|&cell| is_word(cell)).filter(|_| numbers > words)
}
