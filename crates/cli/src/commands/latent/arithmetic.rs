//! `dcgan arithmetic`.

use super::candidates::{CandidateArgs, Candidates, Selection};
use super::{FileArgs, RateReport, SeedArgs};
use crate::commands::{ConditionArgs, GeneratorArgs, LoadedGenerator};
use crate::error::CliError;
use crate::parse::count;
use crate::report::{self, Report, table};
use crate::{hints, parse};
use eval::latent::{
    AttributeQuery, Equation, ExemplarSpec, ResultNoise, SampleSpec, SuccessRate, TrialResults,
    draw_trials,
};
use serde::Serialize;
use tensor::Tensor;
use tensor::rng::Philox;

/// Philox stream of the exemplars that are drawn repeatedly.
const TRIAL_STREAM: u64 = 0x7472_6961;
/// Images of a result: the result itself and 8 neighbors.
const RESULT_IMAGES: usize = 9;

#[derive(clap::Args)]
#[command(next_help_heading = "Evaluation")]
pub struct Args {
    #[command(flatten)]
    generator: GeneratorArgs,
    #[command(flatten)]
    seed: SeedArgs,
    /// Conditions go through the same arithmetic as the latents: a single class stays unchanged.
    #[command(flatten)]
    condition: ConditionArgs,
    /// Exemplars of A in A − B + C: indices of candidates (3,17,42), seeds (seed:5,seed:9,seed:11),
    /// or attributes that a model detects (light=1,warm=0; score:7 for a class named 7), which
    /// takes the candidates with the highest scores.
    #[arg(long, value_name = "WHICH", value_parser = parse::exemplars)]
    a: ExemplarSpec,
    /// Exemplars of B.
    #[arg(long, value_name = "WHICH", value_parser = parse::exemplars)]
    b: ExemplarSpec,
    /// Exemplars of C.
    #[arg(long, value_name = "WHICH", value_parser = parse::exemplars)]
    c: ExemplarSpec,
    /// Exemplars per group that are picked by attributes. The DCGAN paper found the mean of 3
    /// stable and a single one unstable.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = count(1..=1000))]
    exemplars: u32,
    #[command(flatten)]
    candidates: CandidateArgs,
    /// Attributes expected of the result: report how often the model detects them.
    #[arg(long, value_name = "ATTRIBUTES")]
    expect: Option<String>,
    /// Number of random draws of exemplars among all matching candidates, with --expect and
    /// exemplars picked by attributes.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = count(1..=100_000))]
    draws: u32,
    /// Noise: half-width of the uniform noise that makes the 8 neighbors of the result.
    #[arg(long, value_name = "X", default_value_t = 0.25, value_parser = parse::weight,
        allow_negative_numbers = true)]
    noise: f64,
    #[command(flatten)]
    files: FileArgs,
}

/// Computes A − B + C in latent space, draws the figure and counts the expected attributes.
pub fn run(args: &Args) -> Result<(), CliError> {
    args.files.require(&[])?;
    let opened = args.generator.open_batch_invariant()?;
    let conditions = args.condition.read(opened.sampler.recipe())?;
    let mut candidates = Candidates::new(&opened, &args.seed, &conditions, &args.candidates)?;
    let per_concept = args.exemplars as usize;
    let [cells, columns] = Equation::figure_size(args.a.count(per_concept));
    args.files.require_grid_size(&opened, cells, columns)?;
    let mut pick =
        |flag, pick: &ExemplarSpec| candidates.pick(flag, pick, per_concept, &args.files);
    let selections = [pick("a", &args.a)?, pick("b", &args.b)?, pick("c", &args.c)?];
    let [a, b, c] = selections.each_ref().map(|own| own.exemplars.len());
    if a != b || b != c {
        return Err(usage!("--a, --b and --c have {a}, {b} and {c} exemplars: give equally many"));
    }
    let exemplars: Vec<_> =
        selections.iter().flat_map(|own| own.exemplars.iter().copied()).collect();
    let rows: Vec<usize> = (0..exemplars.len()).collect();
    let equation = Equation([0, 1, 2].map(|concept| rows[concept * a..(concept + 1) * a].to_vec()));
    let noise = ResultNoise { seed: args.seed.seed, amplitude: args.noise as f32 };
    let base = candidates.drawing(&exemplars, 0);
    let result = Equation::results(std::slice::from_ref(&equation), base.clone(), noise);
    let length = lengths(&opened, &result)?.first().copied().unwrap_or(0.0);
    let check = match &args.expect {
        Some(expected) => {
            let images = args.files.draw(&opened, "drawing the result", &result)?;
            Some(check(args, &opened, &mut candidates, &selections, expected, &images, noise)?)
        }
        None => None,
    };
    let [a, b, c] = selections;
    let report = ArithmeticReport { a, b, c, length, check, candidates: candidates.len() };
    report::print(&report, args.files.json);
    args.files.write_grid(&opened, equation.figure(base, noise), &[])
}

/// |z| / √latent of each latent of a drawing: about 1 for the training distribution if it is
/// normal, 0.58 if it is uniform.
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

/// Counts the expected attributes in `images` (the result and its neighbors), in results of random
/// draws of exemplars, and among all candidates.
fn check(
    args: &Args,
    opened: &LoadedGenerator,
    candidates: &mut Candidates<'_>,
    selections: &[Selection; 3],
    expected: &str,
    images: &[f32],
    noise: ResultNoise,
) -> Result<ArithmeticCheck, CliError> {
    let all = candidates.all();
    let (model, scores) = candidates.evaluation_scores(&args.files)?;
    let concept = AttributeQuery::parse(expected, model.names())
        .map_err(|error| usage!("--expect {}", hints::compose(&error, hints::eval(&error))))?;
    let [h, w, c] = opened.sampler.shape();
    // Per group of RESULT_IMAGES images: the result first, then its neighbors.
    let hits = |images: &[f32]| -> Result<Vec<bool>, CliError> {
        let scores =
            model.score(&Tensor::from_slice(images, [images.len() / (h * w * c), h, w, c]))?;
        Ok(scores.rows().map(|row| concept.strength(row) > 0.0).collect())
    };
    let of_results =
        |hits: &[bool]| SuccessRate::count(hits.iter().step_by(RESULT_IMAGES).copied());
    let chance = SuccessRate::count(scores.rows().map(|row| concept.strength(row) > 0.0));
    let chance_length = mean(lengths(opened, &all)?.into_iter());
    let mut draws = Vec::new();
    if let [Some(a), Some(b), Some(c)] = selections.each_ref().map(|own| own.matches.as_deref()) {
        let mut rng = Philox::new(args.seed.seed, TRIAL_STREAM);
        // A single exemplar, and the mean of several for comparison.
        let several = if args.exemplars > 1 { args.exemplars as usize } else { 3 };
        for exemplars in [1, several] {
            let trials = draw_trials([a, b, c], exemplars, args.draws as usize, &mut rng);
            if trials.is_empty() {
                continue;
            }
            let equations: Vec<Equation> = trials.into_iter().map(Equation).collect();
            let around = Equation::results(&equations, all.clone(), noise);
            let hits = hits(&args.files.draw(opened, "drawing results", &around)?)?;
            let grouped = TrialResults::count(&hits, RESULT_IMAGES);
            let rates = ResultRates {
                result: of_results(&hits).into(),
                with_neighbors: RateReport::new(grouped.total, grouped.interval()),
            };
            let length = mean(lengths(opened, &around)?.into_iter().step_by(RESULT_IMAGES));
            draws.push(DrawRates { exemplars, rates, length });
        }
    }
    let own = hits(images)?;
    let figure = ResultRates {
        result: RateReport::new(of_results(&own), None),
        with_neighbors: RateReport::new(SuccessRate::count(own), None),
    };
    Ok(ArithmeticCheck {
        expected: expected.to_owned(),
        by: model.id(),
        chance: chance.into(),
        chance_length,
        figure,
        draws,
    })
}

/// The exemplars, and how often the expected attributes were detected.
#[derive(Serialize)]
struct ArithmeticReport {
    a: Selection,
    b: Selection,
    c: Selection,
    /// |A − B + C| / √latent.
    length: f64,
    check: Option<ArithmeticCheck>,
    #[serde(skip)]
    candidates: usize,
}

/// Rates of the attributes of `--expect`.
#[derive(Serialize)]
struct ArithmeticCheck {
    #[serde(skip)]
    expected: String,
    /// The model that detects them.
    by: String,
    /// The rate among all candidates.
    chance: RateReport,
    #[serde(rename = "length")]
    chance_length: f64,
    /// The rates for the exemplars of the figure.
    figure: ResultRates,
    draws: Vec<DrawRates>,
}

/// Rates of results alone, and of results with their neighbors.
#[derive(Serialize)]
struct ResultRates {
    result: RateReport,
    with_neighbors: RateReport,
}

/// Rates over random draws of exemplars.
#[derive(Serialize)]
struct DrawRates {
    /// Exemplars per concept.
    exemplars: usize,
    #[serde(flatten)]
    rates: ResultRates,
    /// Mean of |result| / √latent.
    length: f64,
}

/// `61 of 100, 61 % (51 to 70)`.
fn rate_text(rate: &RateReport) -> String {
    let interval = rate.interval_text().map_or_else(String::new, |text| format!(" ({text})"));
    format!("{} of {}, {:.0} %{interval}", rate.hits, rate.of, 100.0 * rate.share)
}

impl Report for ArithmeticReport {
    fn text(&self) -> Vec<String> {
        let selections = [("A", &self.a), ("B", &self.b), ("C", &self.c)].map(|(name, own)| {
            let matches = own
                .matches
                .as_ref()
                .map_or_else(|| "-".into(), |all| format!("{} of {}", all.len(), self.candidates));
            [name.to_owned(), own.query.clone(), own.names.join(", "), matches]
        });
        let mut lines = vec![
            table(&["", "selection", "exemplars", "matching candidates"], selections),
            format!("\n|A − B + C| / √latent: {:.2}", self.length),
        ];
        let Some(check) = &self.check else { return lines };
        lines.push(format!(
            "\nA − B + C is expected to be {}; detected by {}, with 95 % confidence intervals:",
            check.expected, check.by
        ));
        let row = |name: String, rates: &ResultRates, length: f64| {
            let [result, neighbors] = [&rates.result, &rates.with_neighbors].map(rate_text);
            [name, result, neighbors, format!("{length:.2}")]
        };
        let draws = check.draws.iter().map(|draw| {
            let name = match draw.exemplars {
                1 => "1 exemplar each".to_owned(),
                several => format!("mean of {several} exemplars"),
            };
            row(name, &draw.rates, draw.length)
        });
        let chance = [
            "any candidate".to_owned(),
            rate_text(&check.chance),
            "-".to_owned(),
            format!("{:.2}", check.chance_length),
        ];
        let own = row("these exemplars".to_owned(), &check.figure, self.length);
        let head = ["", "result", "result and 8 neighbors", "|result| / √latent"];
        lines.push(table(&head, [own].into_iter().chain(draws).chain([chance])));
        lines
    }
}
