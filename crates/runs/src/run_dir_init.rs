//! What a run killed before its first checkpoint leaves: folders and files of ours, with nothing in them to go on from.

use crate::ArtifactError;
use crate::atomic::TEMPORARY;
use crate::run_dir::LOCK;
use crate::tensorboard;
use std::fs::{self, DirEntry};
use std::path::Path;

/// Whether the folder is empty or holds only what a run makes before it saves anything: no checkpoint, no row, no picture.
///
/// # Errors
/// The folder cannot be listed.
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
    // The lock is made before all else, so without it they are not ours.
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

/// Removes what [`has_no_steps`] lets pass but the lock and the empty folders. To be called under the lock.
///
/// # Errors
/// The disk.
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
