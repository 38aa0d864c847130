//! Divides a folder of images into a training and a held-out folder.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use file_io::LockFile;
use sha2::{Digest as _, Sha256};

use crate::attributes::{Attribute, AttributeKind};
use crate::dataset::Dataset;
use crate::error::{DataError, SplitProblem};
use crate::formats::metadata::{CSV_FILE, FILE_COLUMN, LABEL_COLUMN};
use crate::formats::table::{CsvTable, FILE_NAME};
use crate::scan::ScanProgress;
use crate::source::{Source, Split};
use crate::spec::DataSpec;

/// The file that is locked while a folder is filled.
const LOCK: &str = ".lock";

/// How a folder is divided.
///
/// ```
/// use data::{DataError, SplitOptions, SplitProblem};
///
/// let options = SplitOptions { test: 1.5, seed: 0, group_by: None };
/// let error = data::split("in".as_ref(), "out".as_ref(), &options, &|_| ()).unwrap_err();
/// assert!(matches!(error, DataError::Split(SplitProblem::Fraction(1.5))));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct SplitOptions {
    /// The fraction that is held out, between 0 and 1.
    pub test: f64,
    /// The random seed of the choice.
    pub seed: u64,
    /// The column of `attributes.csv` to group by: images with the same value go to the same split.
    pub group_by: Option<String>,
}

/// The number of images in each split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SplitCounts {
    /// Training images.
    pub train: usize,
    /// Held-out images.
    pub test: usize,
}

/// Puts the images of the folder `input` into `out/train` and `out/test`, under their own names and
/// sub-folders, which are their classes. Files are hard-linked where the file system can, else
/// copied; `input` is not changed. An `attributes.csv` is copied with the new paths; classes and
/// attributes that other files give are written to `out/metadata.csv`.
///
/// The fraction `test` of each class is held out, rounded, at least one image (or group) and never
/// all. The choice is a function of the seed and the images' names alone.
///
/// # Errors
/// Returns an error if an option is out of range, if `input` has no images, is divided already or
/// has names that are not UTF-8, if `out` is inside `input`, is not empty or cannot be written, or
/// if the table has no such column or no row for an image.
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
    let spec = DataSpec::parse(&format!("folder:{}", DataSpec::escape(input.as_os_str())))?;
    if spec.open(Split::Test).is_ok() {
        return Err(SplitProblem::AlreadySplit(input.to_owned()).into());
    }
    let source = spec.open(Split::Train)?;
    let names: Vec<String> =
        (0..source.len()).map(|index| relative_path(source.name(index))).collect();
    let folder = source.path();
    require_utf8(folder, &names)?;
    let table = source.table().map(|path| read_table(path, folder)).transpose()?;
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
    let _lock = make_empty(out)?;
    let (total, mut moved) = (names.len(), HashMap::new());
    progress(ScanProgress { done: 0, total, skipped: 0 });
    for (k, name) in names.iter().enumerate() {
        let part = if tests[k] { Split::Test } else { Split::Train };
        let to = out.join(part.name()).join(name);
        link(&folder.join(name), &to)?;
        moved.insert(name.as_str(), format!("{}/{name}", part.name()));
        progress(ScanProgress { done: k + 1, total, skipped: 0 });
    }
    if let Some(table) = &table {
        write_table(table, &out.join(FILE_NAME), &moved)?;
    }
    let class = |k| source.label(k).map(|label| &*source.class_names()[label as usize]);
    let images = names.iter().enumerate().map(|(k, name)| DescribedImage {
        path: moved[name.as_str()].clone(),
        class: class(k),
        values: source.attributes_of(k),
    });
    let columns = if table.is_none() { source.columns() } else { &[] };
    write_metadata(&images.collect::<Vec<_>>(), columns, out)?;
    let test = tests.iter().filter(|held| **held).count();
    Ok(SplitCounts { train: total - test, test })
}

/// Puts these images of a dataset that is a folder into the folder `out`, under their own names and
/// sub-folders, with their rows of its `attributes.csv`. Files are hard-linked where the file
/// system can, else copied. Classes and attributes that other files give are written to
/// `out/metadata.csv`.
///
/// # Errors
/// Returns an error if the dataset is not a [folder](Dataset::folder) or has names that are not
/// UTF-8, or if `out` is inside it, is not empty or cannot be written.
///
/// # Panics
/// Panics if an index is not below the dataset's length.
pub fn select(dataset: &Dataset, indices: &[usize], out: &Path) -> Result<(), DataError> {
    let folder = dataset.folder().ok_or_else(|| SplitProblem::NotAFolder(dataset.name().into()))?;
    let names: Vec<String> =
        indices.iter().map(|&index| relative_path(dataset.image_name(index))).collect();
    require_utf8(&folder, &names)?;
    let table = dataset.table().map(|path| read_table(path, &folder)).transpose()?;
    require_outside(&folder, out)?;
    let _lock = make_empty(out)?;
    names.iter().try_for_each(|name| link(&folder.join(name), &out.join(name)))?;
    if let Some(table) = &table {
        let moved = names.iter().map(|name| (name.as_str(), name.clone())).collect();
        write_table(table, &out.join(FILE_NAME), &moved)?;
    }
    let class = |index| dataset.label(index).map(|label| &*dataset.class_names()[label as usize]);
    let images = indices.iter().zip(&names).map(|(&index, name)| DescribedImage {
        path: name.clone(),
        class: class(index),
        values: dataset.attributes(index),
    });
    let columns = if table.is_none() { dataset.attribute_columns() } else { &[] };
    write_metadata(&images.collect::<Vec<_>>(), columns, out)
}

/// The name of an image of a folder, with `/` between its parts. Elsewhere than on Windows a
/// backslash is a character of a name, which may be `..\..\x.png`.
fn relative_path(name: String) -> String {
    if cfg!(windows) { name.replace('\\', "/") } else { name }
}

/// Refuses names that are not UTF-8, before anything is written.
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

/// Links a file, or copies it; missing folders are created.
fn link(from: &Path, to: &Path) -> Result<(), DataError> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).map_err(DataError::write(folder))?;
    }
    // A relative link would point elsewhere from its new folder, so it is resolved. A dangling one
    // is kept.
    let file = from.canonicalize();
    let file = file.as_deref().unwrap_or(from);
    match fs::hard_link(file, to) {
        Ok(()) => Ok(()),
        // Not to be copied over: it may be a link to the same file, which would be emptied.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        Err(_) => copy_new(file, to),
    }
    .map_err(DataError::write(to))
}

/// Copies a file to a new one.
fn copy_new(from: &Path, to: &Path) -> io::Result<()> {
    io::copy(&mut file_io::open(from)?, &mut File::create_new(to)?).map(drop)
}

/// Refuses an output folder inside the input: the next reader of the input would read it too.
///
/// # Errors
/// Returns [`DataError::OutputInsideInput`].
pub fn require_outside(input: &Path, out: &Path) -> Result<(), DataError> {
    // Resolves the existing part of a path that is still to be created.
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

/// Creates the folder, which must be empty if it exists. Until the returned lock is dropped, other
/// processes are refused as if it were not.
pub(crate) fn make_empty(folder: &Path) -> Result<LockFile, DataError> {
    let not_empty = || DataError::NotEmpty { path: folder.to_owned() };
    fs::create_dir_all(folder).map_err(DataError::write(folder))?;
    let lock = LockFile::acquire(&folder.join(LOCK)).map_err(DataError::write(folder))?;
    let lock = lock.ok_or_else(not_empty)?;
    for entry in folder.read_dir().map_err(DataError::write(folder))? {
        if entry.map_err(DataError::write(folder))?.file_name() != LOCK {
            return Err(not_empty());
        }
    }
    Ok(lock)
}

/// For each image whether it is held out.
fn holdout_split(source: &dyn Source, groups: &[String], options: &SplitOptions) -> Vec<bool> {
    // A group belongs to the class of its first image.
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

/// The attribute table at `path`, with the paths of its rows as they are in `folder`, which is the
/// table's own or one inside it. Rows of other files are left out.
fn read_table(path: &Path, folder: &Path) -> Result<CsvTable, DataError> {
    let bytes =
        file_io::read(path).map_err(|error| DataError::Io { path: path.to_owned(), error })?;
    let mut table = CsvTable::parse(path, &bytes)?;
    let inside = path.parent().and_then(|own| folder.strip_prefix(own).ok());
    let inside: String = inside
        .into_iter()
        .flat_map(Path::iter)
        .map(|part| format!("{}/", part.to_string_lossy()))
        .collect();
    table.keep_files_in(&inside);
    Ok(table)
}

/// The value of `column` for each image.
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

/// Writes the rows of the images that were moved, with their new paths.
fn write_table(
    table: &CsvTable,
    path: &Path,
    moved: &HashMap<&str, String>,
) -> Result<(), DataError> {
    let wrong =
        |error: csv::Error| DataError::Write { path: PathBuf::from(path), error: error.into() };
    let file = File::create_new(path).map_err(DataError::write(path))?;
    let mut writer = csv::Writer::from_writer(file);
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

/// An image of a folder that was written, with its class and attributes.
struct DescribedImage<'a> {
    /// The image's path in the folder.
    path: String,
    class: Option<&'a str>,
    /// The image's value in each column of attributes.
    values: Vec<f32>,
}

/// Writes the images' attributes, and their classes unless the folders on their paths name them, as
/// Hugging Face's `metadata.csv`. Writes nothing if there are neither.
fn write_metadata(
    images: &[DescribedImage<'_>],
    columns: &[Attribute],
    out: &Path,
) -> Result<(), DataError> {
    let is_in_folder = |image: &DescribedImage<'_>| {
        let mut folders = image.path.split('/').rev().skip(1);
        image.class.is_none_or(|class| folders.any(|folder| folder == class))
    };
    let by_folders = images.iter().all(is_in_folder);
    if by_folders && columns.is_empty() {
        return Ok(());
    }
    let path = out.join(CSV_FILE);
    let wrong = |error: csv::Error| DataError::Write { path: path.clone(), error: error.into() };
    let file = File::create_new(&path).map_err(DataError::write(&path))?;
    let mut writer = csv::Writer::from_writer(file);
    let heads = [FILE_COLUMN, LABEL_COLUMN].into_iter().take(if by_folders { 1 } else { 2 });
    let heads = heads.chain(columns.iter().map(|column| &*column.name));
    writer.write_record(heads).map_err(wrong)?;
    for image in images {
        let class = image.class.filter(|_| !by_folders).map(str::to_owned);
        let cells = columns.iter().zip(&image.values).map(|(column, value)| match &column.kind {
            AttributeKind::Category(words) => words[*value as usize].clone(),
            AttributeKind::Binary | AttributeKind::Number => value.to_string(),
        });
        let row = std::iter::once(image.path.clone()).chain(class).chain(cells);
        writer.write_record(row).map_err(wrong)?;
    }
    writer.flush().map_err(|error| wrong(error.into()))
}
