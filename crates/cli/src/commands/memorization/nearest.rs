//! `dcgan nearest`.

use crate::commands::{
    GeneratorArgs, LoadedGenerator, OutputArgs, open_checkpoint, open_for_recipe, require_grid,
};
use crate::error::CliError;
use crate::output;
use crate::parse::count;
use crate::render::with_progress;
use crate::report::{self, Report, table};
use data::{Dataset, Split};
use eval::image_sheet::{FrameColor, ImageSheet};
use eval::images::load_images;
use eval::memorization::{NearestImage, nearest};
use eval::representation::{BnStatistics, DiscriminatorFeatures, PixelFeatures, Representation};
use runs::{Checkpoint, grid};
use serde::Serialize;
use std::path::PathBuf;
use tensor::Tensor;
use train::latents;

/// The frame around neighbors in pixels: yellow, as in Goodfellow et al. 2014.
const YELLOW: FrameColor = [1.0, 0.7, -1.0];
/// The frame around neighbors in features.
const BLUE: FrameColor = [-0.7, 0.0, 1.0];
/// The limits of such searches, after both papers.
const CAVEAT: &str = "Distant neighbors do not rule out memorization: small transforms of an image \
    (a shift by a pixel or two) hide it from nearest neighbors in pixels, and to some degree from \
    those in features (Radford et al. 2016; Theis et al. 2016).";

#[derive(clap::Args)]
#[command(next_help_heading = "Evaluation")]
pub struct Args {
    #[command(flatten)]
    generator: GeneratorArgs,
    /// Dataset that the generator was trained on [default: the one named in the checkpoint].
    #[arg(long, value_name = "SPEC", value_parser = crate::parse::spec(), help_heading = "Data")]
    data: Option<String>,
    /// Checkpoint whose discriminator gives the features, for images of the same size [default: the
    /// generator's checkpoint].
    #[arg(long, value_name = "PATH|RUNDIR", help_heading = "Model")]
    feature_checkpoint: Option<PathBuf>,
    /// Number of images to generate.
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = count(1..=10_000))]
    count: u32,
    /// Neighbors per image, in pixels and in features.
    #[arg(long, value_name = "K", default_value_t = 3, value_parser = count(1..=64))]
    neighbors: u32,
    /// Random seed of the images, as in `dcgan sample`.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = crate::parse::seed)]
    seed: u64,
    /// Write a PNG of the images: generated ones on the left, then their neighbors in pixels,
    /// framed in yellow, and in features, framed in blue.
    #[arg(long, value_name = "FILE.png", help_heading = "Output")]
    grid: PathBuf,
    #[command(flatten)]
    output: OutputArgs,
}

/// The neighbors of each sample in pixels, and in features if there is a discriminator.
struct Neighbors {
    pixels: Vec<Vec<NearestImage>>,
    features: Option<Vec<Vec<NearestImage>>>,
}

/// Draws images and finds their nearest neighbors in the training set.
pub fn run(args: &Args) -> Result<(), CliError> {
    let json = args.output.json;
    require_grid(&args.grid, args.output.force)?;
    let LoadedGenerator { checkpoint, sampler, batch, .. } =
        args.generator.open_batch_invariant()?;
    let recorded = Some(&checkpoint.meta.dataset.name).filter(|name| !name.is_empty());
    let spec = args
        .data
        .as_ref()
        .or(recorded)
        .cloned()
        .ok_or_else(|| usage!("--data: the checkpoint does not name its training set"))?;
    let device = sampler.device();
    let kinds =
        1 + usize::from(args.feature_checkpoint.is_some() || has_discriminator(&checkpoint));
    let sheet = sheet(args, sampler.shape(), kinds);
    sheet.check_size(args.count as usize * (1 + kinds * args.neighbors as usize))?;
    let dataset = open_for_recipe(&spec, Split::Train, sampler.recipe(), json)?;
    let count = args.count as usize;
    let samples = with_progress(|progress| {
        let latents = latents(sampler.recipe(), args.seed, count);
        let conditions = train::generator_condition(sampler.recipe())
            .map(|_| sampler.recipe().example_conditions(count));
        sampler.sample(&latents, conditions.as_ref(), batch, |done| {
            // Ctrl-C ends the program: nothing is written before all images are drawn.
            let _ = progress.report("drawing", done, count);
        })
    })?;
    let features = match &args.feature_checkpoint {
        Some(path) => {
            let other = open_checkpoint(path, output::warning)?.checkpoint;
            Some(DiscriminatorFeatures::trained(&other, device)?)
        }
        None if has_discriminator(&checkpoint) => {
            Some(DiscriminatorFeatures::trained(&checkpoint, device)?)
        }
        None => None,
    };
    drop(checkpoint);
    let found = with_progress(|progress| {
        let wanted = args.neighbors as usize;
        let search = |representation: &dyn Representation, what: &str| {
            nearest(representation, &samples, &dataset, wanted, what, progress)
        };
        let pixels = search(&PixelFeatures::new(dataset.shape()), "neighbors in pixels")?;
        let features = match &features {
            Some(features) => {
                features.set_bn_statistics(BnStatistics::Running, &dataset, progress)?;
                Some(search(features, "neighbors in features")?)
            }
            None => None,
        };
        Ok::<_, CliError>(Neighbors { pixels, features })
    })?;
    draw(args, sheet, &samples, &dataset, &found)?;
    report::print(&NearestReport::new(&dataset, &found), json);
    output::wrote(&args.grid, json);
    Ok(())
}

fn has_discriminator(checkpoint: &Checkpoint) -> bool {
    checkpoint.tensors.keys().any(|name| name.starts_with("d."))
}

/// An empty sheet: a sample and its neighbors per row, of one or two kinds.
fn sheet(args: &Args, shape: [usize; 3], kinds: usize) -> ImageSheet {
    ImageSheet::framed(shape, 1 + kinds * args.neighbors as usize)
}

fn draw(
    args: &Args,
    mut sheet: ImageSheet,
    samples: &Tensor,
    dataset: &Dataset,
    found: &Neighbors,
) -> Result<(), CliError> {
    let size: usize = dataset.shape().iter().product();
    for (k, sample) in samples.to_vec().chunks_exact(size).enumerate() {
        sheet.add(sample, None);
        for (all, frame) in [(Some(&found.pixels), YELLOW), (found.features.as_ref(), BLUE)] {
            let Some(own) = all.and_then(|all| all.get(k)) else { continue };
            let indices: Vec<usize> = own.iter().map(|neighbor| neighbor.index).collect();
            let images = load_images(dataset, &indices)?.to_vec();
            images.chunks_exact(size).for_each(|image| sheet.add(image, Some(frame)));
        }
    }
    Ok(grid::save_png(&args.grid, &sheet.draw()?)?)
}

/// The neighbors of each sample.
#[derive(Serialize)]
#[serde(transparent)]
struct NearestReport(Vec<SampleReport>);

#[derive(Serialize)]
struct SampleReport {
    sample: usize,
    pixels: Vec<NeighborReport>,
    features: Option<Vec<NeighborReport>>,
}

#[derive(Serialize)]
struct NeighborReport {
    index: usize,
    name: String,
    distance: f64,
}

impl NearestReport {
    fn new(dataset: &Dataset, found: &Neighbors) -> Self {
        let of = |own: &Vec<NearestImage>| -> Vec<NeighborReport> {
            let neighbor = |&NearestImage { index, distance }: &NearestImage| NeighborReport {
                index,
                name: dataset.image_name(index),
                distance,
            };
            own.iter().map(neighbor).collect()
        };
        let features = |k: usize| found.features.as_ref()?.get(k).map(of);
        let sample = |(k, own)| SampleReport { sample: k, pixels: of(own), features: features(k) };
        Self(found.pixels.iter().enumerate().map(sample).collect())
    }
}

impl Report for NearestReport {
    fn text(&self) -> Vec<String> {
        let rows = self.0.iter().map(|SampleReport { sample, pixels, features }| {
            let pair = |own: Option<&NeighborReport>| match own {
                Some(first) => [first.name.clone(), format!("{:.3}", first.distance)],
                None => ["-".to_owned(), "-".to_owned()],
            };
            let [pixel_name, pixel_distance] = pair(pixels.first());
            let [name, distance] = pair(features.as_ref().and_then(|own| own.first()));
            [sample.to_string(), pixel_name, pixel_distance, name, distance]
        });
        let head = ["sample", "nearest in pixels", "distance", "nearest in features", "distance"];
        vec![table(&head, rows), format!("\n{CAVEAT}")]
    }
}
