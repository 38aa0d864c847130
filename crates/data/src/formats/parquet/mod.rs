//! Parquet files of images, in the layout in which Hugging Face stores datasets: a column `image`
//! of encoded images, and columns of labels and attributes.
//!
//! A dataset is one file, or a folder of shards such as `train-00000-of-00002.parquet`, in folders
//! or not; the words of the names of files and folders are the splits. At opening, all row groups
//! are read in sequence to find where the images are. Those in uncompressed pages, as Hugging
//! Face's library writes them, are then read in place; others by row group (`source.rs`).

mod columns;
mod file;
mod pages;
mod rows;
mod source;

use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use self::columns::Columns;
use self::file::{MAGIC, ParquetFile};
use self::rows::RowReader;
use self::source::ParquetSource;
use super::file_store::is_hidden;
use super::split_name::{SplitName, place_of_shard, split_of, test_file_beside};
use super::{
    Confidence, DetectionInput, Format, any_shape, has_extension, holds_image, no_split, read_start,
};
use crate::error::{DataError, FileProblem};
use crate::source::Split;

const FORMAT_NAME: &str = "Parquet file";

/// How many folders deep shards are looked for: `NAME/CONFIG/train/0000.parquet`.
const MAX_DEPTH: usize = 4;

pub(crate) static FORMAT: Format = Format {
    name: "parquet",
    about: "a Parquet file of images (Hugging Face), or a folder of shards",
    detect,
    open: |path, split, _| Ok(Box::new(open(path, split)?)),
    image_shape: any_shape,
};

fn detect(candidate: &DetectionInput<'_>) -> Result<Option<Confidence>, DataError> {
    let Some(start) = &candidate.start else {
        // Of several configurations each is a dataset, which is said when one is opened.
        let is_shard =
            |path: &PathBuf| read_start(path).is_ok_and(|start| start.starts_with(MAGIC));
        let has_shard = || shards_in(candidate.path).next().is_some_and(|path| is_shard(&path));
        return Ok(Confidence::Likely.when(!holds_image(candidate.path) && has_shard()));
    };
    Ok(Confidence::Certain.when(start.starts_with(MAGIC)))
}

/// The Parquet files in a folder, by their paths.
fn shards_in(folder: &Path) -> impl Iterator<Item = PathBuf> {
    WalkDir::new(folder)
        .max_depth(MAX_DEPTH)
        .follow_links(true)
        .sort_by_file_name()
        .into_iter()
        .filter_entry(|entry| {
            entry.depth() == 0 || !is_hidden(entry.file_name().as_encoded_bytes())
        })
        .flatten()
        .filter(|entry| entry.file_type().is_file())
        .map(walkdir::DirEntry::into_path)
        .filter(|path| has_extension(path, &["parquet"]))
}

/// Opens one split of a file or a folder.
fn open(path: &Path, split: Split) -> Result<ParquetSource, DataError> {
    let paths = if path.is_dir() { in_folder(path, split)? } else { vec![of_file(path, split)?] };
    let mut reader: Option<RowReader> = None;
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        let file = ParquetFile::open(&path)?;
        let columns = Columns::of(&file)
            .map_err(|problem| DataError::malformed(FORMAT_NAME, &path, problem))?;
        let rows = match &mut reader {
            Some(rows) if rows.columns == columns => rows,
            Some(_) => {
                let problem = "its columns are others than those of the first shard";
                let problem = FileProblem::Unsupported(problem.to_owned());
                return Err(DataError::malformed(FORMAT_NAME, &path, problem));
            }
            none => none.insert(RowReader::new(columns)),
        };
        rows.read(&file)?;
        files.push(file);
    }
    // There is at least one file.
    let Some(rows) = reader else { return Err(no_shards(path, split)) };
    let count = files.len();
    let rows = rows.finish(path)?;
    let of = if count > 1 {
        format!("split {} of {count} files", split.name())
    } else {
        format!("split {}", split.name())
    };
    Ok(ParquetSource::new(path, files, rows, &of))
}

fn no_shards(path: &Path, split: Split) -> DataError {
    let word = if split == Split::Train { "train" } else { "test" };
    no_split(path, split, format!("looked for a Parquet file with the word `{word}` in its name"))
}

/// The file at this path; for the test split, the one beside a training file that has its name.
fn of_file(file: &Path, split: Split) -> Result<PathBuf, DataError> {
    if split == Split::Train || split_of(file) == Some(Split::Test) {
        return Ok(file.to_owned());
    }
    test_file_beside(file).ok_or_else(|| no_shards(file, split))
}

/// The shards of a split in a folder, sorted by path.
fn in_folder(folder: &Path, split: Split) -> Result<Vec<PathBuf>, DataError> {
    /// A shard: its path, the split that its name or its folders mean, and its other folders.
    struct Shard {
        path: PathBuf,
        split: Option<SplitName>,
        place: String,
    }
    let shards: Vec<Shard> = shards_in(folder)
        .map(|path| {
            let (split, place) = place_of_shard(path.strip_prefix(folder).unwrap_or(&path));
            Shard { path, split, place }
        })
        .collect();
    let mut places: Vec<&str> = shards.iter().map(|shard| &*shard.place).collect();
    places.sort_unstable();
    places.dedup();
    if places.len() > 1 {
        let name =
            |place: &&str| if place.is_empty() { ".".to_owned() } else { (*place).to_owned() };
        let files = places.iter().map(name).collect::<Vec<_>>().join(", ");
        return Err(DataError::Ambiguous { path: folder.to_owned(), files });
    }
    let of_split = |shard: &&Shard| shard.split.as_ref().is_some_and(|name| name.split == split);
    // Of `test` and `validation`, `test` is the test split.
    let rank = shards.iter().filter(of_split).flat_map(|shard| &shard.split).map(|n| n.rank).min();
    let mut chosen: Vec<&Shard> = shards
        .iter()
        .filter(of_split)
        .filter(|shard| shard.split.as_ref().map(|name| name.rank) == rank)
        .collect();
    if chosen.is_empty() && split == Split::Train {
        chosen = shards.iter().filter(|shard| shard.split.is_none()).collect();
    }
    match chosen.is_empty() {
        true => Err(no_shards(folder, split)),
        false => Ok(chosen.into_iter().map(|shard| shard.path.clone()).collect()),
    }
}
