//! The errors of downloads, each one line that names the thing and the value.

use std::path::PathBuf;

/// Why a dataset could not be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the messages show what the fields are")]
pub enum FetchError {
    /// No dataset of this name can be fetched.
    #[error("cannot fetch {name:?}: known datasets are {known}")]
    Unknown { name: String, known: String },
    /// The dataset's home page offers no address to download from.
    #[error("{name} has no plain address to fetch it from")]
    NoAddress { name: &'static str, files: String, page: &'static str, folder: PathBuf },
    /// The address is invalid or unreachable.
    #[error("cannot fetch {url}: {reason}")]
    Address { url: String, reason: String },
    /// The server answered with an error.
    #[error("cannot fetch {url}: the server answered {status}")]
    Status { url: String, status: u16 },
    /// The server's file has another length than the dataset's.
    #[error(
        "{url} is not the file wanted: the server has {found} where the set has {expected} bytes"
    )]
    Length { url: String, found: String, expected: u64 },
    /// The connection was lost repeatedly.
    #[error("{url} ended after {done} of {total} bytes: {reason}")]
    Cut { url: String, done: u64, total: u64, reason: String },
    /// The downloaded file has another checksum than the dataset's.
    #[error(
        "what came from {url} is damaged or another file: its SHA-256 is {found}, not {expected}"
    )]
    Checksum { url: String, found: String, expected: String },
    /// The address of a dataset on Hugging Face's hub has another form.
    #[error("{spec:?} is not hf://datasets/OWNER/NAME[/CONFIG][@REVISION]")]
    HubAddress { spec: String },
    /// A dataset on the hub has no files to fetch, or not these.
    #[error("cannot fetch {dataset} from the hub: {problem}")]
    Hub { dataset: String, problem: String },
    /// A dataset on the hub has several configurations, and none is named.
    #[error("cannot fetch {dataset} from the hub: it has several configurations: {known}")]
    HubConfigs { dataset: String, known: String },
    /// The token, which is not shown, cannot be sent.
    #[error("the token cannot be sent: {reason}")]
    Token { reason: &'static str },
    /// Another file is at the path where the dataset's file belongs.
    #[error("{path:?} is there already and is not the set's file")]
    InTheWay { path: PathBuf },
    /// Another process is fetching the same dataset.
    #[error("{folder:?} is being filled by another program")]
    Busy { folder: PathBuf },
    /// An archive is damaged, or holds files that must not be unpacked.
    #[error("cannot unpack {path:?}: {problem}")]
    Archive { path: PathBuf, problem: String },
    /// A file or folder could not be written.
    #[error("cannot write {path:?}: {error}")]
    Disk { path: PathBuf, error: std::io::Error },
}

impl FetchError {
    pub(super) fn disk(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        |error| Self::Disk { path: path.to_owned(), error }
    }
}
