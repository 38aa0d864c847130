//! `dcgan train`: its flags, and what a new and a resumed run have in common.

mod condition;
mod evaluate;
mod fresh;
mod resume;
mod tricks;

use super::device::DeviceArgs;
use super::eval::Evaluator;
use super::preprocess::PreprocessArgs;
use super::watch::WatchArgs;
use crate::error::{CliError, INTERRUPTED, WATCHED};
use crate::interrupt;
use crate::parse;
use crate::render::Render;
use ::runs::{Checkpoint, RunDir};
use ::train::{Event, Measure, Trainer};
use clap::value_parser;
use data::{DataError, Dataset, Preprocess, Split};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// Shown below the help.
pub const EXAMPLES: &str = "\
Examples:
  dcgan train                                     Fashion-MNIST, a few minutes
  dcgan train --data emoji                        people of emoji, 64x64 in colour
  dcgan train --data photos/ --image 64           a folder of pictures, in 64x64
  dcgan train --data photos/ --dry-run            only show the networks and the data
  dcgan train --resume                            go on with the newest run
  dcgan train --resume runs/0003-x --steps 9000   the same run, longer";

/// More steps or epochs than these are typing mistakes (recipes have the same limit).
const MOST: u64 = 1_000_000_000_000;

/// Flags of `train`.
#[derive(clap::Args)]
pub struct Args {
    /// What to learn from: the name of a set (dcgan data list), a folder of pictures, a .zip or .tar of them, the files of MNIST,
    /// CIFAR-10, CIFAR-100, SVHN, STL-10, LSUN or CelebA, or what dcgan data prepare wrote. What a path is shows in its content; idx:,
    /// folder:, zip:, tar:, cifar10:, cifar100:, svhn:, stl10:, lsun:, celeba: or packed: before it says so [default: fashion-mnist].
    #[arg(long, value_name = "SPEC", help_heading = "What to learn")]
    data: Option<String>,
    #[command(flatten)]
    pictures: PreprocessArgs,
    /// Read the pictures in the order in which they lie, 256 at a time, and shuffle them among N: for spinning disks and network folders
    /// where a set does not fit into memory [default: any order of all pictures].
    #[arg(long, value_name = "N", value_parser = parse::shuffle_buffer, help_heading = "What to learn")]
    shuffle_buffer: Option<NonZeroU32>,

    /// The networks and how they are trained: a name that `dcgan recipes` lists, or a .toml file [default: modern for emoji, small for sets of one
    /// size below 48 pixels, else torch].
    #[arg(long, value_name = "NAME|FILE.toml", help_heading = "How to learn")]
    recipe: Option<String>,
    /// Length of the run in steps, a batch of pictures each [default: the recipe's].
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..=MOST), conflicts_with = "epochs", help_heading = "How to learn")]
    steps: Option<u64>,
    /// Length of the run in passes over all pictures.
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..=MOST), help_heading = "How to learn")]
    epochs: Option<u64>,
    /// Pictures per step [default: the recipe's, or as many as there are].
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=65536), help_heading = "How to learn")]
    batch: Option<u32>,
    /// Learning rate of both networks [default: the recipe's].
    #[arg(long, value_name = "X", value_parser = parse::learning_rate, allow_negative_numbers = true, help_heading = "How to learn")]
    lr: Option<f64>,
    /// Channels of both networks next to the picture, doubled with each halving of the size [default: the recipe's].
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=65536), help_heading = "How to learn")]
    width: Option<u32>,
    /// Also keep an average of the generator's weights with this decay, such as 0.999, and draw with it; 0 keeps none [default: the
    /// recipe's].
    #[arg(long, value_name = "X", value_parser = parse::decay, allow_negative_numbers = true, help_heading = "How to learn")]
    ema: Option<f64>,
    /// The same seed on the same kind of machine gives the same networks, bit by bit [default: 0].
    #[arg(long, value_name = "N", value_parser = parse::seed, help_heading = "How to learn")]
    seed: Option<u64>,
    /// Do to pictures what the recipe's source did not (augmentation and mirroring under recipe paper).
    #[arg(long, conflicts_with = "resume", help_heading = "How to learn")]
    force_augment: bool,
    #[command(flatten)]
    condition: condition::ConditionArgs,
    #[command(flatten)]
    tricks: tricks::Tricks,
    /// Start a new run with the weights of a checkpoint or run directory (and with its recipe, unless --recipe says otherwise).
    #[arg(
        long,
        value_name = "CHECKPOINT",
        conflicts_with = "resume",
        help_heading = "How to learn"
    )]
    init_from: Option<PathBuf>,

    /// The run directory to make [default: the next number in --runs-dir].
    #[arg(long, value_name = "DIR", help_heading = "What to keep")]
    out: Option<PathBuf>,
    /// Name of the run directory, behind its number [default: data and recipe].
    #[arg(long, value_name = "NAME", conflicts_with_all = ["out", "resume"], help_heading = "What to keep")]
    name: Option<String>,
    /// The folder of numbered run directories.
    #[arg(long, value_name = "DIR", default_value = "runs", help_heading = "What to keep")]
    runs_dir: PathBuf,
    /// Go on with a run: the one in DIR, in --out, or else the newest in --runs-dir. A checkpoint of a run goes back to it: what came
    /// after it is dropped. --steps, --epochs, --lr and --on-... may change the run.
    #[arg(long, value_name = "DIR|CHECKPOINT", num_args = 0..=1, help_heading = "What to keep")]
    resume: Option<Option<PathBuf>>,
    /// Note losses and speed every so many steps [default: 10].
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..=MOST), help_heading = "What to keep")]
    log_every: Option<u64>,
    /// Draw the same 64 latent vectors every so many steps [default: about 20 times in a run].
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..=MOST), help_heading = "What to keep")]
    sample_every: Option<u64>,
    /// Save a checkpoint every so many steps [default: 500].
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..=MOST), help_heading = "What to keep")]
    checkpoint_every: Option<u64>,
    /// Checkpoints to keep, the newest ones [default: 3].
    #[arg(long, value_name = "K", value_parser = value_parser!(u32).range(1..), help_heading = "What to keep")]
    keep: Option<u32>,

    #[command(flatten)]
    evaluate: evaluate::EvaluateArgs,
    #[command(flatten)]
    watch: WatchArgs,

    #[command(flatten)]
    device: DeviceArgs,
    /// Threads of the CPU to compute and to decode pictures with [default: one per core]. The result does not depend on it.
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=1024), help_heading = "Where to compute")]
    threads: Option<u32>,
    /// Show networks and data, and stop before writing anything.
    #[arg(long)]
    dry_run: bool,
    /// JSON lines on standard output, one object per event, and nothing else there.
    #[arg(long)]
    json: bool,
}

/// Trains.
///
/// # Errors
/// Flags that do not fit together, data, disk, checkpoints.
pub fn run(args: &Args) -> Result<ExitCode, CliError> {
    if let Some(flag) = args.evaluate.stray().filter(|_| args.resume.is_none()) {
        return Err(CliError::Usage(format!(
            "{flag} says how to measure: add --eval-every N, which says when"
        )));
    }
    let device = args.device.open()?;
    interrupt::watch()?;
    if let Some(threads) = args.threads {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads as usize).build_global();
        pool.map_err(|e| CliError::Failed(format!("--threads {threads}: {e}")))?;
    }
    let render = Render::new(args.json);
    match &args.resume {
        Some(dir) => resume::run(args, dir.as_deref(), &device, render),
        None => fresh::run(args, &device, render),
    }
}

/// Opens the pictures, with a bar; what was found is shown later, below the networks.
fn open_data(
    spec: &str,
    preprocess: &Preprocess,
    render: &Render,
) -> Result<Arc<Dataset>, CliError> {
    let bar = render.opening();
    let dataset = Dataset::open(spec, Split::Train, preprocess, &|progress| {
        bar.set_length(progress.total as u64);
        bar.set_position(progress.done as u64);
    });
    bar.finish_and_clear();
    Ok(Arc::new(dataset?))
}

/// Whole batches in an epoch, at least 1.
fn batches_per_epoch(dataset: &Dataset, batch: usize) -> Result<u64, CliError> {
    match dataset.len().checked_div(batch) {
        Some(0) | None => Err(DataError::SmallerThanBatch {
            name: dataset.name().to_owned(),
            images: dataset.len(),
            batch,
        }
        .into()),
        Some(batches) => Ok(batches as u64),
    }
}

/// The steps of this many epochs.
fn steps_of(epochs: u64, per_epoch: u64) -> Result<u64, CliError> {
    let steps = epochs.checked_mul(per_epoch).filter(|steps| *steps <= MOST);
    steps.ok_or_else(|| {
        CliError::Usage(format!(
            "--epochs {epochs}: with {per_epoch} batches in an epoch that is over {MOST} steps"
        ))
    })
}

/// What measures the run, where its settings say so.
fn judge(
    trainer: &Trainer,
    dataset: &Arc<Dataset>,
    render: &Render,
) -> Result<Option<Evaluator>, CliError> {
    let (settings, json) = (trainer.settings(), matches!(render, Render::Json));
    settings
        .evaluate
        .as_ref()
        .map(|evaluate| Evaluator::new(evaluate, settings, dataset, trainer.device(), json))
        .transpose()
}

/// Runs the loop to its end or to an interrupt.
fn go(
    mut trainer: Trainer,
    dataset: &Arc<Dataset>,
    judge: Option<&Evaluator>,
    dir: &RunDir,
    mut render: Render,
) -> Result<ExitCode, CliError> {
    render.device(trainer.device());
    render.directory(dir.path());
    render.starts(trainer.settings().recipe.train.batch);
    let stop = interrupt::graceful();
    let mut measure = judge.map(|judge| |checkpoint: &Checkpoint| judge.measure(checkpoint));
    let measure = measure.as_mut().map(|measure| measure as &mut Measure<'_>);
    let outcome = ::train::run_measured(
        &mut trainer,
        dataset,
        dir,
        stop,
        &mut |event: Event| render.event(&event),
        measure,
    );
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(error) => {
            render.failed();
            return Err(error.into());
        }
    };
    let failed = dataset.failed().len();
    if failed > 0 {
        render.warning(&format!(
            "{failed} images could not be decoded any more and were replaced by others"
        ));
    }
    render.ended(dir.path(), &outcome);
    Ok(match (&outcome.stopped_by, outcome.finished) {
        (Some(_), _) => ExitCode::from(WATCHED),
        (None, true) => ExitCode::SUCCESS,
        (None, false) => ExitCode::from(INTERRUPTED),
    })
}
