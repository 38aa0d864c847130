//! The commands, one file each: its flags and what it does.

mod data;
mod device;
mod devices;
mod eval;
mod export;
mod generator;
mod import;
mod info;
mod interpret;
mod latent;
mod memorization;
mod preprocess;
mod recipes;
mod representation;
mod runs;
mod sample;
mod toy;
mod train;
mod watch;

use crate::error::CliError;
use ::runs::{ArtifactError, LatestValidCheckpoint, run_dir};
use clap::Subcommand;
use nn::Recipe;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Train a generator and a discriminator on pictures.
    #[command(after_long_help = train::EXAMPLES)]
    Train(Box<train::Args>),
    /// Draw pictures with a trained generator.
    Sample(sample::Args),
    /// See what there is to learn from, and get more.
    #[command(subcommand)]
    Data(data::Command),
    /// Tell what a checkpoint holds.
    Info(info::Args),
    /// List what this computer can compute with.
    Devices(devices::Args),
    /// List and compare the runs of a folder.
    Runs(runs::Args),
    /// List the built-in recipes, or show one in full.
    Recipes(recipes::Args),
    /// Make a run directory from weights of another program.
    Import(import::Args),
    /// Write a checkpoint's networks as PyTorch state dicts.
    Export(export::Args),
    /// Measure how near generated pictures are to real ones.
    Eval(Box<eval::Args>),
    /// Walk through latent space: does the generator know a world, or pictures by heart?
    Walk(latent::walk::Args),
    /// Compute with pictures: what is A − B + C?
    Arithmetic(latent::arithmetic::Args),
    /// Turn pictures along the difference between two groups.
    Turn(latent::turn::Args),
    /// Find the latent vector of a picture.
    Invert(latent::invert::Args),
    /// Complete, enlarge or clean a picture by what a generator can draw.
    Restore(latent::restore::Args),
    /// Draw a picture again that says how it was drawn.
    Reproduce(latent::reproduce::Args),
    /// Write a discriminator's features of pictures.
    Features(representation::features::Args),
    /// Compare how well pictures are classified by a discriminator's features, by pixels, and by other baselines.
    LinearProbe(representation::linear_probe::Args),
    /// Find pictures that a set holds twice, by the codes of an autoencoder, and leave them out.
    Dedup(memorization::dedup::Args),
    /// Show generated pictures beside those of the training set that are nearest to them.
    Nearest(memorization::nearest::Args),
    /// Draw the filters that touch pixels.
    Filters(interpret::filters::Args),
    /// Show what features of a discriminator answer to, by guided backpropagation.
    Guided(Box<interpret::guided::Args>),
    /// Make a generator forget an object by dropping feature maps.
    Forget(interpret::forget::Args),
    /// Play with GANs in the plane: seconds a run, and all of it to see.
    #[command(subcommand)]
    Toy(toy::Command),
}

impl Command {
    /// Does it; the code is that of an end that is no error.
    ///
    /// # Errors
    /// One line.
    pub fn run(&self) -> Result<ExitCode, CliError> {
        match self {
            Self::Train(args) => return train::run(args),
            Self::Sample(args) => sample::run(args)?,
            Self::Data(command) => data::run(command)?,
            Self::Info(args) => info::run(args)?,
            Self::Devices(args) => devices::run(args),
            Self::Runs(args) => runs::run(args)?,
            Self::Recipes(args) => recipes::run(args)?,
            Self::Import(args) => import::run(args)?,
            Self::Export(args) => export::run(args)?,
            Self::Eval(args) => eval::run(args)?,
            Self::Walk(args) => latent::walk::run(args)?,
            Self::Arithmetic(args) => latent::arithmetic::run(args)?,
            Self::Turn(args) => latent::turn::run(args)?,
            Self::Invert(args) => latent::invert::run(args)?,
            Self::Restore(args) => latent::restore::run(args)?,
            Self::Reproduce(args) => return latent::reproduce::run(args),
            Self::Features(args) => representation::features::run(args)?,
            Self::LinearProbe(args) => representation::linear_probe::run(args)?,
            Self::Dedup(args) => memorization::dedup::run(args)?,
            Self::Nearest(args) => memorization::nearest::run(args)?,
            Self::Filters(args) => interpret::filters::run(args)?,
            Self::Guided(args) => interpret::guided::run(args)?,
            Self::Forget(args) => interpret::forget::run(args)?,
            Self::Toy(command) => toy::run(command)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The checkpoint that a path means (a run directory: its newest good one), damaged ones on the way named.
fn open_checkpoint(path: &Path, warn: impl Fn(String)) -> Result<LatestValidCheckpoint, CliError> {
    let found = run_dir::resolve_checkpoint(path)?;
    if found.checkpoint.meta.recipe.is_empty() {
        let kind = &found.checkpoint.meta.recipe_name;
        return Err(CliError::Failed(format!(
            "{path:?} is no checkpoint of a GAN but a {kind}: give a checkpoint or run directory (--features takes networks of features)"
        )));
    }
    name_skipped(&found.skipped, &found.path, warn);
    Ok(found)
}

fn name_skipped(skipped: &[(PathBuf, ArtifactError)], used: &Path, warn: impl Fn(String)) {
    skipped
        .iter()
        .for_each(|(_, error)| warn(format!("{error} (skipped; using {})", used.display())));
}

/// The recipe that `--recipe` means: a preset's name, or a TOML file.
fn recipe(name: &str) -> Result<Recipe, CliError> {
    if Recipe::names().any(|known| known == name) {
        return Ok(Recipe::preset(name)?);
    }
    let path = Path::new(name);
    let is_path = path.extension().is_some_and(|extension| extension == "toml")
        || path.components().count() > 1
        || path.is_file();
    if !is_path {
        let unknown =
            Recipe::preset(name).err().map_or_else(String::new, |error| error.to_string());
        return Err(CliError::Usage(format!("{unknown}, or the path of a .toml file")));
    }
    let text = std::fs::read_to_string(path)
        .map_err(|e| CliError::Failed(format!("cannot read recipe {path:?}: {e}")))?;
    Recipe::from_toml(&text).map_err(|e| CliError::Failed(format!("{}: {e}", path.display())))
}

/// Refuses a file in a folder that is not there, before the work is done that would be lost.
fn require_folder(flag: &str, path: &Path) -> Result<(), CliError> {
    let folder =
        path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let wrong = match folder.metadata() {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => format!("{folder:?} is not a folder: choose another place"),
        Err(_) => format!("there is no folder {folder:?}: make it, or choose another place"),
    };
    Err(CliError::Failed(format!("{flag} {}: {wrong}", path.display())))
}

/// Refuses a grid that could not be written, before the work is done.
fn require_grid(grid: &Path, force: bool) -> Result<(), CliError> {
    if !grid.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png")) {
        return Err(CliError::Usage(format!(
            "--grid {}: grids are PNG files: give it a name that ends in .png",
            grid.display()
        )));
    }
    require_folder("--grid", grid)?;
    refuse_existing(grid, force)
}

/// Refuses to write over what is there, unless `force`.
fn refuse_existing(path: &Path, force: bool) -> Result<(), CliError> {
    if !force && path.exists() {
        return Err(CliError::Failed(format!(
            "{path:?} is there already: choose another name, or write over it with --force"
        )));
    }
    Ok(())
}
