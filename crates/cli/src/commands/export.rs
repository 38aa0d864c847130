//! `dcgan export`.

use super::{CheckpointArgs, ForceArg};
use crate::error::CliError;
use crate::{output, threads};
use std::path::PathBuf;

#[derive(clap::Args)]
#[command(group(
    clap::ArgGroup::new("what").args(["out", "generator"]).required(true).multiple(true)
))]
pub struct Args {
    #[command(flatten)]
    checkpoint: CheckpointArgs,
    /// Output path: a folder for generator.safetensors and discriminator.safetensors, with the
    /// tensor names and layouts of the PyTorch DCGAN example.
    #[arg(long, value_name = "PATH", help_heading = "Output")]
    out: Option<PathBuf>,
    /// Generator's weights: writes a small file of the generator alone, which `dcgan sample
    /// --checkpoint` takes.
    #[arg(long, value_name = "FILE.safetensors", help_heading = "Output")]
    generator: Option<PathBuf>,
    #[command(flatten)]
    force: ForceArg,
}

/// Writes the state dicts.
pub fn run(args: &Args) -> Result<(), CliError> {
    threads::start(None)?;
    let (checkpoint, _) = args.checkpoint.open()?;
    if let Some(file) = &args.generator {
        super::require_folder("--generator", file)?;
        super::refuse_existing(file, args.force.force)?;
    }
    // The folder first: existing files in it are refused before anything is written.
    if let Some(folder) = &args.out {
        for file in train::export(&checkpoint, folder, args.force.force)? {
            output::wrote(&file, false);
        }
    }
    if let Some(file) = &args.generator {
        train::export_generator(&checkpoint, file)?;
        output::wrote(file, false);
    }
    Ok(())
}
