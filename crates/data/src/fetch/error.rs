//! What can go wrong with fetching, in one line each.

use std::path::PathBuf;

/// Why a set could not be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// No set of this name can be fetched.
    #[error("cannot fetch {name:?}: known are {known}")]
    Unknown {
        /// The name.
        name: String,
        /// The names that are known.
        known: String,
    },
    /// The set's home has no plain address.
    #[error(
        "{name} has no plain address to fetch it from: get {files} from {page} by hand, put them into {folder:?} and run this again to \
         check and unpack them, or name a server that has them with --mirror URL"
    )]
    NoAddress {
        /// The set.
        name: &'static str,
        /// Its files.
        files: String,
        /// Where people get them.
        page: &'static str,
        /// Where they belong.
        folder: PathBuf,
    },
    /// The address cannot be used.
    #[error("cannot fetch {url}: {reason}; name another server with --mirror URL")]
    Address {
        /// The address.
        url: String,
        /// Why not.
        reason: String,
    },
    /// The server answered with an error.
    #[error("cannot fetch {url}: the server answered {status}; name another one with --mirror URL")]
    Status {
        /// The address.
        url: String,
        /// The HTTP status, such as 404.
        status: u16,
    },
    /// The server's file has another length than the set's.
    #[error(
        "{url} is not the file wanted: the server has {found} where the set has {expected} bytes; name another one with --mirror URL"
    )]
    Length {
        /// The address.
        url: String,
        /// What the server announced or sent.
        found: String,
        /// The right length.
        expected: u64,
    },
    /// The connection was lost, again and again.
    #[error(
        "{url} ended after {done} of {total} bytes: {reason}; run the same command again to go on from there"
    )]
    Cut {
        /// The address.
        url: String,
        /// What is here.
        done: u64,
        /// What should be.
        total: u64,
        /// What happened to the connection.
        reason: String,
    },
    /// What came is not the set's file.
    #[error(
        "what came from {url} is damaged or another file: its SHA-256 is {found}, not {expected}; it was removed, fetch it again"
    )]
    Checksum {
        /// The address.
        url: String,
        /// Of what came.
        found: String,
        /// Of the set's file.
        expected: &'static str,
    },
    /// Something else is where the file belongs.
    #[error(
        "{path:?} is there already and is not the set's file: move it away, or fetch into another folder with --out"
    )]
    InTheWay {
        /// What is there.
        path: PathBuf,
    },
    /// Another program is fetching the same set.
    #[error(
        "{folder:?} is being filled by another program: wait for it, or fetch into another folder with --out"
    )]
    Busy {
        /// The set's folder.
        folder: PathBuf,
    },
    /// An archive that must not be unpacked, or cannot be.
    #[error("cannot unpack {path:?}: {problem}")]
    Archive {
        /// The archive.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The disk.
    #[error("cannot write {path:?}: {error}")]
    Disk {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        error: std::io::Error,
    },
}

impl FetchError {
    pub(super) fn disk(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        |error| Self::Disk { path: path.to_owned(), error }
    }
}
