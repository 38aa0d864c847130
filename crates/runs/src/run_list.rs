//! The runs in a folder, to list, compare and resume.
//!
//! ```
//! use runs::RunDir;
//! use runs::run_list::{latest_run, list_runs};
//!
//! let base = tempfile::tempdir().unwrap();
//! drop(RunDir::create(base.path(), "first").unwrap());
//! drop(RunDir::create(base.path(), "second").unwrap());
//! let names: Vec<_> = list_runs(base.path()).unwrap().into_iter().map(|run| run.name).collect();
//! assert_eq!(names, ["0001-first", "0002-second"]);
//! assert_eq!(latest_run(base.path()).unwrap(), base.path().join("0002-second"));
//! ```

use crate::run_dir::{self, RunDir};
use crate::{ArtifactError, MetricsRow, checkpoint_retention, container, metrics};
use std::fs;
use std::path::{Path, PathBuf};

/// Summary of a run for a listing.
#[derive(Clone, Debug)]
pub struct RunInfo {
    /// The run directory.
    pub path: PathBuf,
    /// The folder's name, such as `0007-paper`.
    pub name: String,
    /// The last step of its checkpoints and metrics.
    pub last_step: Option<u64>,
    /// Number of checkpoints, with damaged ones.
    pub checkpoints: usize,
    /// The last row of its metrics.
    pub last_row: Option<MetricsRow>,
    /// Size of all its files in bytes.
    pub bytes: u64,
    /// Whether a process trains in it now.
    pub running: bool,
}

/// Lists the runs directly inside `base`, by number and name.
///
/// # Errors
/// Returns [`ArtifactError::NoRuns`] if there are none or `base` is absent, and
/// [`ArtifactError::Read`] if it cannot be listed.
pub fn list_runs(base: &Path) -> Result<Vec<RunInfo>, ArtifactError> {
    paths(base)?.iter().map(|path| run_info(path)).collect()
}

/// The run to resume by default: the one of the highest number that has a checkpoint, or the one of
/// the highest number if none has.
///
/// # Errors
/// Returns the errors of [`list_runs`].
pub fn latest_run(base: &Path) -> Result<PathBuf, ArtifactError> {
    let paths = paths(base)?;
    let has_checkpoint = |path: &&PathBuf| {
        checkpoint_retention::list(&path.join("checkpoints")).is_ok_and(|list| !list.is_empty())
    };
    paths
        .iter()
        .rev()
        .find(has_checkpoint)
        .or(paths.last())
        .cloned()
        .ok_or_else(|| ArtifactError::NoRuns { base: base.to_owned() })
}

fn paths(base: &Path) -> Result<Vec<PathBuf>, ArtifactError> {
    if !base.exists() {
        return Err(ArtifactError::NoRuns { base: base.to_owned() });
    }
    let mut paths = Vec::new();
    for entry in fs::read_dir(base).map_err(ArtifactError::read(base))? {
        let path = entry.map_err(ArtifactError::read(base))?.path();
        if RunDir::open(&path).is_ok() {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        return Err(ArtifactError::NoRuns { base: base.to_owned() });
    }
    // By number, not by text, so that 9999 comes before 10000. Folders without a number come first.
    paths.sort_by_cached_key(|path| (run_dir::run_number(path), path.clone()));
    Ok(paths)
}

/// The summary of one run.
///
/// # Errors
/// Returns an error if `path` is no run directory or cannot be listed.
pub fn run_info(path: &Path) -> Result<RunInfo, ArtifactError> {
    let run = RunDir::open(path)?;
    let checkpoints = checkpoint_retention::list(&run.checkpoints())?;
    let last_row = metrics::last(&run.metrics());
    let saved = checkpoints.last().map(|(step, _)| *step);
    Ok(RunInfo {
        path: path.to_owned(),
        name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        last_step: saved.max(last_row.as_ref().map(|row| row.step)),
        checkpoints: checkpoints.len(),
        last_row,
        bytes: bytes_in(path),
        running: run.is_running(),
    })
}

/// Size of all files below a folder in bytes. Links are not followed, and files that cannot be read
/// count nothing: a listing must not fail on them.
fn bytes_in(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => bytes_in(&entry.path()),
            Ok(kind) if kind.is_file() => container::file_bytes(&entry.path()),
            _ => 0,
        })
        .sum()
}
