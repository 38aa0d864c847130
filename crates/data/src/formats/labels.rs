//! Labels of images: from label files beside them, from StyleGAN's `dataset.json`, from folders.
//!
//! A label file (WebDataset) has the image's name up to its first dot: `0017.cls`, a number, or
//! `0017.json`, an object whose `label` is a number or a word. Other JSON files are ignored.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::check_labels;
use super::file_store::clean_path;
use super::layout::Listing;
use crate::decode::one_line;
use crate::error::{DataError, FileProblem};
use crate::layout_report::LayoutNote;

/// The name of StyleGAN's table of labels.
pub(super) const STYLEGAN_FILE: &str = "dataset.json";

/// The class of each image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClassLabels {
    pub labels: Vec<u32>,
    /// The names of classes 0, 1, ….
    pub names: Vec<String>,
}

/// The labels of a dataset, or none, and the words that say where they are from.
pub(super) type FoundLabels = (Option<ClassLabels>, String);

/// A label as written.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum WrittenLabel {
    Number(u64),
    Word(String),
}

/// The classes of labels as written: numbers are class indices; words are sorted and indexed.
pub(super) fn classes_of(labels: &[&WrittenLabel]) -> Result<ClassLabels, FileProblem> {
    let number = |label: &&WrittenLabel| match label {
        WrittenLabel::Number(number) => Some(*number),
        WrittenLabel::Word(_) => None,
    };
    if let Some(numbers) = labels.iter().map(number).collect::<Option<Vec<u64>>>() {
        let largest = numbers.iter().max().copied().unwrap_or(0);
        check_labels(largest)?;
        let names = (0..=largest).map(|n| n.to_string()).collect();
        return Ok(ClassLabels { labels: numbers.iter().map(|&n| n as u32).collect(), names });
    }
    let words: Option<Vec<&str>> = labels
        .iter()
        .map(|label| match label {
            WrittenLabel::Word(word) => Some(word.as_str()),
            WrittenLabel::Number(_) => None,
        })
        .collect();
    let words = words.ok_or_else(|| {
        FileProblem::Labels("some of its labels are numbers and some are words".to_owned())
    })?;
    let mut names = words.clone();
    names.sort_unstable();
    names.dedup();
    check_labels(names.len() as u64 - 1)?;
    let labels = words
        .iter()
        .filter_map(|word| names.binary_search(word).ok())
        .map(|label| label as u32)
        .collect();
    Ok(ClassLabels { labels, names: names.into_iter().map(str::to_owned).collect() })
}

/// The labels of label files, and the line that says so; `None` if there are no such files.
pub(super) fn of_files(
    listing: &Listing<'_>,
    images: &[usize],
) -> Result<Option<FoundLabels>, DataError> {
    let files = listing.files;
    let bad = |problem: String| listing.bad(FileProblem::Labels(problem));
    let key = |index: usize| (files[index].shard, split_stem(files[index].path).0);
    let stem = |index: usize| String::from_utf8_lossy(key(index).1).into_owned();
    let has = |index: usize, extension: &[u8]| {
        split_stem(files[index].path).1.eq_ignore_ascii_case(extension)
    };
    let is_label = |index: usize| has(index, b"cls") || has(index, b"json");
    if !(0..files.len()).any(is_label) {
        return Ok(None);
    }
    let stems: HashSet<(u32, &[u8])> = images.iter().map(|&index| key(index)).collect();
    let folders: HashSet<&[u8]> =
        images.iter().map(|&index| folder_of(files[index].path)).collect();
    let mut found: HashMap<(u32, &[u8]), WrittenLabel> = HashMap::new();
    for index in (0..files.len()).filter(|&index| is_label(index)) {
        let is_cls = has(index, b"cls");
        let has_image = stems.contains(&key(index));
        // JSON that belongs to no image may have any form.
        if !has_image && (!is_cls || !folders.contains(folder_of(files[index].path))) {
            continue;
        }
        let text = listing.text(index)?;
        let label = if is_cls { parse_number(&text).map(Some) } else { parse_json(&text) };
        if !has_image && label.is_err() {
            // Of another program, such as a document class of LaTeX.
            continue;
        }
        let named = |problem| bad(format!("{:?} {problem}", files[index].shown()));
        let Some(label) = label.map_err(named)? else { continue };
        if !has_image {
            let stem = stem(index);
            return Err(bad(format!(
                "it has a label {stem:?} without an image: remove it, or add one"
            )));
        }
        if found.insert(key(index), label).is_some() {
            let problem = "some of its images have two labels, a .cls and a .json file: remove one";
            return Err(bad(problem.to_owned()));
        }
    }
    if found.is_empty() {
        return Ok(None);
    }
    let label = |&index: &usize| {
        found.get(&key(index)).ok_or_else(|| {
            let image = files[index].shown();
            bad(format!("{image:?} has no label file, and others have: add it, or remove all"))
        })
    };
    let labels = images.iter().map(label).collect::<Result<Vec<_>, _>>()?;
    let classes = classes_of(&labels).map_err(|problem| listing.bad(problem))?;
    let text = format!("{} from label files", count(&classes));
    Ok(Some((Some(classes), text)))
}

/// The `labels` of StyleGAN's table: each image's path in the table's folder, with a number. The
/// outer `None` means something else, the inner one no labels.
fn parse_stylegan(text: &[u8]) -> Option<Option<Vec<(String, Value)>>> {
    let mut table: Map<String, Value> = serde_json::from_slice(text).ok()?;
    match table.remove("labels")? {
        Value::Null => Some(None),
        // Python's `dict` takes pairs and objects.
        Value::Object(labels) => Some(Some(labels.into_iter().collect())),
        pairs => serde_json::from_value(pairs).ok().map(Some),
    }
}

/// The labels of StyleGAN's table (`None` if it has no classes), and the line that says so. `None`
/// if the file is something else, which is noted.
pub(super) fn of_stylegan(
    listing: &Listing<'_>,
    table: usize,
    images: &[usize],
    notes: &mut Vec<LayoutNote>,
) -> Result<Option<FoundLabels>, DataError> {
    let path = listing.files[table].path;
    let folder = path.len() - STYLEGAN_FILE.len();
    let name = String::from_utf8_lossy(path);
    let Some(labels) = parse_stylegan(&listing.text(table)?) else {
        let reason = "it is not StyleGAN's table of labels";
        notes.push(LayoutNote::UnreadTable { table: name.into_owned(), reason });
        return Ok(None);
    };
    let Some(labels) = labels else {
        return Ok(Some((None, format!("no classes ({name} has no labels)"))));
    };
    let mut rows = HashMap::with_capacity(labels.len());
    for (file, label) in labels {
        let Some(class) = class_number(&label) else {
            return Ok(Some((None, format!("no classes (the labels of {name} are not numbers)"))));
        };
        let class = WrittenLabel::Number(class);
        if rows.insert(clean_path(&file), class.clone()).is_some_and(|before| before != class) {
            let problem = format!("{name:?} has two labels for {file:?}: remove one");
            return Err(listing.bad(FileProblem::Labels(problem)));
        }
    }
    let label = |&index: &usize| {
        let image = String::from_utf8_lossy(&listing.files[index].path[folder..]);
        rows.get(&*image).ok_or_else(|| {
            listing.bad(FileProblem::Labels(format!(
                "{name:?} has no label for {image:?}: add it, or remove the table"
            )))
        })
    };
    let labels = images.iter().map(label).collect::<Result<Vec<_>, _>>()?;
    let classes = classes_of(&labels).map_err(|problem| listing.bad(problem))?;
    let text = format!("{} from {name}", count(&classes));
    Ok(Some((Some(classes), text)))
}

/// Classes from the folder of each image. The `known` ones come first.
pub(super) fn by_folder<'a>(
    listing: &Listing<'_>,
    folders: impl Iterator<Item = &'a [u8]> + Clone,
    known: Vec<String>,
) -> Result<ClassLabels, DataError> {
    let mut distinct: Vec<&[u8]> = folders.clone().collect();
    distinct.sort_unstable();
    distinct.dedup();
    let mut names: Vec<String> =
        distinct.iter().map(|folder| String::from_utf8_lossy(folder).into_owned()).collect();
    names.sort();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        // They differ in bytes that are not UTF-8, for which the name has U+FFFD.
        return Err(listing.bad(FileProblem::Twice { what: "folders", name: pair[0].clone() }));
    }
    names.retain(|name| !known.contains(name));
    let names = [known, names].concat();
    let index: HashMap<&str, u32> = (0..).zip(&names).map(|(k, name)| (name.as_str(), k)).collect();
    let labels = folders.map(|folder| index[&*String::from_utf8_lossy(folder)]).collect();
    Ok(ClassLabels { labels, names })
}

/// The number of classes, as text.
pub(super) fn count(classes: &ClassLabels) -> String {
    match classes.names.len() {
        1 => "1 class".to_owned(),
        count => format!("{count} classes"),
    }
}

/// The folder of a path, with its slash; empty if it has none.
fn folder_of(path: &[u8]) -> &[u8] {
    let start = path.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
    &path[..start]
}

/// The folder and the name up to its first dot, and the extension after it.
fn split_stem(path: &[u8]) -> (&[u8], &[u8]) {
    let start = folder_of(path).len();
    match path[start..].iter().position(|&byte| byte == b'.') {
        Some(dot) => (&path[..start + dot], &path[start + dot + 1..]),
        None => (path, b""),
    }
}

fn parse_number(text: &[u8]) -> Result<WrittenLabel, String> {
    let number = std::str::from_utf8(text).ok().and_then(|text| text.trim().parse().ok());
    number.map(WrittenLabel::Number).ok_or_else(|| {
        format!("holds {:?}, which is not a label: write a number from 0", start_of(text))
    })
}

/// A number from 0, also as a fraction (`3.0`), as programs write it that calculate in them.
fn class_number(value: &Value) -> Option<u64> {
    let is_exact = |number: &f64| (0.0..2f64.powi(53)).contains(number) && number.fract() == 0.0;
    value.as_u64().or_else(|| value.as_f64().filter(is_exact).map(|number| number as u64))
}

fn parse_json(text: &[u8]) -> Result<Option<WrittenLabel>, String> {
    let value: Value = serde_json::from_slice(text)
        .map_err(|error| format!("is not JSON ({}): mend or remove it", one_line(&error)))?;
    // An array, such as boxes in the image, has no label.
    match value.get("label") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(word)) if word.trim().is_empty() => Ok(None),
        Some(Value::String(word)) => Ok(Some(WrittenLabel::Word(word.clone()))),
        Some(value) => match class_number(value) {
            Some(number) => Ok(Some(WrittenLabel::Number(number))),
            None => Err(format!(
                "has the label {}, which is neither a number from 0 nor a word: mend or remove it",
                one_line(value)
            )),
        },
    }
}

/// The beginning of a text, for a message.
fn start_of(text: &[u8]) -> String {
    String::from_utf8_lossy(&text[..text.len().min(20)]).into_owned()
}
