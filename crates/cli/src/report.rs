//! Reports: what a command found, as text for people and, with `--json`, as JSON for programs.

use crate::output;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets::NOTHING};
use data::DataSpec;
use serde::{Serialize, Serializer};
use serde_json::Value;
use std::ops::Deref;
use std::path::{Path, PathBuf};

/// A path in JSON, which has only UTF-8: other bytes are written as `\xE9`, as in a dataset spec.
pub struct ReportPath(PathBuf);

impl<P: Into<PathBuf>> From<P> for ReportPath {
    fn from(path: P) -> Self {
        Self(path.into())
    }
}

impl Deref for ReportPath {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Serialize for ReportPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&DataSpec::escape(self.as_os_str()))
    }
}

/// The result of a command. Its serde form is what `--json` prints.
pub trait Report: Serialize {
    /// Blocks of text for people: paragraphs and [`table`]s, each of which starts on a new line.
    fn text(&self) -> Vec<String>;
}

/// Prints a report: its text, or with `json` one JSON object on a line. A report that serializes as
/// a sequence gives one line per element.
pub fn print(report: &impl Report, json: bool) {
    if !json {
        return report.text().into_iter().for_each(output::line);
    }
    match serde_json::to_value(report) {
        Ok(Value::Array(objects)) => objects.iter().for_each(output::json),
        Ok(object) => output::json(&object),
        // Reports have string keys and no failing serializers, so this is a bug in the report.
        Err(error) => output::error(format!("cannot serialize the report: {error}")),
    }
}

/// A table without lines; columns of numbers, except the first, are aligned right.
pub fn table<R>(head: &[&str], rows: impl IntoIterator<Item = R>) -> String
where
    R: IntoIterator<Item = String>,
{
    let mut table = Table::new();
    table.load_preset(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(head);
    // A cell has one line, whatever name from data it holds.
    table.add_rows(rows.into_iter().map(|row| row.into_iter().map(output::name)));
    let numeric: Vec<bool> = table
        .column_iter()
        .map(|column| {
            let mut cells = table.row_iter().filter_map(|row| row.cell_iter().nth(column.index));
            column.index > 0 && cells.all(|cell| is_number(&cell.content()))
        })
        .collect();
    for (column, numeric) in table.column_iter_mut().zip(numeric) {
        column.set_padding((0, 2));
        if numeric {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

/// Whether a cell holds a number, possibly with a unit, or the dash of a missing one.
fn is_number(cell: &str) -> bool {
    cell == "-" || cell.starts_with(|c: char| c.is_ascii_digit() || c == '-')
}

#[cfg(test)]
mod tests {
    use super::table;

    #[test]
    fn columns_of_numbers_are_aligned_right() {
        let rows = [["a", "7", "-"], ["longer", "1500", "running"]];
        assert_eq!(
            table(&["run", "step", "state"], rows.map(|row| row.map(String::from))),
            "run     step  state\na          7  -\nlonger  1500  running"
        );
    }
}
