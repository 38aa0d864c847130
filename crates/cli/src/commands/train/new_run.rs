//! A new run: its settings from the flags, the recipe and the dataset.

use super::recipe_flags::RecipeFlags;
use super::{
    Args, batches_per_epoch, check_memory, condition, open_data, run_dir, run_memory, steps_of,
    train_from,
};
use crate::commands::{DatasetInfo, open_checkpoint};
use crate::distributed;
use crate::error::CliError;
use crate::render::Renderer;
use ::runs::{Checkpoint, RunDir};
use ::train::monitor::MonitorConfig;
use ::train::{Settings, Trainer};
use data::{DataSpec, Dataset, Preprocess};
use nn::Recipe;
use nn::recipe::OptimizerType;
use std::path::PathBuf;
use std::process::ExitCode;
use tensor::Device;

const DATA: &str = "fashion-mnist";
/// The recipe for small datasets.
const MODERN: &str = "modern";
/// Smaller datasets are memorized.
const SMALL_DATASET: usize = 1000;
/// A batch is not made smaller than this without `--batch`: its statistics would be too noisy.
const MIN_BATCH: usize = 8;
const LOG_EVERY: u64 = 10;
const CHECKPOINT_EVERY: u64 = 500;
const KEEP_CHECKPOINTS: u32 = 3;

/// What is known of a new run before its images are read.
struct RunPlan {
    spec: DataSpec,
    /// The weights to begin with.
    init: Option<Checkpoint>,
    recipe: Recipe,
    preprocess: Preprocess,
    /// The memory of the run without its images, in bytes.
    needed: u64,
    condition_file: Option<PathBuf>,
}

pub fn run(args: &Args, device: &Device, render: Renderer) -> Result<ExitCode, CliError> {
    let ranks = distributed::ranks();
    let plan = ranks.agree(plan(args, device, &render))?;
    let spec = plan.spec.to_string();
    let dataset = open_data(&spec, &plan.preprocess, plan.needed, &render, |error| error)?;
    let Some(trainer) = ranks.agree(trainer(args, plan, &dataset, device, &render))? else {
        return Ok(ExitCode::SUCCESS);
    };
    train_from(args, trainer, &dataset, render, |trainer, _| {
        let name = || format!("{}-{}", dataset.name(), trainer.settings().recipe.name);
        run_dir(|| {
            Ok(match &args.out {
                Some(out) => RunDir::create_at(out)?,
                None => {
                    let name = args.name.clone().unwrap_or_else(name);
                    RunDir::create(&args.runs_dir.runs_dir, &name)?
                }
            })
        })
    })
}

/// Checks the flags, the recipe, and that the run fits into memory and can be written.
fn plan(args: &Args, device: &Device, render: &Renderer) -> Result<RunPlan, CliError> {
    let spec = DataSpec::parse(args.data.as_deref().unwrap_or(DATA))?;
    let init = match &args.init_from {
        Some(path) => Some(open_checkpoint(path, |text| render.warning(&text))?.checkpoint),
        None => None,
    };
    let known = DatasetInfo::of(&spec)?;
    let recipe = resolve_recipe(args, &known, init.as_ref())?;
    let preprocess = args.preprocess.preprocess(&recipe, &known)?;
    // Checked before the images are decoded, which may take long.
    let hint = "choose a smaller --batch, --width or --image";
    let needed = check_memory(&recipe, device, hint, args.dry_run, render)?;
    if !args.dry_run && distributed::ranks().is_root() {
        args.out.as_ref().map_or_else(
            || RunDir::check_base(&args.runs_dir.runs_dir),
            |out| RunDir::check_at(out),
        )?;
    }
    let condition_file = args.condition.file(&recipe)?;
    Ok(RunPlan { spec, init, recipe, preprocess, needed, condition_file })
}

/// The run on this dataset, after its networks and images were shown; `None` after a dry run.
fn trainer(
    args: &Args,
    plan: RunPlan,
    dataset: &Dataset,
    device: &Device,
    render: &Renderer,
) -> Result<Option<Trainer>, CliError> {
    let RunPlan { spec, init, mut recipe, preprocess, condition_file, .. } = plan;
    condition::set_size(&mut recipe, dataset, condition_file.as_deref())?;
    if args.batch.is_none() && (MIN_BATCH..recipe.train.batch).contains(&dataset.len()) {
        recipe.train.batch = dataset.len();
    }
    let summary = recipe.summary()?;
    let per_epoch = batches_per_epoch(dataset, recipe.train.batch)?;
    let steps = match (recipe.train.steps, recipe.train.epochs) {
        (Some(steps), _) => steps,
        (None, epochs) => steps_of(epochs.unwrap_or(1), per_epoch)?
            .div_ceil(recipe.train.batches_per_step() as u64),
    };
    let memory = run_memory(&recipe, dataset)?;
    if args.dry_run {
        render.plan(&recipe, &summary, memory);
        render.data(dataset);
        warn_small_dataset(dataset, &recipe, render);
        render.dry_run(steps);
        return Ok(None);
    }
    let settings = Settings {
        data: spec.absolute(),
        seed: args.seed.unwrap_or(0),
        steps,
        log_every: args.log_every.unwrap_or(LOG_EVERY),
        // The first grid comes early, and the last ones still differ.
        sample_every: args.sample_every.unwrap_or((steps / 20).clamp(25, 500)),
        checkpoint_every: args.checkpoint_every.unwrap_or(CHECKPOINT_EVERY),
        keep: args.keep.unwrap_or(KEEP_CHECKPOINTS) as usize,
        shuffle_buffer: args.shuffle_buffer,
        monitor: args.monitor.apply(MonitorConfig::default()),
        eval: args.evaluate.settings(),
        preprocess,
        condition_file,
        recipe,
        overrides: Vec::new(),
    };
    let mut trainer = Trainer::new(settings, device)?;
    if let (Some(checkpoint), Some(path)) = (&init, &args.init_from) {
        trainer
            .load_weights(checkpoint)
            .map_err(|e| CliError::in_context(format!("--init-from {}", path.display()), e))?;
    }
    let recipe = &trainer.settings().recipe;
    render.plan(recipe, &summary, memory);
    render.data(dataset);
    warn_small_dataset(dataset, recipe, render);
    Ok(Some(trainer))
}

/// Warns that a small dataset will be memorized, and names what helps.
fn warn_small_dataset(dataset: &Dataset, recipe: &Recipe, render: &Renderer) {
    if dataset.len() >= SMALL_DATASET {
        return;
    }
    let augments = !recipe.augment.policy.is_empty();
    let help = [
        (recipe.name != MODERN, "--recipe modern"),
        // Recipe modern augments by itself, and recipe paper excludes augmentation.
        (!augments && recipe.augment.allow, "--augment color,translation"),
        (!dataset.preprocess().flip, "--flip (if left and right are equivalent)"),
        (recipe.generator.layers.is_empty(), "--width 32"),
        (recipe.train.ema == 0.0, "--ema 0.999"),
        (true, "stopping early"),
    ];
    let help: Vec<_> = help.into_iter().filter_map(|(helps, what)| helps.then_some(what)).collect();
    render.hint(&format!(
        "only {} images (batch {}): the model will memorize them; expect blends and copies, and an \
         early-saturating discriminator. What helps: {}, and above all more images",
        dataset.len(),
        recipe.train.batch,
        help.join(", ")
    ));
}

/// The recipe with the flags applied.
fn resolve_recipe(
    args: &Args,
    known: &DatasetInfo,
    init: Option<&Checkpoint>,
) -> Result<Recipe, CliError> {
    let with = init.map(|checkpoint| Recipe::from_toml(&checkpoint.meta.recipe)).transpose()?;
    let mut chosen = args.preprocess.recipe(args.recipe.as_deref(), known, with)?;
    if let Some(batch) = args.batch {
        chosen.train.batch = batch as usize;
    }
    if let Some(lr) = args.lr {
        let from = chosen.optimizer.lr;
        chosen.optimizer.lr_discriminator =
            chosen.optimizer.lr_discriminator.map(|own| own * lr / from);
        chosen.optimizer.lr = lr;
    }
    if let Some(ema) = args.ema {
        chosen.train.ema = ema;
    }
    if args.steps.is_some() || args.epochs.is_some() {
        (chosen.train.steps, chosen.train.epochs) = (args.steps, args.epochs);
    }
    if args.allow_augment {
        chosen.augment.allow = true;
    }
    args.condition.apply(&mut chosen);
    let mut changes = Vec::new();
    if let Some(width) = args.width {
        let derived = [
            ("generator.width", chosen.generator.layers.is_empty()),
            ("discriminator.width", chosen.discriminator.layers.is_empty()),
        ];
        // A network that lists its layers takes no width. If both do, both keys are set, so that
        // the recipe's own error explains it.
        let none = derived.iter().all(|(_, derived)| !derived);
        let keys = derived.iter().filter(|(_, derived)| *derived || none);
        changes.extend(keys.map(|(key, _)| ((*key).to_owned(), width.to_string())));
    }
    changes.extend_from_slice(&args.recipe_flags.changes);
    // The recipe was valid before, so an error is a flag's.
    let recipe = chosen.with(&changes).map_err(CliError::usage)?;
    reject_unused_optimizer_keys(&args.recipe_flags, &recipe)?;
    Ok(recipe)
}

/// Refuses constants of an optimizer that the recipe does not use.
fn reject_unused_optimizer_keys(flags: &RecipeFlags, recipe: &Recipe) -> Result<(), CliError> {
    let kind = recipe.optimizer.kind;
    let adam = matches!(kind, OptimizerType::Adam | OptimizerType::AdamW);
    for (key, read, readers) in [
        ("optimizer.beta1", adam, "adam and adamw"),
        ("optimizer.beta2", kind != OptimizerType::Sgd, "adam, adamw and rmsprop"),
    ] {
        if let Some((_, value)) = flags.changes.iter().find(|(own, _)| own == key).filter(|_| !read)
        {
            return Err(usage!(
                "recipe key {key:?} = {value}: is for {readers}, and this recipe has another \
                 optimizer; leave it out"
            ));
        }
    }
    Ok(())
}
