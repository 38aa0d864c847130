//! The runs that a studio shows, and their files. Nothing else of the disk is reachable, and no
//! link is followed.

use crate::Source;
use crate::error::ApiError;
use crate::history::Histories;
use runs::{RunDir, RunInfo, checkpoint_retention, run_list};
use serde::Serialize;
use serde_json::Value;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use train::{RunSummary, Settings};

/// The file of a run's note.
const NOTE: &str = "note.txt";
/// The longest note in bytes.
pub const MAX_NOTE: usize = 64 << 10;
/// The longest `config.toml` that is shown, in bytes.
const MAX_CONFIG: u64 = 1 << 20;
/// The largest sample grid in bytes.
const MAX_GRID: u64 = 64 << 20;

/// The runs.
#[derive(Debug)]
pub struct Library {
    source: Source,
    histories: Histories,
}

/// A run that the studio shows.
#[derive(Clone, Debug)]
pub struct Run {
    pub name: String,
    pub path: PathBuf,
}

/// A checkpoint of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckpointFile {
    pub step: u64,
    pub bytes: u64,
}

/// An alert of the training monitor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunAlert {
    pub step: u64,
    /// As in the column `alerts` of metrics.
    pub kind: String,
    pub message: String,
}

impl Library {
    pub fn new(source: Source) -> Self {
        Self { source, histories: Histories::default() }
    }

    /// Summaries of all runs, by number and name.
    pub fn list(&self) -> Result<Vec<Value>, ApiError> {
        let infos = match &self.source {
            Source::None => Vec::new(),
            Source::Run(path) => vec![run_list::run_info(path).map_err(|error| gone(&error))?],
            Source::Folder(folder) => match run_list::list_runs(folder) {
                Ok(infos) => infos,
                Err(runs::ArtifactError::NoRuns { .. }) => Vec::new(),
                Err(error) => return Err(ApiError::internal(without_path(&error, folder))),
            },
        };
        // A run that is deleted meanwhile, and one that is a link, are left out.
        let shown = infos.into_iter().filter_map(|info| {
            let run = self.find(info.path.file_name()?.to_str()?).ok()?;
            Some(self.summary_of(&run, info))
        });
        Ok(shown.collect())
    }

    /// The run of this name.
    pub fn find(&self, name: &str) -> Result<Run, ApiError> {
        let unknown = || ApiError::not_found(format!("there is no run {name:?} here"));
        let mut parts = Path::new(name).components();
        let is_plain = matches!(
            (parts.next(), parts.next()),
            (Some(Component::Normal(part)), None) if part == name
        );
        if !is_plain || name.contains(['/', '\\', '\0']) {
            return Err(unknown());
        }
        let path = match &self.source {
            Source::Folder(folder) => folder.join(name),
            Source::Run(path) if path.file_name().is_some_and(|own| own == name) => path.clone(),
            Source::Run(_) | Source::None => return Err(unknown()),
        };
        // The user names a single run, also by a link; those of a folder are found.
        let is_link = matches!(&self.source, Source::Folder(_)) && path.is_symlink();
        if is_link || RunDir::open(&path).is_err() {
            return Err(unknown());
        }
        Ok(Run { name: name.to_owned(), path })
    }

    /// The summary of a run.
    pub fn summary(&self, run: &Run) -> Result<Value, ApiError> {
        let info = run_list::run_info(&run.path).map_err(|error| gone(&error))?;
        Ok(self.summary_of(run, info))
    }

    fn summary_of(&self, run: &Run, info: RunInfo) -> Value {
        let summary = serde_json::to_value(RunSummary::new(info));
        let mut summary =
            summary.unwrap_or_else(|error| unreachable!("strings and numbers: {error}"));
        let thumbnail = run.samples().last().map(|step| run.sample_url(*step));
        let history = self.histories.update(run);
        if let Value::Object(fields) = &mut summary {
            fields.remove("path");
            fields.insert("name".into(), run.name.clone().into());
            fields.insert("thumbnail".into(), thumbnail.into());
            fields.insert("alerts".into(), self.histories.alerts(run).len().into());
            fields.insert("note".into(), run.note().into());
            fields.insert("metrics".into(), history.evaluation.into());
        }
        summary
    }

    /// What the page of a run shows.
    pub fn details(&self, run: &Run, controls: bool) -> Result<Value, ApiError> {
        let config = run.config();
        let settings = toml::from_str::<Settings>(&config).ok();
        let layers = settings.and_then(|settings| settings.recipe.summary().ok());
        Ok(serde_json::json!({
            "summary": self.summary(run)?,
            "config": config,
            "samples": run.samples(),
            "checkpoints": run.checkpoints(),
            "alerts": self.histories.alerts(run),
            "layers": layers.map(|layers| layers.to_string()),
            "controls": controls,
        }))
    }
}

impl Run {
    fn dir(&self, name: &str) -> Option<PathBuf> {
        let path = self.path.join(name);
        path.symlink_metadata().is_ok_and(|kind| kind.is_dir()).then_some(path)
    }

    /// Opens a file of the run for reading; a link is refused.
    pub fn open(&self, path: &Path) -> io::Result<File> {
        file_io::open_own(path, File::options().read(true))
    }

    pub fn metrics(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    /// `config.toml`; empty if it is absent or not text.
    fn config(&self) -> String {
        let bytes = self.read(&self.path.join("config.toml"), MAX_CONFIG);
        bytes.ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default()
    }

    /// The steps of all sample grids, rising.
    pub fn samples(&self) -> Vec<u64> {
        let Some(folder) = self.dir("samples") else { return Vec::new() };
        let files = checkpoint_retention::steps_in(&folder, "png").unwrap_or_default();
        files.into_iter().map(|(step, _)| step).collect()
    }

    /// The address of a grid, with its version.
    fn sample_url(&self, step: u64) -> String {
        let version = self.sample_version(step);
        format!("/runs/{}/samples/{step}.png?v={version}", encoded(&self.name))
    }

    fn sample_path(&self, step: u64) -> PathBuf {
        self.path.join("samples").join(format!("step-{step:08}.png"))
    }

    /// Changes when the grid does: a run that is resumed from an earlier step draws it again.
    pub fn sample_version(&self, step: u64) -> String {
        fs::symlink_metadata(self.sample_path(step)).map_or_else(
            |_| String::new(),
            |file| {
                let (nanoseconds, bytes) = version(&file);
                format!("{nanoseconds:x}-{bytes:x}")
            },
        )
    }

    /// The PNG of a grid.
    pub fn sample(&self, step: u64) -> Result<Vec<u8>, ApiError> {
        let none = || ApiError::not_found(format!("there are no samples of step {step}"));
        self.dir("samples").ok_or_else(none)?;
        self.read(&self.sample_path(step), MAX_GRID).map_err(|_| none())
    }

    /// The checkpoints by rising step.
    pub fn checkpoints(&self) -> Vec<CheckpointFile> {
        let files = self.checkpoint_paths().into_iter().filter_map(|(step, path)| {
            let file = path.symlink_metadata().ok()?;
            file.is_file().then_some(CheckpointFile { step, bytes: file.len() })
        });
        files.collect()
    }

    /// The checkpoints' files by rising step; links are left out.
    pub fn checkpoint_paths(&self) -> Vec<(u64, PathBuf)> {
        let Some(folder) = self.dir("checkpoints") else { return Vec::new() };
        let mut files = checkpoint_retention::list(&folder).unwrap_or_default();
        files.retain(|(_, path)| path.symlink_metadata().is_ok_and(|file| file.is_file()));
        files
    }

    /// The note; empty without one.
    pub fn note(&self) -> String {
        let bytes = self.read(&self.path.join(NOTE), MAX_NOTE as u64);
        bytes.ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default()
    }

    /// Replaces the note.
    pub fn set_note(&self, text: &str) -> Result<(), ApiError> {
        file_io::write_atomic(&self.path.join(NOTE), |file| file.write_all(text.as_bytes()))
            .map_err(|error| ApiError::internal(format!("cannot write {NOTE}: {error}")))
    }

    /// Whether the run's directory still exists.
    pub fn exists(&self) -> bool {
        self.path.is_dir()
    }

    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open(path)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
        match bytes.len() as u64 > limit {
            true => Err(io::ErrorKind::FileTooLarge.into()),
            false => Ok(bytes),
        }
    }
}

/// What changes with a file: nanoseconds of its modification since 1970, and its size in bytes.
pub fn version(file: &fs::Metadata) -> (u128, u64) {
    let modified = file.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    (since.as_nanos(), file.len())
}

/// A name as one part of an address's path.
fn encoded(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    name.bytes()
        .map(|byte| if plain(byte) { char::from(byte).into() } else { format!("%{byte:02X}") })
        .collect()
}

fn gone(_: &runs::ArtifactError) -> ApiError {
    ApiError::not_found("the run is gone")
}

/// The message without the folder's path: clients learn no path of the disk.
fn without_path(error: &runs::ArtifactError, folder: &Path) -> String {
    error.to_string().replace(&*folder.to_string_lossy(), "the folder of runs")
}

#[cfg(test)]
mod tests {
    use super::encoded;

    #[test]
    fn names_are_one_part_of_an_address() {
        assert_eq!(encoded("0001-a b/ü"), "0001-a%20b%2F%C3%BC");
    }
}
