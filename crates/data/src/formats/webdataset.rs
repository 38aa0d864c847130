//! WebDataset's labels: `0017.cls` or `0017.json` next to `0017.jpg`, with the same name up to the
//! first dot.
//!
//! `.cls` holds a number; `.json` an object whose `label` is a number or a word. JSON files without
//! `label` are captions or the like, and ignored.

use std::collections::HashMap;
use std::path::Path;

use super::archive_reader::{ArchiveMember, ArchiveReader, read_text};
use super::check_labels;
use super::classes::ClassLabels;
use crate::decode::one_line;
use crate::error::DataError;

/// A label as written.
#[derive(Clone, PartialEq)]
enum WebDatasetLabel {
    Number(u64),
    Word(String),
}

/// The label of each image and the classes' names, if the archive has label files.
pub(super) fn labels(
    path: &Path,
    container: &dyn ArchiveReader,
    images: &[ArchiveMember],
    others: &[ArchiveMember],
) -> Result<Option<ClassLabels>, DataError> {
    let bad = |problem: String| DataError::malformed(container.format(), path, problem);
    let mut found: HashMap<(u32, &str), WebDatasetLabel> = HashMap::new();
    let mut labeled = 0;
    for member in others {
        let (stem, extension) = split_stem(&member.name);
        let label = match extension {
            "cls" => Some(parse_number(&read_text(path, container, member)?)),
            "json" => parse_json(&read_text(path, container, member)?).transpose(),
            _ => None,
        };
        if let Some(label) = label {
            labeled += 1;
            found.insert(
                (member.shard, stem),
                label.map_err(|problem| bad(format!("{:?} {problem}", member.name)))?,
            );
        }
    }
    if found.is_empty() {
        return Ok(None);
    }
    if found.len() < labeled {
        return Err(bad("some of its images have two labels, a .cls and a .json file".to_owned()));
    }
    let mut used = std::collections::HashSet::new();
    let mut labels = Vec::with_capacity(images.len());
    for image in images {
        let (stem, _) = split_stem(&image.name);
        let label = found
            .get(&(image.shard, stem))
            .ok_or_else(|| bad(format!("{:?} has no label file, and others have", image.name)))?;
        used.insert((image.shard, stem));
        labels.push(label);
    }
    if let Some((_, stem)) = found.keys().filter(|key| !used.contains(*key)).min() {
        return Err(bad(format!("it has a label {stem:?} without an image")));
    }
    number(&labels).map(Some).map_err(bad)
}

/// Numbers are class indices; words are sorted and indexed.
fn number(labels: &[&WebDatasetLabel]) -> Result<ClassLabels, String> {
    let numbers: Option<Vec<u64>> = labels
        .iter()
        .map(|label| if let WebDatasetLabel::Number(n) = label { Some(*n) } else { None })
        .collect();
    if let Some(numbers) = numbers {
        let largest = numbers.iter().max().copied().unwrap_or(0);
        check_labels(largest)?;
        let names = (0..=largest).map(|n| n.to_string()).collect();
        return Ok(ClassLabels { labels: numbers.iter().map(|&n| n as u32).collect(), names });
    }
    let words: Option<Vec<&str>> = labels
        .iter()
        .map(
            |label| {
                if let WebDatasetLabel::Word(word) = label { Some(word.as_str()) } else { None }
            },
        )
        .collect();
    let words = words.ok_or("some of its labels are numbers and some are words")?;
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

/// The folder and the name up to its first dot, and the extension after it.
fn split_stem(name: &str) -> (&str, &str) {
    let start = name.rfind('/').map_or(0, |slash| slash + 1);
    match name[start..].find('.') {
        Some(dot) => (&name[..start + dot], &name[start + dot + 1..]),
        None => (name, ""),
    }
}

fn parse_number(text: &[u8]) -> Result<WebDatasetLabel, String> {
    let number = std::str::from_utf8(text).ok().and_then(|text| text.trim().parse().ok());
    number.map(WebDatasetLabel::Number).ok_or_else(|| {
        format!("holds {:?}, which is not a label: write a number from 0", start_of(text))
    })
}

fn parse_json(text: &[u8]) -> Result<Option<WebDatasetLabel>, String> {
    #[derive(serde::Deserialize)]
    struct LabelFile {
        label: Option<serde_json::Value>,
    }
    let object: LabelFile = serde_json::from_slice(text)
        .map_err(|error| format!("is not a JSON object: {}", one_line(&error)))?;
    match object.label {
        None | Some(serde_json::Value::Null) => Ok(None),
        Some(serde_json::Value::String(word)) => Ok(Some(WebDatasetLabel::Word(word))),
        Some(value) => match value.as_u64() {
            Some(number) => Ok(Some(WebDatasetLabel::Number(number))),
            None => Err(format!(
                "has the label {}, which is neither a number from 0 nor a word",
                one_line(&value)
            )),
        },
    }
}

/// The beginning of a text, for a message.
fn start_of(text: &[u8]) -> String {
    String::from_utf8_lossy(&text[..text.len().min(20)]).into_owned()
}
