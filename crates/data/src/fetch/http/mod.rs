//! Downloads one file over HTTP: resumes after a lost connection, and verifies length and checksum.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use ureq::config::RedirectAuthHeaders;
use ureq::{Agent, Body, Error, http::Response};

use super::error::FetchError;
use crate::decode::one_line;

/// Requests in a row that may bring no new bytes.
const MAX_TRIES: u32 = 5;

/// A server that sends nothing for this long is considered gone.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

const MAX_REDIRECTS: u32 = 10;

/// Downloads files.
pub(super) struct Client {
    agent: Agent,
    /// Pause between a lost connection and the next request.
    pause: Duration,
    token: Option<Token>,
}

/// What a file must be.
#[derive(Debug, Clone, Copy)]
pub(super) struct ExpectedFile<'a> {
    pub bytes: u64,
    /// In hexadecimal.
    pub sha256: &'a str,
}

/// A secret that one server gets with each request. It has no `Debug`, so that no message has it.
pub(super) struct Token {
    /// Scheme, host and port, without a slash at the end.
    origin: String,
    /// The value of the header `Authorization`.
    header: String,
}

impl Token {
    /// A token for the server of the address `base`; `None` if it is empty.
    pub fn new(base: &str, token: &str) -> Result<Option<Self>, FetchError> {
        let token = token.trim();
        if token.is_empty() {
            return Ok(None);
        }
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(FetchError::Token {
                reason: "it has a space, or a character that is not printable ASCII",
            });
        }
        let (scheme, rest) = base.split_once("://").unwrap_or_default();
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
        if authority.contains('@') || !matches!(scheme, "http" | "https") {
            return Err(FetchError::Token { reason: "the address is not that of a plain server" });
        }
        if scheme == "http" && !matches!(host, "127.0.0.1" | "localhost" | "[::1]") {
            return Err(FetchError::Token { reason: "the address is not of https://" });
        }
        let origin = format!("{scheme}://{authority}");
        Ok(Some(Self { origin, header: format!("Bearer {token}") }))
    }

    /// The header for a request, if it goes to the token's server.
    fn header_for(&self, url: &str) -> Option<&str> {
        let rest = url.strip_prefix(&self.origin)?;
        (rest.is_empty() || rest.starts_with('/')).then_some(&self.header)
    }
}

/// Why a request did not bring the rest of the file.
enum HttpError {
    /// Another request may succeed.
    Retryable(String),
    /// Another request would fail too.
    Fatal(FetchError),
}

impl Client {
    pub fn new(pause: Duration, token: Option<Token>) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(MAX_REDIRECTS)
            .redirect_auth_headers(RedirectAuthHeaders::Never)
            .timeout_connect(Some(READ_TIMEOUT))
            .timeout_recv_response(Some(READ_TIMEOUT))
            .timeout_per_read(Some(READ_TIMEOUT))
            .user_agent(concat!("dcgan/", env!("CARGO_PKG_VERSION")));
        Self { agent: config.build().into(), pause, token }
    }

    /// Downloads `url` to `target` by way of `target.part`. `progress` gets the number of bytes on
    /// disk.
    pub fn download(
        &self,
        url: &str,
        target: &Path,
        file: ExpectedFile<'_>,
        progress: &dyn Fn(u64),
    ) -> Result<(), FetchError> {
        let part = part_of(target);
        let (mut tries, mut best) = (MAX_TRIES, 0);
        loop {
            let have = length(&part)?;
            if have == file.bytes {
                break;
            }
            best = best.max(have);
            match self.request(url, &part, have, file, progress) {
                Ok(()) => {}
                Err(HttpError::Fatal(error)) => return Err(error),
                Err(HttpError::Retryable(reason)) => {
                    let done = length(&part)?;
                    tries = if done > best { MAX_TRIES } else { tries - 1 };
                    if tries == 0 && done == 0 {
                        return Err(FetchError::Address { url: url.to_owned(), reason });
                    }
                    if tries == 0 {
                        return Err(FetchError::Cut {
                            url: url.to_owned(),
                            done,
                            total: file.bytes,
                            reason,
                        });
                    }
                    std::thread::sleep(self.pause);
                }
            }
        }
        let found = sha256(&part)?;
        if found != file.sha256 {
            fs::remove_file(&part).map_err(FetchError::disk(&part))?;
            let (url, expected) = (url.to_owned(), file.sha256.to_owned());
            return Err(FetchError::Checksum { url, found, expected });
        }
        fs::rename(&part, target).map_err(FetchError::disk(target))
    }

    /// The content of an address, of at most `limit` bytes, and the address of the next page.
    pub fn get(&self, url: &str, limit: u64) -> Result<(Vec<u8>, Option<String>), FetchError> {
        let mut tries = MAX_TRIES;
        loop {
            match self.content(url, limit) {
                Ok(content) => return Ok(content),
                Err(HttpError::Fatal(error)) => return Err(error),
                Err(HttpError::Retryable(reason)) => {
                    tries -= 1;
                    if tries == 0 {
                        return Err(FetchError::Address { url: url.to_owned(), reason });
                    }
                    std::thread::sleep(self.pause);
                }
            }
        }
    }

    fn content(&self, url: &str, limit: u64) -> Result<(Vec<u8>, Option<String>), HttpError> {
        let response = self.call(url, None)?;
        match response.status().as_u16() {
            200 => {}
            status => return Err(status_error(url, status)),
        }
        let links = response.headers().get("link").and_then(|links| links.to_str().ok());
        let next = links.and_then(next_link);
        let mut content = Vec::new();
        let reader = response.into_body().into_reader();
        reader
            .take(limit + 1)
            .read_to_end(&mut content)
            .map_err(|error| HttpError::Retryable(one_line(&error)))?;
        if content.len() as u64 > limit {
            let reason = format!("the answer has more than {limit} bytes");
            return Err(HttpError::Fatal(FetchError::Address { url: url.to_owned(), reason }));
        }
        Ok((content, next))
    }

    fn call(&self, url: &str, range: Option<&str>) -> Result<Response<Body>, HttpError> {
        let mut request = self.agent.get(url);
        if let Some(range) = range {
            request = request.header("range", range);
        }
        if let Some(token) = self.token.as_ref().and_then(|token| token.header_for(url)) {
            request = request.header("authorization", token);
        }
        request.call().map_err(|error| classify_error(url, &error))
    }

    /// Requests the bytes after the first `have` and writes them into `part`. A server that sends
    /// the whole file instead restarts `part`.
    fn request(
        &self,
        url: &str,
        part: &Path,
        have: u64,
        file: ExpectedFile<'_>,
        progress: &dyn Fn(u64),
    ) -> Result<(), HttpError> {
        // A partial file that is too long is discarded.
        let have = if have > file.bytes { 0 } else { have };
        let range = (have > 0).then(|| format!("bytes={have}-"));
        let response = self.call(url, range.as_deref())?;
        let start = start_of(url, &response, have, file)?;
        let disk = |error| HttpError::Fatal(FetchError::disk(part)(error));
        let mut options = File::options();
        match start {
            0 => options.write(true).create(true).truncate(true),
            _ => options.append(true),
        };
        let mut out = file_io::open_own(part, &mut options).map_err(disk)?;
        let mut done = start;
        progress(done);
        let mut reader = response.into_body().into_reader();
        let mut buffer = vec![0; 1 << 16];
        loop {
            let count =
                reader.read(&mut buffer).map_err(|error| HttpError::Retryable(one_line(&error)))?;
            if count == 0 {
                break;
            }
            if done + count as u64 > file.bytes {
                drop(out);
                fs::remove_file(part).map_err(disk)?;
                let (found, expected) = ("more bytes".to_owned(), file.bytes);
                return Err(HttpError::Fatal(FetchError::Length {
                    url: url.to_owned(),
                    found,
                    expected,
                }));
            }
            out.write_all(&buffer[..count]).map_err(disk)?;
            done += count as u64;
            progress(done);
        }
        out.sync_all().map_err(disk)?;
        if done == file.bytes {
            Ok(())
        } else {
            Err(HttpError::Retryable("the server sent no more".to_owned()))
        }
    }
}

/// The position in the file at which the answer begins, after a check of its status and headers.
fn start_of(
    url: &str,
    response: &Response<Body>,
    have: u64,
    file: ExpectedFile<'_>,
) -> Result<u64, HttpError> {
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    let wrong = |found: String| {
        HttpError::Fatal(FetchError::Length { url: url.to_owned(), found, expected: file.bytes })
    };
    let start = match response.status().as_u16() {
        200 => 0,
        206 => {
            let range = header("content-range").unwrap_or_default();
            let (start, total) = content_range(range)
                .ok_or_else(|| wrong(format!("an unclear part, {range:?},")))?;
            if start != have || total.is_some_and(|total| total != file.bytes) {
                return Err(wrong(format!("another part, {range:?},")));
            }
            start
        }
        status => return Err(status_error(url, status)),
    };
    match header("content-length").and_then(|length| length.parse::<u64>().ok()) {
        Some(length) if length != file.bytes - start => {
            Err(wrong(format!("{} bytes", length.saturating_add(start))))
        }
        _ => Ok(start),
    }
}

/// The error of an answer without content.
fn status_error(url: &str, status: u16) -> HttpError {
    match status {
        408 | 429 | 500..=599 => HttpError::Retryable(format!("the server answered {status}")),
        _ => HttpError::Fatal(FetchError::Status { url: url.to_owned(), status }),
    }
}

/// The address in `<https://host/page>; rel="next"`, one of several.
fn next_link(links: &str) -> Option<String> {
    let is_next = |link: &&str| link.contains("rel=\"next\"");
    let link = links.split(',').find(is_next)?;
    Some(link.split_once('<')?.1.split_once('>')?.0.to_owned())
}

/// First byte and total length (unless `*`) of `bytes 5-9/10`.
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("bytes")?.trim_start().split_once('/')?;
    let start = range.split_once('-')?.0.parse().ok()?;
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    Some((start, total))
}

fn classify_error(url: &str, error: &Error) -> HttpError {
    let reason = one_line(error);
    match error {
        Error::Io(_) | Error::Timeout(_) | Error::ConnectionFailed | Error::Protocol(_) => {
            HttpError::Retryable(reason)
        }
        _ => HttpError::Fatal(FetchError::Address { url: url.to_owned(), reason }),
    }
}

/// The path of an unfinished download.
fn part_of(target: &Path) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(".part");
    PathBuf::from(name)
}

fn length(path: &Path) -> Result<u64, FetchError> {
    // A link is in the way, too.
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() => Ok(found.len()),
        Ok(_) => Err(FetchError::InTheWay { path: path.to_owned() }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(FetchError::disk(path)(error)),
    }
}

/// The SHA-256 of a file, in hexadecimal.
pub(super) fn sha256(path: &Path) -> Result<String, FetchError> {
    let mut file = file_io::open(path).map_err(FetchError::disk(path))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer).map_err(FetchError::disk(path))? {
            0 => return Ok(hex::encode(hash.finalize())),
            count => hash.update(&buffer[..count]),
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
