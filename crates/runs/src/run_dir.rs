//! Run directories: created under a new number, locked by one process at a time.
//!
//! ```
//! use runs::{ArtifactError, RunDir};
//!
//! let base = tempfile::tempdir().unwrap();
//! let run = RunDir::create(base.path(), "my set").unwrap();
//! assert_eq!(run.path(), base.path().join("0001-my-set"));
//! run.write_config("seed = 7").unwrap();
//!
//! let mut other = RunDir::open(run.path()).unwrap();
//! assert_eq!(other.read_config().unwrap(), "seed = 7");
//! assert!(matches!(other.lock(), Err(ArtifactError::Locked { .. })));
//! ```

use crate::run_dir_init::{self, LOCK};
use crate::{ArtifactError, LatestValidCheckpoint, checkpoint, checkpoint_retention, write_atomic};
use file_io::TEMPORARY;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

const MAX_NAME: usize = 60;

/// The longest `config.toml`, and the longest `.lock`, in bytes.
const MAX_TEXT: u64 = 16 << 20;

/// A run directory. While it is locked, no other process (nor another `RunDir` of this one) can
/// lock it.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    /// The operating system frees the lock when the handle closes, however the process ends.
    lock: Option<File>,
}

impl RunDir {
    /// Creates `base/NNNN-name` under the next free number, with its subfolders, and locks it.
    ///
    /// Characters of `name` that a file system may reject become `-`. Processes and threads that
    /// create at the same time get different numbers.
    ///
    /// # Errors
    /// Returns an error if `base` cannot be written.
    pub fn create(base: &Path, name: &str) -> Result<Self, ArtifactError> {
        fs::create_dir_all(base).map_err(ArtifactError::write(base))?;
        // `create_dir` alone would let 0003-a and 0003-b both succeed, so the whole folder is
        // locked.
        let guard_path = base.join(LOCK);
        let guard = open_lock(&guard_path)?;
        guard.lock().map_err(ArtifactError::write(&guard_path))?;
        let name = sanitized_name(name);
        let mut number = next_number(base)?;
        loop {
            let path = base.join(format!("{number:04}-{name}"));
            match fs::create_dir(&path) {
                Ok(()) => {
                    let mut run = Self { path, lock: None };
                    run.lock()?;
                    return Ok(run);
                }
                // Another program, which does not take the lock, created it in between.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(ArtifactError::write(&path)(error)),
            }
        }
    }

    /// Creates a run at exactly `path` and locks it. `path` must be absent, an empty folder, or the
    /// directory of a run that was killed before it saved anything, which is cleared.
    ///
    /// # Errors
    /// Returns [`ArtifactError::NotEmpty`], [`ArtifactError::Locked`], or an error of the file
    /// system. Nothing is written into a folder that is refused.
    pub fn create_at(path: &Path) -> Result<Self, ArtifactError> {
        fs::create_dir_all(path).map_err(ArtifactError::write(path))?;
        require_empty(path)?;
        let mut run = Self { path: path.to_owned(), lock: None };
        run.acquire_lock()?;
        // Again under the lock: another process that found it empty may have filled it meanwhile.
        require_empty(path)?;
        run_dir_init::clear(path)?;
        run.create_subdirs()?;
        Ok(run)
    }

    /// Checks that [`RunDir::create_at`] would succeed, without creating anything: to be called
    /// before work that would be lost.
    ///
    /// # Errors
    /// Returns the errors of [`RunDir::create_at`].
    pub fn check_at(path: &Path) -> Result<(), ArtifactError> {
        Self::check_base(path)?;
        if !path.exists() {
            return Ok(());
        }
        require_empty(path)?;
        let run = Self { path: path.to_owned(), lock: None };
        if run.is_running() { Err(run.locked()) } else { Ok(()) }
    }

    /// Checks that [`RunDir::create`] would succeed, without creating anything.
    ///
    /// # Errors
    /// Returns the errors of [`RunDir::create`].
    pub fn check_base(base: &Path) -> Result<(), ArtifactError> {
        file_io::check_writable(base).map_err(ArtifactError::write(base))
    }

    /// Whether the run never saved anything: no checkpoint, no metrics row, no image, and no file
    /// of another program. [`RunDir::create_at`] accepts such a directory.
    ///
    /// # Errors
    /// Returns an error if the directory cannot be listed.
    pub fn has_no_steps(&self) -> Result<bool, ArtifactError> {
        run_dir_init::has_no_steps(&self.path)
    }

    /// Opens an existing run for reading, without a lock.
    ///
    /// # Errors
    /// Returns [`ArtifactError::NotARun`] if there is no `checkpoints` folder in it, and
    /// [`ArtifactError::Read`] if the path does not exist.
    pub fn open(path: &Path) -> Result<Self, ArtifactError> {
        fs::metadata(path).map_err(ArtifactError::read(path))?;
        let run = Self { path: path.to_owned(), lock: None };
        if run.checkpoints().is_dir() {
            Ok(run)
        } else {
            Err(ArtifactError::NotARun { path: path.to_owned() })
        }
    }

    /// Locks the directory for training, removes the temporary files of killed processes, and
    /// creates missing subfolders. The lock is held until the `RunDir` is dropped.
    ///
    /// # Errors
    /// Returns [`ArtifactError::Locked`] while another process trains here, or an error of the file
    /// system.
    pub fn lock(&mut self) -> Result<(), ArtifactError> {
        self.acquire_lock()?;
        self.create_subdirs()
    }

    /// Whether another `RunDir`, usually of another process, holds the lock now.
    pub fn is_running(&self) -> bool {
        self.lock.is_none()
            && file_io::open_own(&self.path.join(LOCK), File::options().read(true))
                .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of `config.toml`.
    pub fn config(&self) -> PathBuf {
        self.path.join("config.toml")
    }

    /// The path of `metrics.jsonl`.
    pub fn metrics(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    /// The folder of grids.
    pub fn samples(&self) -> PathBuf {
        self.path.join("samples")
    }

    /// The grid of one step, `samples/step-00001500.png`.
    pub fn sample(&self, step: u64) -> PathBuf {
        self.samples().join(format!("step-{step:08}.png"))
    }

    /// The folder of checkpoints.
    pub fn checkpoints(&self) -> PathBuf {
        self.path.join("checkpoints")
    }

    /// Writes `config.toml` atomically.
    ///
    /// # Errors
    /// Returns an error if the file cannot be written.
    pub fn write_config(&self, toml: &str) -> Result<(), ArtifactError> {
        write_atomic(&self.config(), |writer| writer.write_all(toml.as_bytes()))
    }

    /// Reads `config.toml`.
    ///
    /// # Errors
    /// Returns an error if the file is absent or cannot be read.
    pub fn read_config(&self) -> Result<String, ArtifactError> {
        file_io::read_text(&self.config(), MAX_TEXT).map_err(ArtifactError::read(&self.config()))
    }

    fn acquire_lock(&mut self) -> Result<(), ArtifactError> {
        if self.lock.is_some() {
            return Ok(());
        }
        let path = self.path.join(LOCK);
        let mut file = open_lock(&path)?;
        // `is_running` of a listing holds the lock for a moment, a training process for good: a few
        // retries distinguish them.
        for _ in 0..10 {
            match file.try_lock() {
                Ok(()) => {
                    // The process id only improves another process's message: a failure is ignored.
                    let _ = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
                    self.lock = Some(file);
                    return Ok(());
                }
                Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(20)),
                Err(TryLockError::Error(error)) => return Err(ArtifactError::write(&path)(error)),
            }
        }
        Err(self.locked())
    }

    fn locked(&self) -> ArtifactError {
        let text = file_io::read_text(&self.path.join(LOCK), MAX_TEXT);
        let pid = text.ok().and_then(|text| text.trim().parse().ok());
        ArtifactError::Locked { path: self.path.clone(), pid }
    }

    fn create_subdirs(&self) -> Result<(), ArtifactError> {
        remove_stale(&self.path)?;
        for folder in [self.samples(), self.checkpoints()] {
            file_io::create_own_folder(&folder).map_err(ArtifactError::write(&folder))?;
            remove_stale(&folder)?;
        }
        Ok(())
    }
}

/// Loads the checkpoint that a path stands for: the file itself, or the latest valid checkpoint of
/// a run directory or a folder of checkpoints.
///
/// # Errors
/// Returns the errors of [`checkpoint_retention::latest_valid`]; [`ArtifactError::Read`] if `path`
/// does not exist.
pub fn resolve_checkpoint(path: &Path) -> Result<LatestValidCheckpoint, ArtifactError> {
    resolve(path, checkpoint::load)
}

/// [`resolve_checkpoint`] by [`checkpoint::inspect`]: verifies as much, without loading the
/// tensors.
///
/// # Errors
/// Returns the errors of [`resolve_checkpoint`].
pub fn resolve_header(
    path: &Path,
) -> Result<LatestValidCheckpoint<checkpoint::CheckpointHeader>, ArtifactError> {
    resolve(path, checkpoint::inspect)
}

fn resolve<T>(
    path: &Path,
    read: fn(&Path) -> Result<T, ArtifactError>,
) -> Result<LatestValidCheckpoint<T>, ArtifactError> {
    if fs::metadata(path).map_err(ArtifactError::read(path))?.is_dir() {
        let inside = path.join("checkpoints");
        return checkpoint_retention::latest_valid_by(
            if inside.is_dir() { &inside } else { path },
            read,
        );
    }
    Ok(LatestValidCheckpoint {
        path: path.to_owned(),
        checkpoint: read(path)?,
        skipped: Vec::new(),
    })
}

/// The number in a run's folder name, `NNNN-name`.
pub(crate) fn run_number(path: &Path) -> Option<u32> {
    path.file_name()?.to_str()?.split_once('-')?.0.parse().ok()
}

fn next_number(base: &Path) -> Result<u32, ArtifactError> {
    let mut highest = 0;
    for entry in fs::read_dir(base).map_err(ArtifactError::read(base))? {
        let path = entry.map_err(ArtifactError::read(base))?.path();
        highest = highest.max(run_number(&path).unwrap_or(0));
    }
    Ok(highest.saturating_add(1))
}

fn open_lock(path: &Path) -> Result<File, ArtifactError> {
    let mut options = File::options();
    file_io::open_own(path, options.read(true).write(true).create(true).truncate(false))
        .map_err(ArtifactError::write(path))
}

/// Removes the temporary files that killed processes left in `folder`, and returns their paths.
///
/// Must be called under the lock of the run: a temporary file may belong to another process.
///
/// # Errors
/// Returns [`ArtifactError::Read`] if the folder cannot be listed. A temporary file that cannot be
/// removed stays.
pub fn remove_stale(folder: &Path) -> Result<Vec<PathBuf>, ArtifactError> {
    let mut removed = Vec::new();
    for entry in fs::read_dir(folder).map_err(ArtifactError::read(folder))? {
        let path = entry.map_err(ArtifactError::read(folder))?.path();
        let stale =
            path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(TEMPORARY));
        if stale && fs::remove_file(&path).is_ok() {
            removed.push(path);
        }
    }
    Ok(removed)
}

/// Returns an error if the folder holds files that must not be lost.
fn require_empty(path: &Path) -> Result<(), ArtifactError> {
    if run_dir_init::has_no_steps(path)? {
        return Ok(());
    }
    let run = RunDir { path: path.to_owned(), lock: None };
    let resumable =
        checkpoint_retention::list(&run.checkpoints()).is_ok_and(|list| !list.is_empty());
    Err(ArtifactError::NotEmpty { path: path.to_owned(), resumable })
}

fn sanitized_name(name: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' }
    };
    let name: String = name.chars().map(plain).take(MAX_NAME).collect();
    let name = name.trim_matches(['-', '.']);
    if name.is_empty() { "run".to_owned() } else { name.to_owned() }
}
