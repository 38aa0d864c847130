//! Dividing a folder of pictures into a training and a held-out part, once and for all: as two folders.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::decode::one_line;
use crate::error::DataError;
use crate::formats::{self, Source};
use crate::ingest::Progress;
use crate::spec::{DataSpec, Split};

/// The table beside the pictures that says what is known of them.
const TABLE: &str = "attributes.csv";

/// How a folder is divided.
#[derive(Debug, Clone, PartialEq)]
pub struct SplitOptions {
    /// The share that is held out, between 0 and 1.
    pub test: f64,
    /// Another seed holds out others.
    pub seed: u64,
    /// The column of `attributes.csv` whose values stay together: pictures that share one are in one part.
    pub by: Option<String>,
}

/// The pictures of each part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Divided {
    /// To be learned from.
    pub train: usize,
    /// Held out.
    pub test: usize,
}

/// Puts the pictures of the folder `input` into `out/train` and `out/test`, under their own names and sub-folders, which
/// are their classes. The files are linked (hard links) where the file system can, else copied; `input` stays as it is. An
/// `attributes.csv` is taken along, with the new paths.
///
/// Of each class the share `test` is held out, rounded, at least one picture (or group, with `by`) and never all. Which
/// ones is a function of the seed and of their names alone.
///
/// # Errors
/// Options out of range, a folder without pictures or divided already, a table without the column or without a row for
/// each picture, an `out` that holds something already, or the disk.
pub fn split(input: &Path, out: &Path, options: &SplitOptions, progress: &dyn Fn(Progress)) -> Result<Divided, DataError> {
    if !(options.test > 0.0 && options.test < 1.0) {
        return Err(DataError::Divide(format!("a share of {}: it must be more than 0 and less than 1", options.test)));
    }
    let spec = DataSpec::parse(&format!("folder:{}", input.display()))?;
    if formats::open(&spec, Split::Test).is_ok() {
        return Err(DataError::Divide(format!("{input:?} has folders of both splits already")));
    }
    let source = formats::open(&spec, Split::Train)?;
    let names: Vec<String> = (0..source.len()).map(|index| source.name(index).replace('\\', "/")).collect();
    let table = Table::read(input)?;
    let groups = match &options.by {
        None => names.clone(),
        Some(column) => table.as_ref().ok_or_else(|| no_table(input, column))?.groups(input, column, &names)?,
    };
    let tests = held_out(source.as_ref(), &groups, options);

    let write = |path: &Path| {
        let path = path.to_owned();
        move |error| DataError::Write { path, error }
    };
    fs::create_dir_all(out).map_err(write(out))?;
    if out.read_dir().map_err(write(out))?.next().is_some() {
        return Err(DataError::NotEmpty { path: out.to_owned() });
    }
    let (total, mut moved) = (names.len(), HashMap::new());
    progress(Progress { done: 0, total, skipped: 0 });
    for (k, name) in names.iter().enumerate() {
        let part = if tests[k] { Split::Test } else { Split::Train };
        let to = out.join(part.name()).join(name);
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).map_err(write(folder))?;
        }
        let from = input.join(name);
        if fs::hard_link(&from, &to).is_err() {
            fs::copy(&from, &to).map_err(write(&to))?;
        }
        moved.insert(name.as_str(), part);
        progress(Progress { done: k + 1, total, skipped: 0 });
    }
    if let Some(table) = &table {
        table.write(&out.join(TABLE), &moved)?;
    }
    let test = tests.iter().filter(|held| **held).count();
    Ok(Divided { train: total - test, test })
}

/// For each picture whether it is held out.
fn held_out(source: &dyn Source, groups: &[String], options: &SplitOptions) -> Vec<bool> {
    // A group counts for the class of its first picture.
    let mut classes: BTreeMap<Option<u32>, Vec<&str>> = BTreeMap::new();
    let mut chosen: HashMap<&str, bool> = HashMap::new();
    for (index, group) in groups.iter().enumerate() {
        if chosen.insert(group, false).is_none() {
            classes.entry(source.label(index)).or_default().push(group);
        }
    }
    for groups in classes.values_mut() {
        groups.sort_by_cached_key(|group| Sha256::new().chain_update(options.seed.to_le_bytes()).chain_update(group).finalize());
        let most = groups.len().saturating_sub(1);
        let count = ((groups.len() as f64 * options.test).round() as usize).max(1).min(most);
        groups.iter().take(count).for_each(|group| {
            chosen.insert(group, true);
        });
    }
    groups.iter().map(|group| chosen[group.as_str()]).collect()
}

fn no_table(input: &Path, column: &str) -> DataError {
    DataError::Divide(format!("there is no {TABLE} in {input:?} that could have a column {column:?}"))
}

/// `attributes.csv` as it stands.
struct Table {
    heads: csv::StringRecord,
    rows: Vec<csv::StringRecord>,
    /// The column of the pictures' paths.
    file: usize,
}

impl Table {
    fn read(folder: &Path) -> Result<Option<Self>, DataError> {
        let path = folder.join(TABLE);
        if !path.is_file() {
            return Ok(None);
        }
        let bad = |error: csv::Error| DataError::Divide(format!("cannot read {path:?}: {}", one_line(&error)));
        let mut reader = csv::Reader::from_path(&path).map_err(bad)?;
        let heads = reader.headers().map_err(bad)?.clone();
        let file = heads.iter().position(|head| head.eq_ignore_ascii_case("file")).unwrap_or(0);
        let rows = reader.records().collect::<Result<_, _>>().map_err(bad)?;
        Ok(Some(Self { heads, rows, file }))
    }

    /// The value of `column` for each picture.
    fn groups(&self, input: &Path, column: &str, names: &[String]) -> Result<Vec<String>, DataError> {
        let at = self.heads.iter().position(|head| head == column).ok_or_else(|| {
            let known = self.heads.iter().collect::<Vec<_>>().join(", ");
            DataError::Divide(format!("{TABLE} in {input:?} has no column {column:?} (it has {known})"))
        })?;
        let values: HashMap<&str, &str> = self.rows.iter().map(|row| (&row[self.file], &row[at])).collect();
        let value = |name: &String| {
            let found = values.get(name.as_str()).map(|value| (*value).to_owned());
            found.ok_or_else(|| DataError::Divide(format!("{TABLE} in {input:?} has no row for {name:?}")))
        };
        names.iter().map(value).collect()
    }

    /// Writes the rows of the pictures that were put somewhere, with the paths that they have now.
    fn write(&self, path: &Path, moved: &HashMap<&str, Split>) -> Result<(), DataError> {
        let wrong = |error: csv::Error| DataError::Write { path: PathBuf::from(path), error: error.into() };
        let mut writer = csv::Writer::from_path(path).map_err(wrong)?;
        writer.write_record(&self.heads).map_err(wrong)?;
        for row in &self.rows {
            let Some(part) = moved.get(&row[self.file]) else { continue };
            let file = format!("{}/{}", part.name(), &row[self.file]);
            writer
                .write_record(row.iter().enumerate().map(|(k, cell)| if k == self.file { &*file } else { cell }))
                .map_err(wrong)?;
        }
        writer.flush().map_err(|error| wrong(error.into()))
    }
}
