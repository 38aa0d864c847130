//! `dcgan eval`: two sets, compared.

use super::fake::Fake;
use super::train_features::{of_set, open, unmirrored};
use super::{DeviceArgs, PreprocessArgs};
use crate::commands::preprocess::DatasetInfo;
use crate::commands::{open_checkpoint, require_grid};
use crate::error::CliError;
use crate::{cache, output, parse, render};
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{ValueEnum, value_parser};
use data::{DataSpec, Dataset, Preprocess, Split};
use eval::EvalError;
use eval::feature_network::{DiscriminatorExtractor, FeatureExtractor, FeatureNetwork};
use eval::image_sheet::{FrameColor, ImageSheet};
use eval::metrics::pairwise::PairwiseDistances;
use eval::metrics::{
    self, ConditionSampling, Direction, FeatureSet, ImageSource, METRICS, Metric, MetricReport,
    MetricValue, Needs, Options, Subsets, TrainNeighborIndex, compare,
};
use nn::Recipe;
use runs::grid;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tensor::Device;
use train::Settings;

/// Parses the name of a registered metric: adding one to the library adds it to the flags.
pub fn metric_parser() -> impl TypedValueParser<Value = &'static Metric> {
    let names = METRICS.iter().map(|metric| PossibleValue::new(metric.name).help(metric.help));
    PossibleValuesParser::new(names).try_map(|name| metric_named(&name))
}

/// The metric with this name.
///
/// # Errors
/// Returns an error if there is none: a run's settings may be from another version.
pub fn metric_named(name: &str) -> Result<&'static Metric, CliError> {
    metrics::find(name)
        .ok_or_else(|| CliError::Failed(format!("this version has no metric {name:?}")))
}

/// How conditions are drawn.
#[derive(Clone, Copy, ValueEnum)]
enum Classes {
    /// Those of real pictures, by chance: in the real set's proportions.
    Real,
    /// Each equally often.
    Uniform,
}

/// Pictures in a row of the picture.
const COLUMNS: usize = 12;
/// Around real pictures that are nearest to generated ones in features, as in `dcgan neighbours`.
const BLUE: FrameColor = [-0.7, 0.0, 1.0];

/// Flags of `eval`.
#[derive(clap::Args)]
pub struct CompareArgs {
    /// The real pictures: what `dcgan train --data` takes [default: what the checkpoint under --fake learned from].
    #[arg(long, value_name = "SPEC")]
    real: Option<String>,
    /// The generated pictures: a checkpoint, a run directory, model:fashion, a set of pictures as under --real, or noise.
    #[arg(long, value_name = "CHECKPOINT|RUNDIR|SPEC", required = true)]
    fake: Option<String>,
    /// The part of the real set.
    #[arg(long, value_enum, default_value = "train")]
    split: Split,
    /// The part of the set under --fake.
    #[arg(long, value_enum, default_value = "train")]
    fake_split: Split,
    /// What to measure, separated by commas [default: fid,kid,pr,dc, and is where the features come from a network of classes].
    #[arg(long, value_name = "METRIC,…", value_parser = metric_parser(), value_delimiter = ',')]
    metrics: Vec<&'static Metric>,
    /// Pictures of each side, drawn by chance from a set that has more.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = value_parser!(u32).range(2..=1_000_000))]
    count: u32,
    /// What numbers stand for a picture: network (trained on the real set's labels, at first use), a file that train-features wrote,
    /// d:CHECKPOINT (a discriminator's last layer), or pixels.
    #[arg(long, value_name = "network|FILE|d:CHECKPOINT|pixels", default_value = "network")]
    features: String,
    /// How classes or attributes are chosen for a conditional generator.
    #[arg(long, value_enum, default_value = "real")]
    classes: Classes,
    /// The same seed chooses and draws the same pictures.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = parse::seed)]
    seed: u64,
    /// Neighbours that precision, recall, density and coverage look at.
    #[arg(long, value_name = "K", default_value_t = 3, value_parser = value_parser!(u32).range(1..=1000))]
    neighbours: u32,
    /// Resamples for the 95 % intervals; 0 for none.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = value_parser!(u32).range(0..=100_000))]
    bootstrap: u32,
    /// Measure the real pictures again, and keep nothing of them for the next time.
    #[arg(long)]
    no_cache: bool,
    #[command(flatten)]
    pictures: PreprocessArgs,
    #[command(flatten)]
    device: DeviceArgs,
    /// Draws what was compared: a row of real pictures, one of generated ones, and below each of those, in blue, the real picture whose features are nearest.
    #[arg(long, value_name = "FILE.png")]
    grid: Option<PathBuf>,
    /// Write over a file that is there.
    #[arg(long)]
    force: bool,
    /// One JSON object on standard output.
    #[arg(long)]
    json: bool,
}

/// Measures and tells.
///
/// # Errors
/// Pictures, networks or flags that do not fit together.
pub fn run(args: &CompareArgs) -> Result<(), CliError> {
    args.grid.as_ref().map_or(Ok(()), |grid| require_grid(grid, args.force))?;
    let device = args.device.open()?;
    let Some(fake_name) = &args.fake else {
        return Err(CliError::Usage("--fake says what to measure".into()));
    };
    let fake = Fake::open(fake_name, &device)?;
    let real_name = real_name(args, &fake)?;
    let recipe = recipe(args, &real_name, &fake)?;
    let preprocess = preprocess(args, &real_name, &recipe, &fake)?;
    let train = Arc::new(open(&real_name, Split::Train, &preprocess)?);
    let real = match args.split {
        Split::Train => Arc::clone(&train),
        Split::Test => Arc::new(open(&real_name, Split::Test, &preprocess)?),
    };
    // Before the feature network, which may have to learn for minutes.
    let set = match &fake {
        Fake::Set(spec) => Some(open(spec, args.fake_split, &of_recipe(args, spec, &recipe)?)?),
        _ => None,
    };
    let extractor = extractor(&args.features, &real_name, &train, &device, args.json)?;
    let (count, told) = (
        args.count as usize,
        if matches!(args.classes, Classes::Real) {
            ConditionSampling::FromRealSet
        } else {
            ConditionSampling::Uniform
        },
    );
    let of_real = ImageSource::from_dataset(&real, count, args.seed);
    let of_fake = match (&fake, &set) {
        (Fake::Generator { sampler, .. }, _) => {
            ImageSource::generated(sampler, count, args.seed, told, &real)?
        }
        (_, Some(set)) => ImageSource::from_dataset(set, count, args.seed),
        _ => ImageSource::Noise { count, shape: real.shape(), seed: args.seed },
    };
    let counts = [of_real.len(), of_fake.len()];
    let options = Options {
        metrics: metrics(args, &extractor),
        neighbors: args.neighbours as usize,
        subsets: Subsets::default(),
        bootstrap: args.bootstrap as usize,
        seed: args.seed,
    };
    let kept = if args.no_cache { None } else { Some(cache::folder("statistics")?) };
    let (report, sheet) = render::with_progress(args.json, |progress| {
        let real = of_real.cached_features(
            &extractor,
            kept.as_deref(),
            "looking at real pictures",
            progress,
        )?;
        let training = match options.metrics.iter().any(|metric| metric.needs == Needs::TrainSet) {
            true => {
                let all = ImageSource::from_dataset(&train, usize::MAX, args.seed);
                let all = all.cached_features(
                    &extractor,
                    kept.as_deref(),
                    "looking at training pictures",
                    progress,
                )?;
                Some(TrainNeighborIndex::new(Cow::Owned(all.features), &device, progress)?)
            }
            false => None,
        };
        let fake =
            of_fake.cached_features(&extractor, None, "looking at generated pictures", progress)?;
        let report = compare(&real, &fake, training.as_ref(), &options, &device, progress)?;
        let sheet = match &args.grid {
            Some(_) => Some(sheet([&of_real, &of_fake], [&real, &fake], &device)?),
            None => None,
        };
        Ok::<_, EvalError>((report, sheet))
    })?;
    report.warnings.iter().for_each(output::warning);
    let told = match &fake {
        Fake::Generator { sampler, .. } => {
            train::generator_condition(sampler.recipe()).map(|_| told)
        }
        _ => None,
    };
    let subject = Subject {
        real: format!("{real_name} ({})", args.split.name()),
        fake: fake_name,
        counts,
        told,
        extractor: &extractor,
    };
    if args.json {
        print_json(&subject, args, &report)
    } else {
        print(&subject, &report)
    }
    if let (Some(file), Some(sheet)) = (&args.grid, sheet) {
        grid::save_png(file, &sheet.draw()?)?;
        if !args.json {
            output::line(format!("wrote {}", file.display()));
        }
    }
    Ok(())
}

/// Real pictures, spread over the set; generated ones; and for each the real picture that is nearest in features.
fn sheet(
    sources: [&ImageSource<'_>; 2],
    [real, fake]: [&FeatureSet; 2],
    device: &Device,
) -> Result<ImageSheet, EvalError> {
    let [of_real, of_fake] = sources;
    let columns = COLUMNS.min(of_real.len()).min(of_fake.len());
    let generated = of_fake.images(0, columns)?;
    let size = generated.len() / columns;
    let shape = [generated.shape()[1], generated.shape()[2], generated.shape()[3]];
    let some = fake.features.select(&(0..columns).collect::<Vec<_>>());
    let nearest =
        PairwiseDistances::new(&some, &real.features, device).nearest(1, eval::Progress::SILENT)?;
    let mut sheet = ImageSheet::framed(shape, columns);
    for index in eval::images::evenly_spaced(of_real.len(), columns) {
        sheet.add(&of_real.images(index, 1)?.to_vec(), None);
    }
    generated.to_vec().chunks_exact(size).for_each(|picture| sheet.add(picture, None));
    for found in nearest.iter().filter_map(|found| found.first()) {
        sheet.add(&of_real.images(found.index, 1)?.to_vec(), Some(BLUE));
    }
    Ok(sheet)
}

/// What was compared.
struct Subject<'a> {
    real: String,
    fake: &'a str,
    counts: [usize; 2],
    told: Option<ConditionSampling>,
    extractor: &'a FeatureExtractor,
}

fn metrics(args: &CompareArgs, extractor: &FeatureExtractor) -> Vec<&'static Metric> {
    if args.metrics.is_empty() {
        let fits = |metric: &Metric| {
            metric.needs != Needs::ClassProbabilities || extractor.is_classifier()
        };
        return METRICS.iter().copied().filter(|metric| metric.default && fits(metric)).collect();
    }
    args.metrics.clone()
}

fn real_name(args: &CompareArgs, fake: &Fake) -> Result<String, CliError> {
    match (&args.real, fake) {
        (Some(name), _) => Ok(name.clone()),
        (None, Fake::Generator { checkpoint, .. }) if !checkpoint.meta.dataset.name.is_empty() => {
            Ok(checkpoint.meta.dataset.name.clone())
        }
        _ => Err(CliError::Usage(
            "--real says what to compare with: the name of a set (dcgan data list), or a path"
                .into(),
        )),
    }
}

/// A recipe whose pictures are those to compare: the generator's, or the one that suits the real set.
fn recipe(args: &CompareArgs, real: &str, fake: &Fake) -> Result<Recipe, CliError> {
    match fake {
        Fake::Generator { sampler, .. } => Ok(sampler.recipe().clone()),
        Fake::Noise | Fake::Set(_) => {
            args.pictures.recipe(None, &DatasetInfo::of(&DataSpec::parse(real)?)?, None)
        }
    }
}

/// How the real pictures are brought to the recipe's size: as the generator learned them, where that is known.
fn preprocess(
    args: &CompareArgs,
    real: &str,
    recipe: &Recipe,
    fake: &Fake,
) -> Result<Preprocess, CliError> {
    if let Fake::Generator { checkpoint, .. } = fake
        && let Some(settings) = checkpoint.meta.state.get("settings")
        && let Ok(settings) = serde_json::from_value::<Settings>(settings.clone())
        && settings.data == real
    {
        return Ok(unmirrored(settings.preprocess));
    }
    of_recipe(args, real, recipe)
}

fn of_recipe(args: &CompareArgs, spec: &str, recipe: &Recipe) -> Result<Preprocess, CliError> {
    Ok(unmirrored(args.pictures.preprocess(recipe, &DatasetInfo::of(&DataSpec::parse(spec)?)?)?))
}

/// What `--features` means: `train` is the training split of the set `real`.
///
/// # Errors
/// A file that cannot be read, or a set without labels.
pub fn extractor(
    features: &str,
    real: &str,
    train: &Arc<Dataset>,
    device: &Device,
    json: bool,
) -> Result<FeatureExtractor, CliError> {
    Ok(match features {
        "network" => {
            FeatureExtractor::Network(Box::new(of_set(real, Arc::clone(train), device, json)?))
        }
        "pixels" => FeatureExtractor::Pixels(train.shape()),
        other => match other.strip_prefix("d:") {
            Some(path) => {
                let checkpoint = open_checkpoint(Path::new(path), output::warning)?.checkpoint;
                let made = render::with_progress(json, |progress| {
                    DiscriminatorExtractor::new(&checkpoint, train, device, progress)
                })?;
                FeatureExtractor::Discriminator(Box::new(made))
            }
            None => {
                FeatureExtractor::Network(Box::new(FeatureNetwork::load(Path::new(other), device)?))
            }
        },
    })
}

fn conditions(told: Option<ConditionSampling>) -> &'static str {
    match told {
        None => "",
        Some(ConditionSampling::FromRealSet) => ", conditions in the real set's proportions",
        Some(ConditionSampling::Uniform) => ", each class equally often",
    }
}

fn print(subject: &Subject<'_>, report: &MetricReport) {
    let [real, fake] = subject.counts;
    output::line(format!("Real: {real} pictures of {}", subject.real));
    output::line(format!(
        "Generated: {fake} pictures of {}{}",
        subject.fake,
        conditions(subject.told)
    ));
    output::line(format!("Features: {}\n", subject.extractor.id()));
    let mut rows = vec![
        ["metric", "value", "95 % interval", "real pictures", "better"].map(String::from).to_vec(),
    ];
    rows.extend(report.values.iter().map(|figure| row(figure, &subject.extractor.id())));
    output::line(render::table(&rows));
}

fn row(figure: &MetricValue, features: &str) -> Vec<String> {
    let interval = figure
        .interval
        .map_or("-".into(), |[low, high]| format!("{} to {}", number(low), number(high)));
    let better = match figure.better {
        Direction::Lower => "lower",
        Direction::Higher => "higher",
        Direction::Expected => "as real",
    };
    let expected = figure.expected.map_or("-".into(), number);
    vec![
        format!("{} ({features})", figure.name),
        number(figure.value),
        interval,
        expected,
        better.into(),
    ]
}

/// With as many digits as mean something.
fn number(value: f64) -> String {
    if value.abs() >= 100.0 { format!("{value:.1}") } else { format!("{value:.4}") }
}

fn print_json(subject: &Subject<'_>, args: &CompareArgs, report: &MetricReport) {
    let of = |figure: &MetricValue| {
        let MetricValue { name, value, interval, deviation, expected, .. } = figure;
        json!({ "name": name, "value": value, "interval": interval, "deviation": deviation, "real": expected })
    };
    let figures: serde_json::Map<String, Value> =
        report.values.iter().map(|figure| (figure.key.to_owned(), of(figure))).collect();
    let [real, fake] = subject.counts;
    let told = subject
        .told
        .map(|told| if told == ConditionSampling::FromRealSet { "real" } else { "uniform" });
    output::json(&json!({
        "features": subject.extractor.id(), "real": subject.real, "fake": subject.fake, "count_real": real, "count_fake": fake,
        "classes": told, "seed": args.seed, "neighbours": args.neighbours, "metrics": figures,
    }));
}
