//! `dcgan sample`.

use super::device::DeviceArgs;
use crate::error::CliError;
use crate::output;
use clap::ValueEnum;
use nn::Recipe;
use nn::recipe::ConditionKind;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tensor::Tensor;
use train::artefacts::{Array, GridOptions, grid, read_state_dict, write_state_dict};
use train::models::MODELS;
use train::{BatchNormMode, Sampler};

/// What batch norm normalises by.
#[derive(Clone, Copy, ValueEnum)]
enum BatchNorm {
    /// The running statistics of training.
    Running,
    /// The statistics of the pictures that are drawn together: they then depend on --batch.
    Batch,
    /// Statistics measured anew over 2048 latents, for weights that came without running ones.
    Recalibrated,
}

/// Flags of `sample`.
#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("output").args(["grid", "out"]).required(true).multiple(true)))]
pub struct Args {
    /// A checkpoint, or a run directory, which means its newest good checkpoint.
    #[arg(long, value_name = "PATH|RUNDIR", required_unless_present = "model")]
    checkpoint: Option<PathBuf>,
    /// A small generator that comes with this program: fashion (garments, by --class).
    #[arg(long, value_name = "NAME", value_parser = MODELS.map(|model| model.name), conflicts_with = "checkpoint")]
    model: Option<String>,
    /// How many pictures [default: 64].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000), conflicts_with = "latents")]
    count: Option<u32>,
    /// The same seed draws the same pictures, whatever --count and --batch [default: 0].
    #[arg(long, value_name = "N", value_parser = crate::parse::seed, conflicts_with = "latents")]
    seed: Option<u64>,
    /// Latent vectors to draw, a tensor [N, latent] (called "latents" where there are several).
    #[arg(long, value_name = "FILE.safetensors")]
    latents: Option<PathBuf>,
    /// The class to draw, by number or name, for a generator that was trained with classes; all draws a row of each, under the same latents.
    #[arg(long, value_name = "CLASS|all", allow_negative_numbers = true, conflicts_with_all = ["attr", "condition"])]
    class: Option<String>,
    /// An attribute of what to draw, such as smiling=1 or gender=woman; those that are not named are 0. May be given several times.
    #[arg(long, value_name = "NAME=VALUE", conflicts_with = "condition")]
    attr: Vec<String>,
    /// Vectors to draw under, a tensor [1, K] or [N, K] (called "condition" where there are several).
    #[arg(long, value_name = "FILE.safetensors")]
    condition: Option<PathBuf>,
    /// Draw latent vectors from the middle of their distribution, within ±X: fewer kinds of pictures, each more typical.
    #[arg(long, value_name = "X", value_parser = crate::parse::truncation, allow_negative_numbers = true, conflicts_with = "latents")]
    truncation: Option<f64>,
    /// What batch norm uses: running statistics unless the weights have none.
    #[arg(long, value_enum)]
    bn: Option<BatchNorm>,
    /// Writes all pictures side by side into one PNG.
    #[arg(long, value_name = "FILE.png")]
    grid: Option<PathBuf>,
    /// Pictures in a row of the grid.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    columns: u32,
    /// Writes DIR/00000.png, 00001.png, …; or, with a name that ends in .safetensors, the raw numbers: "images" [N, H, W, C] in [-1, 1] and
    /// "latents" [N, latent].
    #[arg(long, value_name = "DIR|FILE.safetensors")]
    out: Option<PathBuf>,
    /// Pictures drawn at a time.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65536))]
    batch: u32,
    /// Write over files that are there.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    device: DeviceArgs,
}

/// Draws and writes pictures.
///
/// # Errors
/// No good checkpoint, latents of another shape, outputs that are there already, or the disk.
pub fn run(args: &Args) -> Result<(), CliError> {
    let raw = args.out.as_deref().filter(|out| out.extension().is_some_and(|extension| extension == "safetensors"));
    let folder = args.out.as_deref().filter(|_| raw.is_none());
    // Before the work, not after it.
    args.grid.as_ref().map_or(Ok(()), |grid| super::require_grid(grid, args.force))?;
    args.out.as_ref().map_or(Ok(()), |out| super::require_folder("--out", out))?;
    raw.map_or(Ok(()), |file| super::refuse_existing(file, args.force))?;
    let checkpoint = match (&args.checkpoint, MODELS.iter().find(|model| args.model.as_deref() == Some(model.name))) {
        (Some(path), _) => super::open_checkpoint(path, output::warning)?.checkpoint,
        (None, Some(model)) => model.checkpoint()?,
        (None, None) => return Err(CliError::Usage("--checkpoint or --model says what to draw with".into())),
    };
    let mode = args.bn.map(|bn| match bn {
        BatchNorm::Running => BatchNormMode::Running,
        BatchNorm::Batch => BatchNormMode::Batch,
        BatchNorm::Recalibrated => BatchNormMode::Recalibrated,
    });
    let sampler = Sampler::new(&checkpoint, mode, &args.device.open()?)?;
    drop(checkpoint);
    let drawn = match &args.latents {
        Some(file) => read(file, "latents", sampler.recipe().generator.latent)?,
        None => {
            // A row of each class has as many pictures as the grid has columns.
            let count = args.count.unwrap_or(if all_classes(args) { args.columns } else { 64 });
            let drawn = train::latents(sampler.recipe(), args.seed.unwrap_or(0), count as usize);
            args.truncation.map_or(drawn.clone(), |psi| train::truncate(sampler.recipe(), &drawn, psi))
        }
    };
    let (latents, conditions) = conditioned(args, sampler.recipe(), drawn)?;
    if let Some(folder) = folder {
        (0..latents.shape()[0]).try_for_each(|i| super::refuse_existing(&folder.join(format!("{i:05}.png")), args.force))?;
    }
    draw(args, &sampler, (&latents, conditions.as_ref()), raw, folder)
}

fn all_classes(args: &Args) -> bool {
    args.class.as_deref() == Some("all")
}

/// The latents and the condition of each: every latent under every class with `--class all`.
fn conditioned(args: &Args, recipe: &Recipe, latents: Tensor) -> Result<(Tensor, Option<Tensor>), CliError> {
    let count = latents.shape()[0];
    let asked = if args.condition.is_some() { Some("--condition") } else { args.class.as_ref().map(|_| "--class") };
    let asked = asked.or_else(|| (!args.attr.is_empty()).then_some("--attr"));
    let Some(condition) = train::told(recipe) else {
        return match asked {
            Some(flag) => Err(CliError::Usage(format!("{flag}: this generator was trained without a condition"))),
            None => Ok((latents, None)),
        };
    };
    let repeated = |rows: &Tensor, count: usize| rows.index_select(&vec![0; count]);
    if let Some(file) = &args.condition {
        let rows = read(file, "condition", condition.size)?;
        return match rows.shape()[0] {
            1 => Ok((latents, Some(repeated(&rows, count)))),
            n if n == count => Ok((latents, Some(rows))),
            n => Err(CliError::Usage(format!(
                "--condition {file:?} holds {n} vectors for {count} pictures: give 1, or --count {n}"
            ))),
        };
    }
    if all_classes(args) && condition.kind == ConditionKind::Class {
        let class = |i: usize| i / count;
        let rows = recipe.example_conditions(condition.size);
        let total = condition.size * count;
        let conditions = rows.index_select(&(0..total).map(class).collect::<Vec<_>>());
        return Ok((latents.index_select(&(0..total).map(|i| i % count).collect::<Vec<_>>()), Some(conditions)));
    }
    let row = train::condition::described(condition, args.class.as_deref(), &args.attr)?;
    Ok((latents, Some(repeated(&row, count))))
}

/// Batch by batch: for separate files, only one of them is ever in memory.
fn draw(
    args: &Args,
    sampler: &Sampler,
    (latents, conditions): (&Tensor, Option<&Tensor>),
    raw: Option<&Path>,
    folder: Option<&Path>,
) -> Result<(), CliError> {
    let (count, batch) = (latents.shape()[0], args.batch as usize);
    let [height, width, channels] = sampler.shape();
    let keep = args.grid.is_some() || raw.is_some();
    let mut all = Vec::new();
    if keep {
        let values = count * height * width * channels;
        all.try_reserve_exact(values)
            .map_err(|_| CliError::Failed(format!("--count {count}: {} bytes of pictures do not fit the memory", values * 4)))?;
    }
    let bar = crate::render::counter(count as u64, "drawing");
    // Nearly equal parts, as the sampler makes them: a last one of a single picture would have no batch statistics.
    let parts = count.div_ceil(batch);
    for i in 0..parts {
        let start = count * i / parts;
        let part = count * (i + 1) / parts - start;
        let told = conditions.map(|rows| rows.narrow(0, start, part));
        let images = sampler.draw_under(&latents.narrow(0, start, part), told.as_ref(), part, |_| ())?.to_vec();
        if let Some(folder) = folder {
            grid::write_images(folder, start, &images, [part, height, width, channels])?;
        }
        if keep {
            all.extend(images);
        }
        bar.inc(part as u64);
    }
    bar.finish_and_clear();
    let shape = [count, height, width, channels];
    if let Some(folder) = folder {
        output::line(format!("wrote {count} pictures into {}", folder.display()));
    }
    if let Some(file) = &args.grid {
        let options = GridOptions { columns: args.columns as usize, ..GridOptions::for_size([height, width]) };
        grid::save_png(file, &grid::grid(&all, shape, options)?)?;
        output::line(format!("wrote {}", file.display()));
    }
    if let Some(file) = raw {
        let latents = Array::f32(latents.shape().to_vec(), latents.to_vec());
        let arrays = BTreeMap::from([("images".to_owned(), Array::f32(shape, all)), ("latents".to_owned(), latents)]);
        write_state_dict(file, &arrays)?;
        output::line(format!("wrote {}", file.display()));
    }
    Ok(())
}

/// The tensor of a file, `[N, width]`: its only one, or the one of this name.
fn read(file: &Path, name: &str, width: usize) -> Result<Tensor, CliError> {
    let wrong = |what: String| CliError::Failed(format!("{file:?} {what}: this generator takes one tensor [N, {width}] of F32"));
    let mut arrays = read_state_dict(file)?;
    let array = match arrays.len() {
        1 => arrays.pop_first().map(|(_, array)| array),
        _ => arrays.remove(name),
    };
    let array = array.ok_or_else(|| wrong(format!("holds {} tensors, none called {name:?}", arrays.len())))?;
    let shape = array.shape.clone();
    match (&shape[..], array.as_f32()) {
        ([count, found], Some(values)) if *count > 0 && *found == width => match values.iter().find(|value| !value.is_finite()) {
            Some(value) => Err(wrong(format!("holds {value}"))),
            None => Ok(Tensor::from_slice(values, [*count, width])),
        },
        (_, Some(_)) => Err(wrong(format!("holds a tensor of shape {shape:?}"))),
        (_, None) => Err(wrong("holds whole numbers".to_owned())),
    }
}
