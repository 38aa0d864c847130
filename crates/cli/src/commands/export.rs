//! `dcgan export`.

use crate::error::CliError;
use crate::output;
use std::path::PathBuf;

/// Flags of `export`.
#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("what").args(["out", "generator"]).required(true).multiple(true)))]
pub struct Args {
    /// A checkpoint, or a run directory, which means its newest good checkpoint.
    #[arg(long, value_name = "PATH|RUNDIR")]
    checkpoint: PathBuf,
    /// The folder for generator.safetensors and discriminator.safetensors, with the names and layouts of the PyTorch DCGAN example.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// A small file with the generator alone, which sample takes as --checkpoint: to give away.
    #[arg(long, value_name = "FILE.safetensors")]
    generator: Option<PathBuf>,
    /// Write over files that are there.
    #[arg(long)]
    force: bool,
}

/// Writes the state dicts.
///
/// # Errors
/// No good checkpoint, files that are there already, or the disk.
pub fn run(args: &Args) -> Result<(), CliError> {
    let found = super::open_checkpoint(&args.checkpoint, output::warning)?;
    if let Some(file) = &args.generator {
        super::require_folder("--generator", file)?;
        super::refuse_existing(file, args.force)?;
    }
    // The folder first: what is in it is refused before anything is written.
    if let Some(folder) = &args.out {
        for file in train::export(&found.checkpoint, folder, args.force)? {
            output::line(format!("wrote {}", file.display()));
        }
    }
    if let Some(file) = &args.generator {
        train::export_generator(&found.checkpoint, file)?;
        output::line(format!("wrote {}", file.display()));
    }
    Ok(())
}
