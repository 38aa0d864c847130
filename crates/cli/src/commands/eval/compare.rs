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
use eval::feature_network::{
    DiscriminatorExtractor, FeatureExtractor, FeatureNetwork, InceptionExtractor,
};
use eval::image_sheet::{FrameColor, ImageSheet};
use eval::inception::{Inception, InputScaling};
use eval::metrics::pairwise::PairwiseDistances;
use eval::metrics::{
    self, ConditionSampling, Direction, FeatureSet, ImageSource, METRICS, Metric, MetricReport,
    MetricValue, Needs, Options, Statistics, Subsets, TrainNeighborIndex, WITH_STATISTICS, compare,
    compare_with_statistics,
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
#[command(group(ArgGroup::new("generated").args(["fake", "checkpoint", "model"])))]
pub struct CompareArgs {
    /// Real images: a dataset, as for `dcgan train --data` [default: the training set of the --fake
    /// checkpoint].
    #[arg(long, value_name = "SPEC", value_parser = crate::parse::spec(), help_heading = "Data")]
    real: Option<String>,
    /// Mean and covariance of the features of real images, a file of pytorch-fid or of
    /// --save-stats, instead of their features: for fid and is alone.
    #[arg(long, value_name = "FILE.npz", conflicts_with_all = ["save_stats", "grid"],
        help_heading = "Data")]
    real_stats: Option<PathBuf>,
    /// Generated images: a checkpoint, a run directory, model:NAME of a built-in model, a dataset,
    /// or noise.
    #[arg(
        long,
        value_name = "CHECKPOINT|RUNDIR|SPEC",
        value_parser = crate::parse::spec(),
        required_unless_present_any = ["checkpoint", "model", "save_stats"],
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
    /// `dcgan eval train-features`, inception:FILE (the network of FID, with its published
    /// weights), d:CHECKPOINT (a discriminator's last layer), or pixels.
    #[arg(
        long,
        value_name = "network|FILE|inception:FILE|d:CHECKPOINT|pixels",
        default_value = "network"
    )]
    features: String,
    /// Resize images for the Inception network as clean-fid does (bicubic, averaging), not as
    /// pytorch-fid does (bilinear, without averaging).
    #[arg(long)]
    clean: bool,
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
    /// Write mean and covariance of the features of the real images, as pytorch-fid does.
    #[arg(long, value_name = "FILE.npz", help_heading = "Output")]
    save_stats: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

/// The prefix of a file with weights of the Inception network in `--features`.
pub const INCEPTION: &str = "inception:";

/// Computes and prints the metrics.
pub fn run(args: &CompareArgs) -> Result<(), CliError> {
    let json = args.output.json;
    let ranks = distributed::ranks();
    let files = [
        ("--grid", args.grid.as_deref(), "png"),
        ("--save-stats", args.save_stats.as_deref(), "npz"),
    ];
    ranks.agree(require_files(args.output.force, files))?;
    let source = ranks.agree(FeatureSource::new(args))?;
    // Before the network is read.
    ranks.agree(check_metrics(args))?;
    let statistics = ranks.agree(args.real_stats.as_deref().map(Statistics::load).transpose())?;
    let device = ranks.agree(args.device.open())?;
    let (fake_name, fake) = open_fake(args, &device)?;
    let real_name = match statistics.is_some() && !needs_real_images(args, &fake) {
        true => None,
        false => Some(real_name(args, &fake)?),
    };
    let sized = match (&real_name, &fake) {
        (None, Some(Fake::Dataset(spec))) => spec,
        (name, _) => name.as_deref().unwrap_or_default(),
    };
    let recipe = recipe(args, sized, fake.as_ref())?;
    let (train, real) = match &real_name {
        Some(name) => {
            let preprocess = preprocess(args, name, &recipe, fake.as_ref())?;
            let train = Arc::new(open_dataset(name, Split::Train, &preprocess, json)?);
            let real = match args.split {
                Split::Train => Arc::clone(&train),
                Split::Test => Arc::new(open_dataset(name, Split::Test, &preprocess, json)?),
            };
            (Some(train), Some(real))
        }
        None => (None, None),
    };
    // Before the feature network, whose training may take minutes.
    let dataset = match &fake {
        Some(Fake::Dataset(spec)) => {
            let preprocess = preprocess_for(args, spec, &recipe)?;
            Some(open_dataset(spec, args.fake_split, &preprocess, json)?)
        }
        _ => None,
    };
    // The others read the network that rank 0 trains.
    let named = real_name.as_deref().zip(train.as_ref());
    let image = match (&train, &dataset) {
        (Some(train), _) => train.shape(),
        (None, Some(dataset)) => dataset.shape(),
        (None, None) => [recipe.image.size[0], recipe.image.size[1], recipe.image.channels],
    };
    let open = || extractor(source, named, image, &device, json);
    let extractor = ranks.on_root(open)?;
    let extractor = ranks.agree(extractor.map_or_else(open, Ok))?;
    let (count, seed) = (args.count as usize, args.seed.seed);
    let conditions = args.condition_sampling;
    let real_source = real.as_ref().map(|real| ImageSource::from_dataset(real, count, seed));
    let fake_source = match (&fake, &dataset, &real) {
        (Some(Fake::Generator { sampler, .. }), ..) => {
            Some(ImageSource::generated(sampler, count, seed, conditions, real.as_ref())?)
        }
        (_, Some(dataset), _) => Some(ImageSource::from_dataset(dataset, count, seed)),
        (Some(_), None, Some(real)) => {
            Some(ImageSource::Noise { count, shape: real.shape(), seed })
        }
        _ => None,
    };
    let count_of = |source: &Option<ImageSource<'_>>| source.as_ref().map(ImageSource::len);
    let counts = [&real_source, &fake_source].map(count_of);
    if let (true, Some(real), [Some(first), Some(second)]) = (args.grid.is_some(), &real, counts) {
        let columns = COLUMNS.min(first).min(second);
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
    if ranks.is_root() {
        note_weights(&extractor);
    }
    let needs_training = options.metrics.iter().any(|metric| metric.needs == Needs::TrainSet);
    let computed = with_progress(|progress| {
        let features = |source: &ImageSource<'_>, cache: Option<&Path>, what| {
            source.cached_features(&extractor, cache, what, progress, ranks.group())
        };
        let cache = cache.as_deref();
        let real = match &real_source {
            Some(source) if statistics.is_none() => {
                Some(features(source, cache, "features of real images")?)
            }
            _ => None,
        };
        let training = match &train {
            Some(train) if needs_training && fake_source.is_some() => {
                let all = ImageSource::from_dataset(train, usize::MAX, seed);
                Some(features(&all, cache, "features of training images")?.features)
            }
            _ => None,
        };
        let fake = match &fake_source {
            Some(source) => Some(features(source, None, "features of generated images")?),
            None => None,
        };
        if !ranks.is_root() {
            return Ok(None);
        }
        let saved = match (&args.save_stats, &real) {
            (Some(_), Some(real)) => Some(Statistics::of(&real.features, progress)?),
            _ => None,
        };
        let training = match training {
            Some(all) => Some(TrainNeighborIndex::new(Cow::Owned(all), &device, progress)?),
            None => None,
        };
        let result = match (&statistics, &real, &fake) {
            (Some(real), _, Some(fake)) => {
                Some(compare_with_statistics(real, fake, &options, progress)?)
            }
            (None, Some(real), Some(fake)) => {
                Some(compare(real, fake, training.as_ref(), &options, &device, progress)?)
            }
            _ => None,
        };
        let sources = real_source.as_ref().zip(fake_source.as_ref());
        let sheet = match (&args.grid, sources, real.as_ref().zip(fake.as_ref())) {
            (Some(_), Some(sources), Some(sets)) => {
                Some(sheet(sources.into(), sets.into(), &device, progress)?)
            }
            _ => None,
        };
        Ok::<_, EvalError>(Some(Computed { result, saved, sheet }))
    })?;
    let Some(Computed { result, saved, sheet }) = computed else { return Ok(()) };
    let real = match (&args.real_stats, &real_name) {
        (None, Some(name)) => format!("{name} ({})", args.split.name()),
        (file, _) => file.as_deref().unwrap_or(Path::new("")).display().to_string(),
    };
    let [count_real, count_fake] = counts;
    let count_real = count_real.filter(|_| statistics.is_none());
    match result {
        Some(result) => {
            result.warnings.iter().for_each(output::warning);
            let names =
                |value: MetricValue| MetricValue { name: name_of(&value, &extractor), ..value };
            let values: Vec<_> = result.values.into_iter().map(names).collect();
            let report = CompareReport {
                features: extractor.id(),
                real,
                fake: fake_name,
                count_real,
                count_fake: count_fake.unwrap_or(0),
                conditions: fake.as_ref().is_some_and(is_conditional).then_some(conditions),
                seed,
                neighbors: args.neighbors,
                order: values.iter().map(|value| value.key).collect(),
                metrics: values.into_iter().map(|value| (value.key, value)).collect(),
            };
            report::print(&report, json);
        }
        None => {
            let features = extractor.id();
            let count_real = count_real.unwrap_or(0);
            report::print(&StatisticsReport { features, real, count_real }, json);
        }
    }
    if let (Some(file), Some(statistics)) = (&args.save_stats, saved) {
        statistics.save(file)?;
        output::wrote(file, json);
    }
    if let (Some(file), Some(sheet)) = (&args.grid, sheet) {
        grid::save_png(file, &sheet.draw()?)?;
        output::wrote(file, json);
    }
    Ok(())
}

/// The results of the root.
struct Computed {
    /// None without generated images.
    result: Option<MetricReport>,
    /// The statistics of the real images, for --save-stats.
    saved: Option<Statistics>,
    sheet: Option<ImageSheet>,
}

/// Returns an error if a metric is named that needs more than --real-stats has.
fn check_metrics(args: &CompareArgs) -> Result<(), EvalError> {
    let unknown = args.metrics.iter().find(|metric| !WITH_STATISTICS.contains(metric));
    match (&args.real_stats, unknown) {
        (Some(_), Some(metric)) => Err(EvalError::NeedsRealImages { metric: metric.name }),
        _ => Ok(()),
    }
}

/// Whether images of the real dataset are needed in addition to their statistics.
fn needs_real_images(args: &CompareArgs, fake: &Option<Fake>) -> bool {
    let for_features = args.features == "network" || args.features.starts_with("d:");
    let for_conditions = fake.as_ref().is_some_and(is_conditional)
        && args.condition_sampling == ConditionSampling::FromRealSet;
    let for_size = matches!(fake, Some(Fake::Noise) | None);
    args.real.is_some() || for_features || for_conditions || for_size
}

fn is_conditional(fake: &Fake) -> bool {
    match fake {
        Fake::Generator { sampler, .. } => train::generator_condition(sampler.recipe()).is_some(),
        Fake::Noise | Fake::Dataset(_) => false,
    }
}

/// The name of a value: with the published Inception weights, that of the literature.
fn name_of(value: &MetricValue, extractor: &FeatureExtractor) -> &'static str {
    match value.key {
        "frechet" if extractor.is_published_inception() => "FID",
        "kernel" if extractor.is_published_inception() => "KID",
        _ => value.name,
    }
}

/// Says that values under other Inception weights than the published ones are not comparable.
pub fn note_weights(extractor: &FeatureExtractor) {
    if let FeatureExtractor::Inception(own) = extractor
        && !own.network.is_published()
    {
        output::note(format!(
            "the weights are not the published ones, whose SHA-256 begins with {}: the values must \
             not be called FID, KID or inception score ({})",
            eval::inception::PUBLISHED,
            extractor.id()
        ));
    }
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
    let known = |metric: &&Metric| args.real_stats.is_none() || WITH_STATISTICS.contains(metric);
    if args.metrics.is_empty() {
        let fits = |metric: &&Metric| {
            metric.needs != Needs::ClassProbabilities || extractor.is_classifier()
        };
        let defaults = METRICS.iter().copied().filter(|metric| metric.default);
        return defaults.filter(fits).filter(known).collect();
    }
    args.metrics.clone()
}

/// The generated images, with their name; none with --save-stats alone.
fn open_fake(args: &CompareArgs, device: &Device) -> Result<(String, Option<Fake>), CliError> {
    if let Some(text) = &args.fake {
        return Ok((text.clone(), Some(Fake::open(text, device)?)));
    }
    let path = args.checkpoint.as_deref();
    if path.is_none() && args.model.model.is_none() {
        if args.grid.is_some() {
            return Err(usage!("--grid: it draws generated images, too: name them by --fake"));
        }
        return Ok((String::new(), None));
    }
    let (checkpoint, model) = checkpoint::load(path, args.model.model.as_deref())?;
    let name = match path {
        Some(path) => path.display().to_string(),
        None => format!("model:{}", model.unwrap_or_default()),
    };
    Ok((name, Some(Fake::generator(checkpoint, device)?)))
}

fn real_name(args: &CompareArgs, fake: &Option<Fake>) -> Result<String, CliError> {
    match (&args.real, fake) {
        (Some(name), _) => Ok(name.clone()),
        (None, Some(Fake::Generator { checkpoint, .. }))
            if !checkpoint.meta.dataset.name.is_empty() =>
        {
            Ok(checkpoint.meta.dataset.name.clone())
        }
        _ => Err(usage!(
            "--real: name the real images: a dataset (see `dcgan data list`), or a path"
        )),
    }
}

/// The recipe whose image size is compared: the generator's, or the default one for the real
/// dataset.
fn recipe(args: &CompareArgs, real: &str, fake: Option<&Fake>) -> Result<Recipe, CliError> {
    match fake {
        Some(Fake::Generator { sampler, .. }) => Ok(sampler.recipe().clone()),
        Some(Fake::Noise | Fake::Dataset(_)) | None => {
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
    fake: Option<&Fake>,
) -> Result<Preprocess, CliError> {
    if let Some(Fake::Generator { checkpoint, .. }) = fake
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

/// The value of `--features`, and how the Inception network's images are resized.
#[derive(Clone, Copy)]
pub struct FeatureSource<'a> {
    pub features: &'a str,
    pub scaling: InputScaling,
}

impl<'a> FeatureSource<'a> {
    fn new(args: &'a CompareArgs) -> Result<Self, CliError> {
        let (features, clean) = (args.features.as_str(), args.clean);
        if clean && !features.starts_with(INCEPTION) {
            return Err(usage!(
                "--clean: it resizes images for the Inception network: give --features \
                 inception:FILE, or leave it out"
            ));
        }
        let scaling = if clean { InputScaling::CleanFid } else { InputScaling::PytorchFid };
        Ok(Self { features, scaling })
    }
}

/// The extractor that `--features` names, for images `[H, W, C]`; `real` are the name and the
/// training split of the real dataset.
pub fn extractor(
    source: FeatureSource<'_>,
    real: Option<(&str, &Arc<Dataset>)>,
    image: [usize; 3],
    device: &Device,
    json: bool,
) -> Result<FeatureExtractor, CliError> {
    let FeatureSource { features, scaling } = source;
    let network = |network| FeatureExtractor::Network(Box::new(network));
    let real =
        || real.ok_or_else(|| usage!("--features {features}: it needs real images: give --real"));
    if let Some(path) = features.strip_prefix(INCEPTION) {
        let network = Inception::load(Path::new(path), scaling, device)?;
        return Ok(FeatureExtractor::Inception(Box::new(InceptionExtractor { network, image })));
    }
    if let Some(path) = features.strip_prefix("d:") {
        let (_, train) = real()?;
        let checkpoint = open_checkpoint(Path::new(path), output::warning)?.checkpoint;
        let discriminator = with_progress(|progress| {
            DiscriminatorExtractor::new(&checkpoint, train, device, progress)
        })?;
        return Ok(FeatureExtractor::Discriminator(Box::new(discriminator)));
    }
    Ok(match features {
        "network" => {
            let (name, train) = real()?;
            network(of_dataset(name, Arc::clone(train), device, json)?)
        }
        "pixels" => FeatureExtractor::Pixels(image),
        file if [".pth", ".pt"].iter().any(|ending| file.ends_with(ending)) => {
            return Err(usage!(
                "--features {file}: the networks of dcgan eval train-features are .safetensors \
                 files; for the weights of FID's network write inception:{file}"
            ));
        }
        file => network(FeatureNetwork::load(Path::new(file), device)?),
    })
}

/// The metrics, and what they were computed from.
#[derive(Serialize)]
struct CompareReport {
    features: String,
    real: String,
    fake: String,
    /// None if statistics of real images were given.
    count_real: Option<usize>,
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
            match self.count_real {
                Some(count) => format!("Real: {count} images of {}", self.real),
                None => format!("Real: statistics of {}", self.real),
            },
            format!("Generated: {} images of {}{conditions}", self.count_fake, self.fake),
            format!("Features: {}\n", self.features),
            table(&["metric", "value", "95 % interval", "real images", "better"], rows),
        ]
    }
}

/// What --save-stats alone computed.
#[derive(Serialize)]
struct StatisticsReport {
    features: String,
    real: String,
    count_real: usize,
}

impl Report for StatisticsReport {
    fn text(&self) -> Vec<String> {
        vec![
            format!("Real: {} images of {}", self.count_real, self.real),
            format!("Features: {}", self.features),
        ]
    }
}

/// A value with its significant digits.
fn significant(value: f64) -> String {
    if value.abs() >= 100.0 { format!("{value:.1}") } else { format!("{value:.4}") }
}
