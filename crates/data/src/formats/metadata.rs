//! Hugging Face's metadata of image folders: `metadata.csv` or `metadata.jsonl`, in the folder of
//! the images or above, with the path of each image in a column `file_name`.
//!
//! A column `label` holds the classes (numbers, or words), the other columns are attributes.
//! <https://huggingface.co/docs/datasets/image_dataset>

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use csv::{Position, StringRecord};
use serde_json::{Map, Value};

use super::labels::{ClassLabels, FoundLabels, WrittenLabel, classes_of, count};
use super::layout::{FolderImages, Listing, match_rows};
use super::table::{AttributeTable, CsvTable};
use crate::attributes::{self, Attributes};
use crate::error::{DataError, FileProblem};
use crate::layout_report::LayoutNote;

/// The name of a table in CSV.
pub(crate) const CSV_FILE: &str = "metadata.csv";
/// The column of the images' paths.
pub(crate) const FILE_COLUMN: &str = "file_name";
/// The column of the classes.
pub(crate) const LABEL_COLUMN: &str = "label";
const FILES: [&str; 2] = [CSV_FILE, "metadata.jsonl"];

/// The rows of all metadata files of a dataset.
pub(super) struct Metadata {
    /// The first metadata file.
    path: PathBuf,
    pub labels: Option<MetadataLabels>,
    /// Its rows have the files' paths from the root; `None` if the columns name no attribute.
    table: Option<CsvTable>,
}

/// The column of labels.
pub(super) struct MetadataLabels {
    /// The row of each path.
    rows: HashMap<String, usize>,
    classes: ClassLabels,
    name: String,
}

impl Metadata {
    /// Reads the metadata files; `None` if there are none with paths of images.
    pub fn find(
        listing: &Listing<'_>,
        in_run: &[bool],
        notes: &mut Vec<LayoutNote>,
    ) -> Result<Option<Self>, DataError> {
        let (mut path, mut merged): (Option<PathBuf>, Option<CsvTable>) = (None, None);
        for (index, file) in listing.files.iter().enumerate().filter(|(i, _)| !in_run[*i]) {
            let shown = file.shown();
            let Some(folder) = FILES.iter().find_map(|name| shown.strip_suffix(name)) else {
                continue;
            };
            if !(folder.is_empty() || folder.ends_with('/')) {
                continue;
            }
            let this = listing.root.join(&shown);
            let Some(mut table) = read_table(&this, &listing.text(index)?)? else {
                let reason = "it names no images in a column \"file_name\"";
                notes.push(LayoutNote::UnreadTable { table: shown, reason });
                continue;
            };
            table.place_files(folder);
            path.get_or_insert(this);
            merged = Some(match merged {
                None => table,
                Some(before) => before.joined(table),
            });
        }
        let (Some(path), Some(mut table)) = (path, merged) else { return Ok(None) };
        let labels = match table.heads.iter().position(|head| head == LABEL_COLUMN) {
            Some(column) => {
                let labels = MetadataLabels::of(&path, &table, column)?;
                table.remove_column(column);
                labels
            }
            None => None,
        };
        let table = (table.heads.len() > 1).then_some(table);
        Ok(Some(Self { path, labels, table }))
    }

    /// The attributes of the images.
    pub fn attributes(
        self,
        listing: &Listing<'_>,
        part: &FolderImages,
        notes: &mut Vec<LayoutNote>,
    ) -> Result<Attributes, DataError> {
        let Some(table) = self.table else { return Ok(attributes::NONE.clone()) };
        let (table, found) = AttributeTable::of_cells(&self.path, table, true)?;
        notes.extend(found);
        match_rows(&table, &self.path, listing, part, 0)
    }
}

impl MetadataLabels {
    /// The labels in a column; `None` if it is empty, or -1 for unknown, in every row.
    fn of(path: &Path, table: &CsvTable, column: usize) -> Result<Option<Self>, DataError> {
        let bad = |problem: FileProblem| DataError::malformed("metadata", path, problem);
        let cells: Vec<&str> = table.rows.iter().map(|row| &row[column]).collect();
        if cells.iter().all(|cell| ["", "-1"].contains(cell)) {
            return Ok(None);
        }
        if let Some(row) = cells.iter().position(|cell| cell.is_empty()) {
            let (line, problem) = (table.line(row), "no label".to_owned());
            return Err(bad(FileProblem::Line { line, problem }));
        }
        let is_numbers = cells.iter().all(|cell| cell.parse::<u64>().is_ok());
        let label = |cell: &&str| match cell.parse() {
            Ok(number) if is_numbers => WrittenLabel::Number(number),
            _ => WrittenLabel::Word((*cell).to_owned()),
        };
        let labels: Vec<WrittenLabel> = cells.iter().map(label).collect();
        let classes = classes_of(&labels.iter().collect::<Vec<_>>()).map_err(bad)?;
        let mut rows = HashMap::with_capacity(labels.len());
        for (row, file) in table.files().enumerate() {
            if rows.insert(file.clone(), row).is_some() {
                return Err(bad(FileProblem::Twice { what: "rows", name: file }));
            }
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Some(Self { rows, classes, name }))
    }

    /// The labels of images, and the line that says where they are from.
    pub fn of_images(
        &self,
        listing: &Listing<'_>,
        images: &[usize],
    ) -> Result<FoundLabels, DataError> {
        let label = |&index: &usize| {
            let image = listing.files[index].shown();
            let row = self.rows.get(&image);
            row.map(|&row| self.classes.labels[row]).ok_or_else(|| {
                let name = &self.name;
                listing.bad(FileProblem::Labels(format!(
                    "{name:?} has no row for {image:?}: add it, or remove the column \"label\""
                )))
            })
        };
        let labels = images.iter().map(label).collect::<Result<_, _>>()?;
        let text = format!("{} from the labels of {}", count(&self.classes), self.name);
        Ok((Some(ClassLabels { labels, names: self.classes.names.clone() }), text))
    }
}

/// The table of a metadata file; `None` if it has no column of file names.
fn read_table(path: &Path, bytes: &[u8]) -> Result<Option<CsvTable>, DataError> {
    if path.extension().is_some_and(|extension| extension == "csv") {
        let first = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
        if !String::from_utf8_lossy(first).contains(FILE_COLUMN) {
            return Ok(None);
        }
        let mut table = CsvTable::parse(path, bytes)?;
        let Some(file) = table.heads.iter().position(|head| head == FILE_COLUMN) else {
            return Ok(None);
        };
        table.file = file;
        return Ok(Some(table));
    }
    json_table(path, bytes)
}

/// The table of one JSON object per line. Keys whose values are lists or objects are left out.
fn json_table(path: &Path, bytes: &[u8]) -> Result<Option<CsvTable>, DataError> {
    let bad = |line: usize, problem: String| {
        DataError::malformed("metadata", path, FileProblem::Line { line: line as u64 + 1, problem })
    };
    let mut objects: Vec<(usize, Map<String, Value>)> = Vec::new();
    for (line, text) in bytes.split(|&byte| byte == b'\n').enumerate() {
        if text.trim_ascii().is_empty() {
            continue;
        }
        match serde_json::from_slice(text) {
            Ok(Value::Object(object)) if object.contains_key(FILE_COLUMN) => {
                objects.push((line, object));
            }
            // A file of this name with other contents.
            _ if objects.is_empty() => return Ok(None),
            Ok(_) => return Err(bad(line, format!("it has no {FILE_COLUMN:?}"))),
            Err(error) => return Err(bad(line, crate::decode::one_line(&error))),
        }
    }
    let is_scalar = |key: &str| {
        !objects
            .iter()
            .any(|(_, object)| matches!(object.get(key), Some(Value::Array(_) | Value::Object(_))))
    };
    let mut heads: Vec<&str> =
        objects.iter().flat_map(|(_, object)| object.keys().map(String::as_str)).collect();
    heads.sort_unstable();
    heads.dedup();
    heads.retain(|key| is_scalar(key));
    let Some(file) = heads.iter().position(|head| *head == FILE_COLUMN) else { return Ok(None) };
    let cell = |value: Option<&Value>| match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    };
    let rows = objects.iter().map(|(line, object)| {
        let mut row: StringRecord = heads.iter().map(|head| cell(object.get(*head))).collect();
        let mut position = Position::new();
        position.set_line(*line as u64 + 1);
        row.set_position(Some(position));
        row
    });
    let rows = rows.collect();
    Ok(Some(CsvTable { heads: StringRecord::from(heads), rows, file }))
}
