//! Atomic writes: a file is complete or absent (temporary name, fsync, rename, fsync of the
//! folder).

use crate::ArtifactError;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// The suffix of a file that is being written.
pub(crate) const TEMPORARY: &str = ".tmp";

/// Writes `path` through `fill`, so that a reader finds the old file or the whole new one.
///
/// The bytes go to a temporary file in the same folder (a rename is atomic only within one file
/// system), are fsynced and renamed over `path`; the folder is fsynced so that the new name
/// survives a power cut. On any failure the temporary file is removed, an older `path` is left as
/// it was, and the error names `path`.
///
/// ```
/// use std::io::Write;
///
/// let dir = tempfile::tempdir().unwrap();
/// let path = dir.path().join("note.txt");
/// runs::write_atomic(&path, |file| file.write_all(b"old")).unwrap();
/// let failed = runs::write_atomic(&path, |file| {
///     file.write_all(b"ne")?;
///     Err(std::io::Error::other("interrupted"))
/// });
/// assert!(failed.is_err());
/// assert_eq!(std::fs::read(&path).unwrap(), b"old");
/// ```
///
/// # Errors
/// Returns [`ArtifactError::Write`] with the error of the operating system or of `fill`.
pub fn write_atomic(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<&mut File>) -> io::Result<()>,
) -> Result<(), ArtifactError> {
    write(path, fill).map_err(ArtifactError::write(path))
}

fn write(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<&mut File>) -> io::Result<()>,
) -> io::Result<()> {
    let name = path.file_name().ok_or_else(|| io::Error::other("the path names no file"))?;
    let folder = folder_of(path);
    // Dropping the handle on any early return removes the temporary file.
    let mut temporary = temporary_in(folder, name)?;
    let mut writer = BufWriter::with_capacity(1 << 20, temporary.as_file_mut());
    fill(&mut writer)?;
    writer.flush()?;
    drop(writer);
    temporary.as_file().sync_all()?;
    temporary.persist(path).map_err(|error| error.error)?;
    sync_folder(folder)
}

/// Creates a new file in `folder` that is removed when dropped.
fn temporary_in(folder: &Path, name: &OsStr) -> io::Result<NamedTempFile> {
    let mut prefix = name.to_os_string();
    prefix.push(".");
    // Opened here, not by the crate: its files have mode 0600, right for secrets, where the umask
    // should decide; and its errors name the temporary file, which a user does not know.
    let open = |path: &Path| File::options().read(true).write(true).create_new(true).open(path);
    tempfile::Builder::new().prefix(&prefix).suffix(TEMPORARY).make_in(folder, open)
}

/// Checks that `folder` exists or could be created, and is writable. Leaves nothing behind.
///
/// # Errors
/// Returns [`ArtifactError::Write`] for `folder` if it is not.
pub(crate) fn check_writable(folder: &Path) -> Result<(), ArtifactError> {
    let nearest = folder
        .ancestors()
        .map(|above| if above.as_os_str().is_empty() { Path::new(".") } else { above });
    let there = nearest.into_iter().find(|above| above.exists()).unwrap_or(Path::new("."));
    if !there.is_dir() {
        return Err(ArtifactError::write(folder)(io::ErrorKind::NotADirectory.into()));
    }
    temporary_in(there, OsStr::new(".dcgan-probe")).map(drop).map_err(ArtifactError::write(folder))
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

/// The folder of a file; `.` for a bare name.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes renames and removals in `folder` durable. Windows has no such call and needs none.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}
