//! `dcgan runs`.

use super::JsonArg;
use crate::error::CliError;
use crate::render::clock;
use crate::report::{self, Report, table};
use data::DataSpec;
use indicatif::HumanBytes;
use runs::{MetricsRow, run_list};
use serde::Serialize;
use std::path::PathBuf;
use train::RunSummary;

/// Longest name in a table, in characters; the number in front distinguishes runs.
const MAX_NAME_CHARS: usize = 36;
/// The folder of runs by default.
pub const DEFAULT_RUNS_DIR: &str = "runs";

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
    #[arg(long, value_name = "DIR", default_value = DEFAULT_RUNS_DIR, help_heading = "Output")]
    pub runs_dir: PathBuf,
}

/// Lists the runs of a folder: their progress, then their settings.
pub fn run(args: &Args) -> Result<(), CliError> {
    let runs = run_list::list_runs(&args.runs_dir.runs_dir)?;
    report::print(
        &RunList(runs.into_iter().map(|info| RunReport(RunSummary::new(info))).collect()),
        args.json.json,
    );
    Ok(())
}

#[derive(Serialize)]
#[serde(transparent)]
struct RunList(Vec<RunReport>);

/// A run, as rows of the tables and as JSON.
#[derive(Serialize)]
#[serde(transparent)]
struct RunReport(RunSummary);

impl RunReport {
    fn progress(&self) -> [String; 9] {
        let row = |show: &dyn Fn(&MetricsRow) -> String| cell(self.0.last.as_ref().map(show));
        let step = cell(self.0.step);
        [
            shortened(&self.0.name),
            cell(self.0.state),
            self.0.steps.map_or_else(|| step.clone(), |steps| format!("{step}/{steps}")),
            cell(self.0.seconds.map(clock)),
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
        let shape = self.0.image.zip(self.0.channels);
        [
            shortened(&self.0.name),
            cell(self.0.recipe.as_deref().map(shortened)),
            cell(self.0.data.as_ref().map(data)),
            cell(shape.map(|([height, width], channels)| format!("{height}x{width}x{channels}"))),
            cell(self.0.batch),
            cell(self.0.lr),
            self.0.checkpoints.to_string(),
            HumanBytes(self.0.bytes).to_string(),
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
