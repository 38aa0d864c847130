//! `dcgan sample`.

use super::ForceArg;
use super::generator::{
    ConditionArgs, GeneratorArgs, LatentInput, LoadedGenerator, command_line, read,
};
use crate::distributed;
use crate::error::CliError;
use crate::parse::count;
use crate::{memory, output};
use eval::latent::{Cell, ConditionTable, Provenance, SampleSpec};
use file_io::LockFile;
use runs::{GridOptions, grid, write_state_dict};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use tensor::{HostTensor, Tensor};
use train::BatchNormMode;

#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("output").args(["grid", "out"]).required(true).multiple(true)))]
pub struct Args {
    #[command(flatten)]
    generator: GeneratorArgs,
    /// Number of images; with --class all, of each class [default: 64; --columns with --class all].
    #[arg(long, value_name = "N", value_parser = count(1..=1_000_000), conflicts_with = "latents",
        help_heading = "Model")]
    count: Option<u32>,
    /// Random seed: the same seed gives the same images, whatever --count and --batch [default: 0].
    #[arg(long, value_name = "N", value_parser = crate::parse::seed, conflicts_with = "latents",
        help_heading = "Model")]
    seed: Option<u64>,
    /// Latent vectors: a file with a tensor [N, latent], named "latents" if there are several.
    #[arg(long, value_name = "FILE.safetensors", help_heading = "Model")]
    latents: Option<PathBuf>,
    #[command(flatten)]
    condition: ConditionArgs,
    /// Truncation: draw latents within ±X, for less diverse and more typical images
    /// [default: none].
    #[arg(long, value_name = "X", value_parser = crate::parse::truncation,
        allow_negative_numbers = true, conflicts_with = "latents", help_heading = "Model")]
    truncation: Option<f64>,
    /// Write a PNG of the images side by side.
    #[arg(long, value_name = "FILE.png", help_heading = "Output")]
    grid: Option<PathBuf>,
    /// Columns of the grid.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = count(1..=10_000),
        help_heading = "Output")]
    columns: u32,
    /// Output path: a folder for 00000.png, 00001.png, …, or FILE.safetensors for the values.
    ///
    /// The file holds "images" [N, H, W, C] in [-1, 1] and "latents" [N, latent].
    #[arg(long, value_name = "PATH", help_heading = "Output")]
    out: Option<PathBuf>,
    #[command(flatten)]
    force: ForceArg,
}

/// Generates images and writes them.
pub fn run(args: &Args) -> Result<(), CliError> {
    let raw = args
        .out
        .as_deref()
        .filter(|out| out.extension().is_some_and(|extension| extension == "safetensors"));
    let folder = args.out.as_deref().filter(|_| raw.is_none());
    // Outputs are checked before the work.
    let ranks = distributed::ranks();
    ranks.agree(check_outputs(args, raw))?;
    let generator = ranks.agree(args.generator.open())?;
    let recipe = generator.sampler.recipe();
    let (source, count) = match &args.latents {
        Some(file) => {
            let rows = read(file, "latents", recipe.generator.latent)?;
            let count = rows.shape()[0];
            (LatentInput::Values(rows), count)
        }
        // With --class all, each class fills one row of the grid.
        None => {
            let count =
                args.count.unwrap_or(if args.condition.is_all() { args.columns } else { 64 });
            (LatentInput::Seed(args.seed.unwrap_or(0), args.truncation), count as usize)
        }
    };
    let conditions = args.condition.read(recipe)?;
    if count * conditions.rows.len().max(1) > SampleSpec::MAX_IMAGES && conditions.all {
        return Err(usage!(
            "--count {count} of each class: at most {} images are generated at once",
            SampleSpec::MAX_IMAGES
        ));
    }
    let (order, table) = conditions.pair_latents_with_conditions(count)?;
    let [height, width, _] = generator.sampler.shape();
    let options =
        GridOptions { columns: args.columns as usize, ..GridOptions::for_size([height, width]) };
    if args.grid.is_some() {
        options.size(order.len(), [height, width])?;
    }
    if args.grid.is_some() || raw.is_some() {
        // The values, and for a grid its pixels.
        let values = (order.len() * generator.sampler.shape().iter().product::<usize>()) as u64;
        let pixels = values * (options.scale as u64).pow(2) * u64::from(args.grid.is_some());
        memory::check(&format!("{} images", order.len()), 4 * values + pixels, "lower --count")?;
    }
    let _lock = ranks
        .on_root(|| folder.map(|folder| lock(folder, order.len(), args.force.force)).transpose())?;
    let drawing = SampleSpec::plain(vec![source.block(&order)], table, options);
    let (latents, conditions) = drawing.inputs(recipe)?;
    let job = SampleJob { generator: &generator, source, order, drawing, latents, conditions };
    generate(args, &job, raw, folder)
}

fn check_outputs(args: &Args, raw: Option<&Path>) -> Result<(), CliError> {
    args.grid.as_ref().map_or(Ok(()), |grid| super::require_grid(grid, args.force.force))?;
    args.out.as_ref().map_or(Ok(()), |out| super::require_folder("--out", out))?;
    raw.map_or(Ok(()), |file| super::refuse_existing(file, args.force.force))
}

/// Creates the folder and locks it, so that two processes do not mix their images, and refuses the
/// images that are there already, unless `force`.
fn lock(folder: &Path, count: usize, force: bool) -> Result<LockFile, CliError> {
    let cannot = |error| failure!("--out {folder:?}: cannot write there: {error}");
    std::fs::create_dir_all(folder).map_err(cannot)?;
    let lock = LockFile::acquire(&folder.join(".lock")).map_err(cannot)?;
    let lock = lock.ok_or_else(|| {
        failure!(
            "--out {folder:?}: another process is writing images there: wait for it, or choose \
             another folder"
        )
    })?;
    (0..count)
        .try_for_each(|i| super::refuse_existing(&folder.join(format!("{i:05}.png")), force))?;
    Ok(lock)
}

/// The images to generate.
struct SampleJob<'a> {
    generator: &'a LoadedGenerator,
    source: LatentInput,
    order: Vec<usize>,
    drawing: SampleSpec,
    latents: Tensor,
    conditions: Option<Tensor>,
}

impl SampleJob<'_> {
    fn provenance(&self, drawing: SampleSpec) -> Provenance {
        Provenance::new(
            &self.generator.sampler,
            self.generator.networks.clone(),
            command_line(),
            self.generator.batch,
            drawing,
        )
    }

    /// The spec of image `i` alone. With batch statistics, an image depends on the others in its
    /// batch, so the spec keeps them.
    fn single(&self, i: usize) -> SampleSpec {
        if self.generator.sampler.batch_norm() == BatchNormMode::Batch {
            return SampleSpec {
                cells: vec![Cell::Image(i)],
                grid: GridOptions::SINGLE,
                ..self.drawing.clone()
            };
        }
        let of_image = |table: &ConditionTable| {
            let row = table.indices.get(i).and_then(|&of| table.rows.get(of)).cloned();
            ConditionTable { rows: row.into_iter().collect(), indices: vec![0] }
        };
        let row = self.order.get(i).copied().unwrap_or(i);
        SampleSpec::plain(
            vec![self.source.block(&[row])],
            self.drawing.conditions.as_ref().map(of_image),
            GridOptions::SINGLE,
        )
    }
}

/// Generates batch by batch: with separate files, only one batch is in memory at a time. Each rank
/// generates its share of the batches and writes their files.
fn generate(
    args: &Args,
    job: &SampleJob<'_>,
    raw: Option<&Path>,
    folder: Option<&Path>,
) -> Result<(), CliError> {
    let sampler = &job.generator.sampler;
    let (count, batch) = (job.order.len(), job.generator.batch);
    let [height, width, channels] = sampler.shape();
    let keep = args.grid.is_some() || raw.is_some();
    let mut all = Vec::new();
    if keep {
        let values = count * height * width * channels;
        all.try_reserve_exact(values).map_err(|_| {
            failure!("--count {count}: {} bytes of images do not fit into memory", values * 4)
        })?;
    }
    let group = distributed::ranks().group();
    let batches: Vec<Range<usize>> = train::batches(count, batch).collect();
    let at = |rank: usize| batches.len() * rank / group.world_size();
    let own = &batches[at(group.rank())..at(group.rank() + 1)];
    let total = own.iter().map(|batch| batch.len() as u64).sum();
    let bar = crate::render::counter(total, "generating");
    for &Range { start, end } in own {
        let part = end - start;
        let conditions = job.conditions.as_ref().map(|rows| rows.narrow(0, start, part));
        let images = sampler
            .sample(&job.latents.narrow(0, start, part), conditions.as_ref(), part, |_| ())?
            .to_vec();
        if let Some(folder) = folder {
            let texts = |i: usize| job.provenance(job.single(i)).texts();
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
    // Until all ranks have written, rank 0 holds the lock of the folder.
    group.barrier();
    if !group.is_single() && keep {
        all = group.all_gather_f32(&all);
    }
    if !group.is_root() {
        return Ok(());
    }
    let shape = [count, height, width, channels];
    if let Some(folder) = folder {
        output::line(format!("wrote {count} images to {}", output::name(folder.display())));
    }
    if let Some(file) = &args.grid {
        let texts = job.provenance(job.drawing.clone()).texts();
        grid::save_png_with(file, &grid::grid(&all, shape, job.drawing.grid)?, &texts)?;
        output::wrote(file, false);
    }
    if let Some(file) = raw {
        let latents = HostTensor::f32(job.latents.shape().to_vec(), job.latents.to_vec());
        let arrays = BTreeMap::from([
            ("images".to_owned(), HostTensor::f32(shape, all)),
            ("latents".to_owned(), latents),
        ]);
        write_state_dict(file, &arrays)?;
        output::wrote(file, false);
    }
    Ok(())
}
