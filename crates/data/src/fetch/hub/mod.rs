//! Fetches the Parquet files of a dataset on Hugging Face's hub, or on a server with its interface.
//!
//! The hub lists a repository's files, with their lengths and SHA-256, at
//! `api/datasets/OWNER/NAME/tree/REVISION`, and serves them at
//! `datasets/OWNER/NAME/resolve/REVISION/PATH`. Of a dataset without Parquet files it keeps a
//! converted copy as the revision `refs/convert/parquet`.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::FetchError;
use super::http::{Client, ExpectedFile, Token};
use super::{FetchProgress, RETRY_PAUSE, is_complete, lock_if_writable};
use crate::builtin;
use crate::formats::split_name::place_of_shard;

const SCHEME: &str = "hf://datasets/";
const HUB: &str = "https://huggingface.co";
/// The folder of these datasets inside the datasets folder.
const FOLDER: &str = "hf";
/// The file in a dataset's folder that lists its files.
const RECORD: &str = ".files.json";
const MAIN: &str = "main";
const CONVERTED: &str = "refs/convert/parquet";
/// The hub lists a thousand files on a page.
const MAX_PAGES: usize = 200;
/// The bytes of a page at most.
const MAX_PAGE: u64 = 16 << 20;

/// A dataset on the hub: `hf://datasets/OWNER/NAME[/CONFIG][@REVISION]`.
///
/// ```
/// use std::path::Path;
///
/// let dataset = data::HubDataset::parse("hf://datasets/me/cats/small@v1").unwrap().unwrap();
/// assert_eq!(dataset.place(Path::new("sets")), Path::new("sets/hf/me--cats--small@v1"));
/// assert!(data::HubDataset::parse("cats").is_none());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubDataset {
    /// `OWNER/NAME`, or the name alone of a dataset without an owner.
    repository: String,
    config: Option<String>,
    revision: Option<String>,
}

/// A file of a dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct HubFile {
    /// The path in the repository, with `/` between the components.
    path: String,
    bytes: u64,
    /// In hexadecimal.
    sha256: String,
}

/// An entry of the hub's list.
#[derive(Deserialize)]
struct TreeEntry {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    lfs: Option<LfsEntry>,
}

#[derive(Deserialize)]
struct LfsEntry {
    oid: String,
    size: u64,
}

impl HubDataset {
    /// Parses a spec; `None` if it is not the address of a dataset on the hub.
    ///
    /// # Errors
    /// Returns [`FetchError::HubAddress`] if it is one of another form.
    pub fn parse(spec: &str) -> Option<Result<Self, FetchError>> {
        let rest = spec.strip_prefix(SCHEME)?;
        let (path, revision) = match rest.split_once('@') {
            Some((path, revision)) => (path, Some(revision)),
            None => (rest, None),
        };
        let parts: Vec<&str> = path.trim_end_matches('/').split('/').collect();
        let (repository, config) = match parts[..] {
            [name] => (name.to_owned(), None),
            [owner, name] => (format!("{owner}/{name}"), None),
            [owner, name, config] => (format!("{owner}/{name}"), Some(config.to_owned())),
            _ => (String::new(), None),
        };
        let is_valid = is_path(&repository)
            && config.as_deref().is_none_or(is_path)
            && revision.is_none_or(is_path);
        Some(match is_valid {
            true => Ok(Self { repository, config, revision: revision.map(str::to_owned) }),
            false => Err(FetchError::HubAddress { spec: spec.to_owned() }),
        })
    }

    /// The folder of the dataset in the folder `datasets`.
    pub fn place(&self, datasets: &Path) -> PathBuf {
        let mut name = self.repository.replace('/', "--");
        if let Some(config) = &self.config {
            name += &format!("--{config}");
        }
        if let Some(revision) = &self.revision {
            name += &format!("@{}", revision.replace('/', "--"));
        }
        datasets.join(FOLDER).join(name)
    }

    /// The folder in the first datasets folder that has all of its files.
    pub fn locate(&self) -> Option<PathBuf> {
        let is_whole = |folder: &PathBuf| {
            let files = read_record(folder);
            files.is_some_and(|files| files.iter().all(|file| folder.join(&file.path).is_file()))
        };
        builtin::roots().iter().map(|root| self.place(root)).find(is_whole)
    }
}

/// Downloads the Parquet files of a dataset into its [folder](HubDataset::place) inside `datasets`,
/// and returns that. They come from `mirror`, if that is given, a server with the hub's interface.
///
/// If all files are there, nothing is requested. Interrupted downloads are resumed, and each file's
/// length and SHA-256 must be those that the hub lists. `token` is sent to the hub or the mirror
/// alone: to no other host or port that it redirects to, and to none without HTTPS but this
/// machine.
///
/// # Errors
/// Returns an error as [`fetch`](crate::fetch) does; [`FetchError::Hub`] if there is no such
/// configuration or Parquet file; [`FetchError::HubConfigs`] if there are several configurations
/// and none is named; [`FetchError::Token`] if the token cannot be one.
pub fn fetch_hub(
    dataset: &HubDataset,
    datasets: &Path,
    mirror: Option<&str>,
    token: Option<&str>,
    progress: &dyn Fn(FetchProgress<'_>),
) -> Result<PathBuf, FetchError> {
    let base = mirror.unwrap_or(HUB).trim_end_matches('/');
    let token = token.map(|token| Token::new(base, token)).transpose()?.flatten();
    fetch_by(&Client::new(RETRY_PAUSE, token), dataset, datasets, base, progress)
}

pub(super) fn fetch_by(
    client: &Client,
    dataset: &HubDataset,
    datasets: &Path,
    base: &str,
    progress: &dyn Fn(FetchProgress<'_>),
) -> Result<PathBuf, FetchError> {
    let folder = dataset.place(datasets);
    fs::create_dir_all(&folder).map_err(FetchError::disk(&folder))?;
    let (_held, mut refused) = lock_if_writable(&folder)?;
    if let Some(files) = read_record(&folder)
        && files.iter().all(|file| folder.join(&file.path).is_file())
    {
        for file in &files {
            require_right(&folder, file)?;
            progress(FetchProgress::Here { file: &file.path });
        }
        return Ok(folder);
    }
    if let Some(disk) = refused.take() {
        return Err(disk);
    }
    super::require_scheme(base)?;
    let (revision, files) = list(client, dataset, base)?;
    let record = folder.join(RECORD);
    file_io::write_atomic(&record, |out| Ok(serde_json::to_writer_pretty(out, &files)?))
        .map_err(FetchError::disk(&record))?;
    for file in &files {
        let target = folder.join(&file.path);
        if target.exists() {
            require_right(&folder, file)?;
            progress(FetchProgress::Here { file: &file.path });
            continue;
        }
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(FetchError::disk(parent))?;
        }
        let (repository, path) = (encode(&dataset.repository, true), encode(&file.path, true));
        let url =
            format!("{base}/datasets/{repository}/resolve/{}/{path}", encode(revision, false));
        let reported = |done| {
            progress(FetchProgress::Downloading { file: &file.path, done, total: file.bytes });
        };
        let expected = ExpectedFile { bytes: file.bytes, sha256: &file.sha256 };
        client.download(&url, &target, expected, &reported)?;
    }
    Ok(folder)
}

/// The files of a dataset that was fetched, or whose download began.
fn read_record(folder: &Path) -> Option<Vec<HubFile>> {
    // A record that cannot be read is made again.
    let files: Vec<HubFile> =
        serde_json::from_slice(&file_io::read(&folder.join(RECORD)).ok()?).ok()?;
    (!files.is_empty() && files.iter().all(|file| is_path(&file.path))).then_some(files)
}

fn require_right(folder: &Path, file: &HubFile) -> Result<(), FetchError> {
    let target = folder.join(&file.path);
    match is_complete(&target, file.bytes, &file.sha256)? {
        true => Ok(()),
        false => Err(FetchError::InTheWay { path: target }),
    }
}

/// The Parquet files of a dataset, sorted by path, and the revision that has them.
fn list<'a>(
    client: &Client,
    dataset: &'a HubDataset,
    base: &str,
) -> Result<(&'a str, Vec<HubFile>), FetchError> {
    let refuse = |problem: String| {
        let dataset = dataset.repository.clone();
        Err(FetchError::Hub { dataset, problem })
    };
    let revision = dataset.revision.as_deref().unwrap_or(MAIN);
    let mut found = (revision, parquet_files(client, dataset, base, revision)?);
    if found.1.is_empty() && dataset.revision.is_none() {
        found = (
            CONVERTED,
            match parquet_files(client, dataset, base, CONVERTED) {
                Err(FetchError::Status { status: 404, .. }) => Vec::new(),
                listed => listed?,
            },
        );
    }
    let (revision, mut files) = found;
    if files.is_empty() {
        return refuse("it has no Parquet files".to_owned());
    }
    let place = |file: &HubFile| place_of_shard(Path::new(&file.path)).1;
    let mut places: Vec<String> = files.iter().map(place).collect();
    places.sort_unstable();
    places.dedup();
    // Files may be in no folder.
    let shown = places.iter().map(|place| if place.is_empty() { "." } else { place.as_str() });
    let known = shown.collect::<Vec<_>>().join(", ");
    match &dataset.config {
        Some(config) => {
            let is_chosen = |file: &HubFile| place(file).split('/').any(|part| part == config);
            files.retain(is_chosen);
            if files.is_empty() {
                return refuse(format!("it has no configuration {config:?}, it has {known}"));
            }
        }
        None if places.len() > 1 => {
            return Err(FetchError::HubConfigs { dataset: dataset.repository.clone(), known });
        }
        None => {}
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok((revision, files))
}

/// The Parquet files of a revision.
fn parquet_files(
    client: &Client,
    dataset: &HubDataset,
    base: &str,
    revision: &str,
) -> Result<Vec<HubFile>, FetchError> {
    let repository = encode(&dataset.repository, true);
    let api = format!("{base}/api/datasets/{repository}/tree/");
    let mut url = format!("{api}{}?recursive=true", encode(revision, false));
    let mut files = Vec::new();
    for _ in 0..MAX_PAGES {
        let refuse = |problem: String| {
            let dataset = dataset.repository.clone();
            FetchError::Hub { dataset, problem }
        };
        let (page, next) = client.get(&url, MAX_PAGE)?;
        let entries: Vec<TreeEntry> = serde_json::from_slice(&page)
            .map_err(|error| refuse(format!("the answer of {url} is no list of files: {error}")))?;
        for TreeEntry { kind, path, lfs } in entries {
            if kind != "file" || !path.to_ascii_lowercase().ends_with(".parquet") {
                continue;
            }
            let Some(LfsEntry { oid: sha256, size: bytes }) = lfs else {
                return Err(refuse(format!("no SHA-256 is listed for {path:?}")));
            };
            let is_sum = sha256.len() == 64 && sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
            if !is_path(&path) || !is_sum {
                return Err(refuse(format!("{path:?} is listed, a name or sum that is not read")));
            }
            files.push(HubFile { path, bytes, sha256: sha256.to_ascii_lowercase() });
        }
        match next {
            None => return Ok(files),
            // The token goes nowhere else.
            Some(next) if next.starts_with(&api) => url = next,
            Some(next) => return Err(refuse(format!("its list continues elsewhere, at {next:?}"))),
        }
    }
    let problem = format!("its list has more than {MAX_PAGES} pages");
    Err(FetchError::Hub { dataset: dataset.repository.clone(), problem })
}

/// Whether a text is a relative path of plain names, which are the names of files here: none is
/// empty, hidden, or leads outside.
fn is_path(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-+=,() ".contains(c);
    text.len() <= 1024
        && text.split('/').all(|part| {
            !part.is_empty()
                && part.len() <= 200
                && !part.starts_with('.')
                && !part.ends_with(['.', ' '])
                && part.chars().all(is_plain)
        })
}

/// A path for a URL; its slashes stay if `slashes`.
fn encode(path: &str, slashes: bool) -> String {
    let mut encoded = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'/' if slashes => encoded.push('/'),
            b'-' | b'.' | b'_' | b'~' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                encoded.push(byte.into());
            }
            other => encoded += &format!("%{other:02X}"),
        }
    }
    encoded
}

#[cfg(test)]
mod tests;
