//! `dcgan nearest`.

use crate::commands::generator::{GeneratorArgs, LoadedGenerator};
use crate::commands::{open_checkpoint, require_grid};
use crate::error::CliError;
use crate::output;
use crate::render::{table, with_progress};
use clap::value_parser;
use data::{Dataset, Split};
use eval::image_sheet::{FrameColor, ImageSheet};
use eval::images::load_images;
use eval::memorization::{NearestImage, nearest};
use eval::representation::{BnStatistics, DiscriminatorFeatures, PixelFeatures, Representation};
use runs::{Checkpoint, grid};
use serde_json::json;
use std::path::PathBuf;
use tensor::Tensor;
use train::{generator_condition, latents};

/// The frame around neighbours in pixels: yellow, as in the paper of 2014.
const YELLOW: FrameColor = [1.0, 0.7, -1.0];
/// The frame around neighbours in features.
const BLUE: FrameColor = [-0.7, 0.0, 1.0];
/// What both papers know of such searches.
const CAVEAT: &str = "Far neighbours do not prove that nothing was learned by heart: small transforms of a picture (a shift by a pixel or two) fool nearest \
                      neighbours in pixels, and more or less those in features (Radford et al. 2016; Theis et al. 2016).";

/// Flags of `nearest`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    generator: GeneratorArgs,
    /// What the generator learned from [default: what the checkpoint names].
    #[arg(long, value_name = "SPEC")]
    data: Option<String>,
    /// Whose discriminator gives the features, where it is not the same checkpoint's; the pictures must have the same size.
    #[arg(long, value_name = "PATH|RUNDIR")]
    features: Option<PathBuf>,
    /// How many generated pictures.
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = value_parser!(u32).range(1..=10_000))]
    count: u32,
    /// Neighbours of each, in pixels and in features.
    #[arg(long, value_name = "K", default_value_t = 3, value_parser = value_parser!(u32).range(1..=64))]
    neighbours: u32,
    /// The same seed draws the same pictures as `dcgan sample`.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = crate::parse::seed)]
    seed: u64,
    /// The PNG to write: generated pictures left, then their neighbours in pixels, framed in yellow, and in features, framed in blue.
    #[arg(long, value_name = "FILE.png")]
    grid: PathBuf,
    /// Write over a file that is there.
    #[arg(long)]
    force: bool,
    /// One JSON object per generated picture on standard output.
    #[arg(long)]
    json: bool,
}

/// The neighbours of each sample in pixels, and in features where there are some.
struct Found {
    pixels: Vec<Vec<NearestImage>>,
    features: Option<Vec<Vec<NearestImage>>>,
}

/// Draws pictures and looks for their nearest neighbours among those that were learned from.
///
/// # Errors
/// No good checkpoint, data of another size, a file that is there already, the device, or the disk.
pub fn run(args: &Args) -> Result<(), CliError> {
    require_grid(&args.grid, args.force)?;
    let LoadedGenerator { checkpoint, sampler, batch, .. } = args.generator.open_alone()?;
    let spec = match &args.data {
        Some(spec) => spec.clone(),
        None if checkpoint.meta.dataset.name.is_empty() => {
            return Err(CliError::Usage(
                "--data: the checkpoint does not name what it learned from".into(),
            ));
        }
        None => checkpoint.meta.dataset.name.clone(),
    };
    let device = sampler.device();
    let dataset = crate::commands::representation::open(
        &spec,
        Split::Train,
        Some(sampler.recipe()),
        args.json,
    )?;
    let count = args.count as usize;
    let samples = with_progress(args.json, |progress| {
        let latents = latents(sampler.recipe(), args.seed, count);
        let conditions = generator_condition(sampler.recipe())
            .map(|_| sampler.recipe().example_conditions(count));
        sampler.sample(&latents, conditions.as_ref(), batch, |done| {
            // Ctrl-C ends the program: nothing is written before all is drawn.
            let _ = progress.report("drawing", done, count);
        })
    })?;
    let features = match &args.features {
        Some(path) => Some(DiscriminatorFeatures::trained(
            &open_checkpoint(path, output::warning)?.checkpoint,
            device,
        )?),
        None if has_discriminator(&checkpoint) => {
            Some(DiscriminatorFeatures::trained(&checkpoint, device)?)
        }
        None => None,
    };
    drop(checkpoint);
    let found = with_progress(args.json, |progress| {
        let wanted = args.neighbours as usize;
        let search = |representation: &dyn Representation, what: &str| {
            nearest(representation, &samples, &dataset, wanted, what, progress)
        };
        let pixels = search(&PixelFeatures::new(dataset.shape()), "neighbours in pixels")?;
        let features = match &features {
            Some(features) => {
                features.set_bn_statistics(BnStatistics::Running, &dataset, progress)?;
                Some(search(features, "neighbours in features")?)
            }
            None => None,
        };
        Ok::<_, CliError>(Found { pixels, features })
    })?;
    draw(args, &samples, &dataset, &found)?;
    report(args, &dataset, &found);
    Ok(())
}

fn has_discriminator(checkpoint: &Checkpoint) -> bool {
    checkpoint.tensors.keys().any(|name| name.starts_with("d."))
}

fn draw(args: &Args, samples: &Tensor, dataset: &Dataset, found: &Found) -> Result<(), CliError> {
    let shape = dataset.shape();
    let size: usize = shape.iter().product();
    let kinds = 1 + usize::from(found.features.is_some());
    let mut sheet = ImageSheet::framed(shape, 1 + kinds * args.neighbours as usize);
    for (k, sample) in samples.to_vec().chunks_exact(size).enumerate() {
        sheet.add(sample, None);
        for (all, frame) in [(Some(&found.pixels), YELLOW), (found.features.as_ref(), BLUE)] {
            let Some(own) = all.and_then(|all| all.get(k)) else { continue };
            let indices: Vec<usize> = own.iter().map(|neighbour| neighbour.index).collect();
            let pictures = load_images(dataset, &indices)?.to_vec();
            pictures.chunks_exact(size).for_each(|picture| sheet.add(picture, Some(frame)));
        }
    }
    Ok(grid::save_png(&args.grid, &sheet.draw()?)?)
}

fn report(args: &Args, dataset: &Dataset, found: &Found) {
    let of = |own: &[NearestImage]| -> Vec<_> {
        own.iter()
            .map(|one| json!({"index": one.index, "name": dataset.image_name(one.index), "distance": one.distance}))
            .collect()
    };
    let features = |k: usize| found.features.as_ref().and_then(|all| all.get(k));
    if args.json {
        for (k, pixels) in found.pixels.iter().enumerate() {
            output::json(
                &json!({"sample": k, "pixels": of(pixels), "features": features(k).map(|own| of(own))}),
            );
        }
        return;
    }
    let mut cells = vec![
        ["sample", "nearest in pixels", "distance", "nearest in features", "distance"]
            .map(String::from)
            .to_vec(),
    ];
    for (k, pixels) in found.pixels.iter().enumerate() {
        let pair = |own: Option<&NearestImage>| match own {
            Some(one) => [dataset.image_name(one.index), format!("{:.3}", one.distance)],
            None => ["-".to_owned(), "-".to_owned()],
        };
        let mut row = vec![k.to_string()];
        row.extend(pair(pixels.first()));
        row.extend(pair(features(k).and_then(|own| own.first())));
        cells.push(row);
    }
    output::line(table(&cells));
    output::line(format!(
        "\nwrote {}: generated pictures, their neighbours in pixels (yellow) and in features (blue)",
        args.grid.display()
    ));
    output::line(CAVEAT);
}
