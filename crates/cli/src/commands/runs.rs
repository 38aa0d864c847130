//! `dcgan runs`.

use super::JsonArg;
use crate::error::CliError;
use crate::render::clock;
use crate::report::{self, Report, ReportPath, table};
use data::DataSpec;
use indicatif::HumanBytes;
use runs::{MetricsRow, RunDir, RunInfo, run_list};
use serde::Serialize;
use std::path::PathBuf;
use train::Settings;

/// Longest name in a table, in characters; the number in front distinguishes runs.
const MAX_NAME_CHARS: usize = 36;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    runs_dir: RunsDirArg,
    #[command(flatten)]
    json: JsonArg,
}

/// The flag that names the folder of runs.
#[derive(clap::Args)]
pub struct RunsDirArg {
    /// Folder of the numbered run directories.
    #[arg(long, value_name = "DIR", default_value = "runs", help_heading = "Output")]
    pub runs_dir: PathBuf,
}

/// Lists the runs of a folder: their progress, then their settings.
pub fn run(args: &Args) -> Result<(), CliError> {
    let runs = run_list::list_runs(&args.runs_dir.runs_dir)?;
    report::print(&RunList(runs.into_iter().map(RunReport::new).collect()), args.json.json);
    Ok(())
}

#[derive(Serialize)]
#[serde(transparent)]
struct RunList(Vec<RunReport>);

/// A run. The settings are none for imported weights.
#[derive(Serialize)]
struct RunReport {
    path: ReportPath,
    name: String,
    /// `running`, `finished` or `stopped`; none if the length of the run is unknown.
    state: Option<&'static str>,
    running: bool,
    step: Option<u64>,
    steps: Option<u64>,
    seconds: Option<f64>,
    recipe: Option<String>,
    data: Option<String>,
    image: Option<[usize; 2]>,
    channels: Option<usize>,
    batch: Option<usize>,
    lr: Option<f64>,
    seed: Option<u64>,
    last: Option<MetricsRow>,
    checkpoints: usize,
    bytes: u64,
}

impl RunReport {
    fn new(info: RunInfo) -> Self {
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
            path: path.into(),
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

    fn progress(&self) -> [String; 9] {
        let row = |show: &dyn Fn(&MetricsRow) -> String| cell(self.last.as_ref().map(show));
        let step = cell(self.step);
        [
            shortened(&self.name),
            cell(self.state),
            self.steps.map_or_else(|| step.clone(), |steps| format!("{step}/{steps}")),
            cell(self.seconds.map(clock)),
            row(&|row| format!("{:.0}", row.images_per_second)),
            row(&|row| format!("{:.3}", row.d_loss)),
            row(&|row| format!("{:.3}", row.g_loss)),
            row(&|row| format!("{:.2}", row.d_real)),
            row(&|row| format!("{:.2}", row.d_fake)),
        ]
    }

    fn settings(&self) -> [String; 8] {
        let data = |text: &String| {
            let name = DataSpec::parse(text).map_or_else(|_| text.clone(), |spec| spec.name());
            shortened(&name)
        };
        let shape = self.image.zip(self.channels);
        [
            shortened(&self.name),
            cell(self.recipe.as_deref().map(shortened)),
            cell(self.data.as_ref().map(data)),
            cell(shape.map(|([height, width], channels)| format!("{height}x{width}x{channels}"))),
            cell(self.batch),
            cell(self.lr),
            self.checkpoints.to_string(),
            HumanBytes(self.bytes).to_string(),
        ]
    }
}

impl Report for RunList {
    fn text(&self) -> Vec<String> {
        let progress =
            ["run", "state", "step", "time", "images/s", "D loss", "G loss", "D(x)", "D(G(z))"];
        let settings = ["run", "recipe", "data", "image", "batch", "lr", "checkpoints", "size"];
        vec![
            table(&progress, self.0.iter().map(RunReport::progress)),
            String::new(),
            table(&settings, self.0.iter().map(RunReport::settings)),
        ]
    }
}

/// A value, or a dash if it is unknown.
fn cell(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// A name, cut if it is so long that it would break the table.
fn shortened(name: &str) -> String {
    if name.chars().count() <= MAX_NAME_CHARS {
        return name.to_owned();
    }
    name.chars().take(MAX_NAME_CHARS - 1).chain(['…']).collect()
}
