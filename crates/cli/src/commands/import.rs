//! `dcgan import`.

use crate::error::CliError;
use crate::{output, parse, render};
use runs::{Checkpoint, RunDir, checkpoint, checkpoint_retention};
use std::path::{Path, PathBuf};

/// The recipe whose weights come as a folder of arrays.
const AUTHORS: &str = "newmu-svhn";

/// Flags of `import`.
#[derive(clap::Args)]
pub struct Args {
    /// With --recipe newmu-svhn: the folder of .npy files that the paper's authors released.
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
    /// What the networks are: torch (the PyTorch DCGAN example), newmu-svhn, another recipe's name, or a .toml file.
    #[arg(long, value_name = "NAME|FILE.toml")]
    recipe: String,
    /// The generator's state dict.
    #[arg(long, value_name = "FILE.safetensors", conflicts_with = "folder")]
    generator: Option<PathBuf>,
    /// The discriminator's state dict; without it the run gets a fresh one.
    #[arg(long, value_name = "FILE.safetensors", requires = "generator")]
    discriminator: Option<PathBuf>,
    /// The run directory to make.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Size of the pictures, where it is not the recipe's.
    #[arg(long, value_name = "N|HxW", value_parser = parse::image_size, conflicts_with = "folder")]
    image: Option<[usize; 2]>,
    /// Channels at the resolution next to the picture (ngf and ndf of the PyTorch example), where they are not the recipe's.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65536), conflicts_with = "folder")]
    width: Option<u32>,
    /// Channels of the pictures, where they are not the recipe's.
    #[arg(long, value_name = "1|3|4", value_parser = parse::channels, conflicts_with = "folder")]
    channels: Option<usize>,
    /// Length of the latent vector (nz of the PyTorch example), where it is not the recipe's.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65536), conflicts_with = "folder")]
    latent: Option<u32>,
}

/// Makes a run directory with one checkpoint of step 0.
///
/// # Errors
/// Files that cannot be read, weights that are not the recipe's, or a directory that is not empty.
pub fn run(args: &Args) -> Result<(), CliError> {
    let bundle = match (&args.folder, &args.generator) {
        (Some(folder), _) if args.recipe == AUTHORS => authors(folder)?,
        (Some(_), _) => {
            return Err(CliError::Usage(format!(
                "a folder is for --recipe {AUTHORS}: name files with --generator"
            )));
        }
        (None, Some(generator)) => state_dicts(args, generator)?,
        (None, None) if args.recipe == AUTHORS => {
            return Err(CliError::Usage(format!(
                "--recipe {AUTHORS} needs the folder of .npy files, or --generator FILE"
            )));
        }
        (None, None) => {
            return Err(CliError::Usage(
                "name the generator's state dict with --generator FILE.safetensors".into(),
            ));
        }
    };
    let run = RunDir::create_at(&args.out)?;
    let file = run.checkpoints().join(checkpoint_retention::file_name(bundle.meta.step));
    checkpoint::save(&file, &bundle)?;
    output::line(format!("wrote {}", file.display()));
    output::line(format!(
        "draw with it: dcgan sample --checkpoint {} --grid samples.png",
        render::quoted(&args.out)
    ));
    Ok(())
}

fn authors(folder: &Path) -> Result<Checkpoint, CliError> {
    if !folder.is_dir() {
        return Err(CliError::Failed(format!(
            "no folder {folder:?}: name the one with the files 200_gen_params.jl_01.npy, …"
        )));
    }
    Ok(train::import_newmu_svhn(folder)?)
}

fn state_dicts(args: &Args, generator: &Path) -> Result<Checkpoint, CliError> {
    let mut recipe = super::recipes::load(&args.recipe)?;
    if let Some(size) = args.image {
        recipe.image.size = size;
    }
    if let Some(channels) = args.channels {
        recipe.image.channels = channels;
    }
    if let Some(width) = args.width {
        recipe.generator.width = width as usize;
        recipe.discriminator.width = width as usize;
    }
    if let Some(latent) = args.latent {
        recipe.generator.latent = latent as usize;
    }
    recipe.validate().map_err(CliError::usage)?;
    Ok(train::import(&recipe, generator, args.discriminator.as_deref())?)
}
