//! `dcgan arithmetic`.

use super::candidates::{CandidateArgs, Candidates, Selection};
use super::{FileArgs, SeedArgs};
use crate::commands::generator::{ConditionArgs, GeneratorArgs, LoadedGenerator};
use crate::error::CliError;
use crate::render::table;
use crate::{hints, output, parse};
use clap::value_parser;
use eval::latent::{
    AttributeQuery, Equation, ExemplarSpec, ResultNoise, SampleSpec, SuccessRate, TrialResults,
    draw_trials,
};
use serde_json::{Value, json};
use tensor::Tensor;
use tensor::rng::Philox;

/// Philox stream of the exemplars that are drawn again and again.
const TRIALS: u64 = 0x7472_6961;

/// Flags of `arithmetic`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    generator: GeneratorArgs,
    #[command(flatten)]
    seed: SeedArgs,
    /// The condition goes through the same arithmetic as the latent: under one class it stays as it is.
    #[command(flatten)]
    condition: ConditionArgs,
    /// Exemplars of A in A − B + C: numbers among the candidates (3,17,42), seeds (seed:5,seed:9,seed:11), or what a model shall see in them (light=1,warm=0; score:7 for
    /// what is called 7), which takes those of which it is surest.
    #[arg(long, value_name = "WHICH", value_parser = parse::exemplars)]
    a: ExemplarSpec,
    /// Exemplars of B.
    #[arg(long, value_name = "WHICH", value_parser = parse::exemplars)]
    b: ExemplarSpec,
    /// Exemplars of C.
    #[arg(long, value_name = "WHICH", value_parser = parse::exemplars)]
    c: ExemplarSpec,
    /// Exemplars of each concept where a model picks them. The paper found the mean of 3 stable and a single one not.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = value_parser!(u32).range(1..=1000))]
    exemplars: u32,
    #[command(flatten)]
    candidates: CandidateArgs,
    /// What the model shall see in the result: tells how often it does.
    #[arg(long, value_name = "WORDS")]
    expect: Option<String>,
    /// With --expect, and a model that picks: how often exemplars are drawn anew from all that are such.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = value_parser!(u32).range(1..=100_000))]
    draws: u32,
    /// The 8 neighbours of the result are within ±X of it.
    #[arg(long, value_name = "X", default_value_t = 0.25, value_parser = parse::weight, allow_negative_numbers = true)]
    noise: f64,
    #[command(flatten)]
    files: FileArgs,
}

/// How often results were what was expected: the result itself, and with its neighbours.
struct Hits {
    exemplars: usize,
    centre: SuccessRate,
    around: TrialResults,
    /// Mean length of the results' latents, by √latent.
    length: f64,
}

/// What was found of --expect.
struct ArithmeticCheck {
    /// What found it.
    by: String,
    /// Of all candidates, and their mean length.
    chance: (SuccessRate, f64),
    /// Of the figure's result and its neighbours.
    figure: [SuccessRate; 2],
    /// Over draws.
    drawn: Vec<Hits>,
}

/// Pictures of a result: itself, and 8 neighbours.
const AROUND: usize = 9;

/// Computes with latents, draws the figure, and counts.
///
/// # Errors
/// Exemplars that are not there, words that the model does not know, files that are there already, the disk.
pub fn run(args: &Args) -> Result<(), CliError> {
    args.files.require(None)?;
    let opened = args.generator.open_alone()?;
    let conditions = args.condition.read(opened.sampler.recipe())?;
    let mut candidates = Candidates::new(&opened, &args.seed, &conditions, &args.candidates)?;
    let per = args.exemplars as usize;
    let mut pick = |flag, pick: &ExemplarSpec| candidates.pick(flag, pick, per, &args.files);
    let picked = [pick("a", &args.a)?, pick("b", &args.b)?, pick("c", &args.c)?];
    let [a, b, c] = picked.each_ref().map(|own| own.exemplars.len());
    if a != b || b != c {
        return Err(CliError::Usage(format!(
            "--a, --b and --c have {a}, {b} and {c} exemplars: give equally many"
        )));
    }
    let exemplars: Vec<_> = picked.iter().flat_map(|own| own.exemplars.iter().copied()).collect();
    let rows: Vec<usize> = (0..exemplars.len()).collect();
    let equation = Equation([0, 1, 2].map(|concept| rows[concept * a..(concept + 1) * a].to_vec()));
    let noise = ResultNoise { seed: args.seed.seed, amplitude: args.noise as f32 };
    let base = candidates.drawing(&exemplars, 0);
    let result = Equation::results(std::slice::from_ref(&equation), base.clone(), noise);
    let length = lengths(&opened, &result)?.first().copied().unwrap_or(0.0);
    let verdict = match &args.expect {
        Some(words) => {
            let around = args.files.draw(&opened, "drawing the result", &result)?;
            Some(judge(args, &opened, &mut candidates, &picked, words, &around, noise)?)
        }
        None => None,
    };
    if args.files.json {
        print_json(&picked, length, verdict.as_ref())
    } else {
        print(args, &picked, length, verdict.as_ref(), candidates.len())
    }
    args.files.write_grid(&opened, equation.figure(base, noise), &[])
}

/// |z| / √latent of each latent that a drawing's pictures are drawn from: about 1 for those that a generator was trained with, where they are normal, and
/// 0.58 where they are uniform.
fn lengths(opened: &LoadedGenerator, drawing: &SampleSpec) -> Result<Vec<f64>, CliError> {
    let (latents, _) = drawing.inputs(opened.sampler.recipe())?;
    let width = latents.shape()[1];
    let length = |row: &[f32]| {
        (row.iter().map(|z| f64::from(*z).powi(2)).sum::<f64>() / width as f64).sqrt()
    };
    Ok(latents.to_vec().chunks_exact(width).map(length).collect())
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len().max(1);
    values.sum::<f64>() / count as f64
}

fn judge(
    args: &Args,
    opened: &LoadedGenerator,
    candidates: &mut Candidates<'_>,
    picked: &[Selection; 3],
    words: &str,
    figure: &[f32],
    noise: ResultNoise,
) -> Result<ArithmeticCheck, CliError> {
    let all = candidates.all();
    let (model, scores) = candidates.judged(&args.files)?;
    let concept = AttributeQuery::parse(words, model.names()).map_err(|error| {
        CliError::Usage(format!("--expect {}", hints::compose(&error, hints::eval(&error))))
    })?;
    let [h, w, c] = opened.sampler.shape();
    // The result first, then its neighbours.
    let hits = |images: &[f32]| -> Result<Vec<bool>, CliError> {
        let scores =
            model.score(&Tensor::from_slice(images, [images.len() / (h * w * c), h, w, c]))?;
        Ok(scores.rows().map(|row| concept.strength(row) > 0.0).collect())
    };
    let centre = |hits: &[bool]| SuccessRate::count(hits.iter().step_by(AROUND).copied());
    let chance = SuccessRate::count(scores.rows().map(|row| concept.strength(row) > 0.0));
    let chance = (chance, mean(lengths(opened, &all)?.into_iter()));
    let mut drawn = Vec::new();
    if let [Some(a), Some(b), Some(c)] = picked.each_ref().map(|own| own.found.as_deref()) {
        let mut rng = Philox::new(args.seed.seed, TRIALS);
        // One exemplar, and the mean of several beside it.
        let several = if args.exemplars > 1 { args.exemplars as usize } else { 3 };
        for exemplars in [1, several] {
            let trials = draw_trials([a, b, c], exemplars, args.draws as usize, &mut rng);
            if trials.is_empty() {
                continue;
            }
            let equations: Vec<Equation> = trials.into_iter().map(Equation).collect();
            let around = Equation::results(&equations, all.clone(), noise);
            let hits = hits(&args.files.draw(opened, "drawing results", &around)?)?;
            let length = mean(lengths(opened, &around)?.into_iter().step_by(AROUND));
            drawn.push(Hits {
                exemplars,
                centre: centre(&hits),
                around: TrialResults::count(&hits, AROUND),
                length,
            });
        }
    }
    let own = hits(figure)?;
    Ok(ArithmeticCheck {
        by: model.id(),
        chance,
        figure: [centre(&own), SuccessRate::count(own)],
        drawn,
    })
}

/// `61 of 100, 61 % (51 to 70)`.
fn rate(rate: SuccessRate, interval: Option<[f64; 2]>) -> String {
    let interval = interval.map(|ends| ends.map(|share| 100.0 * share));
    let interval =
        interval.map_or_else(String::new, |[low, high]| format!(" ({low:.0} to {high:.0})"));
    format!("{} of {}, {:.0} %{interval}", rate.hits, rate.of, 100.0 * rate.share())
}

fn print(
    args: &Args,
    picked: &[Selection; 3],
    length: f64,
    verdict: Option<&ArithmeticCheck>,
    count: usize,
) {
    let mut cells =
        vec![["", "what", "exemplars", "such among the candidates"].map(String::from).to_vec()];
    for (name, own) in ["A", "B", "C"].iter().zip(picked) {
        let found = own
            .found
            .as_ref()
            .map_or_else(|| "not asked".into(), |found| format!("{} of {count}", found.len()));
        cells.push(vec![(*name).to_owned(), own.said.clone(), own.names.join(", "), found]);
    }
    output::line(table(&cells));
    output::line(format!("\n|A − B + C| / √latent: {length:.2}"));
    let (Some(verdict), Some(words)) = (verdict, &args.expect) else { return };
    output::line(format!(
        "\nA − B + C is expected to be {words}; by {}, with 95 % confidence intervals, it is",
        verdict.by
    ));
    let mut cells = vec![
        ["", "the result", "result and 8 neighbours", "|result| / √latent"]
            .map(String::from)
            .to_vec(),
    ];
    let [centre, around] = verdict.figure.map(|own| rate(own, None));
    cells.push(vec!["of these exemplars".into(), centre, around, format!("{length:.2}")]);
    for hits in &verdict.drawn {
        let what = if hits.exemplars == 1 {
            "of 1 exemplar each".into()
        } else {
            format!("of the mean of {}", hits.exemplars)
        };
        let around = rate(hits.around.total, hits.around.interval());
        cells.push(vec![
            what,
            rate(hits.centre, Some(hits.centre.interval())),
            around,
            format!("{:.2}", hits.length),
        ]);
    }
    let (chance, length) = verdict.chance;
    cells.push(vec![
        "any candidate".into(),
        rate(chance, Some(chance.interval())),
        "-".into(),
        format!("{length:.2}"),
    ]);
    output::line(table(&cells));
}

fn print_json(picked: &[Selection; 3], length: f64, verdict: Option<&ArithmeticCheck>) {
    let rate = |rate: SuccessRate, interval: Option<[f64; 2]>| json!({ "hits": rate.hits, "of": rate.of, "share": rate.share(), "interval": interval });
    let single = |own: SuccessRate| rate(own, Some(own.interval()));
    let concept = |own: &Selection| json!({ "what": own.said, "exemplars": own.names, "such": own.found.as_ref().map(Vec::len) });
    let hits = |own: &Hits| {
        let around = rate(own.around.total, own.around.interval());
        json!({ "exemplars": own.exemplars, "result": single(own.centre), "with_neighbours": around, "length": own.length })
    };
    let verdict = verdict.map_or(Value::Null, |found| {
        let (chance, length) = found.chance;
        json!({
            "by": found.by,
            "chance": single(chance),
            "length": length,
            "figure": { "result": rate(found.figure[0], None), "with_neighbours": rate(found.figure[1], None) },
            "draws": found.drawn.iter().map(hits).collect::<Vec<_>>(),
        })
    });
    let [a, b, c] = picked.each_ref().map(concept);
    output::json(&json!({ "a": a, "b": b, "c": c, "length": length, "verdict": verdict }));
}
