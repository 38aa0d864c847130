//! What a run directory says about its run: its progress, its settings and its alerts.

use crate::Settings;
use crate::monitor::{Alert, TrainingMonitor};
use data::DataSpec;
use runs::{CheckpointMeta, MetricsRow, RunDir, RunInfo};
use serde::{Deserialize, Serialize, Serializer};
use std::path::{Path, PathBuf};

/// A run in a listing. The settings are none for imported weights.
#[derive(Clone, Debug, Serialize)]
pub struct RunSummary {
    /// The run directory. JSON has only UTF-8: other bytes are written as `\xE9`, as in a dataset
    /// spec.
    #[serde(serialize_with = "escaped")]
    pub path: PathBuf,
    /// The folder's name.
    pub name: String,
    /// `running`, `finished` or `stopped`; none if the length of the run is unknown.
    pub state: Option<&'static str>,
    /// Whether a process trains in it now.
    pub running: bool,
    /// The last step of its checkpoints and metrics.
    pub step: Option<u64>,
    /// Steps of the whole run.
    pub steps: Option<u64>,
    /// Seconds of training so far.
    pub seconds: Option<f64>,
    /// The recipe's name.
    pub recipe: Option<String>,
    /// The dataset, as the user gave it.
    pub data: Option<String>,
    /// Height and width of the images.
    pub image: Option<[usize; 2]>,
    /// Channels of the images.
    pub channels: Option<usize>,
    /// Batch size in images.
    pub batch: Option<usize>,
    /// Learning rate.
    pub lr: Option<f64>,
    /// Seed of weights, latents and shuffling.
    pub seed: Option<u64>,
    /// The last row of its metrics.
    pub last: Option<MetricsRow>,
    /// Number of checkpoints.
    pub checkpoints: usize,
    /// Size of all its files in bytes.
    pub bytes: u64,
}

impl RunSummary {
    /// The summary of a run, with the settings of its `config.toml`, if they can be read.
    pub fn new(info: RunInfo) -> Self {
        let config = RunDir::open(&info.path).and_then(|dir| dir.read_config());
        let settings: Option<Settings> = config.ok().and_then(|text| toml::from_str(&text).ok());
        let settings = settings.as_ref();
        let RunInfo { path, name, last_step, checkpoints, last_row, bytes, running } = info;
        let steps = settings.map(|settings| settings.steps);
        let state = match steps {
            _ if running => Some("running"),
            Some(steps) if last_step.is_some_and(|step| step >= steps) => Some("finished"),
            Some(_) => Some("stopped"),
            None => None,
        };
        Self {
            path,
            name,
            state,
            running,
            step: last_step,
            steps,
            seconds: last_row.as_ref().map(|row| row.seconds),
            recipe: settings.map(|settings| settings.recipe.name.clone()),
            data: settings.map(|settings| settings.data.clone()),
            image: settings.map(|settings| settings.recipe.image.size),
            channels: settings.map(|settings| settings.recipe.image.channels),
            batch: settings.map(|settings| settings.recipe.train.batch),
            lr: settings.map(|settings| settings.recipe.optimizer.lr),
            seed: settings.map(|settings| settings.seed),
            last: last_row,
            checkpoints,
            bytes,
        }
    }
}

fn escaped<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&DataSpec::escape(path.as_os_str()))
}

/// The alerts of a run up to a checkpoint, the earliest first; none in a checkpoint without the
/// state of a run.
pub fn checkpoint_alerts(meta: &CheckpointMeta) -> Vec<Alert> {
    #[derive(Deserialize)]
    struct State {
        #[serde(alias = "watchdog")]
        monitor: TrainingMonitor,
    }
    let state = State::deserialize(&meta.state);
    state.map_or_else(|_| Vec::new(), |state| state.monitor.alerts().to_vec())
}
