//! `dcgan eval train-features`, and the cache of its networks.

use crate::commands::representation::draw_points;
use crate::commands::{
    DeviceArgs, OutputArgs, PreprocessArgs, SeedArg, open_dataset, require_files,
};
use crate::error::CliError;
use crate::parse::count;
use crate::render::with_progress;
use crate::report::{self, Report, ReportPath};
use crate::{cache, output};
use data::{DataError, DataSpec, Dataset, Preprocess, Split};
use eval::feature_network::{self, FeatureNetwork, Options, Splits, TargetHead, Targets};
use eval::images::{evenly_spaced, load_images};
use eval::representation::MAX_POINTS;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tensor::Device;

/// The folder of feature networks in the cache.
const CACHED: &str = "features";

#[derive(clap::Args)]
#[command(next_help_heading = "Training")]
pub struct Args {
    /// Dataset with labels, as for `dcgan train`.
    #[arg(
        long,
        value_name = "SPEC",
        value_parser = crate::parse::spec(),
        default_value = "fashion-mnist",
        help_heading = "Data"
    )]
    data: String,
    /// Train on the dataset's binary and categorical attributes instead of its classes.
    #[arg(long, help_heading = "Data")]
    attributes: bool,
    /// Epochs [default: 2 to 40, for about 360,000 images in total].
    #[arg(long, value_name = "N", value_parser = count(1..=10_000))]
    epochs: Option<u32>,
    #[command(flatten)]
    seed: SeedArg,
    #[command(flatten)]
    preprocess: PreprocessArgs,
    /// Output path: the network [default: a file for this dataset in the user's cache, where `dcgan
    /// eval` finds it].
    #[arg(long, value_name = "PATH", help_heading = "Output")]
    out: Option<PathBuf>,
    /// Write a PNG with a scatter plot of up to 1000 test images in the plane of the first two
    /// principal components of their features, colored by class or by the first attribute.
    #[arg(long, value_name = "FILE.png", help_heading = "Output")]
    grid: Option<PathBuf>,
    /// Retrain a cached network; overwrites existing files.
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    device: DeviceArgs,
}

/// Trains and writes a feature network.
pub fn run(args: &Args) -> Result<(), CliError> {
    let (force, json) = (args.output.force, args.output.json);
    let files = [("--out", args.out.as_deref(), ""), ("--grid", args.grid.as_deref(), "png")];
    require_files(force, files)?;
    let device = args.device.open()?;
    let preprocess = args.preprocess.of_recipe(None, &DataSpec::parse(&args.data)?)?;
    let preprocess = unmirrored(preprocess);
    let train = Arc::new(open_dataset(&args.data, Split::Train, &preprocess, json)?);
    let file = match &args.out {
        Some(out) => out.clone(),
        None => cached(&train, args.attributes)?,
    };
    let network = if args.out.is_none() && !force && file.exists() {
        let shown = output::name(file.display());
        output::note(format!("{shown} exists already; --force trains it again"));
        FeatureNetwork::load(&file, &device)?
    } else {
        let options = Options {
            epochs: args.epochs.map(|n| n as usize),
            seed: args.seed.seed,
            ..Options::default()
        };
        let network = train_network(&args.data, &train, args.attributes, &options, &device, json)?;
        network.save(&file)?;
        network
    };
    if let Some(grid) = &args.grid {
        draw(grid, &network, &splits(&args.data, Arc::clone(&train), json)?)?;
    }
    report::print(&NetworkReport::new(&network, file, args.grid.clone()), json);
    Ok(())
}

/// Draws the features of test images.
fn draw(grid: &Path, network: &FeatureNetwork, splits: &Splits) -> Result<(), CliError> {
    let description = network.description();
    let (_, tested, held_out) = splits.holdout_split(description.seed);
    let shown: Vec<usize> = evenly_spaced(held_out.len(), MAX_POINTS)
        .into_iter()
        .filter_map(|at| held_out.get(at).copied())
        .collect();
    let rows = network.predict(&load_images(tested, &shown)?)?.features.to_vec();
    let targets = &description.targets;
    let names = targets.heads.first().map_or_else(Vec::new, TargetHead::answer_names);
    let classes = targets.first_answers(tested, &shown);
    draw_points(grid, &rows, shown.len(), classes.as_deref().map(|of| (of, &names[..])))
}

/// The feature network of a dataset's classes: the cached one, or one that is trained now and
/// cached. `train` is the dataset's training split.
pub fn of_dataset(
    spec: &str,
    train: Arc<Dataset>,
    device: &Device,
    json: bool,
) -> Result<FeatureNetwork, CliError> {
    // Fails for a dataset without labels, before the training.
    Targets::classes(&train)?;
    let file = cached(&train, false)?;
    if file.exists() {
        return Ok(FeatureNetwork::load(&file, device)?);
    }
    output::note(format!(
        "There is no feature network for {spec} yet: training one, once, into {}",
        output::name(file.display())
    ));
    let network = train_network(spec, &train, false, &Options::default(), device, json)?;
    network.save(&file)?;
    Ok(network)
}

fn train_network(
    spec: &str,
    train: &Arc<Dataset>,
    attributes: bool,
    options: &Options,
    device: &Device,
    json: bool,
) -> Result<FeatureNetwork, CliError> {
    let targets = if attributes { Targets::attributes(train)? } else { Targets::classes(train)? };
    let splits = splits(spec, Arc::clone(train), json)?;
    Ok(with_progress(|progress| {
        feature_network::train(&splits, targets, options, device, progress)
    })?)
}

/// The training and the test data of a network.
fn splits(spec: &str, train: Arc<Dataset>, json: bool) -> Result<Splits, CliError> {
    let test = match open_dataset(spec, Split::Test, train.preprocess(), json) {
        Ok(test) => Some(Arc::new(test)),
        // Some of the training images are held out then.
        Err(CliError::Data(DataError::NoSplit { .. })) => None,
        Err(error) => return Err(error),
    };
    Ok(Splits::new(train, test)?)
}

/// Preprocessing without mirroring: metrics are of the original images.
pub fn unmirrored(preprocess: Preprocess) -> Preprocess {
    Preprocess { flip: false, ..preprocess }
}

/// The cache file of a dataset's network: it depends on the images and their size, not on the name
/// of the dataset.
fn cached(train: &Dataset, attributes: bool) -> Result<PathBuf, CliError> {
    let fingerprint: String = train.fingerprint().chars().take(24).collect();
    let about = if attributes { "attributes" } else { "cnn" };
    // A packed file may claim any fingerprint.
    let name = file_io::file_name(&format!("{fingerprint}-{about}.safetensors"));
    Ok(cache::folder(CACHED)?.join(name))
}

/// A feature network and its test accuracy.
#[derive(Serialize)]
struct NetworkReport {
    network: String,
    file: ReportPath,
    /// Height, width, channels.
    image: [usize; 3],
    features: usize,
    outputs: Vec<String>,
    epochs: usize,
    seed: u64,
    /// The accuracies by class set or attribute.
    accuracy: BTreeMap<String, f64>,
    /// Number of images.
    tested_on: usize,
    split: &'static str,
    grid: Option<ReportPath>,
    /// The names in `accuracy` in the order of the outputs.
    #[serde(skip)]
    heads: Vec<String>,
}

impl NetworkReport {
    fn new(network: &FeatureNetwork, file: PathBuf, grid: Option<PathBuf>) -> Self {
        let description = network.description();
        let heads: Vec<String> =
            description.targets.heads.iter().map(|head| head.name.clone()).collect();
        let (tested_on, has_test_split) = description.tested;
        Self {
            network: network.id(),
            file: file.into(),
            image: network.image(),
            features: network.width(),
            outputs: network.outputs(),
            epochs: description.epochs,
            seed: description.seed,
            accuracy: heads.iter().cloned().zip(description.accuracy.iter().copied()).collect(),
            tested_on,
            split: if has_test_split { "test" } else { "held-out" },
            grid: grid.map(Into::into),
            heads,
        }
    }
}

impl Report for NetworkReport {
    fn text(&self) -> Vec<String> {
        let [h, w, c] = self.image;
        let mut lines = vec![format!(
            "{}: {} features of {h}x{w}x{c} images, {} epochs",
            self.network, self.features, self.epochs
        )];
        lines.extend(self.heads.iter().filter_map(|head| {
            Some(format!(
                "  {head}: {:.2} % of {} {} images correct",
                self.accuracy.get(head)? * 100.0,
                self.tested_on,
                self.split
            ))
        }));
        let written = [Some(&self.file), self.grid.as_ref()].into_iter().flatten();
        lines.extend(written.map(|path| format!("wrote {}", output::name(path.display()))));
        lines
    }
}
