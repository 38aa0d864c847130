//! `dcgan runs`.

use crate::error::CliError;
use crate::output;
use crate::render::{size, table};
use serde_json::{Value, json};
use std::path::PathBuf;
use train::artefacts::{Row, RunInfo, runs};

/// Flags of `runs`.
#[derive(clap::Args)]
pub struct Args {
    /// The folder that holds the run directories.
    #[arg(value_name = "DIR", default_value = "runs")]
    dir: PathBuf,
    /// One JSON object per run on standard output.
    #[arg(long)]
    json: bool,
}

/// Lists the runs of a folder.
///
/// # Errors
/// A folder without runs, or that cannot be read.
pub fn run(args: &Args) -> Result<(), CliError> {
    let runs = runs::runs_in(&args.dir)?;
    if args.json {
        runs.iter().for_each(|run| output::json(&object(run)));
        return Ok(());
    }
    let heads = ["run", "step", "D loss", "G loss", "D(x)", "D(G(z))", "images/s", "size", "checkpoints", "state"];
    let mut cells = vec![heads.map(String::from).to_vec()];
    cells.extend(runs.iter().map(cells_of));
    output::line(table(&cells));
    Ok(())
}

fn cells_of(run: &RunInfo) -> Vec<String> {
    let of = |value: fn(&Row) -> f64, decimals: usize| match &run.last_row {
        Some(row) => format!("{:.decimals$}", value(row)),
        None => "-".to_owned(),
    };
    vec![
        run.name.clone(),
        run.last_step.map_or_else(|| "-".to_owned(), |step| step.to_string()),
        of(|row| row.d_loss, 3),
        of(|row| row.g_loss, 3),
        of(|row| row.d_real, 2),
        of(|row| row.d_fake, 2),
        of(|row| row.images_per_second, 0),
        size(run.bytes),
        run.checkpoints.to_string(),
        if run.running { "running" } else { "-" }.to_owned(),
    ]
}

fn object(run: &RunInfo) -> Value {
    json!({
        "path": run.path,
        "name": run.name,
        "step": run.last_step,
        "checkpoints": run.checkpoints,
        "last": run.last_row.as_ref().map(|row| serde_json::to_value(row).unwrap_or(Value::Null)),
        "bytes": run.bytes,
        "running": run.running,
    })
}
