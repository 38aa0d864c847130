//! `dcgan turn`.

use super::candidates::{CandidateArgs, Candidates, Selection};
use super::{FileArgs, RateReport, SeedArgs, grid_options, require_size};
use crate::commands::{ConditionArgs, GeneratorArgs, LoadedGenerator};
use crate::error::CliError;
use crate::parse::count;
use crate::report::{self, Report, table};
use crate::{hints, parse};
use eval::latent::{AttributeQuery, ExemplarSpec, SampleSpec, SuccessRate, TurnVector, positions};
use runs::GridOptions;
use serde::Serialize;
use std::path::PathBuf;
use tensor::Tensor;

#[derive(clap::Args)]
#[command(next_help_heading = "Evaluation")]
pub struct Args {
    #[command(flatten)]
    generator: GeneratorArgs,
    #[command(flatten)]
    seed: SeedArgs,
    /// The condition of an image stays the same along the axis.
    #[command(flatten)]
    condition: ConditionArgs,
    /// Exemplars of A, the far end of the axis: indices of candidates (3,17,42), seeds
    /// (seed:5,seed:9), or attributes that a model detects (light=1).
    #[arg(long, value_name = "WHICH", value_parser = parse::exemplars)]
    a: ExemplarSpec,
    /// Exemplars of B, the near end of the axis.
    #[arg(long, value_name = "WHICH", value_parser = parse::exemplars)]
    b: ExemplarSpec,
    /// Exemplars per group that are picked by attributes.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = count(1..=1000))]
    exemplars: u32,
    #[command(flatten)]
    candidates: CandidateArgs,
    /// Rows of the grid: images to move along the axis; none of them is a candidate.
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = count(1..=1000))]
    rows: u32,
    /// Columns of the grid: positions along the axis; the middle one of an odd number is the
    /// unchanged image.
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = count(2..=1000))]
    columns: u32,
    /// Distance moved to either side, in lengths of the axis mean(A) − mean(B).
    #[arg(long, value_name = "X", default_value_t = 1.0, value_parser = parse::weight,
        allow_negative_numbers = true)]
    scale: f64,
    /// Attributes expected along the axis: report how often the model detects them at each
    /// position, over --draws extra images [default: the attributes used to pick A].
    #[arg(long, value_name = "ATTRIBUTES")]
    expect: Option<String>,
    /// Number of random draws for --expect: extra images.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = count(1..=100_000))]
    draws: u32,
    /// Write a GIF of the movement along the axis, there and back.
    #[arg(long, value_name = "FILE.gif", help_heading = "Output")]
    gif: Option<PathBuf>,
    /// Frames of the animation, one way: positions along the axis.
    #[arg(long, value_name = "N", default_value_t = 30, help_heading = "Output",
        value_parser = count(2..=1000))]
    frames: u32,
    #[command(flatten)]
    files: FileArgs,
}

/// Moves images along the turn vector, and counts the tracked attributes.
pub fn run(args: &Args) -> Result<(), CliError> {
    args.files.require(&[("--gif", args.gif.as_deref(), "gif")])?;
    let opened = args.generator.open_batch_invariant()?;
    let [rows, columns] = [args.rows as usize, args.columns as usize];
    args.files.require_grid_size(&opened, rows * columns, columns)?;
    if args.gif.is_some() {
        require_size(&opened, rows, frame_options(&opened, rows))?;
    }
    let conditions = args.condition.read(opened.sampler.recipe())?;
    let mut candidates = Candidates::new(&opened, &args.seed, &conditions, &args.candidates)?;
    let per_group = args.exemplars as usize;
    let a = candidates.pick("a", &args.a, per_group, &args.files)?;
    let b = candidates.pick("b", &args.b, per_group, &args.files)?;
    let tracked = args.expect.clone().or_else(|| a.matches.as_ref().map(|_| a.query.clone()));
    let at = positions(args.columns as usize, args.scale as f32);
    let (mut by, mut rates) = (None, Vec::new());
    if let Some(attributes) = &tracked {
        let (model, all) =
            count_detections(args, &opened, &mut candidates, [&a, &b], attributes, &at)?;
        (by, rates) = (Some(model), all);
    }
    let mut rates = rates.into_iter();
    let positions_report =
        at.iter().map(|&t| Position { at: t, rate: rates.next().map(RateReport::from) }).collect();
    let (turn, base) =
        turn_and_latents(&candidates, [&a, &b], args.rows as usize, args.columns as usize);
    report::print(&TurnReport { a, b, by, positions: positions_report, tracked }, args.files.json);
    args.files.write_grid(&opened, turn.samples(base.clone(), &at), &[])?;
    let Some(gif) = &args.gif else { return Ok(()) };
    let frames = args.frames as usize;
    let drawing = turn.samples(base, &positions(frames, args.scale as f32));
    let images = args.files.draw(&opened, "turning", &drawing)?;
    animate(args, &opened, gif, &images, frames)
}

/// The turn of `count` images that are not candidates, and its latents.
fn turn_and_latents(
    candidates: &Candidates<'_>,
    [a, b]: [&Selection; 2],
    count: usize,
    columns: usize,
) -> (TurnVector, SampleSpec) {
    let walkers = candidates.others(count);
    let all: Vec<_> = a.exemplars.iter().chain(&b.exemplars).chain(&walkers).copied().collect();
    let (near, far) = (a.exemplars.len(), a.exemplars.len() + b.exemplars.len());
    let turn = TurnVector {
        a: (0..near).collect(),
        b: (near..far).collect(),
        bases: (far..far + count).collect(),
    };
    (turn, candidates.drawing(&all, columns))
}

/// How often the model detects `attributes` at each position; with the model's name.
fn count_detections(
    args: &Args,
    opened: &LoadedGenerator,
    candidates: &mut Candidates<'_>,
    groups: [&Selection; 2],
    attributes: &str,
    at: &[f32],
) -> Result<(String, Vec<SuccessRate>), CliError> {
    let (turn, base) = turn_and_latents(candidates, groups, args.draws as usize, 0);
    let images = args.files.draw(opened, "turning", &turn.samples(base, at))?;
    let (model, _) = candidates.evaluation_scores(&args.files)?;
    let concept = AttributeQuery::parse(attributes, model.names())
        .map_err(|error| usage!("--expect {}", hints::compose(&error, hints::eval(&error))))?;
    let [h, w, c] = opened.sampler.shape();
    let scores =
        model.score(&Tensor::from_slice(&images, [images.len() / (h * w * c), h, w, c]))?;
    let detected: Vec<bool> = scores.rows().map(|row| concept.strength(row) > 0.0).collect();
    let at_position = |i: usize| detected.iter().skip(i).step_by(at.len()).copied();
    Ok((model.id(), (0..at.len()).map(|i| SuccessRate::count(at_position(i))).collect()))
}

/// Writes the animation, there and back, with all rows side by side.
fn animate(
    args: &Args,
    opened: &LoadedGenerator,
    gif: &std::path::Path,
    images: &[f32],
    frames: usize,
) -> Result<(), CliError> {
    let shape = opened.sampler.shape();
    let len: usize = shape.iter().product();
    let image = |walker: usize, frame: usize| &images[(walker * frames + frame) * len..][..len];
    let walkers = images.len() / (frames * len).max(1);
    let stills: Vec<Vec<f32>> = (0..frames)
        .map(|frame| (0..walkers).flat_map(|walker| image(walker, frame).iter().copied()).collect())
        .collect();
    let order = (0..frames).chain((1..frames.saturating_sub(1)).rev());
    let shown: Vec<&[f32]> =
        order.filter_map(|frame| stills.get(frame).map(Vec::as_slice)).collect();
    args.files.write_gif(gif, &shown, shape, frame_options(opened, walkers))
}

/// A frame of the animation: a square of all rows.
fn frame_options(opened: &LoadedGenerator, rows: usize) -> GridOptions {
    grid_options(opened, (rows as f64).sqrt().ceil() as usize)
}

/// The groups, and how often the tracked attributes are detected at each position.
#[derive(Serialize)]
struct TurnReport {
    a: Selection,
    b: Selection,
    /// The model that detects the tracked attributes.
    by: Option<String>,
    positions: Vec<Position>,
    #[serde(skip)]
    tracked: Option<String>,
}

/// A position along the axis.
#[derive(Serialize)]
struct Position {
    at: f32,
    rate: Option<RateReport>,
}

impl Report for TurnReport {
    fn text(&self) -> Vec<String> {
        let group =
            |name, own: &Selection| format!("{name}: {} ({})", own.names.join(", "), own.query);
        let mut lines = vec![group("A", &self.a), group("B", &self.b)];
        let (Some(attributes), Some(by)) = (&self.tracked, &self.by) else { return lines };
        lines.push(format!("\nHow often {by} detects {attributes}"));
        let rows = self.positions.iter().filter_map(|position| {
            let rate = position.rate.as_ref()?;
            Some([
                format!("{:.2}", position.at),
                format!("{} of {}", rate.hits, rate.of),
                format!("{:.0}", 100.0 * rate.share),
                rate.interval_text().unwrap_or_default(),
            ])
        });
        lines.push(table(&["position", attributes, "%", "95 % interval"], rows));
        lines
    }
}
