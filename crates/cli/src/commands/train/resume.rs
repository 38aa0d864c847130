//! Going on with a run, where its newest good checkpoint left it.

use super::{Args, batches_per_epoch, go, open_data, steps_of};
use crate::commands::recipe as recipe_named;
use crate::error::CliError;
use crate::render::Render;
use ::train::artefacts::{Meta, RunDir, rotation, runs};
use ::train::{ALGORITHM_TABLE, Settings, Trainer};
use data::Fit;
use nn::Recipe;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub fn run(args: &Args, dir: Option<&Path>, render: Render) -> Result<ExitCode, CliError> {
    let path = directory(args, dir)?;
    let mut dir = RunDir::open(&path)?;
    if !args.dry_run {
        // Before anything is read, so that two processes cannot both go on.
        dir.lock()?;
    }
    let found = rotation::newest_good(&dir.checkpoints())?;
    for (_, error) in &found.skipped {
        render.warning(&format!("{error} (skipped; going on from {})", found.path.display()));
    }
    let meta = &found.checkpoint.meta;
    let mut trainer =
        Trainer::resume(&found.checkpoint).map_err(|e| CliError::Failed(format!("{}: {e}", found.path.display())))?;
    refuse_conflicts(args, trainer.settings())?;
    if let Some(lr) = args.lr {
        trainer.set_learning_rate(lr)?;
    }
    if let Some(steps) = args.steps {
        lengthen(&mut trainer, steps, "--steps")?;
    }
    if args.epochs.is_none() && is_complete(&trainer, &dir) {
        render.complete(dir.path(), trainer.steps_done());
        return Ok(ExitCode::SUCCESS);
    }
    warn_of_other_bits(meta, &render);
    let settings = trainer.settings();
    render.plan(&settings.recipe, &settings.recipe.plan()?);
    let spec = args.data.clone().unwrap_or_else(|| settings.data.clone());
    let dataset = open_data(&spec, &settings.preprocess, &render)?;
    if dataset.fingerprint() != meta.dataset.fingerprint {
        return Err(CliError::Failed(format!(
            "the images of {spec:?} are not those that the run learned from: bring them back, name where they are with --data, or start \
             a new run with --init-from {}",
            path.display()
        )));
    }
    let per_epoch = batches_per_epoch(&dataset, settings.recipe.train.batch)?;
    if let Some(epochs) = args.epochs {
        lengthen(&mut trainer, steps_of(epochs, per_epoch)?, "--epochs")?;
        if is_complete(&trainer, &dir) {
            render.complete(dir.path(), trainer.steps_done());
            return Ok(ExitCode::SUCCESS);
        }
    }
    if args.dry_run {
        render.dry_run(trainer.settings().steps.saturating_sub(trainer.steps_done()));
        return Ok(ExitCode::SUCCESS);
    }
    drop(found);
    go(trainer, &dataset, &dir, render)
}

/// The run that is meant: named with `--resume` or `--out`, or the newest.
fn directory(args: &Args, named: Option<&Path>) -> Result<PathBuf, CliError> {
    match (named, args.out.as_deref()) {
        (Some(named), Some(out)) if named != out => {
            Err(CliError::Usage(format!("--resume {named:?} and --out {out:?} name two runs: leave one of them out")))
        }
        (Some(path), _) | (None, Some(path)) if path.exists() => Ok(path.to_owned()),
        (Some(path), _) | (None, Some(path)) => {
            Err(CliError::Failed(format!("nothing to resume: there is no {path:?}; dcgan runs lists the runs there are")))
        }
        (None, None) => runs::newest(&args.runs_dir).map_err(|e| CliError::Failed(format!("nothing to resume: {e}"))),
    }
}

/// Another length, which must not lie behind the run.
fn lengthen(trainer: &mut Trainer, steps: u64, flag: &str) -> Result<(), CliError> {
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
    trainer.steps_done() >= trainer.settings().steps && pictures.iter().all(|name| dir.path().join(name).is_file())
}

fn warn_of_other_bits(meta: &Meta, render: &Render) {
    let here = tensor::isa().to_string();
    if meta.instruction_set != here {
        render.warning(&format!(
            "the checkpoint was computed with instruction set {}, this goes on with {here}: the result will differ in its last bits",
            meta.instruction_set
        ));
    }
    if meta.algorithm_table != ALGORITHM_TABLE {
        render.warning(&format!(
            "the checkpoint was computed with algorithms {}, this version has {ALGORITHM_TABLE}: the result will differ in its last bits",
            meta.algorithm_table
        ));
    }
}

/// Refuses flags that ask for another run than this one. The same values again are fine, so that a command can be repeated with
/// `--resume` added.
fn refuse_conflicts(args: &Args, run: &Settings) -> Result<(), CliError> {
    let recipe = &run.recipe;
    same("--image", args.image.map(sides), sides(recipe.image.size))?;
    same("--channels", args.channels, recipe.image.channels)?;
    same("--fit", args.fit.map(|choice| fit_name(choice.into())), fit_name(run.preprocess.fit))?;
    same("--background", args.background.map(hex), hex(run.preprocess.background))?;
    same("--batch", args.batch.map(|batch| batch as usize), recipe.train.batch)?;
    same("--width", args.width.map(|width| width as usize), recipe.generator.width)?;
    same("--width", args.width.map(|width| width as usize), recipe.discriminator.width)?;
    same("--ema", args.ema, recipe.train.ema)?;
    same("--seed", args.seed, run.seed)?;
    same("--log-every", args.log_every, run.log_every)?;
    same("--sample-every", args.sample_every, run.sample_every)?;
    same("--checkpoint-every", args.checkpoint_every, run.checkpoint_every)?;
    same("--keep", args.keep.map(|keep| keep as usize), run.keep)?;
    match &args.recipe {
        Some(name) if !is_from(recipe, &recipe_named(name)?) => {
            same("--recipe", Some(name.as_str()), format!("{} (as it was then)", recipe.name))
        }
        _ => Ok(()),
    }
}

fn same<A: PartialEq<B> + Display, B: Display>(flag: &str, asked: Option<A>, run: B) -> Result<(), CliError> {
    match asked {
        Some(asked) if asked != run => Err(CliError::Usage(format!(
            "{flag} {asked} is not this run's {run}: only --steps, --epochs and --lr can change on --resume; leave it out, or start a new \
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

fn sides([height, width]: [usize; 2]) -> String {
    format!("{height}x{width}")
}

fn hex([red, green, blue]: [u8; 3]) -> String {
    format!("{red:02x}{green:02x}{blue:02x}")
}

fn fit_name(fit: Fit) -> &'static str {
    match fit {
        Fit::Crop => "crop",
        Fit::Pad => "pad",
        Fit::Stretch => "stretch",
    }
}
