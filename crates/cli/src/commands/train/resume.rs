//! Going on with a run, where its newest good checkpoint or the one asked for left it.

use super::{Args, batches_per_epoch, judge, open_data, run_training, steps_of};
use crate::commands::preprocess::PreprocessArgs;
use crate::commands::recipes;
use crate::error::CliError;
use crate::memory_estimate;
use crate::render::{Renderer, quoted};
use ::runs::{
    ArtifactError, CheckpointMeta, LatestValidCheckpoint, RunDir, checkpoint, checkpoint_retention,
    run_list,
};
use ::train::{Settings, Trainer};
use data::{DataError, Preprocess};
use nn::Recipe;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tensor::{Device, numerics_version};

/// What `--resume` means.
struct Target {
    run: PathBuf,
    /// The checkpoint to go back to, where one was named.
    checkpoint: Option<PathBuf>,
}

pub fn run(
    args: &Args,
    named: Option<&Path>,
    device: &Device,
    render: Renderer,
) -> Result<ExitCode, CliError> {
    let target = target(args, named)?;
    let path = target.run.as_path();
    let mut dir = RunDir::open(path)?;
    if !args.dry_run {
        // Before anything is read, so that two processes cannot both go on.
        dir.lock()?;
    }
    let found = find(&dir, &target)?;
    for (_, error) in &found.skipped {
        render.warning(&format!("{error} (skipped; going on from {})", found.path.display()));
    }
    let meta = &found.checkpoint.meta;
    let plan = Recipe::from_toml(&meta.recipe)?.summary()?;
    memory_estimate::check(&plan, device, "close other programs", args.dry_run, &render)?;
    let mut trainer = Trainer::resume(&found.checkpoint, device)
        .map_err(|e| CliError::in_context(found.path.display(), e))?;
    refuse_conflicts(args, trainer.settings())?;
    if let Some(lr) = args.lr {
        trainer.set_learning_rate(lr)?;
    }
    trainer.set_monitor_config(args.monitor.apply(trainer.settings().monitor));
    if let Some(steps) = args.steps {
        override_steps(&mut trainer, steps, "--steps")?;
    }
    // A run that goes back is not complete, though it may have been.
    let later = match &target.checkpoint {
        Some(_) => checkpoint_retention::list(&dir.checkpoints())?
            .last()
            .map(|(step, _)| *step)
            .filter(|step| *step > meta.step),
        None => None,
    };
    if later.is_none() && args.epochs.is_none() && is_complete(&trainer, &dir) {
        render.complete(dir.path(), trainer.steps_done());
        return Ok(ExitCode::SUCCESS);
    }
    warn_of_other_bits(meta, device, &render);
    let settings = trainer.settings();
    let spec = args.data.clone().unwrap_or_else(|| settings.data.clone());
    let dataset = open_data(&spec, &settings.preprocess, &render).map_err(|error| match error {
        CliError::Data(gone @ DataError::NotFound { .. }) if args.data.is_none() => {
            CliError::Failed(format!(
                "{gone}; where the run's pictures lie elsewhere now, say so with --data"
            ))
        }
        other => other,
    })?;
    if dataset.fingerprint() != meta.dataset.fingerprint {
        return Err(CliError::Failed(format!(
            "the images of {spec:?} are not those that the run learned from: bring them back, name where they are with --data, or start \
             a new run with --init-from {}",
            path.display()
        )));
    }
    let per_epoch = batches_per_epoch(&dataset, settings.recipe.train.batch)?;
    if let Some(epochs) = args.epochs {
        let batches = trainer.settings().recipe.train.batches_per_step() as u64;
        override_steps(&mut trainer, steps_of(epochs, per_epoch)?.div_ceil(batches), "--epochs")?;
        if later.is_none() && is_complete(&trainer, &dir) {
            render.complete(dir.path(), trainer.steps_done());
            return Ok(ExitCode::SUCCESS);
        }
    }
    render.plan(&trainer.settings().recipe, &plan);
    render.data(&dataset);
    if args.dry_run {
        render.dry_run(trainer.settings().steps.saturating_sub(trainer.steps_done()));
        return Ok(ExitCode::SUCCESS);
    }
    let judge = judge(&trainer, &dataset, &render)?;
    if let Some(later) = later {
        let step = meta.step;
        render.warning(&format!(
            "going back from step {later} to {step}: later checkpoints, rows and grids are dropped"
        ));
        checkpoint_retention::delete_checkpoints_after(&dir.checkpoints(), step)?;
    }
    drop(found);
    run_training(trainer, &dataset, judge.as_ref(), &dir, render)
}

/// The run that is meant: named with `--resume` (itself, or one of its checkpoints) or `--out`, or the newest.
fn target(args: &Args, named: Option<&Path>) -> Result<Target, CliError> {
    let missing = |path: &Path| {
        CliError::Failed(format!(
            "nothing to resume: there is no {path:?}; dcgan runs lists the runs there are"
        ))
    };
    let target = match named {
        Some(path) if path.is_file() => checkpoint_of_run(path)?,
        Some(path) if path.exists() => Target { run: path.to_owned(), checkpoint: None },
        Some(path) => return Err(missing(path)),
        None => {
            let run = match &args.out {
                Some(out) if out.exists() => out.clone(),
                Some(out) => return Err(missing(out)),
                None => run_list::latest_run(&args.runs_dir.runs_dir)
                    .map_err(|e| CliError::in_context("nothing to resume", e))?,
            };
            Target { run, checkpoint: None }
        }
    };
    match &args.out {
        Some(out) if *out != target.run => Err(CliError::Usage(format!(
            "--resume {:?} and --out {out:?} name two runs: leave one of them out",
            named.unwrap_or(&target.run)
        ))),
        _ => Ok(target),
    }
}

/// The run that a file is a checkpoint of, by where it lies: `RUN/checkpoints/step-N.safetensors`.
fn checkpoint_of_run(file: &Path) -> Result<Target, CliError> {
    let place = |file: &Path| {
        let folder = file.parent().filter(|folder| folder.ends_with("checkpoints"))?;
        let run = folder.parent()?;
        Some(if run.as_os_str().is_empty() { PathBuf::from(".") } else { run.to_owned() })
    };
    // A file named from inside its folder shows only in full where it lies.
    let run = place(file).or_else(|| place(&std::path::absolute(file).ok()?));
    match run.filter(|_| checkpoint_retention::step_of(file, "safetensors").is_some()) {
        Some(run) => Ok(Target { run, checkpoint: Some(file.to_owned()) }),
        None => Err(CliError::Failed(format!(
            "--resume takes a run directory, or a file of its checkpoints folder, which {file:?} is not: start a new run with its weights \
             by --init-from {}",
            quoted(file)
        ))),
    }
}

/// The checkpoint to go on from: the one named, as it is, or the newest good one.
fn find(dir: &RunDir, target: &Target) -> Result<LatestValidCheckpoint, CliError> {
    if let Some(path) = &target.checkpoint {
        return Ok(LatestValidCheckpoint {
            path: path.clone(),
            checkpoint: checkpoint::load(path)?,
            skipped: Vec::new(),
        });
    }
    checkpoint_retention::latest_valid(&dir.checkpoints()).map_err(|error| match error {
        ArtifactError::NoCheckpoint { .. } if dir.has_no_steps().unwrap_or(false) => CliError::Failed(format!(
            "nothing to resume: {:?} has no checkpoint yet, its run ended before the first; start it again with the same command without \
             --resume",
            dir.path()
        )),
        ArtifactError::NoCheckpoint { .. } => CliError::Failed(format!(
            "{}, or start a new run without --resume",
            CliError::from(error)
        )),
        other => other.into(),
    })
}

/// Another length, which must not lie behind the run.
fn override_steps(trainer: &mut Trainer, steps: u64, flag: &str) -> Result<(), CliError> {
    let done = trainer.steps_done();
    if steps < done {
        return Err(CliError::Usage(format!(
            "{flag}: {steps} steps are fewer than the {done} that the run has done; ask for more"
        )));
    }
    trainer.set_steps(steps);
    Ok(())
}

/// Whether nothing is left to do, the pictures of the end included.
fn is_complete(trainer: &Trainer, dir: &RunDir) -> bool {
    let pictures = ["timelapse.gif", "losses.png"];
    trainer.steps_done() >= trainer.settings().steps
        && pictures.iter().all(|name| dir.path().join(name).is_file())
}

fn warn_of_other_bits(meta: &CheckpointMeta, device: &Device, render: &Renderer) {
    let here = device.numerics_id();
    if meta.numerics_id != here {
        render.warning(&format!(
            "the checkpoint was computed with {}, this goes on with {here}: the result will differ in its last bits",
            meta.numerics_id
        ));
    }
    if meta.numerics_version != numerics_version() {
        render.warning(&format!(
            "the checkpoint was computed with algorithms {}, this run has {}: the result will differ in its last bits",
            meta.numerics_version,
            numerics_version()
        ));
    }
}

/// Refuses flags that ask for another run than this one. The same values again are fine, so that a command can be repeated with
/// `--resume` added.
fn refuse_conflicts(args: &Args, run: &Settings) -> Result<(), CliError> {
    let recipe = &run.recipe;
    refuse_other_pictures(&args.pictures, recipe, &run.preprocess)?;
    require_same("--batch", args.batch.map(|batch| batch as usize), recipe.train.batch)?;
    require_same("--width", args.width.map(|width| width as usize), recipe.generator.width)?;
    require_same("--width", args.width.map(|width| width as usize), recipe.discriminator.width)?;
    require_same("--ema", args.ema, recipe.train.ema)?;
    require_same("--seed", args.seed, run.seed)?;
    let buffer = run.shuffle_buffer.map_or_else(|| "none".to_owned(), |buffer| buffer.to_string());
    require_same("--shuffle-buffer", args.shuffle_buffer.map(|buffer| buffer.to_string()), buffer)?;
    require_same("--log-every", args.log_every, run.log_every)?;
    require_same("--sample-every", args.sample_every, run.sample_every)?;
    require_same("--checkpoint-every", args.checkpoint_every, run.checkpoint_every)?;
    let (asked, own) = (&args.evaluate, run.eval.as_ref());
    require_same("--eval-every", asked.eval_every, own.map_or(0, |own| own.every))?;
    let metrics: Vec<_> = asked.eval_metrics.iter().map(|metric| metric.name()).collect();
    require_same(
        "--eval-metrics",
        (!metrics.is_empty()).then(|| metrics.join(",")),
        own.map_or_else(String::new, |own| own.metrics.join(",")),
    )?;
    require_same(
        "--eval-count",
        asked.eval_count.map(|count| count as usize),
        own.map_or(0, |own| own.count),
    )?;
    let features = asked
        .settings()
        .filter(|_| asked.eval_features.is_some())
        .map(|settings| settings.features);
    require_same(
        "--eval-features",
        features,
        own.map_or_else(String::new, |own| own.features.clone()),
    )?;
    let told = args.condition.condition.is_some().then(|| "--condition".to_owned());
    if let Some(flag) = told.or_else(|| args.recipe_flags.flags.first().cloned()) {
        return Err(CliError::Usage(format!(
            "{flag} cannot change in a run that goes on: leave it out, or start a new run with --init-from"
        )));
    }
    require_same("--keep", args.keep.map(|keep| keep as usize), run.keep)?;
    match &args.recipe {
        Some(name) if !is_from(recipe, &recipes::load(name)?) => require_same(
            "--recipe",
            Some(name.as_str()),
            format!("{} (as it was then)", recipe.name),
        ),
        _ => Ok(()),
    }
}

/// The same for what pictures become.
fn refuse_other_pictures(
    args: &PreprocessArgs,
    recipe: &Recipe,
    run: &Preprocess,
) -> Result<(), CliError> {
    require_same("--image", args.image.map(sides), sides(recipe.image.size))?;
    require_same("--channels", args.channels, recipe.image.channels)?;
    require_same("--fit", args.fit, run.fit)?;
    require_same(
        "--crop",
        args.crop.map(sides),
        run.crop.map_or_else(|| "none".to_owned(), sides),
    )?;
    require_same(
        "--min-side",
        args.min_side.map(|side| side.to_string()),
        run.min_side.map_or("none".to_owned(), |side| side.to_string()),
    )?;
    require_same("--filter", args.filter, run.filter)?;
    require_same("--background", args.background.map(hex), hex(run.background))?;
    require_same("--flip", args.flip, run.flip)
}

fn require_same<A: PartialEq<B> + Display, B: Display>(
    flag: &str,
    asked: Option<A>,
    run: B,
) -> Result<(), CliError> {
    match asked {
        Some(asked) if asked != run => Err(CliError::Usage(format!(
            "{flag} {asked} is not this run's {run}: only --steps, --epochs, --lr, --on-… and where the pictures are (--data) can change on --resume; leave it out, or start a new \
             run with --init-from"
        ))),
        _ => Ok(()),
    }
}

/// Whether a run's recipe is this one but for what flags can set.
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
