//! Fetches well-known datasets: with resume, checksums, and safe unpacking.

mod error;
mod http;
mod hub;
mod sets;
mod unpack;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use error::FetchError;
pub use hub::{HubDataset, fetch_hub};
pub use sets::RemoteSet;

use http::{Client, ExpectedFile, sha256};
use sets::{ArchiveKind, RemoteFile, SETS};

use crate::builtin;

/// Pause between a lost connection and the next request.
const RETRY_PAUSE: Duration = Duration::from_secs(2);
/// Locked in a dataset's folder while it is fetched.
const LOCK: &str = ".lock";

/// An event of a fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchProgress<'a> {
    /// A file is complete on disk already.
    Here {
        /// The name of the file.
        file: &'a str,
    },
    /// `done` of `total` bytes of a file are on disk.
    Downloading {
        /// The name of the file.
        file: &'a str,
        /// Bytes on disk.
        done: u64,
        /// Bytes of the whole file.
        total: u64,
    },
    /// A file is complete and verified, and being unpacked.
    Unpacking {
        /// The name of the file.
        file: &'a str,
    },
}

impl RemoteSet {
    /// The path to open once the dataset is in the folder `datasets`.
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

    /// The path to open in the first datasets folder that has all of it: the one that the program
    /// [set](crate::set_datasets_folder), `./datasets`, `datasets` of the source tree.
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

/// The datasets that can be fetched.
///
/// ```
/// assert!(data::remote_sets().any(|set| set.name == "cifar-10" && set.bytes() > 100_000_000));
/// ```
pub fn remote_sets() -> impl Iterator<Item = &'static RemoteSet> {
    SETS.iter()
}

/// The dataset of this name or alias.
///
/// # Errors
/// Returns [`FetchError::Unknown`] with the known names.
pub fn remote_set(name: &str) -> Result<&'static RemoteSet, FetchError> {
    let name = builtin::find(name).map_or(name, |set| set.name);
    SETS.iter().find(|set| set.name == name).ok_or_else(|| FetchError::Unknown {
        name: name.to_owned(),
        known: SETS.iter().map(|set| set.name).collect::<Vec<_>>().join(", "),
    })
}

/// Downloads a dataset into its folder inside `datasets`, and returns its
/// [`path`](RemoteSet::place) there. Files come from the dataset's own address, or from `mirror`, a
/// URL to which their names are appended.
///
/// Complete files are kept and interrupted downloads resumed. Each file's length and SHA-256 must
/// match.
///
/// # Errors
/// Returns an error if there is neither an address nor a mirror, if the server or the network
/// fails, if a file does not match, if an archive contains anything but files and folders below its
/// own, if another process fetches the same dataset, or if a file cannot be written.
pub fn fetch(
    set: &RemoteSet,
    datasets: &Path,
    mirror: Option<&str>,
    progress: &dyn Fn(FetchProgress<'_>),
) -> Result<PathBuf, FetchError> {
    fetch_by(&Client::new(RETRY_PAUSE, None), set, datasets, mirror, progress)
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
    let (_held, mut refused) = lock_if_writable(&folder)?;
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
            let reported = |done| {
                progress(FetchProgress::Downloading { file: file.name, done, total: file.bytes })
            };
            let expected = ExpectedFile { bytes: file.bytes, sha256: file.sha256 };
            client.download(&url, &target, expected, &reported)?;
        }
        if file.kind != ArchiveKind::Plain {
            progress(FetchProgress::Unpacking { file: file.name });
            unpack::unpack(&target, file.kind, &folder)?;
            fs::remove_file(&target).map_err(FetchError::disk(&target))?;
        }
    }
    Ok(set.place(datasets))
}

/// Locks the folder, unless it is read-only: it can be complete nevertheless. Else the error is that
/// of writing there.
fn lock_if_writable(folder: &Path) -> Result<(Option<fs::File>, Option<FetchError>), FetchError> {
    match lock(folder) {
        Ok(held) => Ok((Some(held), None)),
        Err(busy @ FetchError::Busy { .. }) => Err(busy),
        Err(disk) => Ok((None, Some(disk))),
    }
}

/// Locks the folder until the lock is dropped. The operating system frees it however the process
/// ends. The empty file stays, since of two processes one could remove the file that the other has
/// just locked.
fn lock(folder: &Path) -> Result<fs::File, FetchError> {
    let path = folder.join(LOCK);
    let mut options = fs::File::options();
    let file = file_io::open_own(&path, options.write(true).create(true).truncate(false))
        .map_err(FetchError::disk(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(FetchError::Busy { folder: folder.to_owned() }),
        Err(fs::TryLockError::Error(error)) => Err(FetchError::disk(&path)(error)),
    }
}

/// The URL of a file of the dataset.
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
    require_scheme(&url)?;
    Ok(url)
}

fn require_scheme(url: &str) -> Result<(), FetchError> {
    match ["http://", "https://"].iter().any(|scheme| url.starts_with(scheme)) {
        true => Ok(()),
        false => Err(FetchError::Address {
            url: url.to_owned(),
            reason: "addresses here begin with http:// or https://".to_owned(),
        }),
    }
}

/// Whether a file, or its unpacked content, is complete.
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
    match is_complete(&target, file.bytes, file.sha256)? {
        true => Ok(file.kind == ArchiveKind::Plain),
        false => Err(FetchError::InTheWay { path: target }),
    }
}

/// Whether a file has this length and SHA-256.
fn is_complete(path: &Path, bytes: u64, sum: &str) -> Result<bool, FetchError> {
    Ok(path.is_file()
        && fs::metadata(path).map_err(FetchError::disk(path))?.len() == bytes
        && sha256(path)? == sum)
}

#[cfg(test)]
mod tests;
