//! `dcgan walk`.

use super::{FileArgs, SeedArgs, options, shown_alone};
use crate::commands::generator::{ConditionArgs, GeneratorArgs, LoadedGenerator, name_of};
use crate::error::CliError;
use crate::output;
use crate::render::table;
use clap::value_parser;
use eval::latent::{ConditionTable, InterpolationPath, LatentSource, SampleSpec, Smoothness, Walk};
use nn::recipe::LatentDistribution;
use serde_json::json;
use std::path::PathBuf;

/// Flags of `walk`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    generator: GeneratorArgs,
    #[command(flatten)]
    seed: SeedArgs,
    /// With --class all, the points lie in one class after the other, and the walk leads from class to class.
    #[command(flatten)]
    condition: ConditionArgs,
    /// Random points: a row leads from each to the next, the last one back to the first.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = value_parser!(u32).range(2..=10_000))]
    rows: u32,
    /// Pictures in a row of the grid, both points among them.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = value_parser!(u32).range(2..=10_000))]
    columns: u32,
    /// Steps from point to point that are measured and animated.
    #[arg(long, value_name = "N", default_value_t = 36, value_parser = value_parser!(u32).range(1..=10_000))]
    steps: u32,
    /// Straight, or around the origin, near which normal latents never are [default: linear for uniform latents, spherical for normal ones].
    #[arg(long, value_enum)]
    path: Option<InterpolationPath>,
    /// Writes the walk as an animation that comes back to its beginning.
    #[arg(long, value_name = "FILE.gif")]
    gif: Option<PathBuf>,
    #[command(flatten)]
    files: FileArgs,
}

/// Walks, measures, draws.
///
/// # Errors
/// No good checkpoint, files that are there already, the disk.
pub fn run(args: &Args) -> Result<(), CliError> {
    args.files.require(args.gif.as_deref())?;
    let opened = args.generator.open_alone()?;
    let recipe = opened.sampler.recipe();
    let path = args.path.unwrap_or(match recipe.generator.distribution {
        LatentDistribution::Uniform => InterpolationPath::Linear,
        LatentDistribution::Normal => InterpolationPath::Spherical,
    });
    let walk = Walk { points: args.rows as usize, steps: args.steps as usize, path };
    let conditions = args.condition.read(recipe)?;
    // A point has one condition: the next class for the next point.
    let known = conditions.rows.len();
    let of: Vec<usize> = match known {
        0 | 1 => vec![0; walk.points],
        _ if conditions.all => (0..walk.points).map(|i| i % known).collect(),
        _ => (0..known).collect(),
    };
    if known > 1 && of.len() != walk.points {
        return Err(CliError::Usage(format!(
            "--condition holds {known} vectors for {} points: give 1, or --rows {known}",
            walk.points
        )));
    }
    let told =
        (known > 0).then(|| ConditionTable { rows: conditions.rows.clone(), indices: of.clone() });
    let rows: Vec<usize> = (0..walk.points).collect();
    let block = LatentSource::of_rows(args.seed.seed, args.seed.truncation, &rows);
    let base = SampleSpec::plain(vec![block], told, options(&opened, args.columns as usize));
    let (points, _) = base.inputs(recipe)?;
    let images = args.files.draw(&opened, "walking", &walk.steps(&points, base.clone()))?;
    let found = Smoothness::of(&images, &walk);
    let names: Vec<String> =
        of.iter().filter_map(|&of| Some(name_of(recipe, conditions.rows.get(of)?))).collect();
    if args.files.json {
        print_json(&walk, &found)
    } else {
        print(&walk, &found, &names)
    }
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
    args.files.write_gif(gif, &frames, shape, shown_alone(opened))
}

fn share(found: &Smoothness) -> f64 {
    found.largest / found.point_distance.max(1e-9)
}

fn print(walk: &Walk, found: &Smoothness, names: &[String]) {
    let mut cells = vec![["leg", "mean change of a step", "largest"].map(String::from).to_vec()];
    let name = |i: usize| {
        names.get(i % walk.points).map_or_else(
            || (i % walk.points).to_string(),
            |name| format!("{} {name}", i % walk.points),
        )
    };
    for (i, [mean, largest]) in found.segments.iter().enumerate() {
        cells.push(vec![
            format!("{} → {}", name(i), name(i + 1)),
            format!("{mean:.2}"),
            format!("{largest:.2}"),
        ]);
    }
    cells.push(vec!["all".into(), format!("{:.2}", found.mean), format!("{:.2}", found.largest)]);
    output::line(table(&cells));
    let [leg, step] = found.at;
    output::line(format!(
        "\nroot mean squares in grey levels of 255, over {} steps a leg; the pictures of two points are {:.2} apart",
        walk.steps, found.point_distance
    ));
    let seen = if found.jumps() {
        "a jump: a generator that knows pictures by heart jumps from one to the next (with more --steps a smooth one does not)"
    } else {
        "no jump: sharp transitions would mean that pictures are known by heart"
    };
    output::line(format!(
        "the largest step (leg {leg}, step {step}) changes the picture by {:.0} % of that, {:.1} times the mean step: {seen}",
        100.0 * share(found),
        found.largest / found.mean.max(1e-9)
    ));
}

fn print_json(walk: &Walk, found: &Smoothness) {
    output::json(&json!({
        "points": walk.points,
        "steps": walk.steps,
        "path": walk.path,
        "mean": found.mean,
        "largest": found.largest,
        "largest_at": { "leg": found.at[0], "step": found.at[1] },
        "apart": found.point_distance,
        "share": share(found),
        "jumps": found.jumps(),
        "legs": found.segments.iter().map(|[mean, largest]| json!({ "mean": mean, "largest": largest })).collect::<Vec<_>>(),
    }));
}
