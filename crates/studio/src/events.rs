//! What changes in a run, as server-sent events. The files are looked at a few times a second for
//! each client, so that runs of other processes are followed, too.

use crate::history::{CHUNK, Position};
use crate::library::{CheckpointFile, Library, Run};
use crate::routes::{App, blocking};
use axum::body::{Body, Bytes};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use http_body::Frame;
use serde::de::IgnoredAny;
use serde_json::Value;
use std::convert::Infallible;
use std::fs;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// The time between two looks at the files.
const PERIOD: Duration = Duration::from_millis(300);
/// The time after which a summary is made again although no file is new: another process may have
/// ended.
const SUMMARY_PERIOD: Duration = Duration::from_secs(2);
/// The time after which a silent stream shows that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// A folder's time of change does not tell two changes apart that are closer than this.
const TIME_RESOLUTION: Duration = Duration::from_secs(2);

/// The answer that reports the changes of a run, from this byte of its metrics on, until the client
/// leaves or the run's directory is gone.
pub fn response(app: App, run: Run, from: u64) -> Response {
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(watch(app, Watch::new(run, from), sender));
    let headers = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-store")];
    (headers, Body::new(Events(receiver))).into_response()
}

/// The body of the answer.
struct Events(mpsc::Receiver<Bytes>);

impl http_body::Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

async fn watch(app: App, mut watch: Watch, sender: mpsc::Sender<Bytes>) {
    let mut text = "retry: 1000\n\n".to_owned();
    let mut sent = Instant::now();
    loop {
        let looked = blocking(&app, move |app| {
            let changes = watch.look(&app.library);
            (watch, changes)
        });
        let Ok((next, Some(changes))) = looked.await else { return };
        watch = next;
        text += &changes.text;
        if text.is_empty() && sent.elapsed() >= KEEP_ALIVE {
            text.push_str(": nothing new\n\n");
        }
        if !text.is_empty() {
            sent = Instant::now();
            if sender.send(Bytes::from(std::mem::take(&mut text))).await.is_err() {
                return;
            }
        }
        if !changes.more && timeout(PERIOD, sender.closed()).await.is_ok() {
            return;
        }
    }
}

/// What is new in a run.
#[derive(Default)]
struct Changes {
    /// The events.
    text: String,
    /// Whether there are more rows already.
    more: bool,
}

impl Changes {
    fn event(&mut self, name: &str, id: Option<u64>, data: &str) {
        let id = id.map_or_else(String::new, |id| format!("id: {id}\n"));
        self.text += &format!("event: {name}\n{id}data: {data}\n\n");
    }
}

/// What a client knows of a run.
struct Watch {
    run: Run,
    position: Position,
    samples: Folder<u64>,
    checkpoints: Folder<CheckpointFile>,
    summary: Option<(Value, Instant)>,
}

impl Watch {
    fn new(run: Run, from: u64) -> Self {
        let position = Position::at(from);
        let (samples, checkpoints) = (Folder::new("samples"), Folder::new("checkpoints"));
        Self { run, position, samples, checkpoints, summary: None }
    }

    /// The changes since the last call; `None` if the run is gone.
    fn look(&mut self, library: &Library) -> Option<Changes> {
        if !self.run.exists() {
            return None;
        }
        let mut changes = Changes::default();
        self.add_rows(&mut changes);
        if let Some(steps) = self.samples.look(&self.run, Run::samples) {
            changes.event("samples", None, &json(steps));
        }
        if let Some(files) = self.checkpoints.look(&self.run, Run::checkpoints) {
            changes.event("checkpoints", None, &json(files));
        }
        let is_old = self.summary.as_ref().is_none_or(|(_, made)| made.elapsed() >= SUMMARY_PERIOD);
        if is_old || !changes.text.is_empty() {
            let summary = library.summary(&self.run).ok()?;
            if self.summary.as_ref().is_none_or(|(known, _)| *known != summary) {
                changes.event("state", None, &json(&summary));
            }
            self.summary = Some((summary, Instant::now()));
        }
        Some(changes)
    }

    fn add_rows(&mut self, changes: &mut Changes) {
        // Before the first row there may be no file.
        let Ok(mut file) = self.run.open(&self.run.metrics()) else { return };
        let known = self.position.offset;
        let Ok(lines) = self.position.advance(&mut file) else { return };
        if lines.from < known {
            changes.event("reset", None, "0");
        }
        if lines.bytes.is_empty() {
            return;
        }
        let rows = lines.bytes.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
        let rows = rows.filter_map(|row| {
            // An event's data ends at a line end.
            let is_row = !row.contains(&b'\r') && serde_json::from_slice::<IgnoredAny>(row).is_ok();
            std::str::from_utf8(row).ok().filter(|_| is_row)
        });
        let rows: Vec<&str> = rows.collect();
        changes.event("metrics", Some(lines.next), &format!("[{}]", rows.join(",")));
        changes.more = file.metadata().is_ok_and(|file| file.len() > lines.next)
            && lines.bytes.len() as u64 > CHUNK / 2;
    }
}

/// The contents of a folder of a run. It is listed only after it was changed.
struct Folder<T> {
    name: &'static str,
    changed: Option<SystemTime>,
    listed: Option<Vec<T>>,
}

impl<T: PartialEq> Folder<T> {
    fn new(name: &'static str) -> Self {
        Self { name, changed: None, listed: None }
    }

    /// The contents, if they are others than at the last call.
    fn look(&mut self, run: &Run, list: impl Fn(&Run) -> Vec<T>) -> Option<&Vec<T>> {
        let changed = time_of_change(&run.path.join(self.name));
        let is_recent = changed
            .is_none_or(|changed| changed.elapsed().is_ok_and(|elapsed| elapsed < TIME_RESOLUTION));
        if self.listed.is_some() && self.changed == changed && !is_recent {
            return None;
        }
        self.changed = changed;
        let listed = Some(list(run));
        if self.listed == listed {
            return None;
        }
        self.listed = listed;
        self.listed.as_ref()
    }
}

fn time_of_change(folder: &Path) -> Option<SystemTime> {
    fs::symlink_metadata(folder).ok()?.modified().ok()
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|error| unreachable!("strings, numbers: {error}"))
}
