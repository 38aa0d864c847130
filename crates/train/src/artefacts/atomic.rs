//! Files that are complete or absent: temporary name, fsync, rename, fsync of the folder.

use super::ArtefactError;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// The ending of a file that is being written.
const TEMPORARY: &str = ".tmp";

/// Writes `path` through `fill`, so that a reader finds the old file or the whole new one, never a part.
///
/// The bytes go to a temporary file in the same folder (a rename is atomic only within one file system), are
/// fsynced and renamed over `path`; the folder is fsynced so that the new name survives a power cut. On any
/// failure the temporary file is removed, an older `path` is left as it was, and the error names `path`.
///
/// # Errors
/// [`ArtefactError::Write`] for whatever the operating system or `fill` reports.
pub fn write_atomic(path: &Path, fill: impl FnOnce(&mut BufWriter<&mut File>) -> io::Result<()>) -> Result<(), ArtefactError> {
    write(path, fill).map_err(ArtefactError::write(path))
}

fn write(path: &Path, fill: impl FnOnce(&mut BufWriter<&mut File>) -> io::Result<()>) -> io::Result<()> {
    let name = path.file_name().ok_or_else(|| io::Error::other("the path names no file"))?;
    let folder = folder_of(path);
    let mut prefix = name.to_os_string();
    prefix.push(".");
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix).suffix(TEMPORARY);
    #[cfg(unix)]
    {
        // The crate's default is 0600, right for secrets; these are ordinary files, so let the umask decide.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    // Dropping the handle on any early return removes the temporary file.
    let mut temporary = builder.tempfile_in(folder)?;
    let mut writer = BufWriter::with_capacity(1 << 20, temporary.as_file_mut());
    fill(&mut writer)?;
    writer.flush()?;
    drop(writer);
    temporary.as_file().sync_all()?;
    temporary.persist(path).map_err(|error| error.error)?;
    sync_folder(folder)
}

/// Removes what killed processes left half-written in `folder`, and returns those paths.
///
/// Call it only where no other process writes: under the lock of the run.
///
/// # Errors
/// [`ArtefactError::Read`] if the folder cannot be listed; a temporary file that cannot be removed stays.
pub fn remove_stale(folder: &Path) -> Result<Vec<PathBuf>, ArtefactError> {
    let mut removed = Vec::new();
    for entry in fs::read_dir(folder).map_err(ArtefactError::read(folder))? {
        let path = entry.map_err(ArtefactError::read(folder))?.path();
        let stale = path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(TEMPORARY));
        if stale && fs::remove_file(&path).is_ok() {
            removed.push(path);
        }
    }
    Ok(removed)
}

/// The folder a file lies in; `.` for a bare name.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes renames and removals in `folder` durable. Windows has no such call and needs none.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}
