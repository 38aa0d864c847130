//! `dcgan restore`.

use super::inversion_args::{InversionArgs, drawing, print_starts};
use super::{FileArgs, options};
use crate::commands::generator::{
    ConditionArgs, Conditions, GeneratorArgs, LoadedGenerator, command_line,
};
use crate::error::CliError;
use crate::render::{table, with_progress};
use crate::{output, parse};
use clap::ValueEnum;
use data::Preprocess;
use eval::checkpoint_discriminator::CheckpointDiscriminator;
use eval::latent::{
    Cell, Corruption, Provenance, Restoration, RestoreOptions, SampleSpec, poisson, psnr, restore,
    upsample_bicubic,
};
use runs::{GridOptions, grid};
use serde_json::json;
use std::path::PathBuf;
use tensor::rng::Philox;

/// Philox stream of the noise that --noise adds.
const NOISE: u64 = 0x6772_6169;

/// Weight of the discriminator's loss: ten times as much was worse on every picture tried (docs/experiments/latent.md). The paper's 0.003 stands beside a sum over pixels.
const CRITIC: f64 = 0.0003;

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Task {
    /// Complete a picture of which a part is missing.
    Inpaint,
    /// Enlarge a small picture.
    Superres,
    /// Take noise away.
    Denoise,
}

/// Flags of `restore`.
#[derive(clap::Args)]
pub struct Args {
    /// The picture; it is brought to the size of the generator's. For superres it is small already, or is made so first.
    #[arg(value_name = "IMAGE")]
    image: PathBuf,
    /// What is to be done.
    #[arg(long, value_enum)]
    task: Task,
    #[command(flatten)]
    generator: GeneratorArgs,
    /// With --class all, every class is tried, and the one that fits best is kept.
    #[command(flatten)]
    condition: ConditionArgs,
    /// inpaint: a picture that is white where pixels are missing [default: a box in the centre of half the height and width].
    #[arg(long, value_name = "FILE", conflicts_with = "missing")]
    mask: Option<PathBuf>,
    /// inpaint: height and width of the box in the centre that is missing.
    #[arg(long, value_name = "N|HxW", value_parser = parse::size)]
    missing: Option<[u32; 2]>,
    /// superres: how many times smaller than the generator's pictures the given one is [default: 4].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=64))]
    factor: Option<u32>,
    /// denoise: adds normal noise of this standard deviation, in grey levels of 255, to try it on a clean picture [default: 0].
    #[arg(long, value_name = "X", value_parser = parse::weight, allow_negative_numbers = true)]
    noise: Option<f64>,
    /// Weight of the discriminator's -log D(G(z)) beside the mean difference to what is known [default: 0.0003 where the checkpoint has a discriminator that
    /// judges pictures one by one, else 0].
    #[arg(long, value_name = "X", value_parser = parse::weight, allow_negative_numbers = true)]
    critic: Option<f64>,
    #[command(flatten)]
    descent: InversionArgs,
    /// Writes the restored picture alone.
    #[arg(long, value_name = "FILE.png")]
    out: Option<PathBuf>,
    #[command(flatten)]
    files: FileArgs,
}

/// What is known, and the whole picture where it was given.
struct RestoreInput {
    damage: Corruption,
    known: Vec<f32>,
    whole: Option<Vec<f32>>,
}

/// Restores a picture, and tells how well where the whole one is known.
///
/// # Errors
/// Pictures that cannot be read, a mask of all or nothing, a condition that is missing, files that are there already, the disk.
pub fn run(args: &Args) -> Result<(), CliError> {
    refuse_strays(args)?;
    args.files.require(None)?;
    args.descent.require(&args.files)?;
    args.out.as_ref().map_or(Ok(()), |path| args.files.require_file("--out", path, "png"))?;
    let opened = args.generator.open_alone()?;
    let conditions = args.condition.read(opened.sampler.recipe())?;
    let given = read(args, &opened)?;
    let critic = match args.critic {
        Some(0.0) => None,
        Some(_) => CheckpointDiscriminator::for_sampler(&opened.checkpoint, &opened.sampler)?,
        None => CheckpointDiscriminator::for_sampler(&opened.checkpoint, &opened.sampler)
            .unwrap_or(None),
    };
    let weight = args.critic.unwrap_or(if critic.is_some() { CRITIC } else { 0.0 });
    let asked = RestoreOptions { optimizer: args.descent.descent(), prior: weight };
    let told = conditions.tensor();
    let found = with_progress(args.files.json, |progress| {
        restore(
            &opened.sampler,
            critic.as_ref(),
            &given.known,
            &given.damage,
            told.as_ref(),
            &asked,
            progress,
        )
    })?;
    let shape = opened.sampler.shape();
    let simple = simple(&given, shape);
    report(args, &opened, &conditions, &given, &found, &simple);
    args.descent.write(&args.files, &found.latent, found.condition.as_ref())?;
    write(args, &opened, given, found, simple)
}

/// Refuses flags of another task.
fn refuse_strays(args: &Args) -> Result<(), CliError> {
    let flags = [
        ("--mask", args.mask.is_some(), Task::Inpaint),
        ("--missing", args.missing.is_some(), Task::Inpaint),
        ("--factor", args.factor.is_some(), Task::Superres),
        ("--noise", args.noise.is_some(), Task::Denoise),
    ];
    match flags.into_iter().find(|(_, given, task)| *given && *task != args.task) {
        Some((flag, _, task)) => Err(CliError::Usage(format!(
            "{flag} is for --task {}: leave it out",
            task.to_possible_value().map_or_else(String::new, |v| v.get_name().into())
        ))),
        None => Ok(()),
    }
}

/// Brings the picture to its shape and damages it, unless it is as it is wanted already.
fn read(args: &Args, opened: &LoadedGenerator) -> Result<RestoreInput, CliError> {
    let [h, w, c] = opened.sampler.shape();
    let (whole, own) = args.descent.read(&args.image, [h, w, c])?;
    let damage = match args.task {
        Task::Inpaint => Corruption::Mask(mask(args, [h, w])?),
        Task::Superres => Corruption::Downsampled { factor: args.factor.unwrap_or(4) as usize },
        Task::Denoise => Corruption::Noise,
    };
    let [small_h, small_w, _] = damage.shape([h, w, c])?;
    let noise = args.noise.unwrap_or(0.0);
    match args.task {
        Task::Superres if own == [small_h, small_w] => {
            let (known, _) = args.descent.read(&args.image, [small_h, small_w, c])?;
            Ok(RestoreInput { damage, known, whole: None })
        }
        Task::Denoise if noise == 0.0 => Ok(RestoreInput { damage, known: whole, whole: None }),
        Task::Denoise => {
            // Grey levels of 255 over a range of 2.
            let noise = Philox::new(args.descent.seed(), NOISE).normal(
                [whole.len()],
                0.0,
                (noise / 127.5) as f32,
            );
            let known =
                whole.iter().zip(noise.to_vec()).map(|(v, n)| (v + n).clamp(-1.0, 1.0)).collect();
            Ok(RestoreInput { damage, known, whole: Some(whole) })
        }
        Task::Inpaint | Task::Superres => {
            let known = damage.apply(&whole, [h, w, c])?;
            // With a mask of one's own the picture is damaged already.
            let whole = args.mask.is_none().then_some(whole);
            Ok(RestoreInput { damage, known, whole })
        }
    }
}

fn mask(args: &Args, [h, w]: [usize; 2]) -> Result<Vec<bool>, CliError> {
    if let Some(file) = &args.mask {
        let preprocess = Preprocess {
            filter: data::ResizeFilter::Nearest,
            ..args.descent.preprocess([h, w, 1])
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

/// What is done without any generator: a smooth membrane over the hole, bicubic enlargement, nothing.
fn simple(given: &RestoreInput, shape: [usize; 3]) -> Vec<f32> {
    match &given.damage {
        Corruption::Mask(mask) => poisson(&given.known, &vec![0.0; given.known.len()], mask, shape),
        Corruption::Downsampled { factor } => upsample_bicubic(&given.known, shape, *factor),
        Corruption::Noise => given.known.clone(),
    }
}

fn report(
    args: &Args,
    opened: &LoadedGenerator,
    conditions: &Conditions,
    given: &RestoreInput,
    found: &Restoration,
    simple: &[f32],
) {
    // Of missing pixels only those count that were missing.
    let [.., c] = opened.sampler.shape();
    let asked = |values: &[f32]| -> Vec<f32> {
        match &given.damage {
            Corruption::Mask(mask) => {
                values.iter().enumerate().filter(|(i, _)| mask[i / c]).map(|(_, v)| *v).collect()
            }
            _ => values.to_vec(),
        }
    };
    let quality =
        |values: &[f32]| given.whole.as_ref().map(|whole| psnr(&asked(values), &asked(whole)));
    let rows = [
        ("restored", &found.restored[..]),
        ("generated", &found.generated),
        ("without a generator", simple),
    ];
    if args.files.json {
        let starts: Vec<_> = found
            .starts
            .iter()
            .map(|start| json!({ "condition": start.candidate, "error": start.error }))
            .collect();
        let psnr: serde_json::Map<_, _> = rows
            .iter()
            .map(|(name, values)| ((*name).to_owned(), json!(quality(values))))
            .collect();
        output::json(&json!({ "best": found.best, "starts": starts, "psnr": psnr }));
        return;
    }
    print_starts(opened, conditions, &found.starts, found.best);
    output::line("\nerrors: root mean squares over what is known, in grey levels of 255");
    if given.whole.is_some() {
        let mut cells = vec![["", "PSNR in dB"].map(String::from).to_vec()];
        cells.extend(rows.iter().map(|(name, values)| {
            vec![(*name).to_owned(), quality(values).map_or("-".into(), |db| format!("{db:.2}"))]
        }));
        let what = if args.task == Task::Inpaint {
            "the missing pixels beside those of the whole picture"
        } else {
            "beside the whole picture"
        };
        output::line(format!("\n{what}:\n{}", table(&cells)));
    }
}

/// The grid: the whole picture where it is known, what is known, what is done without a generator, the generator's picture, the restored one.
fn write(
    args: &Args,
    opened: &LoadedGenerator,
    given: RestoreInput,
    found: Restoration,
    simple: Vec<f32>,
) -> Result<(), CliError> {
    let shape = opened.sampler.shape();
    let base = drawing(&found.latent, found.condition.as_ref(), GridOptions::SINGLE);
    if let Some(path) = &args.out {
        let drawing = SampleSpec { cells: vec![Cell::External(0)], ..base.clone() };
        let (values, size) = drawing.lay_out(&[], shape, std::slice::from_ref(&found.restored))?;
        let origin = Provenance::new(
            &opened.sampler,
            opened.networks.clone(),
            command_line(),
            opened.batch,
            drawing.clone(),
        );
        grid::save_png_with(path, &grid::grid(&values, size, drawing.grid)?, &origin.texts())?;
        args.files.wrote(path);
    }
    let known = match &given.damage {
        Corruption::Downsampled { factor } => pixelated(&given.known, shape, *factor),
        Corruption::Mask(_) | Corruption::Noise => given.known,
    };
    let mut pictures: Vec<Vec<f32>> = given.whole.into_iter().collect();
    let noisy = given.damage == Corruption::Noise;
    pictures.push(known);
    if !noisy {
        pictures.push(simple);
    }
    let mut cells: Vec<Cell> = (0..pictures.len()).map(Cell::External).collect();
    cells.push(Cell::Image(0));
    if matches!(given.damage, Corruption::Mask(_)) {
        cells.push(Cell::External(pictures.len()));
        pictures.push(found.restored);
    }
    let grid = options(opened, cells.len());
    args.files.write_grid(opened, SampleSpec { cells, grid, ..base }, &pictures)
}

/// Every pixel `factor` times across and down.
fn pixelated(small: &[f32], [h, w, c]: [usize; 3], factor: usize) -> Vec<f32> {
    let at = |p: usize| (p / w / factor) * (w / factor) + p % w / factor;
    (0..h * w).flat_map(|p| small[at(p) * c..][..c].iter().copied()).collect()
}
