//! `dcgan data preview`.

use crate::commands::preprocess::PreprocessArgs;
use crate::commands::require_grid;
use crate::error::CliError;
use crate::output;
use crate::render::{Renderer, counter};
use data::{Cursor, DataSpec, Dataset, Loader, Split};
use runs::{GridOptions, grid};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;

/// Flags of `data preview`.
#[derive(clap::Args)]
pub struct Args {
    /// What `dcgan train --data` takes.
    #[arg(value_name = "SPEC")]
    spec: String,
    /// The PNG to write.
    #[arg(long, value_name = "FILE.png")]
    grid: PathBuf,
    /// As for `dcgan train`, whose [image] section counts here.
    #[arg(long, value_name = "NAME|FILE.toml")]
    recipe: Option<String>,
    /// Which part of the set.
    #[arg(long, value_enum, default_value = "train")]
    split: Split,
    /// How many pictures, at most as many as there are.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    count: u32,
    /// Pictures in a row of the grid.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    columns: u32,
    /// The pictures are the first that a run with this seed sees.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = crate::parse::seed)]
    seed: u64,
    /// The order of a run that has it.
    #[arg(long, value_name = "N", value_parser = crate::parse::shuffle_buffer)]
    shuffle_buffer: Option<NonZeroU32>,
    /// Write over a file that is there.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    pictures: PreprocessArgs,
}

/// Writes the first pictures that a run with the same flags learns from.
///
/// # Errors
/// A file that is there already, data, flags that do not go together, or the disk.
pub fn run(args: &Args) -> Result<(), CliError> {
    require_grid(&args.grid, args.force)?;
    let spec = DataSpec::parse(&args.spec)?;
    let preprocess = args.pictures.of_recipe(args.recipe.as_deref(), &spec)?;
    let bar = counter(0, "reading images");
    let dataset = Dataset::open(&args.spec, args.split, &preprocess, &|progress| {
        bar.set_length(progress.total as u64);
        bar.set_position(progress.done as u64);
    });
    bar.finish_and_clear();
    let dataset = Arc::new(dataset?);
    Renderer::new(false).data(&dataset);
    // The order of an epoch and what is mirrored in it do not depend on the size of the batches.
    let count = dataset.len().min(args.count as usize);
    let cursor = Cursor::new(args.seed).with_buffer(args.shuffle_buffer);
    let batch = Loader::new(dataset.clone(), count, cursor, 1)?.next()?;
    let [height, width, channels] = dataset.shape();
    let options =
        GridOptions { columns: args.columns as usize, ..GridOptions::for_size([height, width]) };
    grid::save_png(
        &args.grid,
        &grid::grid(&batch.images, [count, height, width, channels], options)?,
    )?;
    output::line(format!("wrote {}", args.grid.display()));
    Ok(())
}
