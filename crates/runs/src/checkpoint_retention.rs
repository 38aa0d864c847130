//! The checkpoints folder: which file is which step, which are kept, which one to resume from.

use crate::ArtifactError;
use crate::atomic::{folder_of, sync_folder};
use crate::checkpoint::{self, Checkpoint};
use std::fs;
use std::path::{Path, PathBuf};

/// Which checkpoints outlive a rotation.
#[derive(Clone, Copy, Debug)]
pub struct RetentionPolicy {
    /// How many of the newest; 0 counts as 1.
    pub last: usize,
    /// The step of the best one so far, never deleted. A loop that goes back to an earlier step forgets a best one
    /// of a later step, or the next resume starts from that.
    pub best: Option<u64>,
}

/// What [`latest_valid`] found.
#[derive(Debug)]
pub struct LatestValidCheckpoint<T = Checkpoint> {
    /// Where it lies.
    pub path: PathBuf,
    /// The newest checkpoint that is sound.
    pub checkpoint: T,
    /// Newer ones that are damaged, newest first, with the reason: to be told to the user.
    pub skipped: Vec<(PathBuf, ArtifactError)>,
}

/// `step-00001500.safetensors`.
pub fn file_name(step: u64) -> String {
    format!("step-{step:08}.safetensors")
}

/// The step in a file name `step-N.EXTENSION`, or `None` for a file of another name.
pub fn step_of(path: &Path, extension: &str) -> Option<u64> {
    let digits = path
        .file_name()?
        .to_str()?
        .strip_prefix("step-")?
        .strip_suffix(extension)?
        .strip_suffix('.')?;
    if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
}

/// Checkpoints of a folder by rising step. Files of other names, such as a copy the user made, are not among them.
///
/// # Errors
/// The folder cannot be listed.
pub fn list(dir: &Path) -> Result<Vec<(u64, PathBuf)>, ArtifactError> {
    steps_in(dir, "safetensors")
}

/// Files `step-N.EXTENSION` of a folder by rising step.
///
/// # Errors
/// Returns an error if the folder cannot be listed.
pub fn steps_in(dir: &Path, extension: &str) -> Result<Vec<(u64, PathBuf)>, ArtifactError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(ArtifactError::read(dir))? {
        let path = entry.map_err(ArtifactError::read(dir))?.path();
        if let Some(step) = step_of(&path, extension) {
            found.push((step, path));
        }
    }
    found.sort();
    Ok(found)
}

/// Saves a checkpoint under the name of its step, then, the new one safely on the disk, deletes what `keep` lets go.
///
/// Kept are the new one, the `keep.last - 1` before it, and `keep.best`. Checkpoints of *later* steps belong to a
/// future that the run has gone back from (after NaN, or a damaged checkpoint); they are deleted too, or a resume
/// would return to it. Files of other names are never touched.
///
/// # Errors
/// As [`checkpoint::save`]; nothing is deleted then. An old file that cannot be deleted is no error: it is tried
/// again at the next rotation.
pub fn save_and_prune(
    dir: &Path,
    checkpoint: &Checkpoint,
    keep: RetentionPolicy,
) -> Result<PathBuf, ArtifactError> {
    let step = checkpoint.meta.step;
    let path = dir.join(file_name(step));
    checkpoint::save(&path, checkpoint)?;
    let (earlier, later): (Vec<_>, Vec<_>) = list(dir)?
        .into_iter()
        .filter(|(other, _)| *other != step)
        .partition(|(other, _)| *other < step);
    let surplus = (earlier.len() + 1).saturating_sub(keep.last.max(1));
    let mut removed = false;
    for (other, old) in earlier.into_iter().take(surplus).chain(later) {
        if keep.best != Some(other) {
            removed |= fs::remove_file(old).is_ok();
        }
    }
    if removed {
        // A deletion lost in a power cut only leaves one file too many.
        let _ = sync_folder(folder_of(&path));
    }
    Ok(path)
}

/// Deletes the checkpoints of later steps, newest first: a run that goes back to `step` has none. To be called before
/// anything else of the later steps is given up, so that a kill at any instant leaves a run that is whole.
///
/// # Errors
/// The disk.
pub fn delete_checkpoints_after(dir: &Path, step: u64) -> Result<(), ArtifactError> {
    let mut removed = false;
    for (_, path) in list(dir)?.into_iter().rev().take_while(|(other, _)| *other > step) {
        fs::remove_file(&path).map_err(ArtifactError::write(&path))?;
        removed = true;
    }
    if removed { sync_folder(dir).map_err(ArtifactError::write(dir)) } else { Ok(()) }
}

/// Loads the newest checkpoint that is sound; damaged ones on the way are returned by name.
///
/// # Errors
/// [`ArtifactError::NoCheckpoint`] with every reason if none is sound. A checkpoint of a newer version, or one that
/// this user may not read, is not damaged: that error is returned rather than an older checkpoint, from which the run
/// would go on and write over the newer one.
pub fn latest_valid(dir: &Path) -> Result<LatestValidCheckpoint, ArtifactError> {
    latest_valid_by(dir, checkpoint::load)
}

/// [`latest_valid`] by another reader, which must refuse what is damaged.
pub(crate) fn latest_valid_by<T>(
    dir: &Path,
    read: fn(&Path) -> Result<T, ArtifactError>,
) -> Result<LatestValidCheckpoint<T>, ArtifactError> {
    let mut skipped = Vec::new();
    for (_, path) in list(dir)?.into_iter().rev() {
        match read(&path) {
            Ok(checkpoint) => {
                return Ok(LatestValidCheckpoint { path, checkpoint, skipped });
            }
            Err(error) if error.is_damage() => skipped.push((path, error)),
            Err(error) => return Err(error),
        }
    }
    Err(ArtifactError::NoCheckpoint { dir: dir.to_owned(), skipped })
}
