//! `dcgan linear-probe`.

use crate::commands::{
    DeviceArgs, OutputArgs, SeedArg, open_checkpoint, open_for_recipe, require_files,
};
use crate::error::CliError;
use crate::output;
use crate::parse::count;
use crate::render::with_progress;
use crate::report::{self, Report, table};
use clap::ValueEnum;
use data::{Dataset, Split};
use eval::Progress;
use eval::representation::{
    BnStatistics, DiscriminatorFeatures, KMeans, KMeansOptions, LinearProbeConfig, PixelFeatures,
    ProbeResult, Representation, SplitIndices, SupervisedResult, TrialSettings, supervised,
};
use eval::stats::{MeanStd, Z_95, binomial_half_width};
use runs::plots::{Bar, bars};
use runs::{grid, write_atomic};
use serde::Serialize;
use std::path::PathBuf;
use tensor::Device;

/// A protocol of the DCGAN paper.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Protocol {
    /// All labels; 10,000 training images are held out to select C (section 5.1).
    Cifar10,
    /// 1000 labels, 100 per digit, drawn 100 times; 10,000 images select C (section 5.2).
    Svhn1000,
    /// The same on Fashion-MNIST.
    Fashion1000,
}

impl Protocol {
    /// The dataset without --data.
    fn data(self) -> &'static str {
        match self {
            Self::Cifar10 => "cifar-10",
            Self::Svhn1000 => "svhn",
            Self::Fashion1000 => "fashion-mnist",
        }
    }

    fn config(self) -> LinearProbeConfig {
        match self {
            Self::Cifar10 => LinearProbeConfig::new(None, 10_000, 1),
            Self::Svhn1000 | Self::Fashion1000 => LinearProbeConfig::new(Some(1000), 10_000, 100),
        }
    }
}

/// A representation to compare.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RepresentationKind {
    /// Features of the checkpoint's discriminator.
    D,
    /// Features of the same network with random weights.
    RandomD,
    /// Pixels.
    Pixels,
    /// Single-layer K-means (Coates et al. 2011), standardized as in that paper.
    KMeans,
}

impl RepresentationKind {
    /// Whether each feature is brought to mean 0 and variance 1 first. K-means always needs it: the
    /// scales of its pooled codes differ widely.
    fn is_standardized(self, inputs: &ProbeInputs) -> bool {
        inputs.config.standardize || self == Self::KMeans
    }
}

#[derive(clap::Args)]
#[command(next_help_heading = "Evaluation")]
pub struct Args {
    /// Checkpoint file, or run directory (its newest valid checkpoint), trained on --data or on
    /// other images.
    #[arg(long, value_name = "PATH|RUNDIR", help_heading = "Model")]
    checkpoint: PathBuf,
    /// Protocol of the DCGAN paper.
    #[arg(long, value_enum)]
    protocol: Protocol,
    /// Dataset with labels, a train and a test split [default: cifar-10, svhn or fashion-mnist, by
    /// --protocol].
    #[arg(long, value_name = "SPEC", value_parser = crate::parse::spec(), help_heading = "Data")]
    data: Option<String>,
    /// Representations to compare.
    #[arg(
        long,
        value_name = "LIST",
        value_enum,
        value_delimiter = ',',
        default_value = "d,random-d,pixels,k-means"
    )]
    representations: Vec<RepresentationKind>,
    /// Number of labeled images per draw [default: all for cifar10, else 1000].
    #[arg(long, value_name = "N", value_parser = count(1..), help_heading = "Data")]
    num_labels: Option<u32>,
    /// Training images held out to select C [default: 10000].
    #[arg(long, value_name = "N", value_parser = count(1..), help_heading = "Data")]
    validation: Option<u32>,
    /// Number of random draws of the labeled images [default: 1 for cifar10, else 100].
    #[arg(long, value_name = "N", value_parser = count(1..=10_000))]
    draws: Option<u32>,
    /// Standardize each feature to mean 0 and variance 1 over the labeled images first, as K-means
    /// features always are.
    #[arg(long)]
    standardize: bool,
    /// Centroids of K-means; each gives 4 features.
    #[arg(long, value_name = "N", default_value_t = 400, value_parser = count(1..=100_000))]
    centroids: u32,
    /// Number of trials of a supervised baseline: the discriminator's architecture trained on the
    /// labels alone with random settings (64 trials in the paper), of which the one with the best
    /// held-out accuracy is tested.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = count(0..=100_000))]
    trials: u32,
    /// Epochs of a trial over the labeled images.
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = count(1..=100_000))]
    epochs: u32,
    /// Batch norm statistics of the discriminator, if trained; a random one always uses the
    /// dataset's.
    #[arg(long, value_enum, default_value = "running", help_heading = "Model")]
    bn_d: BnStatistics,
    #[command(flatten)]
    seed: SeedArg,
    /// Write a PNG with a bar chart of the accuracies with their intervals.
    #[arg(long, value_name = "FILE.png", help_heading = "Output")]
    grid: Option<PathBuf>,
    /// Output path. FILE.json: the results of all draws.
    #[arg(long, value_name = "PATH", help_heading = "Output")]
    out: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    device: DeviceArgs,
}

/// The data and networks of the comparison.
struct ProbeInputs {
    train: Dataset,
    test: Dataset,
    indices: SplitIndices,
    config: LinearProbeConfig,
    trained: DiscriminatorFeatures,
    device: Device,
}

/// Compares representations by the test accuracy of a linear SVM on their features.
pub fn run(args: &Args) -> Result<(), CliError> {
    let files = [("--grid", args.grid.as_deref(), "png"), ("--out", args.out.as_deref(), "")];
    require_files(args.output.force, files)?;
    let json = args.output.json;
    let inputs = inputs(args)?;
    let mut probes = Vec::new();
    for &choice in &args.representations {
        let probe = with_progress(|progress| probe(args, &inputs, choice, progress))?;
        // Each result as soon as it is there: a probe may take minutes.
        if json {
            output::json(&value(&probe)?);
        }
        probes.push(probe);
    }
    let comparison = Comparison {
        rows: probes,
        images: [num_labels(&inputs.indices), inputs.indices.validation.len(), inputs.test.len()],
        data: inputs.train.name().to_owned(),
    };
    if !json {
        report::print(&comparison, false);
    }
    let bar = |name: &str, value, half| Bar { name: name.to_owned(), value, half };
    let mut chart: Vec<Bar> =
        comparison.rows.iter().map(|row| bar(row.name, row.accuracy, row.interval)).collect();
    let mut all = comparison.rows.iter().map(value).collect::<Result<Vec<_>, _>>()?;
    if args.trials > 0 {
        let baseline = supervised_baseline(args, &inputs)?;
        report::print(&baseline, json);
        chart.push(bar("labels alone", baseline.result.accuracy, baseline.interval));
        all.push(value(&baseline)?);
    }
    if let Some(out) = &args.out {
        let text =
            serde_json::to_vec_pretty(&all).map_err(|e| failure!("{}: {e}", out.display()))?;
        write_atomic(out, |writer| std::io::Write::write_all(writer, &text))?;
        output::wrote(out, json);
    }
    if let Some(file) = &args.grid {
        let [labels, ..] = comparison.images;
        let axis = format!("test accuracy, {labels} labels of {}", comparison.data);
        grid::save_png(file, &bars(&axis, &chart)?)?;
        output::wrote(file, json);
    }
    Ok(())
}

/// Labeled images per draw.
fn num_labels(indices: &SplitIndices) -> usize {
    indices.draws.first().map_or(0, Vec::len)
}

fn value(report: &impl Serialize) -> Result<serde_json::Value, CliError> {
    serde_json::to_value(report).map_err(|e| failure!("cannot serialize the report: {e}"))
}

fn inputs(args: &Args) -> Result<ProbeInputs, CliError> {
    let default = args.protocol.config();
    let count = |given: Option<u32>, own: usize| given.map_or(own, |n| n as usize);
    let config = LinearProbeConfig {
        labels: args.num_labels.map(|n| n as usize).or(default.labels),
        validation: count(args.validation, default.validation),
        draws: count(args.draws, default.draws),
        standardize: args.standardize,
        seed: args.seed.seed,
        ..default
    };
    let spec = args.data.as_deref().unwrap_or(args.protocol.data());
    data::DataSpec::parse(spec)?;
    let device = args.device.open()?;
    let checkpoint = open_checkpoint(&args.checkpoint, output::warning)?.checkpoint;
    let trained = DiscriminatorFeatures::trained(&checkpoint, &device)?;
    let open = |split| open_for_recipe(spec, split, trained.recipe(), args.output.json);
    let (train, test) = (open(Split::Train)?, open(Split::Test)?);
    let indices = config.split(&train)?;
    Ok(ProbeInputs { train, test, indices, config, trained, device })
}

fn probe(
    args: &Args,
    inputs: &ProbeInputs,
    choice: RepresentationKind,
    progress: Progress<'_>,
) -> Result<ProbeReport, CliError> {
    let standardized = choice.is_standardized(inputs);
    let config = LinearProbeConfig { standardize: standardized, ..inputs.config.clone() };
    let with = |representation: &dyn Representation, name: &'static str| {
        let sets = (&inputs.train, &inputs.test);
        let result = config.run(representation, sets, &inputs.indices, name, progress)?;
        let [accuracy, interval] = result.summary();
        Ok(ProbeReport {
            name,
            width: representation.width(),
            accuracy,
            interval,
            result,
            labels: num_labels(&inputs.indices),
            held_out: inputs.indices.validation.len(),
            standardized,
            data: inputs.train.name().to_owned(),
            seed: args.seed.seed,
        })
    };
    match choice {
        RepresentationKind::D => {
            inputs.trained.set_bn_statistics(args.bn_d, &inputs.train, progress)?;
            with(&inputs.trained, "D")
        }
        RepresentationKind::RandomD => {
            let recipe = inputs.trained.recipe();
            let random = DiscriminatorFeatures::random(recipe, args.seed.seed, &inputs.device)?;
            random.set_bn_statistics(BnStatistics::OfImages, &inputs.train, progress)?;
            with(&random, "random D")
        }
        RepresentationKind::Pixels => with(&PixelFeatures::new(inputs.train.shape()), "pixels"),
        RepresentationKind::KMeans => {
            let options = KMeansOptions {
                centroids: args.centroids as usize,
                seed: args.seed.seed,
                ..KMeansOptions::default()
            };
            with(&KMeans::train(&inputs.train, options, progress)?, "K-means")
        }
    }
}

/// Trains the discriminator's architecture on the labels alone.
fn supervised_baseline(args: &Args, inputs: &ProbeInputs) -> Result<BaselineReport, CliError> {
    let result = with_progress(|progress| {
        supervised(
            inputs.trained.recipe(),
            (&inputs.train, &inputs.test),
            &inputs.indices,
            [args.trials as usize, args.epochs as usize],
            args.seed.seed,
            &inputs.device,
            progress,
        )
    })?;
    Ok(BaselineReport {
        representation: "supervised",
        interval: binomial_half_width(result.accuracy, inputs.test.len()),
        result,
    })
}

/// The accuracy of the supervised baseline, and the settings of its best trial.
#[derive(Serialize)]
struct BaselineReport {
    representation: &'static str,
    #[serde(flatten)]
    result: SupervisedResult,
    /// Half of the 95 % interval.
    interval: f64,
}

impl Report for BaselineReport {
    fn text(&self) -> Vec<String> {
        let SupervisedResult { trial, validation, accuracy, trials } = &self.result;
        let TrialSettings { lr, weight_decay, dropout, batch, epochs } = trial;
        vec![format!(
            "\nthe same architecture on the labels alone, best of {} trials by held-out images: \
             {:.2} ± {:.2} % on the test set, {:.2} % held out (rate {lr:.1e}, weight decay \
             {weight_decay:.1e}, dropout {dropout}, batch {batch}, {epochs} epochs)",
            trials.len(),
            accuracy * 100.0,
            self.interval * 100.0,
            validation * 100.0,
        )]
    }
}

/// The accuracies with one representation.
#[derive(Serialize)]
struct ProbeReport {
    #[serde(rename = "representation")]
    name: &'static str,
    /// Features per image.
    width: usize,
    /// Mean over draws, and half of the 95 % interval.
    accuracy: f64,
    interval: f64,
    #[serde(flatten)]
    result: ProbeResult,
    labels: usize,
    held_out: usize,
    standardized: bool,
    data: String,
    seed: u64,
}

/// The accuracies with all representations.
#[derive(Serialize)]
#[serde(transparent)]
struct Comparison {
    rows: Vec<ProbeReport>,
    /// Labeled, held-out and test images.
    #[serde(skip)]
    images: [usize; 3],
    #[serde(skip)]
    data: String,
}

impl Report for Comparison {
    fn text(&self) -> Vec<String> {
        let head = [
            "representation",
            "features",
            "test accuracy",
            "held-out accuracy",
            "C (median)",
            "C widened",
            "not converged",
        ];
        let rows = self.rows.iter().map(|row| {
            let ProbeResult { validation, costs, widened, unconverged, .. } = &row.result;
            let held_out = validation.iter().sum::<f64>() / validation.len() as f64;
            let mut costs = costs.clone();
            costs.sort_by(f64::total_cmp);
            let draws = costs.len();
            [
                row.name.to_owned(),
                row.width.to_string(),
                format!("{:.2} ± {:.2} %", row.accuracy * 100.0, row.interval * 100.0),
                format!("{:.2} %", held_out * 100.0),
                format!("{:.1e}", costs[draws / 2]),
                format!("{widened} of {draws}"),
                format!("{unconverged} of {draws}"),
            ]
        });
        let draws = self.rows.first().map_or(0, |row| row.result.accuracy.len());
        let interval = match draws {
            1 => "the 95 % interval of a proportion".to_owned(),
            _ => format!("{Z_95:.2} standard deviations over {draws} draws"),
        };
        let [labels, held_out, tested] = self.images;
        let mut lines = vec![
            table(&head, rows),
            format!(
                "\n{}: {labels} labels, C by {held_out} held-out images, {tested} test images; ± \
                 is {interval}",
                self.data
            ),
        ];
        if let [first, others @ ..] = &self.rows[..]
            && draws > 1
        {
            // All use the same draws, so that the differences vary less than either accuracy.
            for other in others {
                let pairs = first.result.accuracy.iter().zip(&other.result.accuracy);
                let differences: Vec<f64> = pairs.map(|(a, b)| 100.0 * (a - b)).collect();
                let MeanStd { mean, std } = MeanStd::of(&differences);
                let wins = differences.iter().filter(|difference| **difference > 0.0).count();
                lines.push(format!(
                    "{} compared with {}: {mean:+.2} ± {:.2} points, draw by draw; better in \
                     {wins} of {draws}",
                    first.name,
                    other.name,
                    Z_95 * std
                ));
            }
        }
        if self.rows.iter().any(|row| row.result.widened > 0) {
            lines.push(
                "C was widened beyond 1e-4 to 1e-2 where the edge of that range did best".into(),
            );
        }
        lines
    }
}
