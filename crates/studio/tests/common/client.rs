//! A client of a studio, over TCP, and a folder of runs.

// Each test program uses a part.
#![allow(dead_code)]

use runs::{MetricsRow, MetricsWriter, RunDir};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use studio::{Source, Studio, StudioConfig};
use tempfile::TempDir;

/// The time after which a test fails that waits for the server.
pub const PATIENCE: Duration = Duration::from_secs(60);
pub const PNG: &[u8] = b"\x89PNG\r\n\x1a\nnot decoded by anyone here";

/// A folder of runs with one run.
pub struct Fixture {
    pub folder: TempDir,
    pub run: PathBuf,
}

impl Fixture {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::create(folder.path(), "first").unwrap().path().to_owned();
        let fixture = Self { folder, run };
        fixture.append([10, 20]);
        fs::write(fixture.run.join("config.toml"), "seed = 7\n").unwrap();
        fixture.sample(20);
        fixture
    }

    pub fn append<const N: usize>(&self, steps: [u64; N]) {
        let path = self.run.join("metrics.jsonl");
        let mut writer = MetricsWriter::resume(&path, u64::MAX).unwrap();
        for step in steps {
            writer.append(&MetricsRow { step, d_loss: 1.5, ..MetricsRow::default() }).unwrap();
        }
    }

    pub fn sample(&self, step: u64) {
        fs::write(self.run.join(format!("samples/step-{step:08}.png")), PNG).unwrap();
    }

    pub fn config(&self) -> StudioConfig {
        StudioConfig::new(Source::Folder(self.folder.path().to_owned()))
    }

    pub fn start(&self) -> Studio {
        start(self.config())
    }
}

pub fn start(config: StudioConfig) -> Studio {
    Studio::start(config, SocketAddr::from(([127, 0, 0, 1], 0))).unwrap()
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (own, value) = line.split_once(": ")?;
            own.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The status, after a check that an error has its message.
    #[track_caller]
    pub fn refused(&self) -> u16 {
        let error = self.json()["error"].as_str().unwrap().to_owned();
        assert!(!error.is_empty() && !error.contains('\n'), "{error:?}");
        self.status
    }
}

/// Sends bytes, and reads an answer until the server closes the connection.
pub fn raw(address: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // A server that refuses a request may close before it has read all of it.
    let _ = stream.write_all(request);
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    parse(&bytes)
}

fn parse(bytes: &[u8]) -> Answer {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no head: {:?}", String::from_utf8_lossy(bytes)));
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head, body: bytes[end + 4..].to_vec() }
}

/// Sends a request with these further header lines.
pub fn send(studio: &Studio, method: &str, target: &str, headers: &str, body: &[u8]) -> Answer {
    let (address, length) = (studio.address(), body.len());
    let mut request = format!("{method} {target} HTTP/1.1\r\nConnection: close\r\n{headers}");
    if !headers.contains("Host:") {
        request += &format!("Host: {address}\r\n");
    }
    if method != "GET" {
        request += &format!("Content-Length: {length}\r\n");
    }
    raw(address, &[request.as_bytes(), b"\r\n", body].concat())
}

pub fn get(studio: &Studio, target: &str) -> Answer {
    send(studio, "GET", target, "", b"")
}

/// The header of a request that the studio's own page sends.
pub fn own(studio: &Studio) -> String {
    format!("Origin: http://{}\r\n", studio.address())
}

/// A stream of events.
pub struct Events {
    pub stream: TcpStream,
    text: String,
}

impl Events {
    pub fn open(studio: &Studio, target: &str) -> Self {
        let mut stream = TcpStream::connect(studio.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        write!(stream, "GET {target} HTTP/1.1\r\nHost: {}\r\n\r\n", studio.address()).unwrap();
        Self { stream, text: String::new() }
    }

    /// Waits for this text, which the events must not have had before.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) {
        let start = Instant::now();
        let mut buffer = [0; 4096];
        while !self.text.contains(text) {
            assert!(start.elapsed() < PATIENCE, "no {text:?} in {}", self.text);
            if let Ok(count) = self.stream.read(&mut buffer) {
                assert!(count > 0, "the stream ended: {}", self.text);
                self.text += &String::from_utf8_lossy(&buffer[..count]);
            }
        }
        let at = self.text.find(text).unwrap();
        self.text.drain(..at + text.len());
    }
}
