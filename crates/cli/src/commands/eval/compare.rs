//! `dcgan eval`: metrics between real and generated images.

use super::fake::Fake;
use super::train_features::{of_dataset, unmirrored};
use crate::commands::{
    DatasetInfo, DeviceArgs, ModelArgs, OutputArgs, PreprocessArgs, SeedArg, checkpoint,
    open_checkpoint, open_dataset, require_files,
};
use crate::distributed;
use crate::error::CliError;
use crate::parse::count;
use crate::render::with_progress;
use crate::report::{self, Report, table};
use crate::{cache, output};
use clap::ArgGroup;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use data::{DataSpec, Dataset, Preprocess, Split};
use eval::feature_network::{DiscriminatorExtractor, FeatureExtractor, FeatureNetwork};
use eval::image_sheet::{FrameColor, ImageSheet};
use eval::metrics::pairwise::PairwiseDistances;
use eval::metrics::{
    self, ConditionSampling, Direction, FeatureSet, ImageSource, METRICS, Metric, MetricValue,
    Needs, Options, Subsets, TrainNeighborIndex, compare,
};
use eval::{EvalError, Progress};
use nn::Recipe;
use runs::grid;
use serde::Serialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tensor::Device;
use train::Settings;

/// Parses the name of a registered metric: adding one to the library adds it to the flags.
pub fn metric_parser() -> impl TypedValueParser<Value = &'static Metric> {
    let names = METRICS.iter().map(|metric| PossibleValue::new(metric.name).help(metric.help));
    PossibleValuesParser::new(names).try_map(|name| metric_named(&name))
}

fn metrics_help() -> String {
    let defaults = |needs| {
        let of = METRICS.iter().filter(move |metric| metric.default && metric.needs == needs);
        of.map(|metric| metric.name).collect::<Vec<_>>().join(",")
    };
    format!(
        "Metrics, separated by commas [default: {} and, for features of a classifier, {}]",
        defaults(Needs::Features),
        defaults(Needs::ClassProbabilities)
    )
}

/// The metric with this name.
pub fn metric_named(name: &str) -> Result<&'static Metric, CliError> {
    metrics::find(name).ok_or_else(|| failure!("this version has no metric {name:?}"))
}

/// Images in a row of the grid.
const COLUMNS: usize = 12;
/// The frame around the real images nearest to generated ones in features, as in `dcgan nearest`.
const BLUE: FrameColor = [-0.7, 0.0, 1.0];

#[derive(clap::Args)]
#[command(next_help_heading = "Evaluation")]
#[command(group(ArgGroup::new("generated").args(["fake", "checkpoint", "model"]).required(true)))]
pub struct CompareArgs {
    /// Real images: a dataset, as for `dcgan train --data` [default: the training set of the --fake
    /// checkpoint].
    #[arg(long, value_name = "SPEC", value_parser = crate::parse::spec(), help_heading = "Data")]
    real: Option<String>,
    /// Generated images: a checkpoint, a run directory, model:NAME of a built-in model, a dataset,
    /// or noise.
    #[arg(
        long,
        value_name = "CHECKPOINT|RUNDIR|SPEC",
        value_parser = crate::parse::spec(),
        help_heading = "Data"
    )]
    fake: Option<String>,
    /// Checkpoint file, or run directory (its newest valid checkpoint), of the generator; instead
    /// of --fake.
    #[arg(long, value_name = "PATH|RUNDIR", help_heading = "Model")]
    checkpoint: Option<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
    /// Split of the dataset of real images.
    #[arg(long, value_enum, default_value = "train", help_heading = "Data")]
    split: Split,
    /// Split of a dataset given as --fake.
    #[arg(long, value_enum, default_value = "train", help_heading = "Data")]
    fake_split: Split,
    #[arg(long, value_name = "METRIC,…", value_parser = metric_parser(), value_delimiter = ',',
        help = metrics_help())]
    metrics: Vec<&'static Metric>,
    /// Number of images, real and generated each, drawn at random from a larger dataset.
    #[arg(long, value_name = "N", default_value_t = 10_000, help_heading = "Data",
        value_parser = count(2..=1_000_000))]
    count: u32,
    /// Features of an image: network (trained on the real dataset's labels, once), a file from
    /// `dcgan eval train-features`, d:CHECKPOINT (a discriminator's last layer), or pixels.
    #[arg(long, value_name = "network|FILE|d:CHECKPOINT|pixels", default_value = "network")]
    features: String,
    /// Conditions of a conditional generator.
    #[arg(long, value_enum, default_value = "real", help_heading = "Conditioning")]
    condition_sampling: ConditionSampling,
    /// Random seed of the choice of images and of the latents.
    #[command(flatten)]
    seed: SeedArg,
    /// Neighbors per image (k) of precision, recall, density and coverage.
    #[arg(long, value_name = "K", default_value_t = 3, value_parser = count(1..=1000))]
    neighbors: u32,
    /// Bootstrap resamples for the 95 % intervals; 0 for none.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = count(0..=100_000))]
    bootstrap: u32,
    /// Recompute the features of the real images, and do not cache them.
    #[arg(long)]
    no_cache: bool,
    #[command(flatten)]
    preprocess: PreprocessArgs,
    #[command(flatten)]
    device: DeviceArgs,
    /// Write a PNG of examples: a row of real images, a row of generated ones and, framed in blue,
    /// the real image nearest to each of those in features.
    #[arg(long, value_name = "FILE.png", help_heading = "Output")]
    grid: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

/// Computes and prints the metrics.
pub fn run(args: &CompareArgs) -> Result<(), CliError> {
    let json = args.output.json;
    let ranks = distributed::ranks();
    let files = [("--grid", args.grid.as_deref(), "png")];
    ranks.agree(require_files(args.output.force, files))?;
    let device = ranks.agree(args.device.open())?;
    let (fake_name, fake) = open_fake(args, &device)?;
    let real_name = real_name(args, &fake)?;
    let recipe = recipe(args, &real_name, &fake)?;
    let preprocess = preprocess(args, &real_name, &recipe, &fake)?;
    let train = Arc::new(open_dataset(&real_name, Split::Train, &preprocess, json)?);
    let real = match args.split {
        Split::Train => Arc::clone(&train),
        Split::Test => Arc::new(open_dataset(&real_name, Split::Test, &preprocess, json)?),
    };
    // Before the feature network, whose training may take minutes.
    let dataset = match &fake {
        Fake::Dataset(spec) => {
            let preprocess = preprocess_for(args, spec, &recipe)?;
            Some(open_dataset(spec, args.fake_split, &preprocess, json)?)
        }
        _ => None,
    };
    // The others read the network that rank 0 trains.
    let open = || extractor(&args.features, &real_name, &train, &device, json);
    let extractor = ranks.on_root(open)?;
    let extractor = ranks.agree(extractor.map_or_else(open, Ok))?;
    let (count, seed) = (args.count as usize, args.seed.seed);
    let conditions = args.condition_sampling;
    let real_source = ImageSource::from_dataset(&real, count, seed);
    let fake_source = match (&fake, &dataset) {
        (Fake::Generator { sampler, .. }, _) => {
            ImageSource::generated(sampler, count, seed, conditions, &real)?
        }
        (_, Some(dataset)) => ImageSource::from_dataset(dataset, count, seed),
        _ => ImageSource::Noise { count, shape: real.shape(), seed },
    };
    let counts = [real_source.len(), fake_source.len()];
    if args.grid.is_some() {
        let columns = COLUMNS.min(counts[0]).min(counts[1]);
        ImageSheet::framed(real.shape(), columns).check_size(3 * columns)?;
    }
    let options = Options {
        metrics: metrics(args, &extractor),
        neighbors: args.neighbors as usize,
        subsets: Subsets::default(),
        bootstrap: args.bootstrap as usize,
        seed,
    };
    let cache = if args.no_cache { None } else { Some(cache::folder("statistics")?) };
    let compared = with_progress(|progress| {
        let features = |source: &ImageSource<'_>, cache: Option<&Path>, what| {
            source.cached_features(&extractor, cache, what, progress, ranks.group())
        };
        let cache = cache.as_deref();
        let real = features(&real_source, cache, "features of real images")?;
        let training = match options.metrics.iter().any(|metric| metric.needs == Needs::TrainSet) {
            true => {
                let all = ImageSource::from_dataset(&train, usize::MAX, seed);
                Some(features(&all, cache, "features of training images")?.features)
            }
            false => None,
        };
        let fake = features(&fake_source, None, "features of generated images")?;
        if !ranks.is_root() {
            return Ok(None);
        }
        let training = match training {
            Some(all) => Some(TrainNeighborIndex::new(Cow::Owned(all), &device, progress)?),
            None => None,
        };
        let result = compare(&real, &fake, training.as_ref(), &options, &device, progress)?;
        let sheet = match &args.grid {
            Some(_) => {
                let sources = [&real_source, &fake_source];
                Some(sheet(sources, [&real, &fake], &device, progress)?)
            }
            None => None,
        };
        Ok::<_, EvalError>(Some((result, sheet)))
    })?;
    let Some((result, sheet)) = compared else { return Ok(()) };
    result.warnings.iter().for_each(output::warning);
    let conditional = match &fake {
        Fake::Generator { sampler, .. } => train::generator_condition(sampler.recipe()).is_some(),
        _ => false,
    };
    let report = CompareReport {
        features: extractor.id(),
        real: format!("{real_name} ({})", args.split.name()),
        fake: fake_name,
        count_real: counts[0],
        count_fake: counts[1],
        conditions: conditional.then_some(conditions),
        seed,
        neighbors: args.neighbors,
        order: result.values.iter().map(|value| value.key).collect(),
        metrics: result.values.into_iter().map(|value| (value.key, value)).collect(),
    };
    report::print(&report, json);
    if let (Some(file), Some(sheet)) = (&args.grid, sheet) {
        grid::save_png(file, &sheet.draw()?)?;
        output::wrote(file, json);
    }
    Ok(())
}

/// Real images, evenly spaced over the dataset; generated ones; and for each of those the real
/// image nearest in features.
fn sheet(
    [real_source, fake_source]: [&ImageSource<'_>; 2],
    [real, fake]: [&FeatureSet; 2],
    device: &Device,
    progress: Progress<'_>,
) -> Result<ImageSheet, EvalError> {
    let columns = COLUMNS.min(real_source.len()).min(fake_source.len());
    let generated = fake_source.images(0, columns)?;
    let size = generated.len() / columns;
    let shape = [generated.shape()[1], generated.shape()[2], generated.shape()[3]];
    let first = fake.features.select(&(0..columns).collect::<Vec<_>>());
    let distances = PairwiseDistances::new(&first, &real.features, device);
    let nearest = distances.nearest(1, progress)?;
    let mut sheet = ImageSheet::framed(shape, columns);
    for index in eval::images::evenly_spaced(real_source.len(), columns) {
        sheet.add(&real_source.images(index, 1)?.to_vec(), None);
    }
    generated.to_vec().chunks_exact(size).for_each(|image| sheet.add(image, None));
    for found in nearest.iter().filter_map(|found| found.first()) {
        sheet.add(&real_source.images(found.index, 1)?.to_vec(), Some(BLUE));
    }
    Ok(sheet)
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

/// The generated images, with their name.
fn open_fake(args: &CompareArgs, device: &Device) -> Result<(String, Fake), CliError> {
    if let Some(text) = &args.fake {
        return Ok((text.clone(), Fake::open(text, device)?));
    }
    let path = args.checkpoint.as_deref();
    let (checkpoint, model) = checkpoint::load(path, args.model.model.as_deref())?;
    let name = match path {
        Some(path) => path.display().to_string(),
        None => format!("model:{}", model.unwrap_or_default()),
    };
    Ok((name, Fake::generator(checkpoint, device)?))
}

fn real_name(args: &CompareArgs, fake: &Fake) -> Result<String, CliError> {
    match (&args.real, fake) {
        (Some(name), _) => Ok(name.clone()),
        (None, Fake::Generator { checkpoint, .. }) if !checkpoint.meta.dataset.name.is_empty() => {
            Ok(checkpoint.meta.dataset.name.clone())
        }
        _ => Err(usage!(
            "--real: name the real images: a dataset (see `dcgan data list`), or a path"
        )),
    }
}

/// The recipe whose image size is compared: the generator's, or the default one for the real
/// dataset.
fn recipe(args: &CompareArgs, real: &str, fake: &Fake) -> Result<Recipe, CliError> {
    match fake {
        Fake::Generator { sampler, .. } => Ok(sampler.recipe().clone()),
        Fake::Noise | Fake::Dataset(_) => {
            let info = DatasetInfo::of(&DataSpec::parse(real)?)?;
            args.preprocess.recipe(None, &info, None)
        }
    }
}

/// The preprocessing of the real images: that of the generator's training, if it is known.
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
    preprocess_for(args, real, recipe)
}

fn preprocess_for(args: &CompareArgs, spec: &str, recipe: &Recipe) -> Result<Preprocess, CliError> {
    let info = DatasetInfo::of(&DataSpec::parse(spec)?)?;
    Ok(unmirrored(args.preprocess.preprocess(recipe, &info)?))
}

/// The extractor that `--features` names; `train` is the training split of the dataset `real`.
pub fn extractor(
    features: &str,
    real: &str,
    train: &Arc<Dataset>,
    device: &Device,
    json: bool,
) -> Result<FeatureExtractor, CliError> {
    let network = |network| FeatureExtractor::Network(Box::new(network));
    Ok(match features {
        "network" => network(of_dataset(real, Arc::clone(train), device, json)?),
        "pixels" => FeatureExtractor::Pixels(train.shape()),
        other => match other.strip_prefix("d:") {
            Some(path) => {
                let checkpoint = open_checkpoint(Path::new(path), output::warning)?.checkpoint;
                let discriminator = with_progress(|progress| {
                    DiscriminatorExtractor::new(&checkpoint, train, device, progress)
                })?;
                FeatureExtractor::Discriminator(Box::new(discriminator))
            }
            None => network(FeatureNetwork::load(Path::new(other), device)?),
        },
    })
}

/// The metrics, and what they were computed from.
#[derive(Serialize)]
struct CompareReport {
    features: String,
    real: String,
    fake: String,
    count_real: usize,
    count_fake: usize,
    /// None for images without conditions.
    #[serde(rename = "classes")]
    conditions: Option<ConditionSampling>,
    seed: u64,
    neighbors: u32,
    metrics: BTreeMap<&'static str, MetricValue>,
    /// The keys of `metrics` as the table lists them.
    #[serde(skip)]
    order: Vec<&'static str>,
}

impl Report for CompareReport {
    fn text(&self) -> Vec<String> {
        let conditions = match self.conditions {
            None => "",
            Some(ConditionSampling::FromRealSet) => {
                ", conditions in the real dataset's proportions"
            }
            Some(ConditionSampling::Uniform) => ", each class equally often",
        };
        let none = || "-".to_owned();
        let rows = self.order.iter().filter_map(|key| self.metrics.get(key)).map(|metric| {
            let interval = metric
                .interval
                .map(|[low, high]| format!("{} to {}", significant(low), significant(high)));
            let better = match metric.better {
                Direction::Lower => "lower",
                Direction::Higher => "higher",
                Direction::Expected => "as real",
            };
            [
                format!("{} ({})", metric.name, self.features),
                significant(metric.value),
                interval.unwrap_or_else(none),
                metric.expected.map_or_else(none, significant),
                better.to_owned(),
            ]
        });
        vec![
            format!("Real: {} images of {}", self.count_real, self.real),
            format!("Generated: {} images of {}{conditions}", self.count_fake, self.fake),
            format!("Features: {}\n", self.features),
            table(&["metric", "value", "95 % interval", "real images", "better"], rows),
        ]
    }
}

/// A value with its significant digits.
fn significant(value: f64) -> String {
    if value.abs() >= 100.0 { format!("{value:.1}") } else { format!("{value:.4}") }
}
