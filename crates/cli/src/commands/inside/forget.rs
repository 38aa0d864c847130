//! `dcgan forget`.

use super::{NetworkArgs, wrote};
use crate::commands::device::DeviceArgs;
use crate::error::CliError;
use crate::{output, render};
use clap::{ValueEnum, value_parser};
use eval::inside::Generator;
use eval::inside::forget::{self, Forgotten, Options};
use eval::inside::regions::{self, Region};
use serde_json::json;
use std::path::PathBuf;
use tensor::Tensor;

/// What positions with the object are told apart from.
#[derive(Clone, Copy, ValueEnum)]
enum Against {
    /// Random positions of the same pictures, outside the boxes.
    Same,
    /// The same positions of pictures without the object.
    Others,
}

/// Flags of `forget`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    networks: NetworkArgs,
    /// Where the object is: lines sample,x0,y0,x1,y1 in pixels, of pictures as `dcgan sample --seed N --out DIR` numbers them.
    #[arg(long, value_name = "FILE.csv", help_heading = "What to forget")]
    boxes: PathBuf,
    /// The layer whose maps are dropped [default: the second highest with maps].
    #[arg(long, value_name = "NAME", help_heading = "What to forget")]
    layer: Option<String>,
    /// What positions with the object are told apart from.
    #[arg(long, value_enum, default_value = "same", help_heading = "What to forget")]
    against: Against,
    /// The weight of the data beside that of the penalty in the regression.
    #[arg(long, value_name = "X", default_value_t = 1.0, value_parser = crate::parse::learning_rate, allow_negative_numbers = true, help_heading = "What to forget")]
    c: f64,
    /// Pictures that are drawn, and drawn again without the maps.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = value_parser!(u32).range(1..=1_000_000))]
    count: u32,
    /// Of the latents, of positions without the object, and of the maps that are dropped to compare.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = crate::parse::seed)]
    seed: u64,
    /// The class to draw, by number or name, for a generator that was trained with classes.
    #[arg(long, value_name = "CLASS", allow_negative_numbers = true)]
    class: Option<String>,
    /// An attribute of what to draw, such as smiling=1; those that are not named are 0. May be given several times.
    #[arg(long, value_name = "NAME=VALUE")]
    attr: Vec<String>,
    /// How often as many maps, drawn at random, are dropped to compare.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = value_parser!(u32).range(1..=1000))]
    controls: u32,
    /// The PNG to write, in blocks of three rows: as it was, without the maps, without as many random ones.
    #[arg(long, value_name = "FILE.png")]
    grid: PathBuf,
    /// Pictures in a row of the grid.
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = value_parser!(u32).range(1..=10_000))]
    columns: u32,
    /// Blocks of the grid.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = value_parser!(u32).range(1..=10_000))]
    blocks: u32,
    /// Write over a file that is there.
    #[arg(long)]
    force: bool,
    /// JSON lines on standard output, and nothing else there.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: DeviceArgs,
}

/// Fits, drops, redraws, and tells what changed.
///
/// # Errors
/// A file that is there already, no good checkpoint, boxes that are none, or the disk.
pub fn run(args: &Args) -> Result<(), CliError> {
    crate::commands::require_grid(&args.grid, args.force)?;
    let checkpoint = args.networks.open()?;
    let generator = Generator::new(&checkpoint, args.layer.as_deref(), &args.device.open()?)?;
    drop(checkpoint);
    let count = args.count as usize;
    let latents = train::latents(generator.recipe(), args.seed, count);
    let condition = condition(args, &generator, count)?;
    let [h, w, _] = generator.shape();
    let options = Options {
        against: match args.against {
            Against::Same => forget::Against::Same,
            Against::Others => forget::Against::Others,
        },
        c: args.c,
        controls: args.controls as usize,
        seed: args.seed,
    };
    let regions = regions::read(&args.boxes, count, [h, w])?;
    let forgotten = render::watched(args.json, |progress| {
        forget::forget(&generator, (&latents, condition.as_ref()), &regions, options, None, progress)
    })?;
    let mut shown: Vec<usize> = regions.iter().map(|region| region.sample).collect();
    shown.dedup();
    shown.truncate(args.columns as usize * args.blocks as usize);
    forgotten.sheet(&shown, args.columns as usize).save(&args.grid)?;
    tell(args, &generator, &regions, &forgotten);
    wrote(args.json, &args.grid);
    Ok(())
}

/// What the generator is told of each picture.
fn condition(args: &Args, generator: &Generator, count: usize) -> Result<Option<Tensor>, CliError> {
    match train::told(generator.recipe()) {
        Some(condition) => {
            let row = train::condition::described(condition, args.class.as_deref(), &args.attr)?;
            Ok(Some(row.index_select(&vec![0; count])))
        }
        None if args.class.is_some() || !args.attr.is_empty() => {
            Err(CliError::Usage("--class, --attr: this generator was trained without a condition".into()))
        }
        None => Ok(None),
    }
}

fn tell(args: &Args, generator: &Generator, regions: &[Region], forgotten: &Forgotten) {
    let Forgotten { dropped, positions, accuracy, changes, rates, .. } = forgotten;
    let maps = generator.layer().shape[2];
    if args.json {
        output::json(&json!({
            "event": "forgotten", "layer": generator.layer().name, "maps": maps, "dropped": dropped, "boxes": regions.len(),
            "positions": positions, "accuracy": accuracy, "change_inside": [changes[0][0], changes[1][0]],
            "change_outside": [changes[0][1], changes[1][1]],
            "rates": rates.as_ref().map(|r| json!({ "before": r.before, "after": r.after, "controls": r.controls })),
        }));
        return;
    }
    output::line(format!("Layer {}; {} boxes", generator.layer(), regions.len()));
    output::line(format!(
        "Regression: {} positions with the object, {} without, {:.1} % told rightly; {} of {maps} maps have a positive weight\n",
        positions[0],
        positions[1],
        100.0 * accuracy,
        dropped.len()
    ));
    let mut rows = vec![["", "change in boxes", "elsewhere", "ratio"].map(str::to_owned).to_vec()];
    for (name, [inside, outside]) in [("these maps", changes[0]), ("random maps", changes[1])] {
        let ratio = if outside > 0.0 { format!("{:.2}", inside / outside) } else { "-".to_owned() };
        rows.push(vec![name.to_owned(), format!("{inside:.1}"), format!("{outside:.1}"), ratio]);
    }
    output::line(render::table(&rows));
    output::line("");
}
