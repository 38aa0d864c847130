//! Dividing a folder of pictures into a training and a held-out part, once and for all: as two folders.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::dataset::Dataset;
use crate::error::{DataError, SplitProblem};
use crate::formats::table::{CsvTable, FILE_NAME};
use crate::scan::ScanProgress;
use crate::source::{Source, Split};
use crate::spec::DataSpec;

/// How a folder is divided.
#[derive(Debug, Clone, PartialEq)]
pub struct SplitOptions {
    /// The share that is held out, between 0 and 1.
    pub test: f64,
    /// Another seed holds out others.
    pub seed: u64,
    /// The column of `attributes.csv` whose values stay together: pictures that share one are in one part.
    pub group_by: Option<String>,
}

/// The pictures of each part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SplitCounts {
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
/// Options out of range, a folder without pictures or divided already, names that are not UTF-8, an `out` inside `input`, a table without the column or without a row for
/// each picture, an `out` that holds something already, or the disk.
pub fn split(
    input: &Path,
    out: &Path,
    options: &SplitOptions,
    progress: &dyn Fn(ScanProgress),
) -> Result<SplitCounts, DataError> {
    if !(options.test > 0.0 && options.test < 1.0) {
        return Err(SplitProblem::Fraction(options.test).into());
    }
    if !input.is_dir() {
        return Err(SplitProblem::NotAFolder(input.to_owned()).into());
    }
    let spec = DataSpec::parse(&format!("folder:{}", input.display()))?;
    if spec.open(Split::Test).is_ok() {
        return Err(SplitProblem::AlreadySplit(input.to_owned()).into());
    }
    let source = spec.open(Split::Train)?;
    let names: Vec<String> =
        (0..source.len()).map(|index| source.name(index).replace('\\', "/")).collect();
    require_utf8(input, &names)?;
    let table = read_table(input)?;
    let groups = match &options.group_by {
        None => names.clone(),
        Some(column) => {
            let (folder, wanted) = (input.to_owned(), column.clone());
            let table = table.as_ref();
            let table = table.ok_or(SplitProblem::NoTable { folder, column: wanted })?;
            groups(table, input, column, &names)?
        }
    };
    let tests = holdout_split(source.as_ref(), &groups, options);

    require_outside(input, out)?;
    make_empty(out)?;
    let (total, mut moved) = (names.len(), HashMap::new());
    progress(ScanProgress { done: 0, total, skipped: 0 });
    for (k, name) in names.iter().enumerate() {
        let part = if tests[k] { Split::Test } else { Split::Train };
        let to = out.join(part.name()).join(name);
        link(&input.join(name), &to)?;
        moved.insert(name.as_str(), format!("{}/{name}", part.name()));
        progress(ScanProgress { done: k + 1, total, skipped: 0 });
    }
    if let Some(table) = &table {
        write_table(table, &out.join(FILE_NAME), &moved)?;
    }
    let test = tests.iter().filter(|held| **held).count();
    Ok(SplitCounts { train: total - test, test })
}

/// Puts these pictures of a set that is a folder into the folder `out`, under their own names and sub-folders, with their rows of its
/// `attributes.csv`. The files are linked (hard links) where the file system can, else copied.
///
/// # Errors
/// A set that is not a [folder](Dataset::folder), names that are not UTF-8, an `out` inside of it or that holds something already, or the disk.
///
/// # Panics
/// When an index is not below the set's length.
pub fn select(dataset: &Dataset, indices: &[usize], out: &Path) -> Result<(), DataError> {
    let folder = dataset.folder().ok_or_else(|| SplitProblem::NotAFolder(dataset.name().into()))?;
    let names: Vec<String> =
        indices.iter().map(|&index| dataset.image_name(index).replace('\\', "/")).collect();
    require_utf8(&folder, &names)?;
    // Of a divided set, the table may lie above the parts and name them.
    let part =
        folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let (table, inside) = match (read_table(&folder)?, folder.parent()) {
        (Some(table), _) => (Some(table), String::new()),
        (None, Some(above)) => (read_table(above)?, format!("{part}/")),
        (None, None) => (None, String::new()),
    };
    require_outside(&folder, out)?;
    make_empty(out)?;
    names.iter().try_for_each(|name| link(&folder.join(name), &out.join(name)))?;
    let Some(table) = table.filter(|_| !dataset.attribute_columns().is_empty()) else {
        return Ok(());
    };
    let before: Vec<String> = names.iter().map(|name| format!("{inside}{name}")).collect();
    let moved =
        before.iter().zip(&names).map(|(before, name)| (before.as_str(), name.clone())).collect();
    write_table(&table, &out.join(FILE_NAME), &moved)
}

/// Refuses names that are not what the file system calls the files, before anything is made.
fn require_utf8(folder: &Path, names: &[String]) -> Result<(), DataError> {
    let changed = |name: &&String| {
        name.contains(char::REPLACEMENT_CHARACTER) && folder.join(name).symlink_metadata().is_err()
    };
    match names.iter().find(changed) {
        None => Ok(()),
        Some(name) => {
            let (name, folder) = (name.clone(), folder.to_owned());
            Err(SplitProblem::NotUtf8 { name, folder }.into())
        }
    }
}

/// Links a file, or copies it, into a folder that is made where it is missing.
fn link(from: &Path, to: &Path) -> Result<(), DataError> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).map_err(DataError::write(folder))?;
    }
    // A link among the pictures would lead elsewhere from its new place. One to nowhere stays one.
    let file = from.canonicalize();
    let file = file.as_deref().unwrap_or(from);
    if fs::hard_link(file, to).is_err() {
        fs::copy(file, to).map_err(DataError::write(to))?;
    }
    Ok(())
}

/// Refuses to write among what is read: the next reader would find it there.
pub(crate) fn require_outside(input: &Path, out: &Path) -> Result<(), DataError> {
    // Of a folder that is to be made, what there is of the way to it.
    let real = |path: &Path| {
        std::path::absolute(path).ok()?.ancestors().find_map(|path| path.canonicalize().ok())
    };
    match real(input).zip(real(out)) {
        Some((above, below)) if below.starts_with(&above) => {
            Err(DataError::OutputInsideInput { path: out.to_owned(), input: input.to_owned() })
        }
        _ => Ok(()),
    }
}

/// Makes the folder, which must not hold anything yet.
pub(crate) fn make_empty(folder: &Path) -> Result<(), DataError> {
    fs::create_dir_all(folder).map_err(DataError::write(folder))?;
    match folder.read_dir().map_err(DataError::write(folder))?.next() {
        None => Ok(()),
        Some(_) => Err(DataError::NotEmpty { path: folder.to_owned() }),
    }
}

/// For each picture whether it is held out.
fn holdout_split(source: &dyn Source, groups: &[String], options: &SplitOptions) -> Vec<bool> {
    // A group counts for the class of its first picture.
    let mut classes: BTreeMap<Option<u32>, Vec<&str>> = BTreeMap::new();
    let mut chosen: HashMap<&str, bool> = HashMap::new();
    for (index, group) in groups.iter().enumerate() {
        if chosen.insert(group, false).is_none() {
            classes.entry(source.label(index)).or_default().push(group);
        }
    }
    for groups in classes.values_mut() {
        groups.sort_by_cached_key(|group| {
            Sha256::new().chain_update(options.seed.to_le_bytes()).chain_update(group).finalize()
        });
        let most = groups.len().saturating_sub(1);
        let count = ((groups.len() as f64 * options.test).round() as usize).max(1).min(most);
        groups.iter().take(count).for_each(|group| {
            chosen.insert(group, true);
        });
    }
    groups.iter().map(|group| chosen[group.as_str()]).collect()
}

/// The table beside the pictures, if there is one.
fn read_table(folder: &Path) -> Result<Option<CsvTable>, DataError> {
    let path = folder.join(FILE_NAME);
    if !path.is_file() {
        return Ok(None);
    }
    let bytes = fs::read(&path).map_err(|error| DataError::Io { path: path.clone(), error })?;
    CsvTable::parse(&path, &bytes).map(Some)
}

/// The value of `column` for each picture.
fn groups(
    table: &CsvTable,
    input: &Path,
    column: &str,
    names: &[String],
) -> Result<Vec<String>, DataError> {
    let at = table.heads.iter().position(|head| head == column).ok_or_else(|| {
        let known = table.heads.iter().collect::<Vec<_>>().join(", ");
        SplitProblem::NoColumn { folder: input.to_owned(), column: column.to_owned(), known }
    })?;
    let values: HashMap<String, &str> =
        table.files().zip(table.rows.iter().map(|row| &row[at])).collect();
    let value = |name: &String| {
        let found = values.get(name).map(|value| (*value).to_owned());
        found.ok_or_else(|| {
            SplitProblem::NoRow { folder: input.to_owned(), name: name.clone() }.into()
        })
    };
    names.iter().map(value).collect()
}

/// Writes the rows of the pictures that were put somewhere, with the paths that they have now.
fn write_table(
    table: &CsvTable,
    path: &Path,
    moved: &HashMap<&str, String>,
) -> Result<(), DataError> {
    let wrong =
        |error: csv::Error| DataError::Write { path: PathBuf::from(path), error: error.into() };
    let mut writer = csv::Writer::from_path(path).map_err(wrong)?;
    writer.write_record(&table.heads).map_err(wrong)?;
    for (row, file) in table.rows.iter().zip(table.files()) {
        let Some(moved) = moved.get(file.as_str()) else { continue };
        writer
            .write_record(
                row.iter()
                    .enumerate()
                    .map(|(k, cell)| if k == table.file { &**moved } else { cell }),
            )
            .map_err(wrong)?;
    }
    writer.flush().map_err(|error| wrong(error.into()))
}
