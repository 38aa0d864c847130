//! The latent-space experiments: walk, arithmetic, turn, invert, restore; and reproducing their
//! images.

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
use crate::render::with_progress;
use crate::{memory, output};
use ::eval::latent::{Provenance, SampleSpec, SuccessRate};
use ::runs::{GridOptions, animation, grid};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Duration of an animation's frame, in hundredths of a second.
const FRAME_DELAY: u16 = 6;
/// Smallest side of an animated image, to which smaller ones are enlarged.
const MIN_ANIMATED_SIDE: usize = 128;

/// The latents of an experiment.
#[derive(clap::Args)]
#[command(next_help_heading = "Evaluation")]
struct SeedArgs {
    /// Random seed: the latents are those of `dcgan sample` with this seed.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = crate::parse::seed)]
    seed: u64,
    /// Truncation: draw latents within ±X, for less diverse and more typical images [default:
    /// none].
    #[arg(long, value_name = "X", value_parser = crate::parse::truncation,
        allow_negative_numbers = true)]
    truncation: Option<f64>,
}

/// The output of an experiment.
#[derive(clap::Args)]
#[command(next_help_heading = "Output")]
struct FileArgs {
    /// Write a PNG of the images side by side, which `dcgan reproduce` can redraw.
    #[arg(long, value_name = "FILE.png")]
    grid: Option<PathBuf>,
    /// Overwrite existing files.
    #[arg(long)]
    force: bool,
    /// Print JSON on standard output, and nothing else there.
    #[arg(long)]
    json: bool,
}

impl FileArgs {
    /// Rejects the grid and `others` if they could not be written, before the work is done.
    fn require(&self, others: &[super::OutputFile<'_>]) -> Result<(), CliError> {
        let grid = ("--grid", self.grid.as_deref(), "png");
        super::require_files(self.force, others.iter().copied().chain([grid]))
    }

    /// Rejects a grid of `count` images in these columns that would be too large, before they are
    /// drawn.
    fn require_grid_size(
        &self,
        opened: &LoadedGenerator,
        count: usize,
        columns: usize,
    ) -> Result<(), CliError> {
        match &self.grid {
            Some(_) => require_size(opened, count, grid_options(opened, columns)),
            None => Ok(()),
        }
    }

    /// Draws the images of `drawing`, `[N, H, W, C]`.
    fn draw(
        &self,
        opened: &LoadedGenerator,
        what: &str,
        drawing: &SampleSpec,
    ) -> Result<Vec<f32>, CliError> {
        let (latents, conditions) = drawing.inputs(opened.sampler.recipe())?;
        let total = latents.shape()[0];
        // Batch by batch, together, and as a vector.
        let bytes = 12 * (total * opened.sampler.shape().iter().product::<usize>()) as u64;
        memory::check(&format!("{total} images"), bytes, "draw fewer images")?;
        let images = with_progress(|progress| {
            opened.sampler.sample(&latents, conditions.as_ref(), opened.batch, |done| {
                // Ctrl-C ends the program: nothing is written before all images are drawn.
                let _ = progress.report(what, done, total);
            })
        })?;
        Ok(images.to_vec())
    }

    /// Draws and writes the grid, if `--grid` was given. `inputs` are the images of its cells that
    /// no generator draws.
    fn write_grid(
        &self,
        opened: &LoadedGenerator,
        drawing: SampleSpec,
        inputs: &[Vec<f32>],
    ) -> Result<(), CliError> {
        let Some(path) = &self.grid else { return Ok(()) };
        let (values, shape) = drawing.generate(&opened.sampler, opened.batch, inputs, |_| ())?;
        self.write_png(path, opened, drawing, &values, shape)
    }

    /// Writes images `[N, H, W, C]` into one PNG, with the metadata to reproduce them.
    fn write_png(
        &self,
        path: &Path,
        opened: &LoadedGenerator,
        drawing: SampleSpec,
        values: &[f32],
        shape: [usize; 4],
    ) -> Result<(), CliError> {
        let image = grid::grid(values, shape, drawing.grid)?;
        let networks = opened.networks.clone();
        let origin =
            Provenance::new(&opened.sampler, networks, command_line(), opened.batch, drawing);
        grid::save_png_with(path, &image, &origin.texts())?;
        output::wrote(path, self.json);
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
        let frame = |values: &&[f32]| {
            grid::grid(values, [values.len() / (h * w * c).max(1), h, w, c], options)
        };
        let frames = frames.iter().map(frame).collect::<Result<Vec<_>, _>>()?;
        animation::write(path, &frames, FRAME_DELAY)?;
        output::wrote(path, self.json);
        Ok(())
    }
}

/// Rejects an image of `count` generated ones that would be too large.
fn require_size(
    opened: &LoadedGenerator,
    count: usize,
    options: GridOptions,
) -> Result<(), CliError> {
    let [h, w, c] = opened.sampler.shape();
    let [width, height] = options.size(count, [h, w])?.map(u64::from);
    // The values of the images, once as they are drawn and once in the order of the cells.
    let values = (count * h * w * c) as u64;
    let bytes = 8 * values + width * height * c as u64;
    memory::check(&format!("{count} images in a grid"), bytes, "draw fewer images")
}

/// The grid for images of this generator.
fn grid_options(opened: &LoadedGenerator, columns: usize) -> GridOptions {
    let [h, w, _] = opened.sampler.shape();
    GridOptions { columns, ..GridOptions::for_size([h, w]) }
}

/// A single image, enlarged.
fn single_enlarged(opened: &LoadedGenerator) -> GridOptions {
    let [h, w, _] = opened.sampler.shape();
    GridOptions { scale: MIN_ANIMATED_SIDE.div_ceil(h.max(w)).max(1), ..GridOptions::SINGLE }
}

/// A success rate as reports show it.
#[derive(Serialize)]
struct RateReport {
    hits: usize,
    of: usize,
    share: f64,
    /// The 95 % confidence interval.
    interval: Option<[f64; 2]>,
}

impl RateReport {
    fn new(rate: SuccessRate, interval: Option<[f64; 2]>) -> Self {
        Self { hits: rate.hits, of: rate.of, share: rate.share(), interval }
    }

    /// `51 to 70`, in percent.
    fn interval_text(&self) -> Option<String> {
        self.interval.map(|[low, high]| format!("{:.0} to {:.0}", 100.0 * low, 100.0 * high))
    }
}

impl From<SuccessRate> for RateReport {
    fn from(rate: SuccessRate) -> Self {
        Self::new(rate, Some(rate.interval()))
    }
}
