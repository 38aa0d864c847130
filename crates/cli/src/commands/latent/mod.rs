//! The experiments in latent space: walk, arithmetic, turn, invert, restore; and drawing their pictures again.

pub mod arithmetic;
mod candidates;
mod inversion_args;
pub mod invert;
pub mod reproduce;
pub mod restore;
pub mod turn;
pub mod walk;

use super::generator::{LoadedGenerator, command_line};
use crate::error::CliError;
use crate::output;
use crate::render::with_progress;
use ::eval::latent::{Provenance, SampleSpec};
use ::runs::{GridOptions, animation, grid};
use std::path::{Path, PathBuf};

/// Hundredths of a second that a frame of an animation stands.
const DELAY: u16 = 6;
/// The side that single animated pictures are upsample_bicubic to, at least.
const SHOWN: usize = 128;

/// Which latents.
#[derive(clap::Args)]
struct SeedArgs {
    /// The latents are those that dcgan sample draws from this seed.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = crate::parse::seed)]
    seed: u64,
    /// Take latents from the middle of their distribution, within ±X: fewer kinds of pictures, each more typical.
    #[arg(long, value_name = "X", value_parser = crate::parse::truncation, allow_negative_numbers = true)]
    truncation: Option<f64>,
}

/// What is written.
#[derive(clap::Args)]
struct FileArgs {
    /// Writes the pictures into one PNG, which dcgan again can draw again.
    #[arg(long, value_name = "FILE.png")]
    grid: Option<PathBuf>,
    /// Write over files that are there.
    #[arg(long)]
    force: bool,
    /// One JSON object on standard output, and nothing else there.
    #[arg(long)]
    json: bool,
}

impl FileArgs {
    /// Refuses files that could not be written, before the work is done.
    fn require(&self, gif: Option<&Path>) -> Result<(), CliError> {
        self.grid.as_ref().map_or(Ok(()), |grid| super::require_grid(grid, self.force))?;
        gif.map_or(Ok(()), |gif| self.require_file("--gif", gif, "gif"))
    }

    /// Refuses a file of another kind than `ending`, or that could not be written.
    fn require_file(&self, flag: &str, path: &Path, ending: &str) -> Result<(), CliError> {
        super::require_file(flag, path, ending, self.force)
    }

    /// Says that a file was written, to people.
    fn wrote(&self, path: &Path) {
        if !self.json {
            output::line(format!("wrote {}", path.display()));
        }
    }

    /// Draws the pictures of a drawing, `[N, H, W, C]`.
    fn draw(
        &self,
        opened: &LoadedGenerator,
        what: &str,
        drawing: &SampleSpec,
    ) -> Result<Vec<f32>, CliError> {
        let (latents, told) = drawing.inputs(opened.sampler.recipe())?;
        let total = latents.shape()[0];
        let images = with_progress(self.json, |progress| {
            opened.sampler.sample(&latents, told.as_ref(), opened.batch, |done| {
                // Ctrl-C ends the program: nothing is written before all is drawn.
                let _ = progress.report(what, done, total);
            })
        })?;
        Ok(images.to_vec())
    }

    /// Draws and writes the grid, if one is wanted, with `given` in the places of pictures from elsewhere.
    fn write_grid(
        &self,
        opened: &LoadedGenerator,
        drawing: SampleSpec,
        given: &[Vec<f32>],
    ) -> Result<(), CliError> {
        let Some(path) = &self.grid else { return Ok(()) };
        let (values, shape) = drawing.generate(&opened.sampler, opened.batch, given, |_| ())?;
        let image = grid::grid(&values, shape, drawing.grid)?;
        let origin = Provenance::new(
            &opened.sampler,
            opened.networks.clone(),
            command_line(),
            opened.batch,
            drawing,
        );
        grid::save_png_with(path, &image, &origin.texts())?;
        self.wrote(path);
        Ok(())
    }

    /// Writes an animation of `frames`, each `[cells, H, W, C]`.
    fn write_gif(
        &self,
        path: &Path,
        frames: &[&[f32]],
        [h, w, c]: [usize; 3],
        options: GridOptions,
    ) -> Result<(), CliError> {
        let picture = |values: &&[f32]| {
            grid::grid(values, [values.len() / (h * w * c).max(1), h, w, c], options)
        };
        let pictures = frames.iter().map(picture).collect::<Result<Vec<_>, _>>()?;
        animation::write(path, &pictures, DELAY)?;
        self.wrote(path);
        Ok(())
    }
}

/// The grid for pictures of this generator.
fn options(opened: &LoadedGenerator, columns: usize) -> GridOptions {
    let [h, w, _] = opened.sampler.shape();
    GridOptions { columns, ..GridOptions::for_size([h, w]) }
}

/// A picture alone, enlarged.
fn shown_alone(opened: &LoadedGenerator) -> GridOptions {
    let [h, w, _] = opened.sampler.shape();
    GridOptions { scale: SHOWN.div_ceil(h.max(w)).max(1), ..GridOptions::SINGLE }
}
