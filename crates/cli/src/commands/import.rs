//! `dcgan import`.

use super::train::with_default;
use crate::error::CliError;
use crate::parse::count;
use crate::{output, parse, render, threads};
use runs::{Checkpoint, RunDir, checkpoint, checkpoint_retention};
use std::path::{Path, PathBuf};

/// The recipe whose weights are a folder of .npy files.
const AUTHORS: &str = "newmu-svhn";

#[derive(clap::Args)]
pub struct Args {
    /// With --recipe newmu-svhn: the folder of .npy files that the paper's authors released.
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Recipe: torch (the PyTorch DCGAN example), newmu-svhn, another name (see `dcgan recipes`) or
    /// a .toml file.
    #[arg(long, value_name = "NAME|FILE.toml", help_heading = "Model")]
    recipe: String,
    /// Generator's weights: a state dict.
    #[arg(
        long,
        value_name = "FILE.safetensors",
        conflicts_with = "folder",
        help_heading = "Model"
    )]
    generator: Option<PathBuf>,
    /// Discriminator's weights: a state dict [default: new weights].
    #[arg(long, value_name = "FILE.safetensors", requires = "generator", help_heading = "Model")]
    discriminator: Option<PathBuf>,
    /// Output path: the run directory to create.
    #[arg(long, value_name = "PATH", help_heading = "Output")]
    out: PathBuf,
    #[command(flatten)]
    shape: ShapeArgs,
}

/// Flags of the networks' shape, if it is not the recipe's own.
#[derive(clap::Args)]
struct ShapeArgs {
    #[arg(long, value_name = "N|HxW", value_parser = parse::image_size, conflicts_with = "folder",
        help_heading = "Data", help = with_default("Image size", "image.size"))]
    image: Option<[usize; 2]>,
    #[arg(long, value_name = "N", value_parser = count(1..=65536), conflicts_with = "folder",
        help_heading = "Model",
        help = with_default(
            "Width: channels at full resolution (ngf and ndf of the PyTorch example)",
            "generator.width"))]
    width: Option<u32>,
    #[arg(long, value_name = "1|3|4", value_parser = parse::channels, conflicts_with = "folder",
        help_heading = "Data",
        help = with_default("Image channels: 1 (gray), 3 (RGB) or 4 (RGBA)", "image.channels"))]
    channels: Option<usize>,
    #[arg(long, value_name = "N", value_parser = count(1..=65536), conflicts_with = "folder",
        help_heading = "Model",
        help = with_default(
            "Length of the latent vector z (nz of the PyTorch example)",
            "generator.latent"))]
    latent: Option<u32>,
}

/// Makes a run directory with one checkpoint of step 0.
pub fn run(args: &Args) -> Result<(), CliError> {
    threads::start(None)?;
    let bundle = match (&args.folder, &args.generator) {
        (Some(folder), _) if args.recipe == AUTHORS => authors(folder)?,
        (Some(_), _) => {
            return Err(usage!("a folder is for --recipe {AUTHORS}: name files with --generator"));
        }
        (None, Some(generator)) => state_dicts(args, generator)?,
        (None, None) if args.recipe == AUTHORS => {
            return Err(usage!(
                "--recipe {AUTHORS} needs the folder of .npy files, or --generator FILE"
            ));
        }
        (None, None) => {
            return Err(usage!(
                "name the generator's state dict with --generator FILE.safetensors"
            ));
        }
    };
    let run = RunDir::create_at(&args.out)?;
    let file = run.checkpoints().join(checkpoint_retention::file_name(bundle.meta.step));
    checkpoint::save(&file, &bundle)?;
    output::wrote(&file, false);
    output::line(format!(
        "generate images with: dcgan sample --checkpoint {} --grid samples.png",
        render::quoted(&args.out)
    ));
    Ok(())
}

fn authors(folder: &Path) -> Result<Checkpoint, CliError> {
    if !folder.is_dir() {
        return Err(failure!(
            "no folder {folder:?}: name the one with the files 200_gen_params.jl_01.npy, …"
        ));
    }
    Ok(train::import_newmu_svhn(folder)?)
}

fn state_dicts(args: &Args, generator: &Path) -> Result<Checkpoint, CliError> {
    let mut recipe = super::recipes::load(&args.recipe)?;
    if let Some(size) = args.shape.image {
        recipe.image.size = size;
    }
    if let Some(channels) = args.shape.channels {
        recipe.image.channels = channels;
    }
    if let Some(width) = args.shape.width {
        recipe.generator.width = width as usize;
        recipe.discriminator.width = width as usize;
    }
    if let Some(latent) = args.shape.latent {
        recipe.generator.latent = latent as usize;
    }
    recipe.validate().map_err(CliError::usage)?;
    Ok(train::import(&recipe, generator, args.discriminator.as_deref())?)
}
