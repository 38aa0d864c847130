//! `dcgan toy`: a laboratory in the plane.

mod gaussians;
mod render;
mod saddle;

use crate::error::CliError;
use ::runs::{grid, plots};
use ::train::toy::Target;
use clap::Subcommand;
use std::path::{Path, PathBuf};

/// Flags of `toy`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

/// What to play with.
#[derive(Subcommand)]
enum Command {
    /// Train a small GAN on 8 Gaussians on a circle, in seconds.
    #[command(after_long_help = gaussians::EXAMPLES)]
    Ring(Box<gaussians::Args>),
    /// Train a small GAN on 25 Gaussians on a grid: how many does it find?
    #[command(after_long_help = gaussians::EXAMPLES)]
    Grid(Box<gaussians::Args>),
    /// Play x·y, the smallest game: why plain gradients turn around a saddle, and what momentum, Adam and optimism change.
    Saddle(saddle::Args),
}

/// Does it.
///
/// # Errors
/// One line.
pub fn run(args: &Args) -> Result<(), CliError> {
    match &args.command {
        Command::Ring(args) => gaussians::run(args, Target::Ring),
        Command::Grid(args) => gaussians::run(args, Target::Grid),
        Command::Saddle(args) => saddle::run(args),
    }
}

/// Pictures to write.
#[derive(clap::Args)]
#[command(next_help_heading = "Output")]
struct PictureArgs {
    /// Writes an animation.
    #[arg(long, value_name = "FILE.gif")]
    gif: Option<PathBuf>,
    /// Writes its last frame, twice as large.
    #[arg(long, value_name = "FILE.png")]
    png: Option<PathBuf>,
    /// Frames of the animation, the start and the end among them.
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(2..=1000))]
    frames: u32,
    /// Write over files that are there.
    #[arg(long)]
    force: bool,
}

impl PictureArgs {
    /// Refuses files that could not be written, before the work is done.
    fn require(&self) -> Result<(), CliError> {
        let check = |flag: &str, path: &Option<PathBuf>, ending: &str| match path {
            Some(path) => self.require_file(flag, path, ending),
            None => Ok(()),
        };
        check("--gif", &self.gif, "gif")?;
        check("--png", &self.png, "png")
    }

    fn require_file(&self, flag: &str, path: &Path, ending: &str) -> Result<(), CliError> {
        crate::commands::require_file(flag, path, ending, self.force)
    }

    /// How many frames are needed for these files.
    fn needed(&self) -> u64 {
        match (&self.gif, &self.png) {
            (Some(_), _) => self.frames.into(),
            (None, Some(_)) => 1,
            (None, None) => 0,
        }
    }

    /// Writes what was asked for and returns what was written.
    fn write(&self, pictures: &[plots::RgbImage]) -> Result<Vec<&Path>, CliError> {
        let mut written = Vec::new();
        if let Some(path) = &self.gif {
            plots::animate(path, pictures)?;
            written.push(path.as_path());
        }
        if let (Some(path), Some(last)) = (&self.png, pictures.last()) {
            grid::save_png(path, &last.clone().into())?;
            written.push(path.as_path());
        }
        Ok(written)
    }
}
