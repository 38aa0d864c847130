//! `dcgan walk`.

use super::{FileArgs, SeedArgs, grid_options, require_size, single_enlarged};
use crate::commands::{ConditionArgs, GeneratorArgs, LoadedGenerator, condition_name};
use crate::error::CliError;
use crate::parse::count;
use crate::report::{self, Report, table};
use eval::latent::{ConditionTable, InterpolationPath, LatentSource, SampleSpec, Smoothness, Walk};
use nn::recipe::LatentDistribution;
use serde::Serialize;
use std::path::PathBuf;

#[derive(clap::Args)]
#[command(next_help_heading = "Evaluation")]
pub struct Args {
    #[command(flatten)]
    generator: GeneratorArgs,
    #[command(flatten)]
    seed: SeedArgs,
    /// With --class all, each point takes the next class, and the walk leads from class to class.
    #[command(flatten)]
    condition: ConditionArgs,
    /// Rows of the grid: random points. Each row interpolates from one point to the next, the last
    /// row back to the first point.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = count(2..=10_000))]
    rows: u32,
    /// Columns of the grid: images from point to point, both included.
    #[arg(long, value_name = "N", default_value_t = 10, help_heading = "Output",
        value_parser = count(2..=10_000))]
    columns: u32,
    /// Number of steps from point to point, for the measurement and the animation.
    #[arg(long, value_name = "N", default_value_t = 36, value_parser = count(1..=10_000))]
    steps: u32,
    /// Interpolation between points [default: linear for uniform latents, spherical for normal
    /// ones].
    #[arg(long, value_enum)]
    path: Option<InterpolationPath>,
    /// Write a GIF of the walk, which loops.
    #[arg(long, value_name = "FILE.gif", help_heading = "Output")]
    gif: Option<PathBuf>,
    #[command(flatten)]
    files: FileArgs,
}

/// Interpolates between random latents and measures how smoothly the images change.
pub fn run(args: &Args) -> Result<(), CliError> {
    args.files.require(&[("--gif", args.gif.as_deref(), "gif")])?;
    let opened = args.generator.open_batch_invariant()?;
    let recipe = opened.sampler.recipe();
    let path = args.path.unwrap_or(match recipe.generator.distribution {
        LatentDistribution::Uniform => InterpolationPath::Linear,
        LatentDistribution::Normal => InterpolationPath::Spherical,
    });
    let walk = Walk { points: args.rows as usize, steps: args.steps as usize, path };
    args.files.require_grid_size(
        &opened,
        walk.points * args.columns as usize,
        args.columns as usize,
    )?;
    let images = walk.points * walk.steps;
    if images > SampleSpec::MAX_IMAGES {
        return Err(usage!(
            "--rows {} and --steps {} make {images} images, and a walk has at most {}: choose \
             fewer",
            walk.points,
            walk.steps,
            SampleSpec::MAX_IMAGES
        ));
    }
    if args.gif.is_some() {
        require_size(&opened, 1, single_enlarged(&opened))?;
    }
    let conditions = args.condition.read(recipe)?;
    // Each point has one condition; with --class all they cycle through the classes.
    let known = conditions.rows.len();
    let of: Vec<usize> = match known {
        0 | 1 => vec![0; walk.points],
        _ if conditions.all => (0..walk.points).map(|i| i % known).collect(),
        _ => (0..known).collect(),
    };
    if known > 1 && of.len() != walk.points {
        return Err(usage!(
            "--condition holds {known} vectors for {} points: give 1, or --rows {known}",
            walk.points
        ));
    }
    let condition_table =
        (known > 0).then(|| ConditionTable { rows: conditions.rows.clone(), indices: of.clone() });
    let rows: Vec<usize> = (0..walk.points).collect();
    let block = LatentSource::of_rows(args.seed.seed, args.seed.truncation, &rows);
    let base = SampleSpec::plain(
        vec![block],
        condition_table,
        grid_options(&opened, args.columns as usize),
    );
    let (points, _) = base.inputs(recipe)?;
    let images = args.files.draw(&opened, "walking", &walk.steps(&points, base.clone()))?;
    let smoothness = Smoothness::of(&images, &walk);
    let names = of
        .iter()
        .filter_map(|&of| Some(condition_name(recipe, conditions.rows.get(of)?)))
        .collect();
    report::print(&WalkReport::new(&walk, &smoothness, names), args.files.json);
    args.files.write_grid(&opened, walk.rows(&points, args.columns as usize, base), &[])?;
    args.gif.as_ref().map_or(Ok(()), |gif| animate(args, &opened, gif, &images))
}

fn animate(
    args: &Args,
    opened: &LoadedGenerator,
    gif: &std::path::Path,
    images: &[f32],
) -> Result<(), CliError> {
    let shape = opened.sampler.shape();
    let frames: Vec<&[f32]> = images.chunks_exact(shape.iter().product()).collect();
    args.files.write_gif(gif, &frames, shape, single_enlarged(opened))
}

/// Root mean square changes along the walk, in gray levels of 255.
#[derive(Serialize)]
struct WalkReport {
    points: usize,
    steps: usize,
    path: InterpolationPath,
    mean: f64,
    largest: f64,
    largest_at: StepIndex,
    apart: f64,
    share: f64,
    jumps: bool,
    legs: Vec<Segment>,
    /// The points' conditions; empty for an unconditional generator.
    #[serde(skip)]
    names: Vec<String>,
}

#[derive(Serialize)]
struct StepIndex {
    leg: usize,
    step: usize,
}

#[derive(Serialize)]
struct Segment {
    mean: f64,
    largest: f64,
}

impl WalkReport {
    fn new(walk: &Walk, smoothness: &Smoothness, names: Vec<String>) -> Self {
        let Smoothness { mean, largest, at: [leg, step], point_distance: apart, ref segments } =
            *smoothness;
        Self {
            points: walk.points,
            steps: walk.steps,
            path: walk.path,
            mean,
            largest,
            largest_at: StepIndex { leg, step },
            apart,
            share: largest / apart.max(1e-9),
            jumps: smoothness.jumps(),
            legs: segments.iter().map(|&[mean, largest]| Segment { mean, largest }).collect(),
            names,
        }
    }
}

impl Report for WalkReport {
    fn text(&self) -> Vec<String> {
        let Self { mean, largest, largest_at, .. } = self;
        let point = |i: usize| {
            let i = i % self.points;
            self.names.get(i).map_or_else(|| i.to_string(), |name| format!("{i} {name}"))
        };
        let row = |name: String, mean: f64, largest: f64| {
            [name, format!("{mean:.2}"), format!("{largest:.2}")]
        };
        let segments =
            self.legs.iter().enumerate().map(|(i, leg)| {
                row(format!("{} → {}", point(i), point(i + 1)), leg.mean, leg.largest)
            });
        let rows = segments.chain([row("all".into(), *mean, *largest)]);
        let conclusion = if self.jumps {
            "a jump: a generator that has memorized images jumps from one to the next (with more \
             --steps a smooth one does not)"
        } else {
            "no jump: sharp transitions would indicate memorized images"
        };
        vec![
            table(&["segment", "mean change per step", "largest"], rows),
            format!(
                "\nroot mean squares in gray levels of 255, over {} steps a segment; the images of \
                 two points differ by {:.2}",
                self.steps, self.apart
            ),
            format!(
                "the largest step (segment {}, step {}) changes the image by {:.0} % of that, \
                 {:.1} times the mean step: {conclusion}",
                largest_at.leg,
                largest_at.step,
                100.0 * self.share,
                largest / mean.max(1e-9)
            ),
        ]
    }
}
