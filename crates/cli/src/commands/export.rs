//! `dcgan export`.

use crate::error::CliError;
use crate::output;
use std::path::PathBuf;

/// Flags of `export`.
#[derive(clap::Args)]
pub struct Args {
    /// A checkpoint, or a run directory, which means its newest good checkpoint.
    #[arg(long, value_name = "PATH|RUNDIR")]
    checkpoint: PathBuf,
    /// The folder for generator.safetensors and discriminator.safetensors, with the names and layouts of the PyTorch DCGAN example.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Writes the state dicts.
///
/// # Errors
/// No good checkpoint, files that are there already, or the disk.
pub fn run(args: &Args) -> Result<(), CliError> {
    let found = super::open_checkpoint(&args.checkpoint, output::warning)?;
    for file in train::export(&found.checkpoint, &args.out)? {
        output::line(format!("wrote {}", file.display()));
    }
    Ok(())
}
