//! What a listing shows of the whole of a run's metrics: its newest evaluation, and its alerts.
//! Only the growth of `metrics.jsonl` is read after the first time.

use crate::library::{Run, RunAlert, version};
use runs::{MetricsRow, checkpoint, metrics};
use serde_json::{Map, Value};
use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use train::monitor::AlertKind;

/// The most that is read from `metrics.jsonl` at once, in bytes.
pub const CHUNK: u64 = 4 << 20;
/// Bytes before an offset that recognize a file that was cut and has grown again.
const MARK: u64 = 256;
/// The prefix of an evaluation's values in a row of metrics.
const EVALUATION: &str = "eval/";

/// Whole lines of a growing file.
#[derive(Debug, Default)]
pub struct Lines {
    /// The lines, each with its end.
    pub bytes: Vec<u8>,
    /// The byte at which they begin: 0 if the file was cut or replaced since the offset was known.
    pub from: u64,
    /// The byte after them.
    pub next: u64,
}

/// A position in a growing file of lines.
#[derive(Clone, Debug, Default)]
pub struct Position {
    /// Bytes read.
    pub offset: u64,
    /// The bytes before `offset`, at most [`MARK`]; none if they are not known.
    mark: Option<Vec<u8>>,
}

impl Position {
    pub fn at(offset: u64) -> Self {
        Self { offset, mark: None }
    }

    /// The whole lines since the last call, at most [`CHUNK`] bytes of them.
    pub fn advance(&mut self, file: &mut File) -> io::Result<Lines> {
        let len = file.metadata()?.len();
        if self.offset > len || !self.is_continued(file)? {
            *self = Self::default();
        }
        let from = self.offset;
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.take(CHUNK).read_to_end(&mut bytes)?;
        let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        bytes.truncate(whole);
        self.offset = from + whole as u64;
        if whole > 0 || self.mark.is_none() {
            self.mark = Some(mark_before(file, self.offset)?);
        }
        Ok(Lines { bytes, from, next: self.offset })
    }

    /// Whether a line ends at the offset, and the bytes before it are those that were read.
    fn is_continued(&self, file: &mut File) -> io::Result<bool> {
        if self.offset == 0 {
            return Ok(true);
        }
        let before = mark_before(file, self.offset)?;
        Ok(match &self.mark {
            Some(mark) => *mark == before,
            None => before.ends_with(b"\n"),
        })
    }
}

fn mark_before(file: &mut File, offset: u64) -> io::Result<Vec<u8>> {
    let start = offset.saturating_sub(MARK);
    file.seek(SeekFrom::Start(start))?;
    let mut mark = Vec::new();
    file.take(offset - start).read_to_end(&mut mark)?;
    Ok(mark)
}

/// What the rows of a run's metrics say.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The values of the newest evaluation, by metric.
    pub evaluation: Map<String, Value>,
    /// Alerts that the rows show.
    raised: Vec<Raised>,
    /// The step of the last row.
    step: u64,
    active: BTreeSet<String>,
}

/// An alert that was raised between two rows.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Raised {
    /// The step of the last row without it.
    after: u64,
    /// The step of the first row that has it.
    step: u64,
    kind: String,
}

impl History {
    fn add(&mut self, row: &MetricsRow) {
        let metric = |(name, value): (&String, &Value)| {
            let name = name.strip_prefix(EVALUATION).filter(|_| value.is_number())?;
            Some((name.to_owned(), value.clone()))
        };
        let evaluation: Map<String, Value> = row.extra.iter().filter_map(metric).collect();
        if !evaluation.is_empty() {
            self.evaluation = evaluation;
        }
        let step = row.step;
        let kinds = row.extra.get("alerts").and_then(Value::as_array);
        let kinds = kinds.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
        let active: BTreeSet<String> = kinds.collect();
        let after = self.step;
        let new = active.difference(&self.active);
        self.raised.extend(new.map(|kind| Raised { after, step, kind: kind.clone() }));
        (self.active, self.step) = (active, step);
    }
}

#[derive(Debug, Default)]
struct Entry {
    position: Position,
    history: History,
    saved: Option<SavedAlerts>,
}

/// The alerts in a checkpoint.
#[derive(Clone, Debug)]
struct SavedAlerts {
    path: PathBuf,
    /// Of the file.
    version: (u128, u64),
    step: u64,
    alerts: Vec<RunAlert>,
}

/// The histories of all runs.
#[derive(Debug, Default)]
pub struct Histories(Mutex<HashMap<PathBuf, Entry>>);

impl Histories {
    fn entries(&self) -> MutexGuard<'_, HashMap<PathBuf, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The history of a run as it is now. A file that cannot be read has none.
    pub fn update(&self, run: &Run) -> History {
        let mut entries = self.entries();
        let entry = entries.entry(run.path.clone()).or_default();
        let Ok(mut file) = run.open(&run.metrics()) else {
            *entry = Entry::default();
            return History::default();
        };
        while let Ok(lines) = entry.position.advance(&mut file) {
            if lines.from == 0 {
                entry.history = History::default();
            }
            if lines.bytes.is_empty() {
                break;
            }
            let rows = lines.bytes.split(|&byte| byte == b'\n');
            for row in rows.filter_map(|line| metrics::parse_line(line).ok().flatten()) {
                entry.history.add(&row);
            }
        }
        entry.history.clone()
    }

    /// All alerts of a run, the earliest first: those in its newest checkpoint, and those that the
    /// rows of later steps show.
    pub fn alerts(&self, run: &Run) -> Vec<RunAlert> {
        let history = self.update(run);
        let saved = self.saved_alerts(run);
        let saved_step = saved.as_ref().map_or(0, |saved| saved.step);
        let mut alerts = saved.map_or_else(Vec::new, |saved| saved.alerts);
        for Raised { after, step, kind } in history.raised {
            let is_saved = alerts.iter().any(|saved| saved.kind == kind && saved.step > after);
            if step > saved_step && !is_saved {
                let message =
                    format!("{} (its values are in the next checkpoint)", kind.replace('-', " "));
                alerts.push(RunAlert { step, kind, message });
            }
        }
        alerts
    }

    /// The alerts in a run's newest checkpoint.
    fn saved_alerts(&self, run: &Run) -> Option<SavedAlerts> {
        let (_, path) = run.checkpoint_paths().pop()?;
        let version = version(&path.symlink_metadata().ok()?);
        let mut entries = self.entries();
        let entry = entries.entry(run.path.clone()).or_default();
        let known = entry.saved.as_ref();
        if let Some(saved) = known.filter(|saved| saved.path == path && saved.version == version) {
            return Some(saved.clone());
        }
        let meta = checkpoint::read_meta(&path).ok()?;
        let alerts = train::checkpoint_alerts(&meta).into_iter().map(|alert| RunAlert {
            step: alert.step,
            kind: kind_name(alert.kind),
            message: format!("{}; {}", alert.message, alert.hint),
        });
        let saved = SavedAlerts { path, version, step: meta.step, alerts: alerts.collect() };
        entry.saved = Some(saved.clone());
        Some(saved)
    }
}

/// A kind of alert, as in rows of metrics.
fn kind_name(kind: AlertKind) -> String {
    let name = serde_json::to_value(kind).unwrap_or_default();
    name.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn only_whole_lines_and_only_new_ones_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lines");
        let mut position = Position::default();
        let mut read = |text: &str| {
            fs::write(&path, text).unwrap();
            let lines = position.advance(&mut File::open(&path).unwrap()).unwrap();
            (String::from_utf8(lines.bytes).unwrap(), lines.from, lines.next)
        };
        assert_eq!(read("a\nb"), ("a\n".into(), 0, 2));
        assert_eq!(read("a\nb"), (String::new(), 2, 2));
        assert_eq!(read("a\nbc\nd\n"), ("bc\nd\n".into(), 2, 7));
        // A resumed run cuts off rows and computes them again.
        assert_eq!(read("a\n"), ("a\n".into(), 0, 2));
        assert_eq!(read("x\nbc\nd\n"), ("x\nbc\nd\n".into(), 0, 7));
    }

    #[test]
    fn an_offset_within_a_line_begins_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lines");
        fs::write(&path, "abc\nde\n").unwrap();
        let from = |offset| {
            let lines = Position::at(offset).advance(&mut File::open(&path).unwrap()).unwrap();
            (lines.from, lines.next)
        };
        assert_eq!([from(4), from(7), from(2), from(99)], [(4, 7), (7, 7), (0, 7), (0, 7)]);
    }

    fn row(step: u64, extra: Value) -> MetricsRow {
        let extra = extra.as_object().unwrap().clone();
        MetricsRow { step, extra, ..MetricsRow::default() }
    }

    #[test]
    fn an_alert_is_raised_by_the_first_row_that_has_it() {
        let mut history = History::default();
        for (step, kinds) in [(10, &["a"][..]), (20, &["a", "b"]), (30, &[]), (40, &["a"])] {
            history.add(&row(step, serde_json::json!({ "alerts": kinds, "eval/by": "x" })));
        }
        let raised = [(0, 10, "a"), (10, 20, "b"), (30, 40, "a")];
        let raised = raised.map(|(after, step, kind)| Raised { after, step, kind: kind.into() });
        assert_eq!(history.raised, raised);
        assert!(history.evaluation.is_empty());
        history.add(&row(50, serde_json::json!({ "eval/frechet": 12.5, "eval/by": "x" })));
        assert_eq!(history.evaluation["frechet"], 12.5);
    }
}
