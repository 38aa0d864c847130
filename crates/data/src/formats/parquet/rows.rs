//! The rows of all files: where each image is, its label and its attributes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::FORMAT_NAME;
use super::columns::{AttributeColumn, Columns, LabelColumn};
use super::file::{BytesAt, ParquetFile};
use crate::attributes::{Attribute, AttributeKind, Attributes};
use crate::error::{DataError, FileProblem};
use crate::formats::check_labels;
use crate::formats::labels::{self, ClassLabels};
use crate::layout_report::LayoutNote;

/// Longer labels are texts.
const MAX_WORD: usize = 256;

/// An image.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// The index of its file.
    pub file: u32,
    /// The index of its row there.
    pub row: u32,
    pub bytes: PlaceOfBytes,
}

/// Where an image's bytes are.
#[derive(Debug, Clone, Copy)]
pub(super) enum PlaceOfBytes {
    /// In the file.
    File { start: u64, length: u32 },
    /// In a compressed page: the index of the image in a row group.
    Packed { group: u32, image: u32 },
}

/// What was read of all files.
pub(super) struct Rows {
    pub columns: Columns,
    pub places: Vec<Place>,
    pub classes: Option<ClassLabels>,
    pub attributes: Attributes,
    /// Where classes and images are from.
    pub description: String,
    pub notes: Vec<LayoutNote>,
}

/// Reads one file after the other.
pub(super) struct RowReader {
    pub columns: Columns,
    files: Vec<PathBuf>,
    places: Vec<Place>,
    labels: LabelValues,
    /// The values of each column; NaN where there is none.
    attributes: Vec<Vec<f32>>,
    /// The number of rows without an image, and the first of them.
    null_images: usize,
    first_null: Option<(usize, usize)>,
}

/// The labels of the images so far; `None` where there is none.
enum LabelValues {
    None,
    Numbers(Vec<Option<i64>>),
    Words { labels: Vec<Option<u32>>, words: HashMap<Vec<u8>, u32> },
}

impl RowReader {
    pub fn new(columns: Columns) -> Self {
        let labels = match &columns.label {
            None => LabelValues::None,
            Some(label) if label.words => {
                LabelValues::Words { labels: Vec::new(), words: HashMap::new() }
            }
            Some(_) => LabelValues::Numbers(Vec::new()),
        };
        Self {
            attributes: vec![Vec::new(); columns.attributes.len()],
            columns,
            files: Vec::new(),
            places: Vec::new(),
            labels,
            null_images: 0,
            first_null: None,
        }
    }

    /// Appends the rows of a file.
    pub fn read(&mut self, file: &ParquetFile) -> Result<(), DataError> {
        let number = self.files.len();
        self.files.push(file.path.clone());
        let mut first_row = 0;
        for group in 0..file.groups() {
            let rows = file.rows(group);
            let mut has_image = Vec::with_capacity(rows);
            let mut images = 0;
            file.read_bytes(group, self.columns.image, |value| {
                has_image.push(value.is_some());
                let Some(value) = value else { return };
                let bytes = match value {
                    // A page, and so a value, has less than 2 GiB.
                    BytesAt::File { start, bytes } => {
                        PlaceOfBytes::File { start, length: bytes.len() as u32 }
                    }
                    BytesAt::Packed(_) => {
                        PlaceOfBytes::Packed { group: group as u32, image: images }
                    }
                };
                images += 1;
                let row = (first_row + has_image.len() - 1) as u32;
                self.places.push(Place { file: number as u32, row, bytes });
            })?;
            if let Some(row) = has_image.iter().position(|has_image| !has_image) {
                self.first_null.get_or_insert((number, first_row + row));
                self.null_images += has_image.iter().filter(|has_image| !**has_image).count();
            }
            self.read_labels(file, group, &has_image)?;
            for (values, column) in self.attributes.iter_mut().zip(&self.columns.attributes) {
                let numbers = file.read_numbers(group, column.column)?;
                let numbers = numbers.into_iter().zip(&has_image).filter(|(_, image)| **image);
                values.extend(numbers.map(|(number, _)| number.map_or(f32::NAN, |n| n as f32)));
            }
            first_row += rows;
        }
        Ok(())
    }

    fn read_labels(
        &mut self,
        file: &ParquetFile,
        group: usize,
        has_image: &[bool],
    ) -> Result<(), DataError> {
        let Some(LabelColumn { column, name, .. }) = &self.columns.label else { return Ok(()) };
        match &mut self.labels {
            LabelValues::None => {}
            LabelValues::Numbers(labels) => {
                let numbers = file.read_numbers(group, *column)?.into_iter().zip(has_image);
                labels.extend(
                    numbers.filter(|(_, image)| **image).map(|(label, _)| label.map(|l| l as i64)),
                );
            }
            LabelValues::Words { labels, words } => {
                let (mut row, mut long) = (0, None);
                file.read_bytes(group, *column, |value| {
                    let is_chosen = has_image.get(row) == Some(&true);
                    row += 1;
                    if !is_chosen {
                        return;
                    }
                    let word = value.as_ref().map(|value| match value {
                        BytesAt::File { bytes, .. } | BytesAt::Packed(bytes) => bytes.data(),
                    });
                    let word = word.filter(|word| {
                        let fits = word.len() <= MAX_WORD;
                        if !fits {
                            long.get_or_insert(word.len());
                        }
                        fits
                    });
                    labels.push(word.map(|word| match words.get(word) {
                        Some(&known) => known,
                        None => {
                            let next = words.len() as u32;
                            words.insert(word.to_vec(), next);
                            next
                        }
                    }));
                })?;
                if let Some(length) = long {
                    let problem = format!(
                        "its column {name:?} has texts of {length} bytes, which are no labels"
                    );
                    let problem = FileProblem::Labels(problem);
                    return Err(DataError::malformed(FORMAT_NAME, &file.path, problem));
                }
            }
        }
        Ok(())
    }

    /// What was read; `path` is the dataset.
    pub fn finish(self, path: &Path) -> Result<Rows, DataError> {
        let Self { columns, files, places, labels, attributes, null_images, first_null } = self;
        let bad = |problem: FileProblem| DataError::malformed(FORMAT_NAME, path, problem);
        if places.is_empty() {
            let problem = format!(
                "images: the column {:?} of its {null_images} rows is empty, or has paths alone",
                columns.image_name
            );
            return Err(bad(FileProblem::Missing(problem)));
        }
        let name = |(file, row): (usize, usize)| name_of(&files[file], row, files.len() > 1);
        let image_name = |index: usize| {
            let Place { file, row, .. } = places[index];
            name((file as usize, row as usize))
        };
        let mut notes = Vec::new();
        if let Some(first) = first_null {
            notes.push(LayoutNote::NullImages { count: null_images, first: name(first) });
        }
        let (classes, from) = match &columns.label {
            None => (None, "no classes".to_owned()),
            Some(label) => classes(label, labels, image_name).map_err(bad)?,
        };
        let mut table = Attributes::default();
        let mut kept = Vec::new();
        for (column, values) in columns.attributes.iter().zip(attributes) {
            if let Some(gap) = values.iter().position(|value| !value.is_finite()) {
                notes.push(LayoutNote::AttributeWithGaps {
                    column: column.name.clone(),
                    first: image_name(gap),
                });
                continue;
            }
            let (kind, values) = attribute(column, values, image_name).map_err(bad)?;
            table.columns.push(Attribute { name: column.name.clone(), kind });
            kept.push(values);
        }
        table.values.reserve_exact(kept.len() * places.len());
        for index in 0..places.len() {
            table.values.extend(kept.iter().map(|values| values[index]));
        }
        let description = format!("{from}, images from {}", columns.image_name);
        Ok(Rows { columns, places, classes, attributes: table, description, notes })
    }
}

/// The name of a row: its index, after that of its file if there are several.
pub(super) fn name_of(file: &Path, row: usize, several: bool) -> String {
    match several {
        true => format!("{}/{row}", file.file_stem().unwrap_or_default().to_string_lossy()),
        false => row.to_string(),
    }
}

/// The classes, and the words that say where they are from.
fn classes(
    column: &LabelColumn,
    labels: LabelValues,
    name: impl Fn(usize) -> String,
) -> Result<(Option<ClassLabels>, String), FileProblem> {
    let LabelColumn { name: from, names, .. } = column;
    let missing = |index: usize| {
        let problem = format!("image {} has no {from:?}, and others have", name(index));
        Err(FileProblem::Labels(problem))
    };
    let none = || Ok((None, format!("no classes ({from} is empty)")));
    let classes = match labels {
        LabelValues::None => return Ok((None, "no classes".to_owned())),
        LabelValues::Numbers(labels) => {
            // -1 is Hugging Face's label of test images whose class is not published.
            let is_missing = |label: &Option<i64>| matches!(label, None | Some(-1));
            if labels.iter().all(is_missing) {
                return none();
            }
            if let Some(index) = labels.iter().position(is_missing) {
                return missing(index);
            }
            let label = |(index, label): (usize, Option<i64>)| {
                let label = label.unwrap_or(-1);
                let bound = names.as_ref().map(Vec::len);
                match u32::try_from(label) {
                    Ok(class) if bound.is_none_or(|bound| (class as usize) < bound) => Ok(class),
                    _ => {
                        let classes =
                            bound.map_or(String::new(), |bound| format!(" of {bound} classes"));
                        let problem =
                            format!("{from:?} {label} of image {} is none{classes}", name(index));
                        Err(FileProblem::Labels(problem))
                    }
                }
            };
            let labels: Vec<u32> =
                labels.into_iter().enumerate().map(label).collect::<Result<_, _>>()?;
            let largest = labels.iter().max().copied().unwrap_or(0);
            check_labels(largest.into())?;
            let names = names
                .clone()
                .unwrap_or_else(|| (0..=largest).map(|label| label.to_string()).collect());
            ClassLabels { labels, names }
        }
        LabelValues::Words { labels, words } => {
            if labels.iter().all(Option::is_none) {
                return none();
            }
            if let Some(index) = labels.iter().position(Option::is_none) {
                return missing(index);
            }
            check_labels(words.len() as u64 - 1)?;
            let mut sorted: Vec<(Vec<u8>, u32)> = words.into_iter().collect();
            sorted.sort_unstable();
            let mut class_of = vec![0; sorted.len()];
            for (class, (_, number)) in (0..).zip(&sorted) {
                class_of[*number as usize] = class;
            }
            let names = sorted.into_iter().map(|(word, _)| String::from_utf8(word));
            let names = names.collect::<Result<_, _>>();
            let names = names.map_err(|_| FileProblem::NotUtf8(format!("a label in {from:?}")))?;
            let labels = labels.into_iter().flatten().map(|l| class_of[l as usize]).collect();
            ClassLabels { labels, names }
        }
    };
    let text = format!("{} from {from}", labels::count(&classes));
    Ok((Some(classes), text))
}

/// The kind and the values of an attribute without gaps.
fn attribute(
    column: &AttributeColumn,
    mut values: Vec<f32>,
    name: impl Fn(usize) -> String,
) -> Result<(AttributeKind, Vec<f32>), FileProblem> {
    if let Some(names) = &column.names {
        let is_in = |value: &f32| *value >= 0.0 && (*value as usize) < names.len();
        return match values.iter().position(|value| !is_in(value)) {
            None => Ok((AttributeKind::Category(names.clone()), values)),
            Some(index) => {
                let (from, value, count) = (&column.name, values[index], names.len());
                let image = name(index);
                let problem =
                    format!("{from:?} {value} of image {image} is none of {count} values");
                Err(FileProblem::Labels(problem))
            }
        };
    }
    // As in a table: -1 is no, too.
    if column.is_bool || values.iter().all(|value| [-1.0, 0.0, 1.0].contains(value)) {
        values.iter_mut().for_each(|value| *value = value.max(0.0));
        return Ok((AttributeKind::Binary, values));
    }
    Ok((AttributeKind::Number, values))
}
