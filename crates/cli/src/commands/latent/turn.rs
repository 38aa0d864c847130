//! `dcgan turn`.

use super::candidates::{CandidateArgs, Candidates, Selection};
use super::{FileArgs, SeedArgs};
use crate::commands::generator::{ConditionArgs, GeneratorArgs, LoadedGenerator};
use crate::error::CliError;
use crate::render::table;
use crate::{hints, output, parse};
use clap::value_parser;
use eval::latent::{AttributeQuery, ExemplarSpec, SampleSpec, SuccessRate, TurnVector, positions};
use runs::GridOptions;
use serde_json::json;
use std::path::PathBuf;
use tensor::Tensor;

/// Flags of `turn`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    generator: GeneratorArgs,
    #[command(flatten)]
    seed: SeedArgs,
    /// The condition of a picture stays as it is.
    #[command(flatten)]
    condition: ConditionArgs,
    /// The group at the far end: numbers among the candidates (3,17,42), seeds (seed:5,seed:9), or what a model shall see in them (light=1).
    #[arg(long, value_name = "WHICH", value_parser = parse::exemplars)]
    a: ExemplarSpec,
    /// The group at the near end.
    #[arg(long, value_name = "WHICH", value_parser = parse::exemplars)]
    b: ExemplarSpec,
    /// Latents of each group where a model picks them.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = value_parser!(u32).range(1..=1000))]
    exemplars: u32,
    #[command(flatten)]
    candidates: CandidateArgs,
    /// Pictures that are turned, a row each; they are none of the candidates.
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = value_parser!(u32).range(1..=1000))]
    rows: u32,
    /// Places along the axis; the middle one of an odd number is the picture as it was.
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = value_parser!(u32).range(2..=1000))]
    columns: u32,
    /// How far to go to either side, in lengths of the axis mean(A) − mean(B).
    #[arg(long, value_name = "X", default_value_t = 1.0, value_parser = parse::weight, allow_negative_numbers = true)]
    scale: f64,
    /// What the model shall see: tells how often it does at each place, over --draws other pictures. Without it, and where a model picks A, that.
    #[arg(long, value_name = "WORDS")]
    expect: Option<String>,
    /// Pictures for that.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = value_parser!(u32).range(1..=100_000))]
    draws: u32,
    /// Writes the turning as an animation, there and back.
    #[arg(long, value_name = "FILE.gif")]
    gif: Option<PathBuf>,
    /// Places along the axis in the animation, on the way there.
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = value_parser!(u32).range(2..=1000))]
    frames: u32,
    #[command(flatten)]
    files: FileArgs,
}

/// Turns, counts, draws.
///
/// # Errors
/// Groups that are not there, words that the model does not know, files that are there already, the disk.
pub fn run(args: &Args) -> Result<(), CliError> {
    args.files.require(args.gif.as_deref())?;
    let opened = args.generator.open_alone()?;
    let conditions = args.condition.read(opened.sampler.recipe())?;
    let mut candidates = Candidates::new(&opened, &args.seed, &conditions, &args.candidates)?;
    let per = args.exemplars as usize;
    let a = candidates.pick("a", &args.a, per, &args.files)?;
    let b = candidates.pick("b", &args.b, per, &args.files)?;
    let words = args.expect.clone().or_else(|| a.found.as_ref().map(|_| a.said.clone()));
    let at = positions(args.columns as usize, args.scale as f32);
    let rates = match &words {
        Some(words) => Some(measure(args, &opened, &mut candidates, [&a, &b], words, &at)?),
        None => None,
    };
    if args.files.json {
        print_json([&a, &b], &at, rates.as_ref())
    } else {
        print([&a, &b], &at, words.as_deref(), rates.as_ref())
    }
    let (turn, base) = turn(&candidates, [&a, &b], args.rows as usize, args.columns as usize);
    args.files.write_grid(&opened, turn.samples(base.clone(), &at), &[])?;
    let Some(gif) = &args.gif else { return Ok(()) };
    let frames = args.frames as usize;
    let drawing = turn.samples(base, &positions(frames, args.scale as f32));
    let images = args.files.draw(&opened, "turning", &drawing)?;
    animate(args, &opened, gif, &images, frames)
}

/// The turn of `count` pictures that are no candidates, and its latents.
fn turn(
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

/// How often a model sees what was asked for, at each place.
struct Seen {
    by: String,
    rates: Vec<SuccessRate>,
}

/// How often the model sees `words` at each place.
fn measure(
    args: &Args,
    opened: &LoadedGenerator,
    candidates: &mut Candidates<'_>,
    groups: [&Selection; 2],
    words: &str,
    at: &[f32],
) -> Result<Seen, CliError> {
    let (turn, base) = turn(candidates, groups, args.draws as usize, 0);
    let images = args.files.draw(opened, "turning", &turn.samples(base, at))?;
    let (model, _) = candidates.judged(&args.files)?;
    let concept = AttributeQuery::parse(words, model.names()).map_err(|error| {
        CliError::Usage(format!("--expect {}", hints::compose(&error, hints::eval(&error))))
    })?;
    let [h, w, c] = opened.sampler.shape();
    let scores =
        model.score(&Tensor::from_slice(&images, [images.len() / (h * w * c), h, w, c]))?;
    let seen: Vec<bool> = scores.rows().map(|row| concept.strength(row) > 0.0).collect();
    let rates = (0..at.len())
        .map(|place| SuccessRate::count(seen.iter().skip(place).step_by(at.len()).copied()))
        .collect();
    Ok(Seen { by: model.id(), rates })
}

/// There and back again, all rows side by side.
fn animate(
    args: &Args,
    opened: &LoadedGenerator,
    gif: &std::path::Path,
    images: &[f32],
    frames: usize,
) -> Result<(), CliError> {
    let shape = opened.sampler.shape();
    let len: usize = shape.iter().product();
    let picture = |walker: usize, frame: usize| &images[(walker * frames + frame) * len..][..len];
    let walkers = images.len() / (frames * len).max(1);
    let stills: Vec<Vec<f32>> = (0..frames)
        .map(|frame| {
            (0..walkers).flat_map(|walker| picture(walker, frame).iter().copied()).collect()
        })
        .collect();
    let order = (0..frames).chain((1..frames.saturating_sub(1)).rev());
    let shown: Vec<&[f32]> =
        order.filter_map(|frame| stills.get(frame).map(Vec::as_slice)).collect();
    let columns = (walkers as f64).sqrt().ceil() as usize;
    args.files.write_gif(
        gif,
        &shown,
        shape,
        GridOptions { columns, ..GridOptions::for_size([shape[0], shape[1]]) },
    )
}

fn print([a, b]: [&Selection; 2], at: &[f32], words: Option<&str>, seen: Option<&Seen>) {
    output::line(format!(
        "A: {} ({})\nB: {} ({})",
        a.names.join(", "),
        a.said,
        b.names.join(", "),
        b.said
    ));
    let (Some(words), Some(Seen { by, rates })) = (words, seen) else { return };
    output::line(format!("\nHow often it is {words}, by {by}"));
    let mut cells =
        vec![["place".to_owned(), words.to_owned(), "%".into(), "95 % interval".into()].to_vec()];
    for (t, rate) in at.iter().zip(rates) {
        let [low, high] = rate.interval().map(|share| 100.0 * share);
        cells.push(vec![
            format!("{t:.2}"),
            format!("{} of {}", rate.hits, rate.of),
            format!("{:.0}", 100.0 * rate.share()),
            format!("{low:.0} to {high:.0}"),
        ]);
    }
    output::line(table(&cells));
}

fn print_json([a, b]: [&Selection; 2], at: &[f32], seen: Option<&Seen>) {
    let places = at.iter().enumerate().map(|(i, t)| {
        let rate = seen.and_then(|seen| seen.rates.get(i));
        let rate =
            rate.map(|rate| json!({ "hits": rate.hits, "of": rate.of, "share": rate.share(), "interval": rate.interval() }));
        json!({ "place": t, "seen": rate })
    });
    output::json(&json!({
        "a": { "what": a.said, "exemplars": a.names },
        "b": { "what": b.said, "exemplars": b.names },
        "by": seen.map(|seen| &seen.by),
        "places": places.collect::<Vec<_>>(),
    }));
}
