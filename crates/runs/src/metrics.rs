//! `metrics.jsonl`: one JSON object per logged step, appended during the run.
//!
//! ```
//! use runs::{MetricsRow, MetricsWriter, metrics};
//!
//! let dir = tempfile::tempdir().unwrap();
//! let path = dir.path().join("metrics.jsonl");
//! let row = |step| MetricsRow { step, d_loss: 1.4, ..MetricsRow::default() };
//! let mut writer = MetricsWriter::resume(&path, 0).unwrap();
//! (1..=3).for_each(|step| writer.append(&row(step)).unwrap());
//!
//! // Resuming from the checkpoint of step 2 cuts off the row of step 3.
//! MetricsWriter::resume(&path, 2).unwrap();
//! assert_eq!(metrics::read(&path).unwrap(), [row(1), row(2)]);
//! ```

use crate::{ArtifactError, write_atomic};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// One logged step.
///
/// NaN and infinity are written as `null`, because JSON cannot express them, and read back as NaN.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MetricsRow {
    /// Finished training steps.
    pub step: u64,
    /// Discriminator loss, the sum of the losses on real and generated images.
    #[serde(with = "nullable")]
    pub d_loss: f64,
    /// Generator loss.
    #[serde(with = "nullable")]
    pub g_loss: f64,
    /// Mean of D(x) over the batch of real images, in [0, 1].
    #[serde(with = "nullable")]
    pub d_real: f64,
    /// Mean of D(G(z)) over the batch of generated images, in [0, 1].
    #[serde(with = "nullable")]
    pub d_fake: f64,
    /// Real images consumed per second since the previous row.
    #[serde(with = "nullable")]
    pub images_per_second: f64,
    /// Seconds of training so far, summed over all resumes.
    #[serde(with = "nullable")]
    pub seconds: f64,
    /// Other logged values by name.
    #[serde(flatten)]
    pub extra: serde_json::Map<String, serde_json::Value>,
}

mod nullable {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        value.is_finite().then_some(*value).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
    }
}

/// Appends rows. Each is one write, so that a reader that follows the file sees whole lines.
#[derive(Debug)]
pub struct MetricsWriter {
    path: PathBuf,
    file: File,
    /// Bytes of complete rows; a failed append is truncated to this length.
    len: u64,
    damage: Option<ArtifactError>,
}

impl MetricsWriter {
    /// Continues after the rows up to and including `step`, the step of the checkpoint that
    /// training resumes from.
    ///
    /// Rows of later steps will be computed again and are cut off, as is a last line that a kill
    /// left incomplete. With [`MetricsWriter::sync`] called before each checkpoint, no row is lost
    /// or doubled. A missing file is created.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or written, or a line before the last row to
    /// keep is not a row.
    pub fn resume(path: &Path, step: u64) -> Result<Self, ArtifactError> {
        let mut options = File::options();
        let mut file =
            file_io::open_own(path, options.read(true).write(true).create(true).truncate(false))
                .map_err(ArtifactError::write(path))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(ArtifactError::read(path))?;
        let mut keep = 0;
        let mut end = 0;
        let mut bad: Option<ArtifactError> = None;
        let mut damage = false;
        let mut whole = true;
        for (index, line) in bytes.split_inclusive(|&byte| byte == b'\n').enumerate() {
            end += line.len();
            match parse_line(line) {
                Ok(Some(row)) if row.step <= step => match bad.take() {
                    Some(error) => return Err(error),
                    None => {
                        keep = end;
                        whole = line.ends_with(b"\n");
                    }
                },
                Ok(_) => {}
                Err(error) => {
                    damage |= !is_incomplete(line, &error);
                    let error = bad_line(path, index, error);
                    bad.get_or_insert(error);
                }
            }
        }
        let damage = bad.filter(|_| damage);
        let mut writer = Self { path: path.to_owned(), file, len: keep as u64, damage };
        writer
            .cut()
            .and_then(|()| if whole { Ok(()) } else { writer.put(b"\n") })
            .map_err(ArtifactError::write(path))?;
        writer.sync()?;
        Ok(writer)
    }

    /// The first line that [`MetricsWriter::resume`] cut off although it is neither a row of a
    /// later step nor one that a kill left incomplete: rows may be lost, such as in a file that a
    /// power cut filled with zeros.
    pub fn damage(&self) -> Option<&ArtifactError> {
        self.damage.as_ref()
    }

    /// Appends one row.
    ///
    /// # Errors
    /// Returns an error if the row cannot be written; the file then ends with the previous row.
    pub fn append(&mut self, row: &MetricsRow) -> Result<(), ArtifactError> {
        let mut line = serde_json::to_vec(row)
            .map_err(|error| ArtifactError::write(&self.path)(error.into()))?;
        line.push(b'\n');
        self.put(&line).map_err(ArtifactError::write(&self.path))
    }

    /// Changes the last row, if there is one. The file is replaced as a whole, so that it has the
    /// old row or the new one, whatever happens.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or written.
    pub fn change_last(
        &mut self,
        change: impl FnOnce(&mut MetricsRow),
    ) -> Result<(), ArtifactError> {
        let mut bytes = file_io::read(&self.path).map_err(ArtifactError::read(&self.path))?;
        let end = bytes.trim_ascii_end().len();
        let start = bytes[..end].iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let lines = bytes[..start].iter().filter(|&&byte| byte == b'\n').count();
        let bad = |error| bad_line(&self.path, lines, error);
        let Some(mut row) = parse_line(&bytes[start..end]).map_err(bad)? else { return Ok(()) };
        change(&mut row);
        bytes.truncate(start);
        bytes.extend(serde_json::to_vec(&row).map_err(bad)?);
        bytes.push(b'\n');
        write_atomic(&self.path, |file| file.write_all(&bytes))?;
        *self = Self::resume(&self.path, row.step)?;
        Ok(())
    }

    /// Flushes all rows to the disk (fsync). Must be called before each checkpoint.
    ///
    /// # Errors
    /// Returns an error if the file cannot be synced.
    pub fn sync(&mut self) -> Result<(), ArtifactError> {
        self.file.sync_all().map_err(ArtifactError::write(&self.path))
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all(bytes) {
            // The next row would be appended to a partial one. If truncating fails too, `resume`
            // cuts it.
            let _ = self.cut();
            return Err(error);
        }
        self.len += bytes.len() as u64;
        Ok(())
    }

    fn cut(&mut self) -> io::Result<()> {
        self.file.set_len(self.len)?;
        self.file.seek(SeekFrom::Start(self.len)).map(drop)
    }
}

/// Reads all rows. A last line that is being written, or that a kill left incomplete, is skipped.
///
/// # Errors
/// Returns an error if the file cannot be read, or another line is not a row.
pub fn read(path: &Path) -> Result<Vec<MetricsRow>, ArtifactError> {
    let bytes = file_io::read(path).map_err(ArtifactError::read(path))?;
    let mut rows = Vec::new();
    let mut lines = bytes.split_inclusive(|&byte| byte == b'\n').enumerate().peekable();
    while let Some((index, line)) = lines.next() {
        match parse_line(line) {
            Ok(row) => rows.extend(row),
            Err(error) if lines.peek().is_none() && is_incomplete(line, &error) => {}
            Err(error) => return Err(bad_line(path, index, error)),
        }
    }
    Ok(rows)
}

/// The last complete row, if there is one. Reads only the end of the file, however long it is.
pub(crate) fn last(path: &Path) -> Option<MetricsRow> {
    let mut file = file_io::open(path).ok()?;
    let len = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(64 * 1024))).ok()?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail).ok()?;
    tail.split(|&byte| byte == b'\n').rev().find_map(|line| parse_line(line).ok().flatten())
}

/// Names of values in rows of earlier versions, and the present ones.
const RENAMED: [(&str, &str); 5] = [
    ("g_gradient", "g_grad_norm"),
    ("oscillation", "spectral_peak"),
    ("findings", "alerts"),
    ("eval/memorised", "eval/memorized"),
    ("eval/memorised_real", "eval/memorized_real"),
];

/// Parses a line of `metrics.jsonl`, also of an earlier version; `None` for a blank one.
///
/// # Errors
/// Returns an error if the line is not a row.
pub fn parse_line(line: &[u8]) -> Result<Option<MetricsRow>, serde_json::Error> {
    if line.trim_ascii().is_empty() {
        return Ok(None);
    }
    let mut row: MetricsRow = serde_json::from_slice(line)?;
    for (old, new) in RENAMED {
        if let Some(value) = row.extra.remove(old) {
            row.extra.insert(new.to_owned(), value);
        }
    }
    Ok(Some(row))
}

/// Whether the line is the start of a row.
fn is_incomplete(line: &[u8], error: &serde_json::Error) -> bool {
    error.is_eof() && !line.ends_with(b"\n")
}

fn bad_line(path: &Path, index: usize, error: serde_json::Error) -> ArtifactError {
    ArtifactError::Metrics { path: path.to_owned(), line: index + 1, reason: error.to_string() }
}
