//! Files and folders that are complete or absent: written under a temporary name beside the final
//! one, synced and renamed.

use crate::open::create_own_folder;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tempfile::{NamedTempFile, TempDir};

/// The suffix of a file or folder that is being written.
pub const TEMPORARY: &str = ".tmp";

/// Temporary files and folders of this process.
static LIVE: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Writes `path` through `fill`, so that a reader finds the old file or the whole new one.
///
/// The bytes go to a temporary file in the same folder (a rename is atomic only within one file
/// system), are fsynced and renamed over `path`; the folder is fsynced so that the new name
/// survives a power cut. On any failure the temporary file is removed, and an older `path` is left
/// as it was. A link at `path` is replaced, not followed.
///
/// ```
/// use std::io::Write;
///
/// let dir = tempfile::tempdir().unwrap();
/// let path = dir.path().join("note.txt");
/// file_io::write_atomic(&path, |file| file.write_all(b"old")).unwrap();
/// let failed = file_io::write_atomic(&path, |file| {
///     file.write_all(b"ne")?;
///     Err(std::io::Error::other("interrupted"))
/// });
/// assert!(failed.is_err());
/// assert_eq!(std::fs::read(&path).unwrap(), b"old");
/// ```
///
/// # Errors
/// Returns the error of the operating system or of `fill`.
pub fn write_atomic(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<&mut File>) -> io::Result<()>,
) -> io::Result<()> {
    PendingFile::write(path, fill)?.replace(path)
}

/// A complete file under its temporary name.
struct PendingFile {
    file: NamedTempFile,
    /// Dropped after the file.
    _live: LiveEntry,
}

impl PendingFile {
    fn write(
        path: &Path,
        fill: impl FnOnce(&mut BufWriter<&mut File>) -> io::Result<()>,
    ) -> io::Result<Self> {
        let name = path.file_name().ok_or_else(|| io::Error::other("the path names no file"))?;
        // Dropping it on any early return removes the temporary file.
        let mut pending = Self::create(folder_of(path), name)?;
        let mut writer = BufWriter::with_capacity(1 << 20, pending.file.as_file_mut());
        fill(&mut writer)?;
        writer.flush()?;
        drop(writer);
        pending.file.as_file().sync_all()?;
        Ok(pending)
    }

    /// Creates a new file in `folder`.
    fn create(folder: &Path, name: &OsStr) -> io::Result<Self> {
        // Opened here, not by the crate: its files have mode 0600, right for secrets, where the
        // umask should decide; and its errors name the temporary file, which a user does not know.
        let open = |path: &Path| File::options().read(true).write(true).create_new(true).open(path);
        let mut live = live();
        let mut named = tempfile::Builder::new();
        let prefix = prefix(name);
        let file = named.prefix(&prefix).suffix(TEMPORARY).make_in(folder, open)?;
        let live = LiveEntry::new(&mut live, file.path());
        Ok(Self { file, _live: live })
    }

    fn replace(self, path: &Path) -> io::Result<()> {
        self.file.persist(path).map_err(|error| error.error)?;
        sync_folder(folder_of(path))
    }
}

/// A folder that gets its name when it is complete. Dropped before that, it is removed.
///
/// ```
/// let dir = tempfile::tempdir().unwrap();
/// let target = dir.path().join("images");
/// let folder = file_io::NewFolder::create(&target).unwrap();
/// std::fs::write(folder.path().join("0.png"), "").unwrap();
/// assert!(!target.exists());
/// folder.finish().unwrap();
/// assert!(target.join("0.png").is_file());
/// ```
#[derive(Debug)]
pub struct NewFolder {
    folder: TempDir,
    target: PathBuf,
    _live: LiveEntry,
}

impl NewFolder {
    /// Creates an empty folder beside `target`, under a temporary name.
    ///
    /// # Errors
    /// Returns the error of the operating system; [`io::ErrorKind::AlreadyExists`] if there is
    /// anything at `target`.
    pub fn create(target: &Path) -> io::Result<Self> {
        require_absent(target)?;
        let name = target.file_name().ok_or_else(|| io::Error::other("the path names no file"))?;
        let mut builder = tempfile::Builder::new();
        // The umask decides, as for files.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
        let prefix = prefix(name);
        let mut live = live();
        let folder = builder.prefix(&prefix).suffix(TEMPORARY).tempdir_in(folder_of(target))?;
        let live = LiveEntry::new(&mut live, folder.path());
        Ok(Self { folder, target: target.to_owned(), _live: live })
    }

    /// The folder, under its temporary name.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Creates a folder of this name inside.
    ///
    /// # Errors
    /// As [`create_own_folder`].
    pub fn subfolder(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.path().join(name);
        create_own_folder(&path).map(|()| path)
    }

    /// Renames the folder to its target.
    ///
    /// # Errors
    /// As [`NewFolder::create`], and the folder is removed then.
    pub fn finish(self) -> io::Result<()> {
        require_absent(&self.target)?;
        // Until it is renamed, an interrupt must not begin to remove its files.
        let held = live();
        fs::rename(self.folder.path(), &self.target)?;
        drop(held);
        // The temporary name is gone, so there is nothing to remove.
        let _ = self.folder.keep();
        sync_folder(folder_of(&self.target))
    }
}

fn require_absent(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        Err(_) => Ok(()),
    }
}

/// `name.`, before the random part of a temporary name. A long name is shortened, since a name of
/// the longest allowed length leaves no space for more.
fn prefix(name: &OsStr) -> String {
    format!("{}.", crate::name::shortened(&name.to_string_lossy(), 200))
}

/// An entry of [`LIVE`].
#[derive(Debug)]
pub(crate) struct LiveEntry(PathBuf);

impl LiveEntry {
    pub(crate) fn new(live: &mut BTreeSet<PathBuf>, path: &Path) -> Self {
        live.insert(path.to_owned());
        Self(path.to_owned())
    }
}

impl Drop for LiveEntry {
    fn drop(&mut self) {
        live().remove(&self.0);
    }
}

pub(crate) fn live() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes this process's temporary files and folders, for a process that is about to end. No other
/// thread can create one, or finish one, until the returned guard is dropped.
#[must_use = "until it is dropped, no temporary is created"]
pub fn discard_temporaries() -> impl Sized {
    let live = live();
    for path in &*live {
        // Files that were renamed meanwhile are gone; files that cannot be removed stay.
        let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    }
    live
}

/// Checks that `folder` exists or could be created, and is writable. Leaves nothing behind.
///
/// # Errors
/// Returns the error of the operating system if it is not.
pub fn check_writable(folder: &Path) -> io::Result<()> {
    let nearest = folder
        .ancestors()
        .map(|above| if above.as_os_str().is_empty() { Path::new(".") } else { above })
        .find(|above| above.exists())
        .unwrap_or(Path::new("."));
    if !nearest.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    // On Linux it never has a name, so that a kill cannot leave it behind.
    tempfile::tempfile_in(nearest).map(drop)
}

/// The folder of a file; `.` for a bare name.
#[must_use]
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes renames and removals in `folder` durable. Windows has no such call and needs none.
///
/// # Errors
/// Returns the error of the operating system.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}
