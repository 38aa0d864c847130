//! The folder of checkpoints: file names by step, which checkpoints are kept, and which one to
//! resume from.
//!
//! ```
//! use runs::checkpoint_retention::{latest_valid, list, save_and_prune};
//! use runs::{Checkpoint, CheckpointMeta, RetentionPolicy};
//!
//! let dir = tempfile::tempdir().unwrap();
//! let policy = RetentionPolicy { last: 2, best: Some(100) };
//! for step in [100, 200, 300, 400] {
//!     let meta = CheckpointMeta { step, ..CheckpointMeta::default() };
//!     save_and_prune(dir.path(), &Checkpoint { meta, ..Checkpoint::default() }, policy).unwrap();
//! }
//! let steps: Vec<_> = list(dir.path()).unwrap().into_iter().map(|(step, _)| step).collect();
//! assert_eq!(steps, [100, 300, 400]);
//! assert_eq!(latest_valid(dir.path()).unwrap().checkpoint.meta.step, 400);
//! ```

use crate::ArtifactError;
use crate::checkpoint::{self, Checkpoint};
use file_io::{folder_of, sync_folder};
use std::fs;
use std::path::{Path, PathBuf};

/// Which checkpoints are kept when a new one is saved.
#[derive(Clone, Copy, Debug)]
pub struct RetentionPolicy {
    /// Number of the newest that are kept; 0 counts as 1.
    pub last: usize,
    /// The step of the best one so far, which is never deleted. A loop that rolls back must clear a
    /// best one of a later step, or the next resume would start from it.
    pub best: Option<u64>,
}

/// The newest checkpoint of a folder that is not damaged.
#[derive(Debug)]
pub struct LatestValidCheckpoint<T = Checkpoint> {
    /// The path of the checkpoint.
    pub path: PathBuf,
    /// The checkpoint.
    pub checkpoint: T,
    /// Newer ones that are damaged, newest first, with the reason: to be reported to the user.
    pub skipped: Vec<(PathBuf, ArtifactError)>,
}

/// The file name of a step, such as `step-00001500.safetensors`.
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

/// Checkpoints of a folder by rising step. Files of other names, such as a copy, are ignored.
///
/// # Errors
/// Returns an error if the folder cannot be listed.
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

/// Saves a checkpoint under the name of its step and then, with the new one safely on the disk,
/// deletes those that `policy` does not keep.
///
/// Kept are the new one, the `policy.last - 1` before it, and `policy.best`. Checkpoints of *later*
/// steps, from which the run has rolled back (after NaN, or a damaged checkpoint), are deleted too,
/// or a resume would return to them. Files of other names are never touched.
///
/// # Errors
/// Returns the errors of [`checkpoint::save`]; nothing is deleted then. An old file that cannot be
/// deleted is not an error: the next call tries again.
pub fn save_and_prune(
    dir: &Path,
    checkpoint: &Checkpoint,
    policy: RetentionPolicy,
) -> Result<PathBuf, ArtifactError> {
    let step = checkpoint.meta.step;
    let path = dir.join(file_name(step));
    checkpoint::save(&path, checkpoint)?;
    let (earlier, later): (Vec<_>, Vec<_>) = list(dir)?
        .into_iter()
        .filter(|(other, _)| *other != step)
        .partition(|(other, _)| *other < step);
    let surplus = (earlier.len() + 1).saturating_sub(policy.last.max(1));
    let mut removed = false;
    for (other, old) in earlier.into_iter().take(surplus).chain(later) {
        if policy.best != Some(other) {
            removed |= fs::remove_file(old).is_ok();
        }
    }
    if removed {
        // A deletion lost in a power cut only leaves one file too many.
        let _ = sync_folder(folder_of(&path));
    }
    Ok(path)
}

/// Deletes the checkpoints of steps after `step`, newest first, when a run rolls back. Must be
/// called before other files of the later steps are deleted, so that a kill at any instant leaves a
/// complete run.
///
/// # Errors
/// Returns an error if a file cannot be deleted.
pub fn delete_checkpoints_after(dir: &Path, step: u64) -> Result<(), ArtifactError> {
    let mut removed = false;
    for (_, path) in list(dir)?.into_iter().rev().take_while(|(other, _)| *other > step) {
        fs::remove_file(&path).map_err(ArtifactError::write(&path))?;
        removed = true;
    }
    if removed { sync_folder(dir).map_err(ArtifactError::write(dir)) } else { Ok(()) }
}

/// Loads the newest checkpoint that is not damaged, and lists the damaged ones that are newer.
///
/// # Errors
/// Returns [`ArtifactError::NoCheckpoint`] with every reason if none is valid. A checkpoint of a
/// newer version, or one that this user may not read, is not damaged: that error is returned rather
/// than an older checkpoint, because a run resumed from the older one would overwrite the newer
/// one.
pub fn latest_valid(dir: &Path) -> Result<LatestValidCheckpoint, ArtifactError> {
    latest_valid_by(dir, checkpoint::load)
}

/// [`latest_valid`] by another reader, which must return an error for a damaged file.
pub(crate) fn latest_valid_by<T>(
    dir: &Path,
    read: fn(&Path) -> Result<T, ArtifactError>,
) -> Result<LatestValidCheckpoint<T>, ArtifactError> {
    let listed = || match list(dir)? {
        // While a training process replaces the only one, a listing can miss the old and the new.
        none if none.is_empty() => list(dir),
        some => Ok(some),
    };
    let (mut found, mut skipped) = (listed()?, Vec::new());
    while let Some((_, path)) = found.pop() {
        match read(&path) {
            Ok(checkpoint) => {
                return Ok(LatestValidCheckpoint { path, checkpoint, skipped });
            }
            // A training process replaced it by a newer one after the folder was listed.
            Err(error) if error.is_absence() && path.symlink_metadata().is_err() => {
                (found, skipped) = (listed()?, Vec::new());
            }
            Err(error) if error.is_damage() => skipped.push((path, error)),
            Err(error) => return Err(error),
        }
    }
    Err(ArtifactError::NoCheckpoint { dir: dir.to_owned(), skipped })
}
