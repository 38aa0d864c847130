//! The errors of downloads, each one line that names the thing and the value.

use std::path::PathBuf;

/// Why a dataset could not be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// No dataset of this name can be fetched.
    #[error("cannot fetch {name:?}: known datasets are {known}")]
    Unknown {
        /// The name.
        name: String,
        /// The names that can be fetched.
        known: String,
    },
    /// The dataset's home page offers no address to download from.
    #[error("{name} has no plain address to fetch it from")]
    NoAddress {
        /// The dataset.
        name: &'static str,
        /// The names of its files.
        files: String,
        /// The page on which people get them.
        page: &'static str,
        /// The folder in which they belong.
        folder: PathBuf,
    },
    /// The address is invalid or unreachable.
    #[error("cannot fetch {url}: {reason}")]
    Address {
        /// The address.
        url: String,
        /// The reason, in one line.
        reason: String,
    },
    /// The server answered with an error.
    #[error("cannot fetch {url}: the server answered {status}")]
    Status {
        /// The address.
        url: String,
        /// The HTTP status, such as 404.
        status: u16,
    },
    /// The server's file has another length than the dataset's.
    #[error(
        "{url} is not the file wanted: the server has {found} where the set has {expected} bytes"
    )]
    Length {
        /// The address.
        url: String,
        /// The length announced or sent.
        found: String,
        /// The right length.
        expected: u64,
    },
    /// The connection was lost repeatedly.
    #[error("{url} ended after {done} of {total} bytes: {reason}")]
    Cut {
        /// The address.
        url: String,
        /// The bytes that are on disk.
        done: u64,
        /// The file's length.
        total: u64,
        /// The error of the connection.
        reason: String,
    },
    /// The downloaded file has another checksum than the dataset's.
    #[error(
        "what came from {url} is damaged or another file: its SHA-256 is {found}, not {expected}"
    )]
    Checksum {
        /// The address.
        url: String,
        /// The checksum of the download.
        found: String,
        /// The checksum of the dataset's file.
        expected: &'static str,
    },
    /// Another file is at the path where the dataset's file belongs.
    #[error("{path:?} is there already and is not the set's file")]
    InTheWay {
        /// The path.
        path: PathBuf,
    },
    /// Another process is fetching the same dataset.
    #[error("{folder:?} is being filled by another program")]
    Busy {
        /// The dataset's folder.
        folder: PathBuf,
    },
    /// An archive is damaged, or holds files that must not be unpacked.
    #[error("cannot unpack {path:?}: {problem}")]
    Archive {
        /// The archive.
        path: PathBuf,
        /// The defect, in one line.
        problem: String,
    },
    /// A file or folder could not be written.
    #[error("cannot write {path:?}: {error}")]
    Disk {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's error.
        error: std::io::Error,
    },
}

impl FetchError {
    pub(super) fn disk(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        |error| Self::Disk { path: path.to_owned(), error }
    }
}
