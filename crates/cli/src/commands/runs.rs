//! `dcgan runs`.

use super::flags::JsonArg;
use crate::error::CliError;
use crate::output;
use crate::render::{clock, table};
use data::DataSpec;
use indicatif::HumanBytes;
use runs::{MetricsRow, RunDir, RunInfo, run_list};
use serde_json::{Value, json};
use std::path::PathBuf;
use train::Settings;

/// Letters of a name shown in a table; the number in front tells runs apart.
const LONGEST: usize = 36;

/// Flags of `runs`.
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

/// A run, with its settings where it has sound ones (imported weights have none).
struct Run {
    info: RunInfo,
    settings: Option<Settings>,
}

/// Lists the runs of a folder: how far each is, then what sets them apart.
///
/// # Errors
/// A folder without runs, or that cannot be read.
pub fn run(args: &Args) -> Result<(), CliError> {
    let runs: Vec<Run> =
        run_list::list_runs(&args.runs_dir.runs_dir)?.into_iter().map(Run::of).collect();
    if args.json.json {
        runs.iter().for_each(|run| output::json(&run.object()));
        return Ok(());
    }
    let progress =
        ["run", "state", "step", "time", "images/s", "D loss", "G loss", "D(x)", "D(G(z))"];
    let settings = ["run", "recipe", "data", "image", "batch", "lr", "checkpoints", "size"];
    output::line(listing(&progress, runs.iter().map(Run::progress)));
    output::line(format!("\n{}", listing(&settings, runs.iter().map(Run::settings))));
    Ok(())
}

fn listing(heads: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let heads = heads.iter().map(|head| (*head).to_owned()).collect();
    table(&std::iter::once(heads).chain(rows).collect::<Vec<_>>())
}

impl Run {
    fn of(info: RunInfo) -> Self {
        let config = RunDir::open(&info.path).and_then(|dir| dir.read_config());
        let settings = config.ok().and_then(|text| toml::from_str(&text).ok());
        Self { info, settings }
    }

    /// `running`, `finished` or `stopped`; nothing where the length of the run is not known.
    fn state(&self) -> Option<&'static str> {
        if self.info.running {
            return Some("running");
        }
        let steps = self.settings.as_ref()?.steps;
        Some(if self.info.last_step.is_some_and(|step| step >= steps) {
            "finished"
        } else {
            "stopped"
        })
    }

    fn progress(&self) -> Vec<String> {
        let row = |show: &dyn Fn(&MetricsRow) -> String| {
            self.info.last_row.as_ref().map_or_else(none, show)
        };
        let step = self.info.last_step.map_or_else(none, |step| step.to_string());
        vec![
            short(&self.info.name),
            self.state().map_or_else(none, str::to_owned),
            self.settings
                .as_ref()
                .map_or_else(|| step.clone(), |settings| format!("{step}/{}", settings.steps)),
            row(&|row| clock(row.seconds).to_string()),
            row(&|row| format!("{:.0}", row.images_per_second)),
            row(&|row| format!("{:.3}", row.d_loss)),
            row(&|row| format!("{:.3}", row.g_loss)),
            row(&|row| format!("{:.2}", row.d_real)),
            row(&|row| format!("{:.2}", row.d_fake)),
        ]
    }

    fn settings(&self) -> Vec<String> {
        let of =
            |show: &dyn Fn(&Settings) -> String| self.settings.as_ref().map_or_else(none, show);
        vec![
            short(&self.info.name),
            of(&|settings| short(&settings.recipe.name)),
            of(&|settings| {
                short(
                    &DataSpec::parse(&settings.data)
                        .map_or_else(|_| settings.data.clone(), |spec| spec.name()),
                )
            }),
            of(&|settings| {
                let [height, width] = settings.recipe.image.size;
                format!("{height}x{width}x{}", settings.recipe.image.channels)
            }),
            of(&|settings| settings.recipe.train.batch.to_string()),
            of(&|settings| settings.recipe.optimizer.lr.to_string()),
            self.info.checkpoints.to_string(),
            HumanBytes(self.info.bytes).to_string(),
        ]
    }

    fn object(&self) -> Value {
        let of =
            |value: &dyn Fn(&Settings) -> Value| self.settings.as_ref().map_or(Value::Null, value);
        let RunInfo { path, name, last_step, checkpoints, last_row, bytes, running } = &self.info;
        json!({
            "path": path,
            "name": name,
            "state": self.state(),
            "running": running,
            "step": last_step,
            "steps": of(&|settings| settings.steps.into()),
            "seconds": last_row.as_ref().map(|row| row.seconds),
            "recipe": of(&|settings| settings.recipe.name.as_str().into()),
            "data": of(&|settings| settings.data.as_str().into()),
            "image": of(&|settings| settings.recipe.image.size.to_vec().into()),
            "channels": of(&|settings| settings.recipe.image.channels.into()),
            "batch": of(&|settings| settings.recipe.train.batch.into()),
            "lr": of(&|settings| settings.recipe.optimizer.lr.into()),
            "seed": of(&|settings| settings.seed.into()),
            "last": last_row.as_ref().map(|row| serde_json::to_value(row).unwrap_or(Value::Null)),
            "checkpoints": checkpoints,
            "bytes": bytes,
        })
    }
}

fn none() -> String {
    "-".to_owned()
}

/// A name, cut where it is so long that it would break the table.
fn short(name: &str) -> String {
    if name.chars().count() <= LONGEST {
        return name.to_owned();
    }
    name.chars().take(LONGEST - 1).chain(['…']).collect()
}
