//! The files that a run creates before its first step, which a new run may replace.

use crate::ArtifactError;
use crate::tensorboard;
use file_io::TEMPORARY;
use std::fs::{self, DirEntry};
use std::path::Path;

/// The file that is locked while a process trains in the run directory.
pub(crate) const LOCK: &str = ".lock";

/// Whether the folder is empty or holds only the files that a run creates before its first step: no
/// checkpoint, no metrics row, no image, and no file of another origin.
///
/// # Errors
/// Returns an error if the folder cannot be listed.
pub(crate) fn has_no_steps(run: &Path) -> Result<bool, ArtifactError> {
    let (mut locked, mut others) = (false, false);
    for entry in fs::read_dir(run).map_err(ArtifactError::read(run))? {
        let entry = entry.map_err(ArtifactError::read(run))?;
        if entry.file_name() == LOCK {
            locked = true;
        } else if is_initial_entry(&entry)? {
            others = true;
        } else {
            return Ok(false);
        }
    }
    // A run creates the lock first: without it, the files belong to another program.
    Ok(locked || !others)
}

fn is_initial_entry(entry: &DirEntry) -> Result<bool, ArtifactError> {
    let path = entry.path();
    let name = entry.file_name();
    let name = name.to_string_lossy();
    let kind = entry.file_type().map_err(ArtifactError::read(&path))?;
    if kind.is_file() {
        let empty = || entry.metadata().is_ok_and(|file| file.len() == 0);
        return Ok(match &*name {
            "config.toml" => true,
            "metrics.jsonl" => empty(),
            name => name.starts_with(tensorboard::PREFIX) || name.ends_with(TEMPORARY),
        });
    }
    if !kind.is_dir() || !matches!(&*name, "samples" | "checkpoints") {
        return Ok(false);
    }
    for inside in fs::read_dir(&path).map_err(ArtifactError::read(&path))? {
        let inside = inside.map_err(ArtifactError::read(&path))?;
        if !inside.file_name().to_string_lossy().ends_with(TEMPORARY) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Removes the files that [`has_no_steps`] accepts, except the lock. Must be called under the lock.
///
/// # Errors
/// Returns an error if a file cannot be removed.
pub(crate) fn clear(run: &Path) -> Result<(), ArtifactError> {
    for entry in fs::read_dir(run).map_err(ArtifactError::read(run))? {
        let entry = entry.map_err(ArtifactError::read(run))?;
        let path = entry.path();
        if entry.file_name() != LOCK && path.is_file() {
            fs::remove_file(&path).map_err(ArtifactError::write(&path))?;
        }
    }
    Ok(())
}
