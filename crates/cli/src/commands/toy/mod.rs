//! `dcgan toy`: GANs on points of the plane, and the simplest two-player game.

mod gaussians;
mod render;
mod saddle;

use crate::commands::ForceArg;
use crate::error::CliError;
use crate::parse::count;
use ::runs::{grid, plots};
use ::train::toy::ToyDataset;
use clap::Subcommand;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

/// The toy problem.
#[derive(Subcommand)]
enum Command {
    /// Train a small GAN on 8 Gaussians on a circle, in seconds.
    #[command(after_long_help = gaussians::EXAMPLES)]
    Ring(Box<gaussians::Args>),
    /// Train a small GAN on 25 Gaussians on a grid, and count the modes it finds.
    #[command(after_long_help = gaussians::EXAMPLES)]
    Grid(Box<gaussians::Args>),
    /// Simulate min max x·y under ten update rules, among them Adam and extragradient.
    Saddle(saddle::Args),
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), CliError> {
    match &args.command {
        Command::Ring(args) => gaussians::run(args, ToyDataset::Ring),
        Command::Grid(args) => gaussians::run(args, ToyDataset::Grid),
        Command::Saddle(args) => saddle::run(args),
    }
}

/// Plots to write.
#[derive(clap::Args)]
#[command(next_help_heading = "Output")]
struct PlotArgs {
    /// Write a GIF of the run.
    #[arg(long, value_name = "FILE.gif")]
    gif: Option<PathBuf>,
    /// Write the last frame as PNG, twice as large.
    #[arg(long, value_name = "FILE.png")]
    png: Option<PathBuf>,
    /// Frames of the animation, with the first and last step among them.
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = count(2..=1000))]
    frames: u32,
    #[command(flatten)]
    force: ForceArg,
}

impl PlotArgs {
    /// Checks before the run that the files can be written.
    fn require(&self) -> Result<(), CliError> {
        let check = |flag: &str, path: &Option<PathBuf>, ending: &str| match path {
            Some(path) => self.require_file(flag, path, ending),
            None => Ok(()),
        };
        check("--gif", &self.gif, "gif")?;
        check("--png", &self.png, "png")
    }

    fn require_file(&self, flag: &str, path: &Path, ending: &str) -> Result<(), CliError> {
        crate::commands::require_file(flag, path, ending, self.force.force)
    }

    /// Number of frames that these files need.
    fn num_frames(&self) -> u64 {
        match (&self.gif, &self.png) {
            (Some(_), _) => self.frames.into(),
            (None, Some(_)) => 1,
            (None, None) => 0,
        }
    }

    /// Writes the files and returns their paths.
    fn write(&self, frames: &[plots::RgbImage]) -> Result<Vec<&Path>, CliError> {
        let mut written = Vec::new();
        if let Some(path) = &self.gif {
            plots::animate(path, frames)?;
            written.push(path.as_path());
        }
        if let (Some(path), Some(last)) = (&self.png, frames.last()) {
            grid::save_png(path, &last.clone().into())?;
            written.push(path.as_path());
        }
        Ok(written)
    }
}
