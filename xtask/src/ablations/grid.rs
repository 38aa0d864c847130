//! Ten runs of the toy's grid.

use super::{BoxError, Options, named};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The results, each metric with its standard deviation.
#[derive(Serialize, Deserialize)]
pub struct GridResult {
    /// Number of the 25 modes that are found.
    pub modes: [f64; 2],
    /// Modes with a quarter of their fair share of samples.
    pub fair_modes: [f64; 2],
    /// Fraction of samples near a mode.
    pub high_quality: [f64; 2],
    /// KL(generated ‖ uniform) over modes.
    pub reverse_kl: [f64; 2],
    /// Runs that ended in NaN or infinity.
    pub diverged: usize,
}

/// The file of a row's result.
pub fn result(options: &Options, flags: &str) -> PathBuf {
    options.dir.join(format!("grid-{}.json", named(flags)))
}

/// Runs the seeds 0 to 9, unless the result exists.
pub fn run(flags: &str, dcgan: &Path, options: &Options) -> Result<(), BoxError> {
    let result = result(options, flags);
    if result.exists() {
        return Ok(());
    }
    println!("the toy with {flags:?}");
    let output = Command::new(dcgan)
        .args("toy grid --runs 10 --device cpu --threads 1 --json".split_whitespace())
        .args(flags.split_whitespace())
        .stderr(Stdio::inherit())
        .output()?;
    let failed = || BoxError::from(format!("toy grid {flags} ended with {}", output.status));
    if !output.status.success() {
        return Err(failed());
    }
    let events: Vec<Value> = output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect();
    let diverged = events
        .iter()
        .filter(|event| event["event"] == "run" && !event["diverged"].is_null())
        .count();
    let mut last =
        events.last().filter(|event| event["event"] == "finished").ok_or_else(failed)?.clone();
    last["diverged"] = diverged.into();
    let found: GridResult = serde_json::from_value(last)?;
    Ok(std::fs::write(&result, serde_json::to_string(&found)?)?)
}
