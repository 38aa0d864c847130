//! Fetching the sets of the literature from where they are kept: with resume, checksums, and careful unpacking.

mod error;
mod http;
mod sets;
mod unpack;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use error::FetchError;
pub use sets::RemoteSet;

use http::{Client, sha256};
use sets::{ArchiveKind, RemoteFile, SETS};

use crate::builtin;

/// Between a lost connection and the next request.
const PAUSE: Duration = Duration::from_secs(2);
/// Locked in a set's folder while it is filled.
const LOCK: &str = ".lock";

/// What fetching is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchProgress<'a> {
    /// A file was here already, in whole.
    Here {
        /// Its name.
        file: &'a str,
    },
    /// `done` of `total` bytes of a file are here.
    Downloading {
        /// Its name.
        file: &'a str,
        /// Bytes that are here.
        done: u64,
        /// Bytes that it has.
        total: u64,
    },
    /// A file is whole and right, and being unpacked.
    Unpacking {
        /// Its name.
        file: &'a str,
    },
}

impl RemoteSet {
    /// What to name as data once the set is in the folder `datasets`.
    #[must_use]
    pub fn place(&self, datasets: &Path) -> PathBuf {
        let folder = datasets.join(self.folder);
        match self.files {
            [
                RemoteFile {
                    kind: ArchiveKind::TarGz(content) | ArchiveKind::Zip(content), ..
                },
            ] => folder.join(content.top),
            _ => folder,
        }
    }

    /// The same, of the first folder of sets that has all of it: the one in `DCGAN_DATASETS`, `./datasets`, `datasets` of the
    /// source tree.
    #[must_use]
    pub fn locate(&self) -> Option<PathBuf> {
        let left = |folder: &Path, file: &RemoteFile| match file.kind {
            ArchiveKind::Plain => folder.join(file.name).is_file(),
            ArchiveKind::TarGz(content) | ArchiveKind::Zip(content) => {
                folder.join(content.top).is_dir()
            }
        };
        let whole =
            |root: &PathBuf| self.files.iter().all(|file| left(&root.join(self.folder), file));
        builtin::roots().iter().find(|root| whole(root)).map(|root| self.place(root))
    }
}

/// The sets that can be fetched.
pub fn remote_sets() -> impl Iterator<Item = &'static RemoteSet> {
    SETS.iter()
}

/// The set of this name, or of another name that `--data` has for it.
///
/// # Errors
/// [`FetchError::Unknown`] lists the names.
pub fn remote_set(name: &str) -> Result<&'static RemoteSet, FetchError> {
    let name = builtin::find(name).map_or(name, |set| set.name);
    SETS.iter().find(|set| set.name == name).ok_or_else(|| FetchError::Unknown {
        name: name.to_owned(),
        known: SETS.iter().map(|set| set.name).collect::<Vec<_>>().join(", "),
    })
}

/// Brings a set into its folder inside `datasets`, and returns its [`place`](RemoteSet::place) there. Files are taken from the set's home, or from
/// `mirror`, an address that their names are put behind.
///
/// What is here already is kept; a download that was cut is gone on with. Each file's length and SHA-256 must be right.
///
/// # Errors
/// No plain address and no mirror, the server, the network, a file that is not the set's, an archive that holds anything
/// but files and folders below its own, another program that fetches the same, or the disk.
pub fn fetch(
    set: &RemoteSet,
    datasets: &Path,
    mirror: Option<&str>,
    progress: &dyn Fn(FetchProgress<'_>),
) -> Result<PathBuf, FetchError> {
    fetch_by(&Client::new(PAUSE), set, datasets, mirror, progress)
}

fn fetch_by(
    client: &Client,
    set: &RemoteSet,
    datasets: &Path,
    mirror: Option<&str>,
    progress: &dyn Fn(FetchProgress<'_>),
) -> Result<PathBuf, FetchError> {
    let folder = datasets.join(set.folder);
    fs::create_dir_all(&folder).map_err(FetchError::disk(&folder))?;
    // A folder that may not be written can be whole all the same.
    let (_held, mut refused) = match lock(&folder) {
        Ok(held) => (Some(held), None),
        Err(busy @ FetchError::Busy { .. }) => return Err(busy),
        Err(disk) => (None, Some(disk)),
    };
    for file in set.files {
        if is_here(&folder, file)? {
            progress(FetchProgress::Here { file: file.name });
            continue;
        }
        if let Some(disk) = refused.take() {
            return Err(disk);
        }
        let target = folder.join(file.name);
        if !target.exists() {
            let url = address(set, file, mirror, &folder)?;
            let told = |done| {
                progress(FetchProgress::Downloading { file: file.name, done, total: file.bytes })
            };
            client.download(&url, &target, file, &told)?;
        }
        if file.kind != ArchiveKind::Plain {
            progress(FetchProgress::Unpacking { file: file.name });
            unpack::unpack(&target, file.kind, &folder)?;
            fs::remove_file(&target).map_err(FetchError::disk(&target))?;
        }
    }
    Ok(set.place(datasets))
}

/// Keeps others from fetching into the folder until it is dropped: the operating system frees a lock however a process ends, and its empty file
/// stays, since of two processes one could remove what the other has just locked.
fn lock(folder: &Path) -> Result<fs::File, FetchError> {
    let path = folder.join(LOCK);
    let file = fs::File::create(&path).map_err(FetchError::disk(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(FetchError::Busy { folder: folder.to_owned() }),
        Err(fs::TryLockError::Error(error)) => Err(FetchError::disk(&path)(error)),
    }
}

/// Where a file of the set is to be had.
fn address(
    set: &RemoteSet,
    file: &RemoteFile,
    mirror: Option<&str>,
    folder: &Path,
) -> Result<String, FetchError> {
    let base = mirror.or(set.base).ok_or_else(|| FetchError::NoAddress {
        name: set.name,
        files: set.file_names().collect::<Vec<_>>().join(", "),
        page: set.page,
        folder: folder.to_owned(),
    })?;
    let url = format!("{}/{}", base.trim_end_matches('/'), file.name);
    match ["http://", "https://"].iter().any(|scheme| url.starts_with(scheme)) {
        true => Ok(url),
        false => Err(FetchError::Address {
            url,
            reason: "addresses here begin with http:// or https://".to_owned(),
        }),
    }
}

/// Whether nothing is left to do for a file: it is there, or what was in it.
fn is_here(folder: &Path, file: &RemoteFile) -> Result<bool, FetchError> {
    let target = folder.join(file.name);
    if let ArchiveKind::TarGz(content) | ArchiveKind::Zip(content) = file.kind
        && folder.join(content.top).is_dir()
    {
        return Ok(true);
    }
    if !target.exists() {
        return Ok(false);
    }
    // A file that was put here by hand counts as well, if it is the right one.
    let right = target.is_file()
        && fs::metadata(&target).map_err(FetchError::disk(&target))?.len() == file.bytes
        && sha256(&target)? == file.sha256;
    match right {
        true => Ok(file.kind == ArchiveKind::Plain),
        false => Err(FetchError::InTheWay { path: target }),
    }
}

#[cfg(test)]
mod tests;
