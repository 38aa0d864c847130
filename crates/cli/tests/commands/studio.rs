//! `studio`, and `train --studio`.

use crate::common::{TestDir, wait_for};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout};

/// A command that serves a page. It is killed with the test.
struct Server {
    child: Child,
    /// Kept open, so that the command can print.
    _out: BufReader<ChildStdout>,
    host: String,
}

impl Server {
    /// Waits until the command prints its address.
    fn start(dir: &TestDir, args: &[&str]) -> Self {
        let mut child = dir.spawn(args);
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.starts_with("Studio: http://") {
            line.clear();
            if out.read_line(&mut line).unwrap() == 0 {
                let mut error = String::new();
                child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
                panic!("no address: {error}");
            }
        }
        let host = line.trim_end().strip_prefix("Studio: http://").unwrap();
        let host = host.split('/').next().unwrap().to_owned();
        Self { child, _out: out, host }
    }

    /// The status and the body of an answer.
    fn ask(&self, method: &str, target: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.host).unwrap();
        let host = &self.host;
        write!(
            stream,
            "{method} {target} HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\n\
             Content-Length: 0\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
    }

    fn json(&self, target: &str) -> serde_json::Value {
        let (status, body) = self.ask("GET", target);
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_run_is_shown_saved_and_stopped_while_it_trains() {
    let dir = TestDir::new();
    let flags = ["--steps", "1000000", "--checkpoint-every", "1000000", "--studio", "0"];
    let mut server = Server::start(&dir, &TestDir::training(&flags));
    let name = server.json("/api/runs")[0]["name"].as_str().unwrap().to_owned();
    let path = format!("/api/runs/{name}");
    let checkpoints = || dir.checkpoints(&format!("runs/{name}")).len();
    // That of the untrained networks.
    wait_for(|| checkpoints() == 1);
    let run = server.json("/api/runs")[0].clone();
    assert_eq!((&run["state"], &run["steps"]), (&"running".into(), &1_000_000.into()));
    let details = server.json(&path);
    assert_eq!(details["controls"], true);
    assert!(details["layers"].as_str().unwrap().contains("Generator"), "{details}");
    assert!(details["config"].as_str().unwrap().contains("checkpoint_every = 1000000"));

    assert_eq!(server.ask("POST", &format!("{path}/save")).0, 202);
    wait_for(|| checkpoints() == 2);
    assert_eq!(server.ask("POST", &format!("{path}/stop")).0, 202);
    assert_eq!(server.child.wait().unwrap().code(), Some(130));
    assert!(TcpStream::connect(&server.host).is_err());

    // Another process shows the run afterwards.
    let server = Server::start(&dir, &["studio", "--no-open", "--port", "0"]);
    assert_eq!(server.json("/api/runs")[0]["state"], "stopped");
    assert_eq!(server.json(&path)["controls"], false);
    assert_eq!(server.ask("POST", &format!("{path}/stop")).0, 409);
    let (status, page) = server.ask("GET", &format!("/runs/{name}/explore"));
    assert_eq!(status, 200);
    assert!(page.starts_with("<!doctype html>"));
}

#[test]
fn a_model_needs_no_runs() {
    let dir = TestDir::new();
    dir.refused(1, &["studio", "--no-open"], &["runs", "dcgan train", "--model fashion"]);
    dir.refused(1, &["studio", "--no-open", "none"], &["none"]);
    let server = Server::start(
        &dir,
        &["studio", "--model", "fashion", "--no-open", "--port", "0", "--read-only"],
    );
    let info = server.json("/api/info");
    assert_eq!((&info["model"], &info["read_only"]), (&"fashion".into(), &true.into()));
    assert_eq!(server.json("/api/runs"), serde_json::json!([]));
    assert_eq!(server.ask("GET", "/explore").0, 200);
    let port = server.host.rsplit_once(':').unwrap().1;
    let taken = ["studio", "--model", "fashion", "--no-open", "--port", port];
    dir.refused(1, &taken, &["cannot listen on 127.0.0.1", "choose another port"]);
}
