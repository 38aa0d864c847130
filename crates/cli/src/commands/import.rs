//! `dcgan import`.

use super::train::with_default;
use crate::error::CliError;
use crate::parse::count;
use crate::{output, parse, render, threads};
use nn::Recipe;
use runs::{Checkpoint, RunDir, UnreadEntry, checkpoint, checkpoint_retention};
use std::path::{Path, PathBuf};

/// The recipe whose weights are a folder of .npy files.
const AUTHORS: &str = "newmu-svhn";

#[derive(clap::Args)]
pub struct Args {
    /// With --recipe newmu-svhn: the folder of .npy files that the paper's authors released.
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Recipe: torch (the PyTorch DCGAN example), newmu-svhn, another name (see `dcgan recipes`) or
    /// a .toml file [default: found by names and shapes of the weights].
    #[arg(long, value_name = "NAME|FILE.toml", help_heading = "Model")]
    recipe: Option<String>,
    /// Generator's weights: a state dict, as .safetensors, .pth or .pt.
    #[arg(
        long,
        value_name = "FILE.safetensors|FILE.pth",
        conflicts_with = "folder",
        help_heading = "Model"
    )]
    generator: Option<PathBuf>,
    /// Discriminator's weights: a state dict [default: from the generator's file if they are in it,
    /// else new weights].
    #[arg(
        long,
        value_name = "FILE.safetensors|FILE.pth",
        requires = "generator",
        help_heading = "Model"
    )]
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
        requires = "recipe", help_heading = "Data",
        help = with_default("Image size", "image.size"))]
    image: Option<[usize; 2]>,
    #[arg(long, value_name = "N", value_parser = count(1..=65536), conflicts_with = "folder",
        requires = "recipe", help_heading = "Model",
        help = with_default(
            "Width: channels at full resolution (ngf and ndf of the PyTorch example)",
            "generator.width"))]
    width: Option<u32>,
    #[arg(long, value_name = "1|3|4", value_parser = parse::channels, conflicts_with = "folder",
        requires = "recipe", help_heading = "Data",
        help = with_default("Image channels: 1 (gray), 3 (RGB) or 4 (RGBA)", "image.channels"))]
    channels: Option<usize>,
    #[arg(long, value_name = "N", value_parser = count(1..=65536), conflicts_with = "folder",
        requires = "recipe", help_heading = "Model",
        help = with_default(
            "Length of the latent vector z (nz of the PyTorch example)",
            "generator.latent"))]
    latent: Option<u32>,
}

/// Makes a run directory with one checkpoint of step 0.
pub fn run(args: &Args) -> Result<(), CliError> {
    threads::start(None)?;
    let is_authors = args.recipe.as_deref() == Some(AUTHORS);
    let bundle = match (&args.folder, &args.generator) {
        (Some(folder), _) if is_authors => authors(folder)?,
        (Some(_), _) => {
            return Err(usage!("a folder is for --recipe {AUTHORS}: name files with --generator"));
        }
        (None, Some(generator)) => state_dicts(args, generator)?,
        (None, None) if is_authors => {
            return Err(usage!(
                "--recipe {AUTHORS} needs the folder of .npy files, or --generator FILE"
            ));
        }
        (None, None) => {
            return Err(usage!(
                "name the generator's state dict with --generator FILE (see --help)"
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
    let recipe = match &args.recipe {
        Some(name) => Some(args.shape.recipe(name)?),
        None => None,
    };
    let import = train::import(recipe.as_ref(), generator, args.discriminator.as_deref())?;
    let found = if recipe.is_some() { "" } else { ", found by names and shapes" };
    output::line(format!("recipe: {}{found}", import.recipe.sizes_text()));
    for (network, key) in
        [("generator", Some(&import.generator)), ("discriminator", import.discriminator.as_ref())]
    {
        match key.map(String::as_str) {
            None => output::line(format!("{network}: new weights")),
            Some("") => {}
            Some(key) => output::line(format!("{network}: {}", output::name(key))),
        }
    }
    warn_unread(&import.unread, output::warning);
    Ok(import.checkpoint)
}

/// Names what a file holds beside tensors.
pub fn warn_unread(unread: &[UnreadEntry], warn: impl Fn(String)) {
    let named: Vec<_> =
        unread.iter().take(5).map(|entry| format!("{:?} ({})", entry.key, entry.what)).collect();
    let more = match unread.len().saturating_sub(named.len()) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    if !named.is_empty() {
        warn(format!("not read: {}{more}", named.join(", ")));
    }
}

impl ShapeArgs {
    /// The recipe of this name in this shape.
    fn recipe(&self, name: &str) -> Result<Recipe, CliError> {
        let mut recipe = super::recipes::load(name)?;
        if let Some(size) = self.image {
            recipe.image.size = size;
        }
        if let Some(channels) = self.channels {
            recipe.image.channels = channels;
        }
        if let Some(width) = self.width {
            recipe.generator.width = width as usize;
            recipe.discriminator.width = width as usize;
        }
        if let Some(latent) = self.latent {
            recipe.generator.latent = latent as usize;
        }
        recipe.validate().map_err(CliError::usage)?;
        Ok(recipe)
    }
}
