//! `dcgan restore`.

use super::inversion_args::{InversionArgs, Starts, drawing};
use super::{FileArgs, grid_options};
use crate::commands::{ConditionArgs, GeneratorArgs, LoadedGenerator};
use crate::error::CliError;
use crate::parse::{self, count};
use crate::render::with_progress;
use crate::report::{self, Report, table};
use clap::ValueEnum;
use data::Preprocess;
use eval::checkpoint_discriminator::CheckpointDiscriminator;
use eval::latent::{
    Cell, Corruption, Restoration, RestoreOptions, SampleSpec, poisson, psnr, restore,
    upsample_bicubic,
};
use runs::GridOptions;
use serde::Serialize;
use std::path::PathBuf;
use tensor::rng::Philox;

/// Philox stream of the noise that --noise adds.
const NOISE: u64 = 0x6772_6169;

/// Default weight of the discriminator's loss: ten times as much was worse on every image tried
/// (docs/experiments/latent.md). The paper's 0.003 is relative to a sum over pixels.
const DISCRIMINATOR_WEIGHT: f64 = 0.0003;

/// The kind of restoration.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RestoreTask {
    /// Complete an image with missing pixels.
    Inpaint,
    /// Enlarge a small image.
    Superres,
    /// Remove noise.
    Denoise,
}

#[derive(clap::Args)]
#[command(next_help_heading = "Evaluation")]
pub struct Args {
    /// The image, which is fitted to the generator's size. For superres a full-size one is reduced
    /// first.
    #[arg(value_name = "IMAGE")]
    image: PathBuf,
    /// The kind of restoration.
    #[arg(long, value_enum)]
    task: RestoreTask,
    #[command(flatten)]
    generator: GeneratorArgs,
    /// With --class all, every class is tried, and the one with the lowest error is kept.
    #[command(flatten)]
    condition: ConditionArgs,
    /// inpaint: an image that is white where pixels are missing [default: a centered box of half
    /// the height and width].
    #[arg(long, value_name = "FILE", conflicts_with = "missing")]
    mask: Option<PathBuf>,
    /// inpaint: height and width of the missing centered box [default: half the image's].
    #[arg(long, value_name = "N|HxW", value_parser = parse::size)]
    missing: Option<[u32; 2]>,
    /// superres: ratio of the generator's size to the given image's [default: 4].
    #[arg(long, value_name = "N", value_parser = count(2..=64))]
    factor: Option<u32>,
    /// Noise: with denoise, the standard deviation of a Gaussian that is added to a clean image
    /// first, in gray levels of 255 [default: 0].
    #[arg(long, value_name = "X", value_parser = parse::weight, allow_negative_numbers = true)]
    noise: Option<f64>,
    /// Weight of the discriminator's -log D(G(z)) relative to the mean error of the known pixels
    /// [default: 0.0003; 0 if the checkpoint has no discriminator, or one with minibatch layers].
    #[arg(long, value_name = "X", value_parser = parse::weight, allow_negative_numbers = true)]
    discriminator_weight: Option<f64>,
    #[command(flatten)]
    inversion: InversionArgs,
    #[command(flatten)]
    files: FileArgs,
}

/// A degraded image, with the original if it is known.
struct RestoreInput {
    damage: Corruption,
    known: Vec<f32>,
    whole: Option<Vec<f32>>,
}

impl RestoreInput {
    /// The images of the grid: the original if it is known, the degraded image, the baseline, the
    /// generated image, the restored one.
    fn num_shown(&self) -> usize {
        let baseline = self.damage != Corruption::Noise;
        let restored = matches!(self.damage, Corruption::Mask(_));
        2 + usize::from(self.whole.is_some()) + usize::from(baseline) + usize::from(restored)
    }
}

/// Restores an image, and measures the result if the original is known.
pub fn run(args: &Args) -> Result<(), CliError> {
    reject_flags_of_other_tasks(args)?;
    args.inversion.require(&args.files, &["safetensors", "png"])?;
    let opened = args.generator.open_batch_invariant()?;
    let conditions = args.condition.read(opened.sampler.recipe())?;
    let input = read(args, &opened)?;
    let shown = input.num_shown();
    args.files.require_grid_size(&opened, shown, shown)?;
    let discriminator = match args.discriminator_weight {
        Some(0.0) => None,
        Some(_) => CheckpointDiscriminator::for_sampler(&opened.checkpoint, &opened.sampler)?,
        // By default a checkpoint without a usable discriminator is not an error.
        None => CheckpointDiscriminator::for_sampler(&opened.checkpoint, &opened.sampler)
            .unwrap_or(None),
    };
    let default = if discriminator.is_some() { DISCRIMINATOR_WEIGHT } else { 0.0 };
    let options = RestoreOptions {
        optimizer: args.inversion.descent(),
        prior: args.discriminator_weight.unwrap_or(default),
    };
    let condition_rows = conditions.tensor();
    let found = with_progress(|progress| {
        restore(
            &opened.sampler,
            discriminator.as_ref(),
            &input.known,
            &input.damage,
            condition_rows.as_ref(),
            &options,
            progress,
        )
    })?;
    let baseline = baseline(&input, opened.sampler.shape());
    let starts = Starts::new(&opened, &conditions, &found.starts, found.best);
    let psnr = Psnr::new(&input, opened.sampler.shape(), &found, &baseline);
    let of_missing = args.task == RestoreTask::Inpaint;
    report::print(&RestorationReport { starts, psnr, of_missing }, args.files.json);
    args.inversion.write(&args.files, &found.latent, found.condition.as_ref())?;
    write(args, &opened, input, found, baseline)
}

fn reject_flags_of_other_tasks(args: &Args) -> Result<(), CliError> {
    let flags = [
        ("--mask", args.mask.is_some(), RestoreTask::Inpaint),
        ("--missing", args.missing.is_some(), RestoreTask::Inpaint),
        ("--factor", args.factor.is_some(), RestoreTask::Superres),
        ("--noise", args.noise.is_some(), RestoreTask::Denoise),
    ];
    match flags.into_iter().find(|(_, given, task)| *given && *task != args.task) {
        Some((flag, _, task)) => {
            Err(usage!("{flag} is for --task {}: leave it out", parse::value_name(task)))
        }
        None => Ok(()),
    }
}

/// Fits the image to its shape and degrades it, unless it is degraded already.
fn read(args: &Args, opened: &LoadedGenerator) -> Result<RestoreInput, CliError> {
    let [h, w, c] = opened.sampler.shape();
    let (whole, own) = args.inversion.read(&args.image, [h, w, c])?;
    let damage = match args.task {
        RestoreTask::Inpaint => Corruption::Mask(mask(args, [h, w])?),
        RestoreTask::Superres => {
            Corruption::Downsampled { factor: args.factor.unwrap_or(4) as usize }
        }
        RestoreTask::Denoise => Corruption::Noise,
    };
    let [small_h, small_w, _] = damage.shape([h, w, c])?;
    let noise = args.noise.unwrap_or(0.0);
    match args.task {
        RestoreTask::Superres if own == [small_h, small_w] => {
            let (known, _) = args.inversion.read(&args.image, [small_h, small_w, c])?;
            Ok(RestoreInput { damage, known, whole: None })
        }
        RestoreTask::Denoise if noise == 0.0 => {
            Ok(RestoreInput { damage, known: whole, whole: None })
        }
        RestoreTask::Denoise => {
            // 255 gray levels span a range of 2.
            let std = (noise / 127.5) as f32;
            let mut rng = Philox::new(args.inversion.seed(), NOISE);
            let noise = rng.normal([whole.len()], 0.0, std).to_vec();
            let known = whole.iter().zip(noise).map(|(v, n)| (v + n).clamp(-1.0, 1.0)).collect();
            Ok(RestoreInput { damage, known, whole: Some(whole) })
        }
        RestoreTask::Inpaint | RestoreTask::Superres => {
            let known = damage.apply(&whole, [h, w, c])?;
            // With the user's own mask the image counts as degraded already.
            let whole = args.mask.is_none().then_some(whole);
            Ok(RestoreInput { damage, known, whole })
        }
    }
}

fn mask(args: &Args, [h, w]: [usize; 2]) -> Result<Vec<bool>, CliError> {
    if let Some(file) = &args.mask {
        let preprocess = Preprocess {
            filter: data::ResizeFilter::Nearest,
            ..args.inversion.preprocess([h, w, 1])
        };
        return Ok(data::load_image(file, &preprocess)?
            .0
            .iter()
            .map(|value| *value > 0.0)
            .collect());
    }
    let [mh, mw] = args.missing.map_or([h / 2, w / 2], |size| size.map(|side| side as usize));
    let inside = |at: usize, side: usize, part: usize| {
        let first = side.saturating_sub(part) / 2;
        (first..first.saturating_add(part)).contains(&at)
    };
    Ok((0..h * w).map(|p| inside(p / w, h, mh) && inside(p % w, w, mw)).collect())
}

/// The result without a generator: a smooth membrane over the hole, bicubic enlargement, or the
/// input.
fn baseline(input: &RestoreInput, shape: [usize; 3]) -> Vec<f32> {
    match &input.damage {
        Corruption::Mask(mask) => poisson(&input.known, &vec![0.0; input.known.len()], mask, shape),
        Corruption::Downsampled { factor } => upsample_bicubic(&input.known, shape, *factor),
        Corruption::Noise => input.known.clone(),
    }
}

/// PSNR to the original in dB, none if the original is unknown.
#[derive(Serialize)]
struct Psnr {
    restored: Option<f64>,
    generated: Option<f64>,
    #[serde(rename = "without a generator")]
    baseline: Option<f64>,
}

impl Psnr {
    /// For inpainting, only the missing pixels count.
    fn new(input: &RestoreInput, shape: [usize; 3], found: &Restoration, baseline: &[f32]) -> Self {
        let counted = |values: &[f32]| -> Vec<f32> {
            match &input.damage {
                Corruption::Mask(mask) => {
                    let missing = |&(i, _): &(usize, &f32)| mask[i / shape[2]];
                    values.iter().enumerate().filter(missing).map(|(_, v)| *v).collect()
                }
                _ => values.to_vec(),
            }
        };
        let of = |values: &[f32]| {
            input.whole.as_ref().map(|whole| psnr(&counted(values), &counted(whole)))
        };
        Self {
            restored: of(&found.restored),
            generated: of(&found.generated),
            baseline: of(baseline),
        }
    }
}

/// The errors of all starts, and the quality of the best one.
#[derive(Serialize)]
struct RestorationReport {
    #[serde(flatten)]
    starts: Starts,
    psnr: Psnr,
    /// Whether the PSNR is of missing pixels alone.
    #[serde(skip)]
    of_missing: bool,
}

impl Report for RestorationReport {
    fn text(&self) -> Vec<String> {
        let mut lines = vec![
            self.starts.table(),
            "\nerrors: root mean squares over the known pixels, in gray levels of 255".to_owned(),
        ];
        let Psnr { restored, generated, baseline } = self.psnr;
        if restored.is_some() {
            let rows = [
                ("restored", restored),
                ("generated", generated),
                ("without a generator", baseline),
            ];
            let rows = rows.map(|(name, db)| {
                [name.to_owned(), db.map_or_else(|| "-".into(), |db| format!("{db:.2}"))]
            });
            let pixels = if self.of_missing { "missing pixels" } else { "image" };
            lines.push(format!("\nthe {pixels} compared with the original:"));
            lines.push(table(&["", "PSNR in dB"], rows));
        }
        lines
    }
}

/// Writes the restored image, and the grid: the original if it is known, the degraded image, the
/// baseline, the generated image, the restored one.
fn write(
    args: &Args,
    opened: &LoadedGenerator,
    input: RestoreInput,
    found: Restoration,
    baseline: Vec<f32>,
) -> Result<(), CliError> {
    let shape = opened.sampler.shape();
    let base = drawing(&found.latent, found.condition.as_ref(), GridOptions::SINGLE);
    if let Some(path) = args.inversion.out("png") {
        let drawing = SampleSpec { cells: vec![Cell::External(0)], ..base.clone() };
        let (values, size) = drawing.lay_out(&[], shape, std::slice::from_ref(&found.restored))?;
        args.files.write_png(path, opened, drawing, &values, size)?;
    }
    let known = match &input.damage {
        Corruption::Downsampled { factor } => enlarge_pixels(&input.known, shape, *factor),
        Corruption::Mask(_) | Corruption::Noise => input.known,
    };
    let mut images: Vec<Vec<f32>> = input.whole.into_iter().collect();
    images.push(known);
    if input.damage != Corruption::Noise {
        images.push(baseline);
    }
    let mut cells: Vec<Cell> = (0..images.len()).map(Cell::External).collect();
    cells.push(Cell::Image(0));
    if matches!(input.damage, Corruption::Mask(_)) {
        cells.push(Cell::External(images.len()));
        images.push(found.restored);
    }
    let grid = grid_options(opened, cells.len());
    args.files.write_grid(opened, SampleSpec { cells, grid, ..base }, &images)
}

/// Repeats every pixel `factor` times across and down.
fn enlarge_pixels(small: &[f32], [h, w, c]: [usize; 3], factor: usize) -> Vec<f32> {
    let at = |p: usize| (p / w / factor) * (w / factor) + p % w / factor;
    (0..h * w).flat_map(|p| small[at(p) * c..][..c].iter().copied()).collect()
}
