//! `dcgan data preview`.

use super::SpecArgs;
use crate::commands::{ForceArg, PreprocessArgs, open_dataset, require_files};
use crate::error::CliError;
use crate::output;
use crate::parse::count;
use crate::render::Renderer;
use data::{Cursor, DataSpec, Loader, Split};
use runs::{GridOptions, grid};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;

#[derive(clap::Args)]
#[command(next_help_heading = "Data")]
pub struct Args {
    #[command(flatten)]
    spec: SpecArgs,
    /// Write a PNG of the images side by side.
    #[arg(long, value_name = "FILE.png", help_heading = "Output")]
    grid: PathBuf,
    /// Recipe whose image section sets the preprocessing [default: as for `dcgan train`].
    #[arg(long, value_name = "NAME|FILE.toml")]
    recipe: Option<String>,
    /// Split of the dataset to show.
    #[arg(long, value_enum, default_value = "train")]
    split: Split,
    /// Number of images, at most all of the split.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = count(1..=1_000_000))]
    count: u32,
    /// Columns of the grid.
    #[arg(long, value_name = "N", default_value_t = 8, help_heading = "Output",
        value_parser = count(1..=10_000))]
    columns: u32,
    /// Random seed of the epoch's order: the images are the first of a run with this seed.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = crate::parse::seed)]
    seed: u64,
    /// Shuffle among N images instead of all, as `dcgan train` does with this flag.
    #[arg(long, value_name = "N", value_parser = crate::parse::shuffle_buffer)]
    shuffle_buffer: Option<NonZeroU32>,
    #[command(flatten)]
    force: ForceArg,
    #[command(flatten)]
    preprocess: PreprocessArgs,
}

/// Writes the first images that a run with the same flags trains on.
pub fn run(args: &Args) -> Result<(), CliError> {
    require_files(args.force.force, [("--grid", Some(&*args.grid), "png")])?;
    let text = args.spec.get();
    let preprocess = args.preprocess.of_recipe(args.recipe.as_deref(), &DataSpec::parse(text)?)?;
    let dataset = Arc::new(open_dataset(text, args.split, &preprocess, false)?);
    Renderer::new(false).data(&dataset);
    // Neither the order of an epoch nor the mirroring depends on the batch size, so that one batch
    // holds the first images of any run.
    let count = dataset.len().min(args.count as usize);
    let cursor = Cursor::new(args.seed).with_buffer(args.shuffle_buffer);
    let [height, width, channels] = dataset.shape();
    let options =
        GridOptions { columns: args.columns as usize, ..GridOptions::for_size([height, width]) };
    options.size(count, [height, width])?;
    let batch = Loader::new(dataset.clone(), count, cursor, 1)?.next()?;
    let image = grid::grid(&batch.images, [count, height, width, channels], options)?;
    grid::save_png(&args.grid, &image)?;
    output::wrote(&args.grid, false);
    Ok(())
}
