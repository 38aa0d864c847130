//! A lock that keeps two processes from writing into one folder.

use crate::atomic::{LiveEntry, live};
use crate::open::open_own;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// A locked file, which is removed when the lock is dropped. The operating system frees the lock
/// however the process ends.
///
/// ```
/// use file_io::LockFile;
///
/// let dir = tempfile::tempdir().unwrap();
/// let path = dir.path().join(".lock");
/// let held = LockFile::acquire(&path).unwrap();
/// assert!(held.is_some());
/// assert!(LockFile::acquire(&path).unwrap().is_none());
/// drop(held);
/// assert!(!path.exists());
/// ```
#[derive(Debug)]
pub struct LockFile {
    path: PathBuf,
    _file: File,
    _live: LiveEntry,
}

impl LockFile {
    /// Creates the file and locks it. Returns `None` if another `LockFile`, usually of another
    /// process, holds it.
    ///
    /// # Errors
    /// As [`open_own`], and the error of the operating system if it cannot lock files there.
    pub fn acquire(path: &Path) -> io::Result<Option<Self>> {
        let mut live = live();
        loop {
            let mut options = File::options();
            let file = open_own(path, options.read(true).write(true).create(true).truncate(false))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // The holder before may have removed the file after it was opened here: then a third
            // process can create and lock another one.
            if is_at(&file, path)? {
                let live = LiveEntry::new(&mut live, path);
                return Ok(Some(Self { path: path.to_owned(), _file: file, _live: live }));
            }
        }
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        // If it stays, it is an empty file that locks nothing.
        let _ = fs::remove_file(&self.path);
    }
}

/// Whether the open file is the one at `path`.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let open = file.metadata()?;
    Ok(fs::symlink_metadata(path).is_ok_and(|at| (at.dev(), at.ino()) == (open.dev(), open.ino())))
}

/// Windows keeps the name of a file until it is closed.
#[cfg(not(unix))]
fn is_at(_: &File, path: &Path) -> io::Result<bool> {
    Ok(path.exists())
}
