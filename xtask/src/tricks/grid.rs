//! Ten runs of the laboratory's grid.

use super::{Failure, Options, named};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What they came to, each number with its standard deviation.
#[derive(Serialize, Deserialize)]
pub struct Found {
    /// Modes of 25.
    pub modes: [f64; 2],
    /// Modes with a quarter of their fair share of samples.
    pub fair_modes: [f64; 2],
    /// Share of samples near a mode.
    pub high_quality: [f64; 2],
    /// KL(generated ‖ uniform) over modes.
    pub reverse_kl: [f64; 2],
    /// Runs that ended in numbers that are none.
    pub diverged: usize,
}

/// The file with a row's result.
pub fn result(options: &Options, flags: &str) -> PathBuf {
    options.dir.join(format!("grid-{}.json", named(flags)))
}

/// Runs the seeds 0 to 9, unless that is done.
pub fn run(flags: &str, dcgan: &Path, options: &Options) -> Result<(), Failure> {
    let result = result(options, flags);
    if result.exists() {
        return Ok(());
    }
    println!("the laboratory with {flags:?}");
    let output = Command::new(dcgan)
        .args("toy grid --runs 10 --device cpu --threads 1 --json".split_whitespace())
        .args(flags.split_whitespace())
        .stderr(Stdio::inherit())
        .output()?;
    let failed = || Failure::from(format!("toy grid {flags} ended with {}", output.status));
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
    let found: Found = serde_json::from_value(last)?;
    Ok(std::fs::write(&result, serde_json::to_string(&found)?)?)
}
