//! Resuming a run from its newest valid checkpoint, or from the one that was named.

use super::{
    Args, batches_per_epoch, check_memory, open_data, run_dir, run_memory, steps_of, train_from,
};
use crate::commands::recipes;
use crate::distributed;
use crate::error::CliError;
use crate::render::{Renderer, quoted};
use ::runs::{
    ArtifactError, Checkpoint, CheckpointMeta, LatestValidCheckpoint, RunDir, checkpoint,
    checkpoint_retention, run_list,
};
use ::train::{Settings, Trainer};
use data::{DataError, Dataset};
use nn::{ModelSummary, Recipe};
use serde::{Deserialize, Serialize};
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tensor::{Device, numerics_version};

/// The run or checkpoint that `--resume` names.
struct ResumePoint {
    run: PathBuf,
    /// The checkpoint to roll back to, if one was named.
    checkpoint: Option<PathBuf>,
}

/// What a run's directory contains, as rank 0 has found it.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct RunContents {
    /// The newest checkpoint's step, if the run is rolled back to an earlier one.
    later: Option<u64>,
    /// Whether the images of the end are written.
    has_images: bool,
}

/// A run that goes on from a checkpoint, before its images are read.
struct ResumedRun {
    trainer: Trainer,
    meta: CheckpointMeta,
    summary: ModelSummary,
    /// The memory of the run without its images, in bytes.
    needed: u64,
}

pub fn run(
    args: &Args,
    named: Option<&Path>,
    device: &Device,
    render: Renderer,
) -> Result<ExitCode, CliError> {
    let ranks = distributed::ranks();
    let mut own = None;
    let dir = run_dir(|| {
        let point = resume_point(args, named)?;
        let mut dir = RunDir::open(&point.run)?;
        if !args.dry_run {
            // Locked before anything is read, so that two processes cannot resume the same run.
            dir.lock()?;
        }
        let latest = load_checkpoint(&dir, &point)?;
        for (_, error) in &latest.skipped {
            render.warning(&format!("{error} (skipped; resuming from {})", latest.path.display()));
        }
        let contents = RunContents::read(&dir, &point, latest.checkpoint.meta.step)?;
        own = Some((latest, contents));
        Ok(dir)
    })?;
    // All ranks go on from what rank 0 has found.
    let found = own.as_ref().map(|(latest, contents)| {
        let name = latest.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        (name, *contents)
    });
    let (name, contents) = ranks.broadcast(found.unwrap_or_default());
    let path = dir.checkpoints().join(name);
    let checkpoint = ranks.agree(match own {
        Some((latest, _)) => Ok(latest.checkpoint),
        None => checkpoint::load(&path),
    })?;
    let mut resumed = ranks.agree(resumed_run(args, &path, checkpoint, device, &render))?;
    // A run that is rolled back is not complete, even if it was.
    let is_complete = |trainer: &Trainer| {
        let is_done = trainer.steps_done() >= trainer.settings().steps;
        is_done && contents.has_images && contents.later.is_none()
    };
    if args.epochs.is_none() && is_complete(&resumed.trainer) {
        render.complete(dir.path(), resumed.trainer.steps_done());
        return Ok(ExitCode::SUCCESS);
    }
    let settings = resumed.trainer.settings();
    let spec = args.data.clone().unwrap_or_else(|| settings.data.clone());
    let explain = |error| match error {
        CliError::Data(gone @ DataError::NotFound { .. }) if args.data.is_none() => {
            failure!("{gone}; if the run's dataset has moved, pass its new location with --data")
        }
        other => other,
    };
    let dataset = open_data(&spec, &settings.preprocess, resumed.needed, &render, explain)?;
    let memory = ranks.agree(resumed.set_dataset(args, &dataset, &spec, dir.path()))?;
    let ResumedRun { trainer, meta, summary, .. } = resumed;
    if args.epochs.is_some() && is_complete(&trainer) {
        render.complete(dir.path(), trainer.steps_done());
        return Ok(ExitCode::SUCCESS);
    }
    render.plan(&trainer.settings().recipe, &summary, memory);
    render.data(&dataset);
    if args.dry_run {
        render.dry_run(trainer.settings().steps.saturating_sub(trainer.steps_done()));
        return Ok(ExitCode::SUCCESS);
    }
    train_from(args, trainer, &dataset, render, |trainer, render| {
        warn_of_other_numerics(&meta, &trainer.numerics_id(), render);
        if let Some(later) = contents.later {
            let step = meta.step;
            render.warning(&format!(
                "rolling back from step {later} to {step}: later checkpoints, metrics and grids \
                 are deleted"
            ));
            ranks.on_root(|| {
                Ok(checkpoint_retention::delete_checkpoints_after(&dir.checkpoints(), step)?)
            })?;
        }
        Ok(dir)
    })
}

impl RunContents {
    /// Looks into the directory of a run that goes on from `step`.
    fn read(dir: &RunDir, point: &ResumePoint, step: u64) -> Result<Self, CliError> {
        let later = match &point.checkpoint {
            Some(_) => checkpoint_retention::list(&dir.checkpoints())?
                .last()
                .map(|(newest, _)| *newest)
                .filter(|newest| *newest > step),
            None => None,
        };
        let images = ["timelapse.gif", "losses.png"];
        let has_images = images.iter().all(|name| dir.path().join(name).is_file());
        Ok(Self { later, has_images })
    }
}

/// The run of a checkpoint with what the flags change, after a check that it fits into memory.
fn resumed_run(
    args: &Args,
    path: &Path,
    checkpoint: Checkpoint,
    device: &Device,
    render: &Renderer,
) -> Result<ResumedRun, CliError> {
    let recipe = Recipe::from_toml(&checkpoint.meta.recipe)?;
    let summary = recipe.summary()?;
    let needed = check_memory(&recipe, device, "close other programs", args.dry_run, render)?;
    let mut trainer = Trainer::resume(&checkpoint, device)
        .map_err(|e| CliError::in_context(path.display(), e))?;
    refuse_conflicts(args, trainer.settings())?;
    if let Some(lr) = args.lr {
        trainer.set_learning_rate(lr)?;
    }
    trainer.set_monitor_config(args.monitor.apply(trainer.settings().monitor));
    if let Some(steps) = args.steps {
        override_steps(&mut trainer, steps, "--steps")?;
    }
    Ok(ResumedRun { trainer, meta: checkpoint.meta, summary, needed })
}

impl ResumedRun {
    /// Checks that the dataset is that of the run, and sets its length from the epochs. Returns the
    /// memory of the run in bytes.
    fn set_dataset(
        &mut self,
        args: &Args,
        dataset: &Dataset,
        spec: &str,
        run: &Path,
    ) -> Result<u64, CliError> {
        if dataset.fingerprint() != self.meta.dataset.fingerprint {
            return Err(failure!(
                "dataset {spec:?} does not match the one this run was trained on: restore it, pass \
                 its new location with --data, or start a new run with --init-from {}",
                run.display()
            ));
        }
        let train = &self.trainer.settings().recipe.train;
        let batches = train.batches_per_step() as u64;
        let per_epoch = batches_per_epoch(dataset, train.batch)?;
        if let Some(epochs) = args.epochs {
            let steps = steps_of(epochs, per_epoch)?.div_ceil(batches);
            override_steps(&mut self.trainer, steps, "--epochs")?;
        }
        run_memory(&self.trainer.settings().recipe, dataset)
    }
}

/// The run that `--resume` names (itself, or one of its checkpoints), or `--out`, or the newest
/// one.
fn resume_point(args: &Args, named: Option<&Path>) -> Result<ResumePoint, CliError> {
    let missing = |path: &Path| {
        failure!("nothing to resume: there is no {path:?}; dcgan runs lists the runs")
    };
    let point = match named {
        Some(path) if path.is_file() => checkpoint_of_run(path)?,
        Some(path) if path.exists() => ResumePoint { run: path.to_owned(), checkpoint: None },
        Some(path) => return Err(missing(path)),
        None => {
            let run = match &args.out {
                Some(out) if out.exists() => out.clone(),
                Some(out) => return Err(missing(out)),
                None => run_list::latest_run(&args.runs_dir.runs_dir)
                    .map_err(|e| CliError::in_context("nothing to resume", e))?,
            };
            ResumePoint { run, checkpoint: None }
        }
    };
    match &args.out {
        Some(out) if *out != point.run => Err(usage!(
            "--resume {:?} and --out {out:?} name two runs: leave one of them out",
            named.unwrap_or(&point.run)
        )),
        _ => Ok(point),
    }
}

/// The run that a checkpoint belongs to, by its path `RUN/checkpoints/step-N.safetensors`.
fn checkpoint_of_run(file: &Path) -> Result<ResumePoint, CliError> {
    let run_of = |file: &Path| {
        let folder = file.parent().filter(|folder| folder.ends_with("checkpoints"))?;
        let run = folder.parent()?;
        Some(if run.as_os_str().is_empty() { PathBuf::from(".") } else { run.to_owned() })
    };
    // A path relative to the checkpoints folder shows the run only when it is absolute.
    let run = run_of(file).or_else(|| run_of(&std::path::absolute(file).ok()?));
    match run.filter(|_| checkpoint_retention::step_of(file, "safetensors").is_some()) {
        Some(run) => Ok(ResumePoint { run, checkpoint: Some(file.to_owned()) }),
        None => Err(failure!(
            "--resume takes a run directory or a checkpoint in one, and {file:?} is neither: \
             start a new run from its weights with --init-from {}",
            quoted(file)
        )),
    }
}

/// Loads the checkpoint to resume from: the named one, or the newest valid one.
fn load_checkpoint(dir: &RunDir, point: &ResumePoint) -> Result<LatestValidCheckpoint, CliError> {
    if let Some(path) = &point.checkpoint {
        return Ok(LatestValidCheckpoint {
            path: path.clone(),
            checkpoint: checkpoint::load(path)?,
            skipped: Vec::new(),
        });
    }
    checkpoint_retention::latest_valid(&dir.checkpoints()).map_err(|error| match error {
        ArtifactError::NoCheckpoint { .. } if dir.has_no_steps().unwrap_or(false) => {
            failure!(
                "nothing to resume: {:?} has no checkpoint yet, its run ended before the first; \
                 start it again with the same command without --resume",
                dir.path()
            )
        }
        ArtifactError::NoCheckpoint { .. } => {
            failure!("{}, or start a new run without --resume", CliError::from(error))
        }
        other => other.into(),
    })
}

/// Sets another length of the run, which must not be shorter than the steps already done.
fn override_steps(trainer: &mut Trainer, steps: u64, flag: &str) -> Result<(), CliError> {
    let done = trainer.steps_done();
    if steps < done {
        return Err(usage!(
            "{flag}: {steps} steps are fewer than the {done} that the run has done; ask for more"
        ));
    }
    trainer.set_steps(steps);
    Ok(())
}

fn warn_of_other_numerics(meta: &CheckpointMeta, id: &str, render: &Renderer) {
    let version = numerics_version();
    if meta.numerics_id != id {
        render.warning(&format!(
            "the checkpoint was computed with {}, this run resumes with {id}: results will differ \
             in their last bits",
            meta.numerics_id
        ));
    }
    if meta.numerics_version != version {
        render.warning(&format!(
            "the checkpoint was computed with algorithms {}, this run has {version}: results will \
             differ in their last bits",
            meta.numerics_version
        ));
    }
}

/// Refuses flags that would change the run. Equal values pass, so that a command can be repeated
/// with `--resume` added.
fn refuse_conflicts(args: &Args, run: &Settings) -> Result<(), CliError> {
    let (recipe, preprocess) = (&run.recipe, &run.preprocess);
    let (eval, metrics) = (run.eval.as_ref(), &args.evaluate.eval_metrics);
    let metrics: Vec<_> = metrics.iter().map(|metric| metric.name).collect();
    let features = args.evaluate.settings().filter(|_| args.evaluate.eval_features.is_some());
    let flags = [
        ("--image", args.preprocess.image.map(sides), sides(recipe.image.size)),
        ("--channels", text(args.preprocess.channels), recipe.image.channels.to_string()),
        ("--fit", text(args.preprocess.fit), preprocess.fit.to_string()),
        ("--crop", args.preprocess.crop.map(sides), or_none(preprocess.crop.map(sides))),
        ("--min-side", text(args.preprocess.min_side), or_none(text(preprocess.min_side))),
        ("--filter", text(args.preprocess.filter), preprocess.filter.to_string()),
        ("--background", args.preprocess.background.map(hex), hex(preprocess.background)),
        ("--flip", text(args.preprocess.flip), preprocess.flip.to_string()),
        ("--batch", text(args.batch), recipe.train.batch.to_string()),
        ("--width", text(args.width), recipe.generator.width.to_string()),
        ("--width", text(args.width), recipe.discriminator.width.to_string()),
        ("--ema", text(args.ema), recipe.train.ema.to_string()),
        ("--seed", text(args.seed), run.seed.to_string()),
        ("--shuffle-buffer", text(args.shuffle_buffer), or_none(text(run.shuffle_buffer))),
        ("--log-every", text(args.log_every), run.log_every.to_string()),
        ("--sample-every", text(args.sample_every), run.sample_every.to_string()),
        ("--checkpoint-every", text(args.checkpoint_every), run.checkpoint_every.to_string()),
        ("--eval-every", text(args.evaluate.eval_every), or_none(text(eval.map(|e| e.every)))),
        (
            "--eval-metrics",
            (!metrics.is_empty()).then(|| metrics.join(",")),
            or_none(eval.map(|eval| eval.metrics.join(","))),
        ),
        ("--eval-count", text(args.evaluate.eval_count), or_none(text(eval.map(|e| e.count)))),
        (
            "--eval-features",
            features.map(|settings| settings.features),
            or_none(eval.map(|eval| eval.features.clone())),
        ),
        ("--keep", text(args.keep), run.keep.to_string()),
    ];
    let changed = flags.into_iter().find_map(|(flag, value, own)| {
        value.filter(|value| *value != own).map(|value| (flag, value, own))
    });
    let condition = args.condition.condition.is_some().then_some("--condition");
    let changes_recipe = condition.or(args.recipe_flags.flags.first().map(String::as_str));
    let other_recipe = match &args.recipe {
        Some(name) if !is_from(recipe, &recipes::load(name)?) => {
            Some(("--recipe", name.clone(), format!("{} (as it was then)", recipe.name)))
        }
        _ => None,
    };
    if let Some((flag, value, own)) = changed.or(other_recipe) {
        return Err(usage!(
            "{flag} {value} differs from this run's {own}: only --steps, --epochs, --lr, --on-… \
             and the dataset's location (--data) can change on --resume; leave it out, or start a \
             new run with --init-from"
        ));
    }
    match changes_recipe {
        Some(flag) => Err(usage!(
            "{flag} cannot change in a resumed run: leave it out, or start a new run with \
             --init-from"
        )),
        None => Ok(()),
    }
}

fn text(value: Option<impl Display>) -> Option<String> {
    value.map(|value| value.to_string())
}

fn or_none(value: Option<String>) -> String {
    value.unwrap_or_else(|| "none".to_owned())
}

/// Whether a run's recipe equals `given` except for what flags can set.
fn is_from(run: &Recipe, given: &Recipe) -> bool {
    let mut given = given.clone();
    given.image = run.image.clone();
    given.generator.width = run.generator.width;
    given.discriminator.width = run.discriminator.width;
    given.optimizer.lr = run.optimizer.lr;
    given.train = run.train.clone();
    given == *run
}

fn sides<T: Display>([height, width]: [T; 2]) -> String {
    format!("{height}x{width}")
}

fn hex([red, green, blue]: [u8; 3]) -> String {
    format!("{red:02x}{green:02x}{blue:02x}")
}
