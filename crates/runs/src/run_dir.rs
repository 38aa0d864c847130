//! A run's directory: made under a fresh number, held by one process at a time.

use crate::ArtifactError;
use crate::atomic::{probe, remove_stale, write_atomic};
use crate::{checkpoint, checkpoint_retention, run_dir_init};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

pub(crate) const LOCK: &str = ".lock";
const LONGEST_NAME: usize = 60;

/// A run directory. While a locked one lives, no other process (nor another `RunDir` of this one) can lock it.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    /// The operating system frees the lock when the handle closes, however the process ends.
    lock: Option<File>,
}

impl RunDir {
    /// Makes `base/NNNN-name` under the next free number, with its subfolders, and locks it.
    ///
    /// Characters of `name` that a file system may refuse become `-`. Processes and threads that create at once get
    /// different numbers.
    ///
    /// # Errors
    /// The disk, or `base` may not be written.
    pub fn create(base: &Path, name: &str) -> Result<Self, ArtifactError> {
        fs::create_dir_all(base).map_err(ArtifactError::write(base))?;
        // `create_dir` alone would let 0003-a and 0003-b both succeed: numbering needs the whole folder.
        let guard_path = base.join(LOCK);
        let guard = open_lock(&guard_path)?;
        guard.lock().map_err(ArtifactError::write(&guard_path))?;
        let name = file_system_name(name);
        let mut number = next_number(base)?;
        loop {
            let path = base.join(format!("{number:04}-{name}"));
            match fs::create_dir(&path) {
                Ok(()) => {
                    let mut run = Self { path, lock: None };
                    run.lock()?;
                    return Ok(run);
                }
                // Somebody without our lock made it in between.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(ArtifactError::write(&path)(error)),
            }
        }
    }

    /// Makes a run at exactly `path`, which must be absent, an empty folder, or one in which a run was killed before it
    /// saved anything (that is cleared), and locks it.
    ///
    /// # Errors
    /// [`ArtifactError::NotEmpty`], [`ArtifactError::Locked`], or the disk. Nothing is written into a folder that is
    /// refused.
    pub fn create_at(path: &Path) -> Result<Self, ArtifactError> {
        fs::create_dir_all(path).map_err(ArtifactError::write(path))?;
        refuse_content(path)?;
        let mut run = Self { path: path.to_owned(), lock: None };
        // Again under the lock: of two processes that both found it empty, one has filled it by now.
        run.hold()?;
        refuse_content(path)?;
        run_dir_init::clear(path)?;
        run.prepare()?;
        Ok(run)
    }

    /// Finds what [`RunDir::create_at`] would refuse, and makes nothing: to be called before work that would be lost.
    ///
    /// # Errors
    /// As [`RunDir::create_at`].
    pub fn check_at(path: &Path) -> Result<(), ArtifactError> {
        probe(path)?;
        if !path.exists() {
            return Ok(());
        }
        refuse_content(path)?;
        let run = Self { path: path.to_owned(), lock: None };
        if run.is_running() { Err(run.locked()) } else { Ok(()) }
    }

    /// The same for [`RunDir::create`].
    ///
    /// # Errors
    /// As [`RunDir::create`].
    pub fn check_base(base: &Path) -> Result<(), ArtifactError> {
        probe(base)
    }

    /// Whether nothing was ever saved here: no checkpoint, no row, no picture, and nothing of anybody else's. Such a
    /// directory can be given to [`RunDir::create_at`] again.
    ///
    /// # Errors
    /// The directory cannot be listed.
    pub fn has_no_steps(&self) -> Result<bool, ArtifactError> {
        run_dir_init::has_no_steps(&self.path)
    }

    /// Opens an existing run for reading, without a lock.
    ///
    /// # Errors
    /// [`ArtifactError::NotARun`] if there is no `checkpoints` folder in it, or [`ArtifactError::Read`] if there is
    /// nothing at all.
    pub fn open(path: &Path) -> Result<Self, ArtifactError> {
        fs::metadata(path).map_err(ArtifactError::read(path))?;
        let run = Self { path: path.to_owned(), lock: None };
        if run.checkpoints().is_dir() {
            Ok(run)
        } else {
            Err(ArtifactError::NotARun { path: path.to_owned() })
        }
    }

    /// Locks the directory for training, removes what killed processes left half-written, and makes subfolders that
    /// are missing. The lock is held until the `RunDir` is dropped.
    ///
    /// # Errors
    /// [`ArtifactError::Locked`] while another process trains here, or the disk.
    pub fn lock(&mut self) -> Result<(), ArtifactError> {
        self.hold()?;
        self.prepare()
    }

    /// Whether another `RunDir`, mostly of another process, trains in this directory now.
    pub fn is_running(&self) -> bool {
        self.lock.is_none()
            && File::open(self.path.join(LOCK))
                .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `config.toml`.
    pub fn config(&self) -> PathBuf {
        self.path.join("config.toml")
    }

    /// `metrics.jsonl`.
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
    /// The disk.
    pub fn write_config(&self, toml: &str) -> Result<(), ArtifactError> {
        write_atomic(&self.config(), |writer| writer.write_all(toml.as_bytes()))
    }

    /// Reads `config.toml`.
    ///
    /// # Errors
    /// It is absent or unreadable.
    pub fn read_config(&self) -> Result<String, ArtifactError> {
        fs::read_to_string(self.config()).map_err(ArtifactError::read(&self.config()))
    }

    fn hold(&mut self) -> Result<(), ArtifactError> {
        if self.lock.is_some() {
            return Ok(());
        }
        let path = self.path.join(LOCK);
        let mut file = open_lock(&path)?;
        // A listing (`is_running`) holds it shared for a moment; a training process holds it for good.
        for _ in 0..10 {
            match file.try_lock() {
                Ok(()) => {
                    // For the other's message only, so a failure is no reason to stop.
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
        let pid =
            fs::read_to_string(self.path.join(LOCK)).ok().and_then(|text| text.trim().parse().ok());
        ArtifactError::Locked { path: self.path.clone(), pid }
    }

    fn prepare(&self) -> Result<(), ArtifactError> {
        remove_stale(&self.path)?;
        for folder in [self.samples(), self.checkpoints()] {
            fs::create_dir_all(&folder).map_err(ArtifactError::write(&folder))?;
            remove_stale(&folder)?;
        }
        Ok(())
    }
}

/// The file whose newest checkpoint a path means: itself for a file, the newest good one for a run directory or a
/// folder of checkpoints.
///
/// # Errors
/// As [`checkpoint_retention::latest_valid`]; [`ArtifactError::Read`] if there is nothing at `path`.
pub fn resolve_checkpoint(
    path: &Path,
) -> Result<checkpoint_retention::LatestValidCheckpoint, ArtifactError> {
    resolve(path, checkpoint::load)
}

/// [`resolve_checkpoint`], with [`checkpoint::inspect`] in place of loading: just as sure, without the memory.
///
/// # Errors
/// As [`resolve_checkpoint`].
pub fn resolve_header(
    path: &Path,
) -> Result<checkpoint_retention::LatestValidCheckpoint<checkpoint::CheckpointHeader>, ArtifactError>
{
    resolve(path, checkpoint::inspect)
}

fn resolve<T>(
    path: &Path,
    read: fn(&Path) -> Result<T, ArtifactError>,
) -> Result<checkpoint_retention::LatestValidCheckpoint<T>, ArtifactError> {
    if fs::metadata(path).map_err(ArtifactError::read(path))?.is_dir() {
        let inside = path.join("checkpoints");
        return checkpoint_retention::latest_valid_by(
            if inside.is_dir() { &inside } else { path },
            read,
        );
    }
    Ok(checkpoint_retention::LatestValidCheckpoint {
        path: path.to_owned(),
        checkpoint: read(path)?,
        skipped: Vec::new(),
    })
}

/// The number of a run's folder name, `NNNN-name`.
pub(crate) fn number_of(path: &Path) -> Option<u32> {
    path.file_name()?.to_str()?.split_once('-')?.0.parse().ok()
}

fn next_number(base: &Path) -> Result<u32, ArtifactError> {
    let mut highest = 0;
    for entry in fs::read_dir(base).map_err(ArtifactError::read(base))? {
        let path = entry.map_err(ArtifactError::read(base))?.path();
        highest = highest.max(number_of(&path).unwrap_or(0));
    }
    Ok(highest.saturating_add(1))
}

fn open_lock(path: &Path) -> Result<File, ArtifactError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(ArtifactError::write(path))
}

/// An error if the folder holds anything that must not be lost.
fn refuse_content(path: &Path) -> Result<(), ArtifactError> {
    if run_dir_init::has_no_steps(path)? {
        return Ok(());
    }
    let run = RunDir { path: path.to_owned(), lock: None };
    let resumable =
        checkpoint_retention::list(&run.checkpoints()).is_ok_and(|list| !list.is_empty());
    Err(ArtifactError::NotEmpty { path: path.to_owned(), resumable })
}

fn file_system_name(name: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' }
    };
    let name: String = name.chars().map(plain).take(LONGEST_NAME).collect();
    let name = name.trim_matches(['-', '.']);
    if name.is_empty() { "run".to_owned() } else { name.to_owned() }
}
