//! `dcgan sample`.

use super::generator::{ConditionArgs, GeneratorArgs, LoadedGenerator, Source, command_line, read};
use crate::error::CliError;
use crate::output;
use eval::latent::{Cell, ConditionTable, Provenance, SampleSpec};
use runs::{GridOptions, grid, write_state_dict};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tensor::{HostTensor, Tensor};
use train::BatchNormMode;

/// More pictures than these are a typing mistake.
const MOST: usize = 1_000_000;

/// Flags of `sample`.
#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("output").args(["grid", "out"]).required(true).multiple(true)))]
pub struct Args {
    #[command(flatten)]
    generator: GeneratorArgs,
    /// How many pictures [default: 64].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000), conflicts_with = "latents")]
    count: Option<u32>,
    /// The same seed draws the same pictures, whatever --count and --batch [default: 0].
    #[arg(long, value_name = "N", value_parser = crate::parse::seed, conflicts_with = "latents")]
    seed: Option<u64>,
    /// Latent vectors to draw, a tensor [N, latent] (called "latents" where there are several).
    #[arg(long, value_name = "FILE.safetensors")]
    latents: Option<PathBuf>,
    #[command(flatten)]
    condition: ConditionArgs,
    /// Draw latent vectors from the middle of their distribution, within ±X: fewer kinds of pictures, each more typical.
    #[arg(long, value_name = "X", value_parser = crate::parse::truncation, allow_negative_numbers = true, conflicts_with = "latents")]
    truncation: Option<f64>,
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
    /// Write over files that are there.
    #[arg(long)]
    force: bool,
}

/// Draws and writes pictures.
///
/// # Errors
/// No good checkpoint, latents of another shape, outputs that are there already, or the disk.
pub fn run(args: &Args) -> Result<(), CliError> {
    let raw = args
        .out
        .as_deref()
        .filter(|out| out.extension().is_some_and(|extension| extension == "safetensors"));
    let folder = args.out.as_deref().filter(|_| raw.is_none());
    // Before the work, not after it.
    args.grid.as_ref().map_or(Ok(()), |grid| super::require_grid(grid, args.force))?;
    args.out.as_ref().map_or(Ok(()), |out| super::require_folder("--out", out))?;
    raw.map_or(Ok(()), |file| super::refuse_existing(file, args.force))?;
    let opened = args.generator.open()?;
    let recipe = opened.sampler.recipe();
    let (source, count) = match &args.latents {
        Some(file) => {
            let rows = read(file, "latents", recipe.generator.latent)?;
            let count = rows.shape()[0];
            (Source::Values(rows), count)
        }
        // A row of each class has as many pictures as the grid has columns.
        None => {
            let count =
                args.count.unwrap_or(if args.condition.is_all() { args.columns } else { 64 });
            (Source::Seed(args.seed.unwrap_or(0), args.truncation), count as usize)
        }
    };
    let conditions = args.condition.read(recipe)?;
    if count * conditions.rows.len().max(1) > MOST && conditions.all {
        return Err(CliError::Usage(format!(
            "--count {count} of each class: at most {MOST} pictures are drawn at once"
        )));
    }
    let (order, told) = conditions.pair_latents_with_conditions(count)?;
    if let Some(folder) = folder {
        (0..order.len()).try_for_each(|i| {
            super::refuse_existing(&folder.join(format!("{i:05}.png")), args.force)
        })?;
    }
    let [height, width, _] = opened.sampler.shape();
    let options =
        GridOptions { columns: args.columns as usize, ..GridOptions::for_size([height, width]) };
    let drawing = SampleSpec::plain(vec![source.block(&order)], told, options);
    let (latents, conditions) = drawing.inputs(recipe)?;
    let drawn = Drawn { opened: &opened, source, order, drawing, latents, conditions };
    draw(args, &drawn, raw, folder)
}

/// What is drawn.
struct Drawn<'a> {
    opened: &'a LoadedGenerator,
    source: Source,
    order: Vec<usize>,
    drawing: SampleSpec,
    latents: Tensor,
    conditions: Option<Tensor>,
}

impl Drawn<'_> {
    fn origin(&self, drawing: SampleSpec) -> Provenance {
        Provenance::new(
            &self.opened.sampler,
            self.opened.networks.clone(),
            command_line(),
            self.opened.batch,
            drawing,
        )
    }

    /// The picture of this number, alone: where it depends on those drawn with it, they are part of what it says.
    fn single(&self, i: usize) -> SampleSpec {
        if self.opened.sampler.batch_norm() == BatchNormMode::Batch {
            return SampleSpec {
                cells: vec![Cell::Image(i)],
                grid: GridOptions::SINGLE,
                ..self.drawing.clone()
            };
        }
        let own = |told: &ConditionTable| {
            let row = told.indices.get(i).and_then(|&of| told.rows.get(of)).cloned();
            ConditionTable { rows: row.into_iter().collect(), indices: vec![0] }
        };
        let row = self.order.get(i).copied().unwrap_or(i);
        SampleSpec::plain(
            vec![self.source.block(&[row])],
            self.drawing.conditions.as_ref().map(own),
            GridOptions::SINGLE,
        )
    }
}

/// Batch by batch: for separate files, only one of them is ever in memory.
fn draw(
    args: &Args,
    drawn: &Drawn<'_>,
    raw: Option<&Path>,
    folder: Option<&Path>,
) -> Result<(), CliError> {
    let sampler = &drawn.opened.sampler;
    let (count, batch) = (drawn.order.len(), drawn.opened.batch);
    let [height, width, channels] = sampler.shape();
    let keep = args.grid.is_some() || raw.is_some();
    let mut all = Vec::new();
    if keep {
        let values = count * height * width * channels;
        all.try_reserve_exact(values).map_err(|_| {
            CliError::Failed(format!(
                "--count {count}: {} bytes of pictures do not fit the memory",
                values * 4
            ))
        })?;
    }
    let bar = crate::render::counter(count as u64, "drawing");
    // Nearly equal parts, as the sampler makes them: a last one of a single picture would have no batch statistics.
    let parts = count.div_ceil(batch);
    for i in 0..parts {
        let start = count * i / parts;
        let part = count * (i + 1) / parts - start;
        let told = drawn.conditions.as_ref().map(|rows| rows.narrow(0, start, part));
        let images = sampler
            .sample(&drawn.latents.narrow(0, start, part), told.as_ref(), part, |_| ())?
            .to_vec();
        if let Some(folder) = folder {
            let texts = |i: usize| drawn.origin(drawn.single(i)).texts();
            grid::write_images_with(
                folder,
                start,
                &images,
                [part, height, width, channels],
                texts,
            )?;
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
        let texts = drawn.origin(drawn.drawing.clone()).texts();
        grid::save_png_with(file, &grid::grid(&all, shape, drawn.drawing.grid)?, &texts)?;
        output::line(format!("wrote {}", file.display()));
    }
    if let Some(file) = raw {
        let latents = HostTensor::f32(drawn.latents.shape().to_vec(), drawn.latents.to_vec());
        let arrays = BTreeMap::from([
            ("images".to_owned(), HostTensor::f32(shape, all)),
            ("latents".to_owned(), latents),
        ]);
        write_state_dict(file, &arrays)?;
        output::line(format!("wrote {}", file.display()));
    }
    Ok(())
}
