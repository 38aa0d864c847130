//! `dcgan train`: the flags, and what new and resumed runs share.

mod condition;
mod defaults;
mod evaluate;
mod new_run;
mod recipe_flags;
mod resume;

use super::device::DeviceArgs;
use super::eval::Evaluator;
use super::flags::JsonArg;
use super::monitor::MonitorArgs;
use super::preprocess::{PreprocessArgs, open_dataset_on};
use super::runs::RunsDirArg;
use super::studio::StudioArg;
use crate::distributed;
use crate::error::{CliError, EXIT_INTERRUPTED, EXIT_STOPPED_BY_MONITOR};
use crate::interrupt;
use crate::memory;
use crate::parse::{self, MAX_STEPS, count, steps};
use crate::render::Renderer;
use ::runs::{Checkpoint, RunDir};
use ::train::{EvalFn, Event, RunControls, TrainError, Trainer};
use data::{DataError, Dataset, Preprocess, Split};
pub use defaults::{toy_default, with_default};
use indicatif::HumanBytes;
use nn::Recipe;
use nn::recipe::TrainConfig;
pub use recipe_flags::ToyRecipeFlags;
#[cfg(test)]
pub use recipe_flags::is_recipe_flag;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use tensor::{Device, Isa, numerics_version};

/// Examples below the long help.
pub const EXAMPLES: &str = "\
Examples:
  dcgan train                                     Fashion-MNIST, a few minutes
  dcgan train --data emoji                        emoji of people, 64x64 in color
  dcgan train --data photos/ --image 64           a folder of images, at 64x64
  dcgan train --data photos/ --dry-run            only show the networks and the dataset
  dcgan train --resume                            resume the newest run
  dcgan train --resume runs/0003-x --steps 9000   the same run, longer";

/// The flags that `-h` shows: those for a first run. `--help` shows all.
pub const SHORT_HELP: [&str; 20] = [
    "data",
    "image",
    "flip",
    "recipe",
    "steps",
    "epochs",
    "batch",
    "ema",
    "seed",
    "width",
    "lr",
    "augment",
    "condition",
    "out",
    "resume",
    "sample_every",
    "eval_every",
    "device",
    "threads",
    "dry_run",
];

#[derive(clap::Args)]
pub struct Args {
    /// Dataset: a name, folder, archive or file [default: fashion-mnist].
    #[arg(long, value_name = "SPEC", value_parser = parse::spec(), help_heading = "Data",
        long_help = crate::commands::data::spec_help())]
    data: Option<String>,
    #[command(flatten)]
    preprocess: PreprocessArgs,
    /// Shuffle among N images instead of all, reading 256 neighboring ones at a time: for spinning
    /// disks and network folders, where a dataset does not fit into memory (from 256).
    #[arg(long, value_name = "N", value_parser = parse::shuffle_buffer, help_heading = "Data")]
    shuffle_buffer: Option<NonZeroU32>,

    /// Recipe: a name or a .toml file [default: depends on the dataset].
    ///
    /// `dcgan recipes` lists the names. The default is modern for emoji, small for datasets of one
    /// image size below 48 pixels, and torch for all others.
    #[arg(long, value_name = "NAME|FILE.toml", help_heading = "Training")]
    recipe: Option<String>,
    #[arg(long, value_name = "N", value_parser = steps(), conflicts_with = "epochs",
        help_heading = "Training",
        help = with_default("Number of steps, one batch each", "train.steps"))]
    steps: Option<u64>,
    #[arg(long, value_name = "N", value_parser = steps(), help_heading = "Training",
        help = with_default("Epochs: passes over the dataset", "train.epochs"))]
    epochs: Option<u64>,
    #[arg(long, value_name = "N", value_parser = count(1..=65536), help_heading = "Training",
        help = with_default("Batch size in images", "train.batch"))]
    batch: Option<u32>,
    #[arg(long, value_name = "X", value_parser = parse::learning_rate,
        allow_negative_numbers = true, help_heading = "Optimizer",
        help = with_default("Learning rate of both networks", "optimizer.lr"))]
    lr: Option<f64>,
    #[arg(long, value_name = "N", value_parser = count(1..=65536), help_heading = "Model",
        help = with_default("Width: channels at full resolution", "generator.width"),
        long_help = with_default(
            "Width: channels at full resolution, doubled with each halving",
            "generator.width"))]
    width: Option<u32>,
    #[arg(long, value_name = "X", value_parser = parse::decay, allow_negative_numbers = true,
        help_heading = "Training",
        help = with_default("EMA decay of G's weights, 0 for none", "train.ema"))]
    ema: Option<f64>,
    /// Random seed: the same seed gives the same networks [default: 0].
    #[arg(long, value_name = "N", value_parser = parse::seed, help_heading = "Training")]
    seed: Option<u64>,
    /// Allow augmentation and flips under a recipe that excludes them (paper).
    #[arg(long, conflicts_with = "resume", help_heading = "Regularization")]
    allow_augment: bool,
    #[command(flatten)]
    condition: condition::ConditioningArgs,
    #[command(flatten)]
    recipe_flags: recipe_flags::RecipeFlags,
    /// Start a new run from the weights of a checkpoint or run directory, and with its recipe
    /// unless --recipe is given.
    #[arg(long, value_name = "PATH|RUNDIR", conflicts_with = "resume", help_heading = "Training")]
    init_from: Option<PathBuf>,

    /// Output path: the run directory [default: numbered, in --runs-dir].
    #[arg(long, value_name = "PATH", help_heading = "Output")]
    out: Option<PathBuf>,
    /// Name of the run directory, after its number [default: dataset and recipe].
    #[arg(long, value_name = "NAME", conflicts_with_all = ["out", "resume"],
        help_heading = "Output")]
    name: Option<String>,
    #[command(flatten)]
    runs_dir: RunsDirArg,
    /// Resume a run: the named one, or the newest in --runs-dir.
    ///
    /// A checkpoint of a run rolls it back to that step and deletes what came after. Only --steps,
    /// --epochs, --lr and --on-... can change a run.
    #[arg(long, value_name = "RUNDIR|PATH", num_args = 0..=1, help_heading = "Output")]
    resume: Option<Option<PathBuf>>,
    /// Log losses and speed every N steps [default: 10].
    #[arg(long, value_name = "N", value_parser = steps(), help_heading = "Output")]
    log_every: Option<u64>,
    /// Write a grid of 64 fixed samples every N steps.
    ///
    /// The default is a 20th of the run, from 25 to 500 steps.
    #[arg(long, value_name = "N", value_parser = steps(), help_heading = "Output")]
    sample_every: Option<u64>,
    /// Save a checkpoint every N steps [default: 500].
    #[arg(long, value_name = "N", value_parser = steps(), help_heading = "Output")]
    checkpoint_every: Option<u64>,
    /// Number of newest checkpoints to keep [default: 3].
    #[arg(long, value_name = "N", value_parser = count(1..), help_heading = "Output")]
    keep: Option<u32>,

    #[command(flatten)]
    studio: StudioArg,

    #[command(flatten)]
    evaluate: evaluate::EvaluateArgs,
    #[command(flatten)]
    monitor: MonitorArgs,

    #[command(flatten)]
    device: DeviceArgs,
    /// Show the networks and the dataset, write nothing.
    #[arg(long, help_heading = "Output")]
    dry_run: bool,
    #[command(flatten)]
    json: JsonArg,
}

/// Trains a new run, or resumes one.
pub fn run(args: &Args) -> Result<ExitCode, CliError> {
    let device = distributed::ranks().agree(open_device(args))?;
    require_same_numerics(&device)?;
    let render = Renderer::new(args.json.json);
    match &args.resume {
        Some(dir) => resume::run(args, dir.as_deref(), &device, render),
        None => new_run::run(args, &device, render),
    }
}

/// Opens the device, after the flags that need no more were checked.
fn open_device(args: &Args) -> Result<Device, CliError> {
    if let Some(flag) = args.evaluate.unused_flag().filter(|_| args.resume.is_none()) {
        return Err(usage!("{flag} needs --eval-every N"));
    }
    args.device.open()
}

/// Refuses ranks that compute with other instruction sets, graphics adapters or versions of this
/// program than rank 0: their results would differ in the last bits, and networks drift apart.
fn require_same_numerics(device: &Device) -> Result<(), CliError> {
    let id = format!("{}, algorithms {}", device.numerics_id(), numerics_version());
    distributed::ranks().require_same(&id, |ranks, other| {
        let isa = |id: &str| id.split(',').next()?.parse::<Isa>().ok();
        let way_out = match (isa(&id), isa(other)) {
            (Some(own), Some(other)) if own != other => {
                "set the environment variable DCGAN_SIMD on all nodes to an instruction set that \
                 all have (avx2)"
            }
            (Some(_), Some(_)) => "start the same version of this program on all nodes",
            _ => "take the same kind of GPU on all nodes, or --device cpu",
        };
        failure!("rank 0 computes with {id}, and {ranks} with {other}: {way_out}")
    })
}

/// Checks that the memory suffices for a run of the recipe, without its images, and returns what it
/// takes in bytes.
///
/// # Errors
/// Returns an error that ends with `hint` if it does not fit; with `dry_run` this is a warning.
fn check_memory(
    recipe: &Recipe,
    device: &Device,
    hint: &str,
    dry_run: bool,
    render: &Renderer,
) -> Result<u64, CliError> {
    // A GPU does not report its free memory; an allocation that fails there is an error of its own.
    if let Device::Gpu(_) = device {
        return Ok(memory::PROGRAM_BYTES);
    }
    let needed = memory::PROGRAM_BYTES.saturating_add(rank_memory(recipe, true)?);
    memory::check_run(needed, recipe.train.batch, hint, dry_run, render)?;
    Ok(needed)
}

/// The memory in bytes of one rank's part of a run.
fn rank_memory(recipe: &Recipe, is_cached: bool) -> Result<u64, CliError> {
    let ranks = distributed::ranks().group().world_size();
    let TrainConfig { batch, accumulate: parts, .. } = recipe.train;
    if ranks == 1 {
        return Ok(::train::estimate_memory(recipe, is_cached)?);
    }
    if batch < ranks * parts {
        return Err(TrainError::TooManyRanks { ranks, batch, parts }.into());
    }
    let mut own = recipe.clone();
    // Two images a part, so that batch statistics of them alone are not refused.
    own.train.batch = batch.div_ceil(ranks).max(2 * parts).min(batch);
    // The gradients of an update, as messages to the other ranks and from them, twice.
    let messages = 5 * (size_of::<f32>() * recipe.summary()?.parameters) as u64;
    Ok(::train::estimate_memory(&own, is_cached)?.saturating_add(messages))
}

/// The most memory of a run in bytes, with its images: while they are decoded or later.
fn run_memory(recipe: &Recipe, dataset: &Dataset) -> Result<u64, CliError> {
    let run = rank_memory(recipe, dataset.is_cached())?;
    let beside = run.max(dataset.source_bytes());
    Ok(memory::PROGRAM_BYTES.saturating_add(beside).saturating_add(dataset.cached_bytes()))
}

/// Opens the dataset; its summary is printed later, below the networks. Images that do not fit into
/// memory in addition to the `needed` bytes of the run are decoded in each epoch. All ranks call
/// this together, and get an error that names those with other images; `explain` adds to an error
/// of a dataset that cannot be opened.
fn open_data(
    spec: &str,
    preprocess: &Preprocess,
    needed: u64,
    render: &Renderer,
    explain: impl FnOnce(CliError) -> CliError,
) -> Result<Arc<Dataset>, CliError> {
    let left = memory::available().map_or(u64::MAX, |available| available.bytes);
    let ranks = distributed::ranks();
    let cache_bytes = ranks.least(data::CACHE_BYTES.min(left.saturating_sub(needed)));
    let json = matches!(render, Renderer::Json);
    let opened = open_dataset_on(ranks.group(), spec, Split::Train, preprocess, cache_bytes, json);
    let with_nodes = |error| match error {
        CliError::Data(DataError::Ranks { ref failures, .. })
            if ranks.distinct_nodes().len() > 1 =>
        {
            let names: Vec<String> = failures.iter().map(|f| ranks.name(f.rank)).collect();
            failure!("{error} [{}]", names.join(", "))
        }
        other => explain(other),
    };
    let dataset = ranks.agree(opened.map_err(with_nodes))?;
    let size = (dataset.len() * dataset.shape().iter().product::<usize>()) as u64;
    if !dataset.is_cached() && (cache_bytes + 1..=data::CACHE_BYTES).contains(&size) {
        let size = HumanBytes(size);
        render.warning(&format!(
            "the images take {size} and do not fit into memory in addition to the run: they are \
             decoded in each epoch"
        ));
    }
    Ok(Arc::new(dataset))
}

/// Whole batches per epoch, at least 1.
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

/// The number of batches in `epochs` epochs.
fn steps_of(epochs: u64, per_epoch: u64) -> Result<u64, CliError> {
    let steps = epochs.checked_mul(per_epoch).filter(|steps| *steps <= MAX_STEPS);
    steps.ok_or_else(|| {
        usage!(
            "--epochs {epochs}: with {per_epoch} batches per epoch that is over {MAX_STEPS} steps"
        )
    })
}

/// The run directory that rank 0 creates or opens with `own`: the other ranks read it, and write
/// nothing. All ranks call this together.
fn run_dir(own: impl FnOnce() -> Result<RunDir, CliError>) -> Result<RunDir, CliError> {
    let ranks = distributed::ranks();
    let mut path = String::new();
    let own = ranks.on_root(|| {
        let dir = own()?;
        if !ranks.is_single() {
            let absolute = std::path::absolute(dir.path()).ok();
            let text = absolute.as_deref().and_then(Path::to_str);
            path = text.map(str::to_owned).ok_or_else(|| {
                failure!("{:?} is not UTF-8: choose another run directory", dir.path())
            })?;
        }
        Ok(dir)
    })?;
    let path = PathBuf::from(ranks.broadcast(path));
    ranks.agree(own.map_or_else(
        || {
            RunDir::open(&path).map_err(|error| {
                failure!("{error}: choose a run directory in a folder that all nodes share")
            })
        },
        Ok,
    ))
}

/// The evaluator of the run, if its settings ask for one; rank 0 alone has it. All ranks call this
/// together.
fn evaluator(
    trainer: &Trainer,
    dataset: &Arc<Dataset>,
    render: &Renderer,
) -> Result<Option<Arc<Evaluator>>, CliError> {
    let (settings, json) = (trainer.settings(), matches!(render, Renderer::Json));
    let Some(evaluate) = &settings.eval else { return Ok(None) };
    let evaluator = distributed::ranks()
        .on_root(|| Evaluator::new(evaluate, settings, dataset, trainer.device(), json))?;
    Ok(evaluator.map(Arc::new))
}

/// Trains on from the state of `trainer`, in the directory that `open_dir` returns once the ranks
/// have compared their runs. All ranks call this together.
fn train_from(
    args: &Args,
    trainer: Trainer,
    dataset: &Arc<Dataset>,
    render: Renderer,
    open_dir: impl FnOnce(&Trainer, &Renderer) -> Result<RunDir, CliError>,
) -> Result<ExitCode, CliError> {
    let ranks = distributed::ranks();
    let trainer = ranks.agree(trainer.with_process_group(ranks.group().clone()))?;
    let evaluator = evaluator(&trainer, dataset, &render)?;
    let dir = open_dir(&trainer, &render)?;
    run_training(args, trainer, dataset, evaluator.as_ref(), &dir, render)
}

/// Runs the training loop to its end, or until Ctrl-C or the monitor stops it. All ranks return one
/// exit code.
fn run_training(
    args: &Args,
    mut trainer: Trainer,
    dataset: &Arc<Dataset>,
    evaluator: Option<&Arc<Evaluator>>,
    dir: &RunDir,
    mut render: Renderer,
) -> Result<ExitCode, CliError> {
    let ranks = distributed::ranks();
    // Serves until the run has ended; rank 0 alone has one.
    let studio = ranks.on_root(|| args.studio.start(dir, &args.runs_dir.runs_dir))?.flatten();
    render.device(trainer.device());
    render.ranks(ranks);
    if let Some(studio) = &studio {
        render.studio(studio.url());
    }
    render.directory(dir.path());
    render.starts(trainer.settings().recipe.train.batch);
    let stop = interrupt::graceful()?;
    // Rank 0 alone calls it; the others must know at which steps.
    let mut measure = |checkpoint: &Checkpoint| match evaluator {
        Some(evaluator) => evaluator.measure(checkpoint, stop),
        None => Ok(None),
    };
    let is_evaluated = trainer.settings().eval.is_some();
    let measure = is_evaluated.then_some(&mut measure as &mut EvalFn<'_>);
    let steps = trainer.settings().steps;
    let mut emit = |event: Event| {
        #[cfg(feature = "fault-injection")]
        crate::fault::panic_at(&event);
        // The images that follow are drawn when the run is resumed, too.
        if matches!(event, Event::Saved { step, .. } if step >= steps) {
            interrupt::immediate();
        }
        render.event(&event);
    };
    let controls = RunControls { stop, save: args.studio.save_flag() };
    let outcome = ::train::run_with_eval(&mut trainer, dataset, dir, controls, &mut emit, measure);
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
            "{failed} images could no longer be decoded and were replaced by others"
        ));
    }
    render.ended(dir.path(), &outcome);
    // The same on all ranks, as the outcome's end is.
    Ok(ExitCode::from(match (&outcome.stopped_by, outcome.finished) {
        (Some(_), _) => EXIT_STOPPED_BY_MONITOR,
        (None, true) => 0,
        (None, false) => EXIT_INTERRUPTED,
    }))
}
