//! `ablations`: the effect of each loss and regularizer on Fashion-MNIST and on the toy's 25
//! Gaussians, compared with the baseline: the measured tables of docs/options.md and docs/toy.md.

mod grid;
mod rows;
mod table;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

/// Train and measure every row of docs/options.md and of docs/toy.md, and write their tables.
/// Results in DIR are kept, so that the task may be stopped and started again.
#[derive(Args)]
pub struct Options {
    /// The folder of runs and results.
    #[arg(long, value_name = "DIR", default_value = "runs/ablations")]
    dir: PathBuf,
    /// The table to measure [default: both].
    #[arg(long, value_enum)]
    only: Option<Table>,
    /// Runs per row of docs/options.md, with seeds from 0; a row of docs/toy.md has ten.
    #[arg(long, value_name = "N", default_value_t = 3)]
    seeds: u64,
    /// Steps per run.
    #[arg(long, value_name = "N", default_value_t = 400)]
    steps: u64,
    /// Runs at the same time, with one thread each.
    #[arg(long, value_name = "N", default_value_t = 1)]
    jobs: usize,
    /// Train only; measure later.
    #[arg(long)]
    train_only: bool,
    /// A built `dcgan`, instead of building one.
    #[arg(long, value_name = "FILE")]
    dcgan: Option<PathBuf>,
    /// The folder of the pages whose tables are written.
    #[arg(long, value_name = "DIR", default_value = "docs")]
    docs: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Table {
    /// Fashion-MNIST: docs/options.md.
    Garments,
    /// 25 Gaussians on a grid: docs/toy.md.
    Grid,
}

/// The flags of all runs: small enough for hundreds of runs on a plain CPU.
const COMMON: &str = "--data fashion-mnist --batch 64 --device cpu --threads 1";
/// The networks of rows that do not name a recipe.
const NETWORKS: &str = "--recipe small --set generator.width=16 --set discriminator.width=16";
/// The exit code of a run that the training monitor stopped.
const DIVERGED: i32 = 3;
/// The file that marks such a run.
const DIVERGED_MARK: &str = "diverged";
/// Images sampled for a measurement.
const COUNT: &str = "5000";

/// The metrics of one run.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct AblationScores {
    /// Fréchet distance.
    frechet: f64,
    /// Fraction of generated images that are close to real ones.
    precision: f64,
    /// Fraction of real images that are close to generated ones.
    recall: f64,
}

/// A row and seed of the images' table, or a row of the toy's with all its seeds.
enum AblationJob {
    Garments(Row),
    Grid(&'static str),
}

/// A row and a seed.
struct Row {
    flags: &'static str,
    seed: u64,
}

type BoxError = Box<dyn Error + Send + Sync>;

pub fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let dcgan = crate::tasks::dcgan(options.dcgan.as_deref())?;
    std::fs::create_dir_all(&options.dir)?;
    let [garments, grid] =
        [Table::Garments, Table::Grid].map(|set| options.only.is_none_or(|only| only == set));
    let features =
        if options.train_only || !garments { PathBuf::new() } else { features(&dcgan, options)? };
    let mut jobs = VecDeque::new();
    // Seed by seed, so that a table with fewer seeds is complete early.
    for seed in 0..if garments { options.seeds } else { 0 } {
        jobs.extend(
            std::iter::once("")
                .chain(rows::all())
                .map(|flags| AblationJob::Garments(Row { flags, seed })),
        );
    }
    if grid {
        jobs.extend(std::iter::once("").chain(rows::GRID.iter().copied()).map(AblationJob::Grid));
    }
    let queue = Mutex::new(jobs);
    let failed = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..options.jobs.max(1) {
            scope.spawn(|| {
                while let Some(job) = next(&queue, &failed) {
                    let done = match &job {
                        AblationJob::Garments(row) => row.run(&dcgan, &features, options),
                        AblationJob::Grid(flags) => grid::run(flags, &dcgan, options),
                    };
                    if let Err(error) = done {
                        failed.lock().unwrap_or_else(|e| e.into_inner()).get_or_insert(error);
                    }
                }
            });
        }
    });
    if let Some(error) = failed.into_inner().unwrap_or_else(|e| e.into_inner()) {
        return Err(error);
    }
    if garments && !options.train_only {
        table::garments(options)?;
    }
    if grid { table::grid(options) } else { Ok(()) }
}

/// The next job, unless one has failed.
fn next(
    queue: &Mutex<VecDeque<AblationJob>>,
    failed: &Mutex<Option<BoxError>>,
) -> Option<AblationJob> {
    let stop = failed.lock().unwrap_or_else(|e| e.into_inner()).is_some();
    (!stop).then(|| queue.lock().unwrap_or_else(|e| e.into_inner()).pop_front()).flatten()
}

/// The file of a row's result.
fn result(options: &Options, flags: &str, seed: u64) -> PathBuf {
    options.dir.join(format!("{}-{}-{seed}.json", options.steps, named(flags)))
}

/// Flags as a part of a file name.
fn named(flags: &str) -> String {
    let name: String = flags
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '_' })
        .collect();
    name.trim_matches('_').to_owned()
}

impl Row {
    fn run(&self, dcgan: &Path, features: &Path, options: &Options) -> Result<(), BoxError> {
        let result = result(options, self.flags, self.seed);
        if result.exists() {
            return Ok(());
        }
        let dir = result.with_extension("");
        if !dir.join("checkpoints").is_dir() {
            println!("training {}", dir.display());
            self.train(dcgan, options, &dir)?;
        }
        if options.train_only {
            return Ok(());
        }
        println!("measuring {}", dir.display());
        let measured = if dir.join(DIVERGED_MARK).exists() {
            None
        } else {
            Some(measure(dcgan, &dir, features)?)
        };
        Ok(std::fs::write(&result, serde_json::to_string(&measured)?)?)
    }

    /// Trains into a folder of another name first: an existing folder was trained to its end.
    fn train(&self, dcgan: &Path, options: &Options, dir: &Path) -> Result<(), BoxError> {
        // Names contain dots, so an extension is not replaced but appended.
        let part = PathBuf::from(format!("{}.part", dir.display()));
        if part.exists() {
            std::fs::remove_dir_all(&part)?;
        }
        let recipe = if self.flags.contains("--recipe") { "" } else { NETWORKS };
        let numbers = [
            ("--steps", options.steps),
            ("--seed", self.seed),
            ("--checkpoint-every", options.steps),
        ];
        let status = Command::new(dcgan)
            .arg("train")
            .args([COMMON, recipe, self.flags].iter().flat_map(|text| text.split_whitespace()))
            .args(numbers.iter().flat_map(|(flag, value)| [(*flag).to_owned(), value.to_string()]))
            .arg("--out")
            .arg(&part)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        // A diverged run is a row as well; its folder is kept for inspection.
        if !status.success() && status.code() != Some(DIVERGED) {
            return Err(format!(
                "{:?} with seed {} ended with {status}; see {}",
                self.flags,
                self.seed,
                part.display()
            )
            .into());
        }
        if !status.success() {
            std::fs::write(part.join(DIVERGED_MARK), "")?;
        }
        Ok(std::fs::rename(&part, dir)?)
    }
}

/// The feature network for all measurements, trained once.
fn features(dcgan: &Path, options: &Options) -> Result<PathBuf, Box<dyn Error>> {
    let file = options.dir.join("features.safetensors");
    if !file.exists() {
        let args = [
            "eval",
            "train-features",
            "--data",
            "fashion-mnist",
            "--epochs",
            "3",
            "--device",
            "cpu",
            "--out",
        ];
        let status = Command::new(dcgan).args(args).arg(&file).stderr(Stdio::null()).status()?;
        if !status.success() {
            return Err(format!("cannot train {}", file.display()).into());
        }
    }
    Ok(file)
}

/// Samples from the run's newest checkpoint and compares with the test images.
fn measure(dcgan: &Path, run: &Path, features: &Path) -> Result<AblationScores, BoxError> {
    let output = Command::new(dcgan)
        .args([
            "eval",
            "--real",
            "fashion-mnist",
            "--split",
            "test",
            "--metrics",
            "fid,pr",
            "--count",
            COUNT,
        ])
        .args(["--bootstrap", "0", "--device", "cpu", "--json", "--features"])
        .env("RAYON_NUM_THREADS", "1")
        .arg(features)
        .arg("--fake")
        .arg(run)
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("cannot measure {}", run.display()).into());
    }
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let number = |key: &str| {
        let value = report["metrics"][key]["value"].as_f64();
        value.ok_or_else(|| BoxError::from(format!("{}: no {key} was measured", run.display())))
    };
    Ok(AblationScores {
        frechet: number("frechet")?,
        precision: number("precision")?,
        recall: number("recall")?,
    })
}
