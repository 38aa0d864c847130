//! Many clients, and requests that no client sends. Alone in a process, whose panics, files and
//! memory are counted.

#![cfg(target_os = "linux")]

#[path = "common/client.rs"]
mod client;

use client::{Events, Fixture, PATIENCE, PNG, get, own, raw, send, start};
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::panic;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};
use studio::{Controls, StudioConfig};

/// Parts of requests: what the server knows, what it must not know, and what breaks parsers.
const PARTS: [&str; 48] = [
    "GET ",
    "PUT ",
    "POST ",
    "HEAD ",
    "DELETE ",
    "OPTIONS ",
    "/",
    "/api/",
    "runs",
    "/runs/",
    "0001-first",
    "/metrics",
    "/events",
    "/note",
    "/stop",
    "/save",
    "/samples/",
    "20.png",
    "/explore",
    "/assets/app.js",
    "/api/info",
    "?from=",
    "?step=",
    "?v=",
    "18446744073709551616",
    "-1",
    "..",
    "%2e%2e",
    "%2f",
    "%00",
    "%ff",
    "%",
    "\0",
    "\u{202e}",
    "//",
    "\\",
    " HTTP/1.1\r\n",
    " HTTP/1.0\r\n",
    " HTTP/9.9\r\n",
    "\r\n",
    "\n",
    "Host: ",
    "localhost",
    "Content-Length: 99\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Range: bytes=0-9\r\n",
    "If-None-Match: *\r\n",
    "\u{fffd}",
];

/// Random numbers of a linear congruential generator (Knuth's MMIX).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % limit
    }

    /// A request that may be valid up to its path, to its headers, or nowhere.
    fn request(&mut self, host: &str) -> Vec<u8> {
        let mut text = String::new();
        if self.below(4) > 0 {
            text += PARTS[self.below(6)];
            text += ["/", "/api/runs/0001-first", "/runs/0001-first/", "/api/"][self.below(4)];
        }
        for _ in 0..self.below(6) {
            text += PARTS[6 + self.below(PARTS.len() - 6)];
        }
        if self.below(4) > 0 {
            text += &format!(" HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\n");
            text += "Connection: close\r\n";
            for _ in 0..self.below(3) {
                text += PARTS[40 + self.below(PARTS.len() - 40)];
            }
            text += "\r\n";
        }
        let mut bytes = text.into_bytes();
        for _ in 0..self.below(3) {
            let at = self.below(bytes.len() + 1);
            bytes.insert(at, self.below(256) as u8);
        }
        let rest = self.below(200);
        bytes.extend((0..rest).map(|_| self.below(256) as u8));
        bytes
    }
}

/// Resident memory of this process in KiB, and its open files.
fn usage() -> (u64, usize) {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    let memory = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    (memory, fs::read_dir("/proc/self/fd").unwrap().count())
}

#[test]
fn many_clients_and_random_requests_do_no_harm() {
    static PANICS: AtomicU32 = AtomicU32::new(0);
    let default = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if thread::current().name().is_some_and(|name| name.starts_with("studio")) {
            PANICS.fetch_add(1, Ordering::SeqCst);
        }
        default(info);
    }));

    let fixture = Fixture::new();
    let config = StudioConfig {
        controls: Some(Controls {
            run: "0001-first".into(),
            save: std::sync::Arc::new(|| ()),
            stop: std::sync::Arc::new(|| true),
        }),
        ..fixture.config()
    };
    let studio = start(config);
    assert_eq!(get(&studio, "/api/runs").json()[0]["name"], "0001-first");
    let (memory, files) = usage();

    let target = "/api/runs/0001-first/events";
    let mut clients: Vec<Events> = (0..200).map(|_| Events::open(&studio, target)).collect();
    clients.iter_mut().for_each(|client| client.wait_for("event: state"));
    fixture.append([30]);
    fixture.sample(30);
    for client in &mut clients {
        client.wait_for("data: [{\"step\":30,");
        client.wait_for("event: samples\ndata: [20,30]");
    }
    // Others are answered meanwhile.
    let start = Instant::now();
    let image = get(&studio, "/runs/0001-first/samples/20.png");
    assert_eq!((&*image.body, image.header("content-type")), (PNG, Some("image/png")));
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    drop(clients);

    let mut random = Random(7);
    let host = studio.address().to_string();
    for _ in 0..10_000 {
        let request = random.request(&host);
        let mut stream = TcpStream::connect(studio.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(30))).unwrap();
        // A server that has seen enough may have closed.
        let _ = stream.write_all(&request);
        let mut answer = [0; 4096];
        let mut count = stream.read(&mut answer);
        if count.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {
            // It waits for the rest of a request.
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let _ = stream.shutdown(Shutdown::Write);
            count = stream.read(&mut answer);
        }
        if let Ok(count) = count {
            let answer = String::from_utf8_lossy(&answer[..count]);
            assert!(
                count == 0 || answer.starts_with("HTTP/1."),
                "{:?}: {answer}",
                String::from_utf8_lossy(&request)
            );
            assert!(!answer.starts_with("HTTP/1.1 5"), "{request:?}: {answer}");
        }
    }

    assert_eq!(PANICS.load(Ordering::SeqCst), 0);
    let start = Instant::now();
    while usage().1 > files + 2 {
        assert!(start.elapsed() < PATIENCE, "{} of {files} files are open", usage().1);
        sleep(Duration::from_millis(100));
    }
    let grown = usage().0.saturating_sub(memory);
    assert!(grown < 200 << 10, "{grown} KiB");
    let note = send(&studio, "PUT", "/api/runs/0001-first/note", &own(&studio), b"still here");
    assert_eq!(note.status, 204);
    assert!(get(&studio, "/api/runs").text().contains("still here"));
    assert_eq!(raw(studio.address(), b"GET / HTTP/1.1\r\n\r\n").refused(), 403);
    let mut left: Vec<_> = fs::read_dir(&fixture.run).unwrap().flatten().collect();
    left.sort_by_key(fs::DirEntry::file_name);
    let names: Vec<_> = left.iter().map(|entry| entry.file_name().into_string().unwrap()).collect();
    let known = [".lock", "checkpoints", "config.toml", "metrics.jsonl", "note.txt", "samples"];
    assert_eq!(names, known);
}
