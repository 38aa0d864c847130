//! `dcgan linear-probe`.

use crate::commands::device::DeviceArgs;
use crate::error::CliError;
use crate::output;
use crate::render::{table, with_progress};
use clap::{ValueEnum, value_parser};
use data::{DataSpec, Dataset, Split};
use eval::Progress;
use eval::representation::{
    BnStatistics, DiscriminatorFeatures, KMeans, KMeansOptions, LinearProbeConfig, PixelFeatures,
    ProbeResult, Representation, SplitIndices, SupervisedResult, supervised,
};
use eval::stats::{MeanStd, binomial_half_width};
use nn::Recipe;
use runs::plots::{Bar, bars};
use runs::{grid, write_atomic};
use serde_json::{Value, json};
use std::path::PathBuf;
use tensor::Device;

/// How representations are compared.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ProtocolChoice {
    /// All labels; 10,000 training pictures choose C (section 5.1 of the paper).
    Cifar10,
    /// 1000 labels, 100 of each digit, 100 times; 10,000 training pictures choose C (section 5.2).
    Svhn1000,
    /// The same on garments.
    Fashion1000,
}

impl ProtocolChoice {
    /// The set where --data does not say.
    fn data(self) -> &'static str {
        match self {
            Self::Cifar10 => "cifar-10",
            Self::Svhn1000 => "svhn",
            Self::Fashion1000 => "fashion-mnist",
        }
    }

    fn protocol(self) -> LinearProbeConfig {
        match self {
            Self::Cifar10 => LinearProbeConfig::new(None, 10_000, 1),
            Self::Svhn1000 | Self::Fashion1000 => LinearProbeConfig::new(Some(1000), 10_000, 100),
        }
    }
}

/// What stands for pictures.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Choice {
    /// The features of the checkpoint's discriminator.
    D,
    /// Those of the same network before any training.
    RandomD,
    /// PixelFeatures.
    Pixels,
    /// Single-layer K-means (Coates et al. 2011), standardised as there.
    KMeans,
}

impl Choice {
    /// Whether each of its features is brought to mean 0 and variance 1: sums of K-means' codes are of very different sizes.
    fn standardised(self, inputs: &ProbeInputs) -> bool {
        inputs.protocol.standardize || self == Self::KMeans
    }
}

/// Flags of `linear-probe`.
#[derive(clap::Args)]
pub struct Args {
    /// A checkpoint, or a run directory, which means its newest good checkpoint; it may have learned from other pictures than --data.
    #[arg(long, value_name = "PATH|RUNDIR")]
    checkpoint: PathBuf,
    /// What is compared, and how.
    #[arg(long, value_enum)]
    protocol: ProtocolChoice,
    /// The labelled pictures, a set with a train and a test part [default: the protocol's].
    #[arg(long, value_name = "SPEC")]
    data: Option<String>,
    /// What to compare.
    #[arg(
        long,
        value_name = "LIST",
        value_enum,
        value_delimiter = ',',
        default_value = "d,random-d,pixels,k-means"
    )]
    features: Vec<Choice>,
    /// Labelled pictures of a draw, in place of the protocol's.
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    labels: Option<u32>,
    /// Training pictures held out to choose C, in place of the protocol's.
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    validation: Option<u32>,
    /// How often labels are drawn, in place of the protocol's.
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=10_000))]
    draws: Option<u32>,
    /// Bring each feature to mean 0 and variance 1 over the labelled pictures first, as is always done with those of K-means.
    #[arg(long)]
    standardise: bool,
    /// Centroids of K-means; each gives 4 numbers.
    #[arg(long, value_name = "N", default_value_t = 400, value_parser = value_parser!(u32).range(1..=100_000))]
    centroids: u32,
    /// Also train the discriminator's architecture on the labels alone, so many times with settings found by chance (64 in the paper), and test the one
    /// that does best on the held-out pictures.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = value_parser!(u32).range(0..=100_000))]
    trials: u32,
    /// Passes of a trial over the labelled pictures.
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = value_parser!(u32).range(1..=100_000))]
    epochs: u32,
    /// What batch norm of the trained discriminator uses; of one that is not trained it is always the pictures.
    #[arg(long, value_enum, default_value = "running")]
    bn: BnStatistics,
    /// Of the draws, of what is held out, and of fresh weights.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = crate::parse::seed)]
    seed: u64,
    /// Draws the accuracies as bars with their intervals.
    #[arg(long, value_name = "FILE.png")]
    grid: Option<PathBuf>,
    /// Writes all numbers of all draws.
    #[arg(long, value_name = "FILE.json")]
    out: Option<PathBuf>,
    /// Write over a file that is there.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    device: DeviceArgs,
    /// One JSON object per representation on standard output.
    #[arg(long)]
    json: bool,
}

/// What representations are made for.
struct ProbeInputs {
    train: Dataset,
    test: Dataset,
    part: SplitIndices,
    protocol: LinearProbeConfig,
    trained: DiscriminatorFeatures,
    device: Device,
}

/// Compares representations by how well a linear machine classifies with them.
///
/// # Errors
/// No good checkpoint, data without labels or without a test part, a file that is there already, the device, or the disk.
pub fn run(args: &Args) -> Result<(), CliError> {
    args.grid.as_ref().map_or(Ok(()), |grid| crate::commands::require_grid(grid, args.force))?;
    if let Some(out) = &args.out {
        crate::commands::require_folder("--out", out)?;
        crate::commands::refuse_existing(out, args.force)?;
    }
    let inputs = inputs(args)?;
    let mut rows = Vec::new();
    for &choice in &args.features {
        let (name, width, judged) =
            with_progress(args.json, |progress| probe(args, &inputs, choice, progress))?;
        let row = object(args, &inputs, choice, (&name, width), &judged);
        if args.json {
            output::json(&row);
        }
        rows.push((name, width, judged, row));
    }
    if !args.json {
        print(&inputs, &rows);
    }
    let mut shown: Vec<Bar> =
        rows.iter().map(|(name, _, judged, _)| bar(name, judged.summary())).collect();
    let mut all: Vec<Value> = rows.into_iter().map(|(.., row)| row).collect();
    if args.trials > 0 {
        let (row, summary) = supervised_baseline(args, &inputs)?;
        shown.push(bar("labels alone", summary));
        if args.json {
            output::json(&row);
        }
        all.push(row);
    }
    if let Some(out) = &args.out {
        let text = serde_json::to_vec_pretty(&all)
            .map_err(|e| CliError::Failed(format!("{}: {e}", out.display())))?;
        write_atomic(out, |writer| std::io::Write::write_all(writer, &text))?;
        if !args.json {
            output::line(format!("wrote {}", out.display()));
        }
    }
    if let Some(file) = &args.grid {
        let axis = format!(
            "test accuracy, {} labels of {}",
            inputs.part.draws.first().map_or(0, Vec::len),
            inputs.train.name()
        );
        grid::save_png(file, &bars(&axis, &shown)?)?;
        if !args.json {
            output::line(format!("wrote {}", file.display()));
        }
    }
    Ok(())
}

fn bar(name: &str, [value, half]: [f64; 2]) -> Bar {
    Bar { name: name.to_owned(), value, half }
}

fn inputs(args: &Args) -> Result<ProbeInputs, CliError> {
    let default = args.protocol.protocol();
    let count = |given: Option<u32>, own: usize| given.map_or(own, |n| n as usize);
    let protocol = LinearProbeConfig {
        labels: args.labels.map(|n| n as usize).or(default.labels),
        validation: count(args.validation, default.validation),
        draws: count(args.draws, default.draws),
        standardize: args.standardise,
        seed: args.seed,
        ..default
    };
    let spec = args.data.as_deref().unwrap_or(args.protocol.data());
    DataSpec::parse(spec)?;
    let checkpoint =
        crate::commands::open_checkpoint(&args.checkpoint, output::warning)?.checkpoint;
    let device = args.device.open()?;
    let trained = DiscriminatorFeatures::trained(&checkpoint, &device)?;
    let recipe: &Recipe = trained.recipe();
    let train = super::open(spec, Split::Train, Some(recipe), args.json)?;
    let test = super::open(spec, Split::Test, Some(recipe), args.json)?;
    let part = protocol.split(&train)?;
    Ok(ProbeInputs { train, test, part, protocol, trained, device })
}

fn probe(
    args: &Args,
    inputs: &ProbeInputs,
    choice: Choice,
    progress: Progress<'_>,
) -> Result<(String, usize, ProbeResult), CliError> {
    let protocol =
        LinearProbeConfig { standardize: choice.standardised(inputs), ..inputs.protocol.clone() };
    let with = |representation: &dyn Representation, name: &str| {
        let judged = protocol.run(
            representation,
            (&inputs.train, &inputs.test),
            &inputs.part,
            name,
            progress,
        )?;
        Ok((name.to_owned(), representation.width(), judged))
    };
    match choice {
        Choice::D => {
            inputs.trained.set_bn_statistics(args.bn, &inputs.train, progress)?;
            with(&inputs.trained, "D")
        }
        Choice::RandomD => {
            let random =
                DiscriminatorFeatures::random(inputs.trained.recipe(), args.seed, &inputs.device)?;
            random.set_bn_statistics(BnStatistics::OfImages, &inputs.train, progress)?;
            with(&random, "random D")
        }
        Choice::Pixels => with(&PixelFeatures::new(inputs.train.shape()), "pixels"),
        Choice::KMeans => {
            let options = KMeansOptions {
                centroids: args.centroids as usize,
                seed: args.seed,
                ..KMeansOptions::default()
            };
            with(&KMeans::train(&inputs.train, options, progress)?, "K-means")
        }
    }
}

/// The network that learns from the labels alone: its row, its accuracy and half of the interval.
fn supervised_baseline(args: &Args, inputs: &ProbeInputs) -> Result<(Value, [f64; 2]), CliError> {
    let amount = [args.trials as usize, args.epochs as usize];
    let sets = (&inputs.train, &inputs.test);
    let found = with_progress(args.json, |progress| {
        supervised(
            inputs.trained.recipe(),
            sets,
            &inputs.part,
            amount,
            args.seed,
            &inputs.device,
            progress,
        )
    })?;
    let SupervisedResult { trial, validation, accuracy, trials } = found;
    let half = binomial_half_width(accuracy, inputs.test.len());
    if !args.json {
        output::line(format!(
            "\nthe same architecture on the labels alone, best of {} trials by held-out pictures: {:.2} ± {:.2} % on the test set, {:.2} % held out \
             (rate {:.1e}, weight decay {:.1e}, dropout {}, batch {}, {} epochs)",
            trials.len(),
            accuracy * 100.0,
            half * 100.0,
            validation * 100.0,
            trial.lr,
            trial.weight_decay,
            trial.dropout,
            trial.batch,
            trial.epochs
        ));
    }
    let row = json!({
        "representation": "supervised",
        "accuracy": accuracy,
        "interval": half,
        "validation": validation,
        "trials": trials,
        "lr": trial.lr,
        "weight_decay": trial.weight_decay,
        "dropout": trial.dropout,
        "batch": trial.batch,
        "epochs": trial.epochs,
    });
    Ok((row, [accuracy, half]))
}

fn object(
    args: &Args,
    inputs: &ProbeInputs,
    choice: Choice,
    (name, width): (&str, usize),
    judged: &ProbeResult,
) -> Value {
    let [mean, half] = judged.summary();
    json!({
        "representation": name,
        "width": width,
        "accuracy": mean,
        "interval": half,
        "draws": judged.accuracy,
        "validation": judged.validation,
        "costs": judged.costs,
        "widened": judged.widened,
        "unconverged": judged.unconverged,
        "labels": inputs.part.draws.first().map_or(0, Vec::len),
        "held_out": inputs.part.validation.len(),
        "tested": judged.tested,
        "standardised": choice.standardised(inputs),
        "data": inputs.train.name(),
        "seed": args.seed,
    })
}

fn print(inputs: &ProbeInputs, rows: &[(String, usize, ProbeResult, Value)]) {
    let heads = [
        "representation",
        "numbers",
        "test accuracy",
        "held-out accuracy",
        "C (median)",
        "C widened",
        "not converged",
    ];
    let mut cells = vec![heads.map(String::from).to_vec()];
    for (name, width, judged, _) in rows {
        let [mean, half] = judged.summary();
        let held = judged.validation.iter().sum::<f64>() / judged.validation.len() as f64;
        let mut costs = judged.costs.clone();
        costs.sort_by(f64::total_cmp);
        let draws = judged.accuracy.len();
        cells.push(vec![
            name.clone(),
            width.to_string(),
            format!("{:.2} ± {:.2} %", mean * 100.0, half * 100.0),
            format!("{:.2} %", held * 100.0),
            format!("{:.1e}", costs[draws / 2]),
            format!("{} of {draws}", judged.widened),
            format!("{} of {draws}", judged.unconverged),
        ]);
    }
    output::line(table(&cells));
    let draws = inputs.part.draws.len();
    let interval = if draws == 1 {
        "the 95 % interval of a share".to_owned()
    } else {
        format!("1.96 standard deviations over {draws} draws")
    };
    output::line(format!(
        "\n{}: {} labels, C by {} held-out pictures, {} test pictures; ± is {interval}",
        inputs.train.name(),
        inputs.part.draws.first().map_or(0, Vec::len),
        inputs.part.validation.len(),
        inputs.test.len(),
    ));
    if let [(first, _, own, _), others @ ..] = rows
        && draws > 1
    {
        // The draws are the same for all: their differences vary less than either.
        for (name, _, judged, _) in others {
            let differences: Vec<f64> =
                own.accuracy.iter().zip(&judged.accuracy).map(|(a, b)| 100.0 * (a - b)).collect();
            let MeanStd { mean, std } = MeanStd::of(&differences);
            let wins = differences.iter().filter(|difference| **difference > 0.0).count();
            output::line(format!(
                "{first} beside {name}: {mean:+.2} ± {:.2} points, draw by draw; better in {wins} of {draws}",
                1.96 * std
            ));
        }
    }
    if rows.iter().any(|(_, _, judged, _)| judged.widened > 0) {
        output::line("C was widened beyond 1e-4 to 1e-2 where the edge of that range did best");
    }
}
