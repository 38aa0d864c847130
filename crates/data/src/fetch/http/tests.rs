use super::*;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;

/// A local server that gives each connection the next answer, then stops. Joining it returns the
/// requests' heads.
pub(in crate::fetch) struct Server {
    pub base: String,
    thread: JoinHandle<Vec<String>>,
}

/// Bytes to send, computed from the head of the request.
pub(in crate::fetch) type Answer = Box<dyn Fn(&str) -> Vec<u8> + Send>;

impl Server {
    pub fn start(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let thread = std::thread::spawn(move || {
            let mut heads = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let head = head(&stream);
                // The client may have closed the connection; that is under test.
                let _ = stream.write_all(&answer(&head));
                heads.push(head);
            }
            heads
        });
        Self { base, thread }
    }

    pub fn requests(self) -> Vec<String> {
        self.thread.join().unwrap()
    }
}

fn head(stream: &TcpStream) -> String {
    let lines = BufReader::new(stream).lines().map(|line| line.unwrap());
    lines.take_while(|line| !line.is_empty()).map(|line| line.to_lowercase() + "\n").collect()
}

pub(in crate::fetch) fn answer(status: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    [format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n").as_bytes(), body].concat()
}

/// A correct answer: the range that was requested, or the whole file.
pub(in crate::fetch) fn honest(content: Vec<u8>) -> Answer {
    Box::new(move |head| {
        let range = head.lines().find_map(|line| {
            line.strip_prefix("range: bytes=")?.strip_suffix('-')?.parse::<usize>().ok()
        });
        match range {
            None => answer("200 OK", &[&format!("Content-Length: {}", content.len())], &content),
            Some(start) => {
                let range =
                    format!("Content-Range: bytes {start}-{}/{}", content.len() - 1, content.len());
                answer(
                    "206 Partial Content",
                    &[&format!("Content-Length: {}", content.len() - start), &range],
                    &content[start..],
                )
            }
        }
    })
}

/// A whole answer of which only `count` bytes of the body are sent.
fn cut(content: Vec<u8>, count: usize) -> Answer {
    Box::new(move |_| {
        answer("200 OK", &[&format!("Content-Length: {}", content.len())], &content[..count])
    })
}

fn fixed(bytes: Vec<u8>) -> Answer {
    Box::new(move |_| bytes.clone())
}

pub(in crate::fetch) fn content() -> Vec<u8> {
    (0..300_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

pub(in crate::fetch) fn hex(bytes: &[u8]) -> &'static str {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>().leak()
}

fn remote_file() -> ExpectedFile<'static> {
    let content = content();
    ExpectedFile { bytes: content.len() as u64, sha256: hex(&content) }
}

/// Downloads from a server with these answers into an empty folder.
struct Outcome {
    result: Result<(), FetchError>,
    requests: Vec<String>,
    folder: tempfile::TempDir,
    reported: Vec<u64>,
}

fn download(answers: Vec<Answer>) -> Outcome {
    download_after(|_| (), answers)
}

fn download_after(prepare: impl Fn(&Path), answers: Vec<Answer>) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
    let server = Server::start(answers);
    let reported = std::cell::RefCell::new(Vec::new());
    let result = Client::new(Duration::ZERO, None).download(
        &format!("{}/file.bin", server.base),
        &folder.path().join("file.bin"),
        remote_file(),
        &|done| reported.borrow_mut().push(done),
    );
    Outcome { result, requests: server.requests(), folder, reported: reported.into_inner() }
}

impl Outcome {
    fn has(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.folder.path().join(name)).ok()
    }

    #[track_caller]
    fn succeeded(&self) {
        assert!(self.result.is_ok(), "{:?}", self.result);
        assert!(self.has("file.bin") == Some(content()), "other bytes");
        assert_eq!(self.has("file.bin.part"), None);
        assert_eq!(self.reported.last(), Some(&300_000));
    }

    #[track_caller]
    fn failed(&self, expected: impl Fn(&FetchError) -> bool) {
        let error = self.result.as_ref().unwrap_err();
        assert!(!error.to_string().contains('\n'), "{error}");
        assert!(expected(error), "{error:?}");
        assert_eq!(self.has("file.bin"), None);
    }

    /// Asserts that the server's length was refused, with this description.
    #[track_caller]
    fn failed_with_length(&self, part: &str) {
        self.failed(|error| {
            matches!(
                error,
                FetchError::Length { found, expected: 300_000, .. } if found.contains(part)
            )
        });
    }
}

#[test]
fn downloads_a_file() {
    let outcome = download(vec![honest(content())]);
    outcome.succeeded();
    let request = &outcome.requests[0];
    assert!(
        request.starts_with("get /file.bin ")
            && request.contains("user-agent: dcgan/")
            && !request.contains("range"),
        "{request}"
    );
    assert!(outcome.reported.is_sorted() && outcome.reported[0] == 0);
}

#[test]
fn cut_connection_resumes() {
    let outcome = download(vec![cut(content(), 100_000), honest(content())]);
    outcome.succeeded();
    assert!(outcome.requests[1].contains("range: bytes=100000-"), "{}", outcome.requests[1]);
}

#[test]
fn old_partial_file_resumes() {
    let part =
        |folder: &Path| fs::write(folder.join("file.bin.part"), &content()[..299_999]).unwrap();
    let outcome = download_after(part, vec![honest(content())]);
    outcome.succeeded();
    assert!(outcome.requests[0].contains("range: bytes=299999-"), "{}", outcome.requests[0]);
    // A partial file that is complete needs no request.
    let whole = |folder: &Path| fs::write(folder.join("file.bin.part"), content()).unwrap();
    assert!(download_after(whole, vec![]).result.is_ok());
    // One that is too long is discarded.
    let long = |folder: &Path| {
        fs::write(folder.join("file.bin.part"), [content(), vec![0]].concat()).unwrap()
    };
    let outcome = download_after(long, vec![honest(content())]);
    outcome.succeeded();
    assert!(!outcome.requests[0].contains("range"));
}

#[test]
fn server_without_ranges_restarts() {
    let outcome = download(vec![cut(content(), 200_000), cut(content(), 300_000)]);
    outcome.succeeded();
    assert!(outcome.requests[1].contains("range: bytes=200000-"));
}

#[test]
fn gives_up_after_retries() {
    // It never gets further than the first time, so five more tries end it.
    let outcome = download((0..6).map(|_| cut(content(), 1000)).collect());
    outcome.failed(|error| matches!(error, FetchError::Cut { done: 1000, total: 300_000, .. }));
    assert_eq!(outcome.has("file.bin.part").unwrap().len(), 1000, "kept for the next time");
    let busy = download(vec![
        fixed(answer("503 Service Unavailable", &["Content-Length: 0"], b"")),
        honest(content()),
    ]);
    busy.succeeded();
}

#[test]
fn wrong_lengths_are_refused() {
    let page = answer("200 OK", &["Content-Length: 11"], b"login first");
    let outcome = download(vec![fixed(page)]);
    outcome.failed_with_length("11 bytes");
    assert_eq!(outcome.has("file.bin.part"), None);
    // More than it announces cannot be detected; more than the dataset's length, without an
    // announcement, can.
    let endless = answer("200 OK", &[], &[content(), vec![0; 10]].concat());
    let outcome = download(vec![fixed(endless)]);
    outcome.failed_with_length("more bytes");
    assert_eq!(outcome.has("file.bin.part"), None);
    // It announces the right length and sends more: the rest is not read.
    let lying = answer("200 OK", &["Content-Length: 300000"], &[content(), vec![7; 50]].concat());
    download(vec![fixed(lying)]).succeeded();
    // The right length without an announcement.
    download(vec![fixed(answer("200 OK", &[], &content()))]).succeeded();
}

#[test]
fn wrong_ranges_are_refused() {
    let begun = |folder: &Path| fs::write(folder.join("file.bin.part"), &content()[..10]).unwrap();
    for range in [
        "bytes 11-299999/300000",
        "bytes 10-299999/300001",
        "bytes",
        "10-299999/300000",
        "bytes x-9/300000",
    ] {
        let part = answer("206 Partial Content", &[&format!("Content-Range: {range}")], b"x");
        download_after(begun, vec![fixed(part)]).failed_with_length(range);
    }
    let unknown =
        answer("206 Partial Content", &["Content-Range: bytes 10-299999/*"], &content()[10..]);
    download_after(begun, vec![fixed(unknown)]).succeeded();
}

#[test]
fn wrong_checksum_removes_the_file() {
    let mut other = content();
    other[5] ^= 1;
    let outcome = download(vec![honest(other.clone())]);
    let (wanted, sum) = (hex(&other), remote_file().sha256);
    outcome.failed(|error| {
        matches!(
            error,
            FetchError::Checksum { found, expected, .. }
                if (found.as_str(), expected.as_str()) == (wanted, sum)
        )
    });
    assert_eq!(outcome.has("file.bin.part"), None);
}

#[test]
fn redirects_and_http_errors() {
    let elsewhere = Server::start(vec![honest(content())]);
    let moved = answer(
        "302 Found",
        &[&format!("Location: {}/there.bin", elsewhere.base), "Content-Length: 0"],
        b"",
    );
    download(vec![fixed(moved)]).succeeded();
    assert!(elsewhere.requests()[0].starts_with("get /there.bin "));
    let circle: Vec<Answer> = (0..=MAX_REDIRECTS)
        .map(|_| fixed(answer("302 Found", &["Location: /file.bin", "Content-Length: 0"], b"")))
        .collect();
    download(circle).failed(
        |error| matches!(error, FetchError::Address { reason, .. } if reason.contains("redirect")),
    );
    for (line, status) in [("404 Not Found", 404), ("403 Forbidden", 403)] {
        let refused = answer(line, &["Content-Length: 4"], b"none");
        download(vec![fixed(refused)]).failed(
            |error| matches!(error, FetchError::Status { status: found, .. } if *found == status),
        );
    }
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let folder = tempfile::tempdir().unwrap();
    let url = format!("http://127.0.0.1:{port}/file.bin");
    let error = Client::new(Duration::ZERO, None)
        .download(&url, &folder.path().join("x"), remote_file(), &|_| ())
        .unwrap_err();
    assert!(error.to_string().contains(&url), "{error}");
}

#[test]
fn a_token_has_one_origin() {
    let token = Token::new("https://host:8443/hub", "hf_x").unwrap().unwrap();
    assert_eq!(token.header_for("https://host:8443/other?page=2"), Some("Bearer hf_x"));
    for url in [
        "https://host/hub",
        "https://host:84430/hub",
        "https://host:8443.example/hub",
        "https://host:8443@example.org/hub",
        "http://host:8443/hub",
    ] {
        assert_eq!(token.header_for(url), None, "{url}");
    }
}
