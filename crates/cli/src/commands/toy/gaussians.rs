//! `dcgan toy ring` and `dcgan toy grid`.

use super::PlotArgs;
use super::render::Render;
use crate::commands::train::{ToyRecipeFlags, toy_default};
use crate::commands::{DeviceArgs, JsonArg};
use crate::error::CliError;
use crate::parse::{self, count, steps};
use ::train::toy::{self, ToyDataset, ToyEvent, ToyOutcome, ToySettings, frame_plot};
use std::path::Path;
use std::time::Instant;

/// Examples below the long help.
pub const EXAMPLES: &str = "\
Examples:
  dcgan toy grid --gif grid.gif                   a plain GAN loses modes
  dcgan toy grid --minibatch-discrimination --gif minibatch.gif
                                                  minibatch discrimination finds more of them
  dcgan toy grid --runs 10                        mean and standard deviation over ten seeds
  dcgan toy saddle --gif saddle.gif               the game underneath";

/// Flags of `toy ring` and `toy grid`. Those of the recipe are named as in `train`.
#[derive(clap::Args)]
pub struct Args {
    /// Number of steps, each of --d-steps updates of D and --g-steps of G.
    #[arg(long, value_name = "N", default_value_t = 20_000,
        value_parser = steps(), help_heading = "Training")]
    steps: u64,
    #[arg(long, value_name = "N", value_parser = count(2..=65536), help_heading = "Training",
        help = toy_default("Batch size in points", "train.batch"))]
    batch: Option<u32>,
    /// Random seed: the same seed gives the same points, bit by bit, with any number of threads.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = parse::seed,
        help_heading = "Training")]
    seed: u64,
    /// Train with N seeds, from --seed on, and print mean and standard deviation.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = count(1..=10_000),
        help_heading = "Training")]
    runs: u32,
    #[arg(long, value_name = "X", value_parser = parse::decay, allow_negative_numbers = true,
        help_heading = "Training",
        help = toy_default("EMA decay of the generator's weights, 0 for none", "train.ema"))]
    ema: Option<f64>,
    #[arg(long, value_name = "X", value_parser = parse::learning_rate,
        allow_negative_numbers = true, help_heading = "Optimizer",
        help = toy_default("Learning rate of both networks", "optimizer.lr"))]
    lr: Option<f64>,
    #[arg(long, value_name = "N", value_parser = count(1..=8192), help_heading = "Model",
        help = toy_default("Width: units of each of the two hidden layers", "generator.width"))]
    width: Option<u32>,
    #[arg(long, value_name = "N", value_parser = count(1..=8192), help_heading = "Model",
        help = toy_default(
            "Length of the latent vector z, drawn from N(0, 1)",
            "generator.latent"))]
    latent: Option<u32>,
    /// Points that D classifies together (PacGAN).
    #[arg(long, value_name = "M", default_value_t = 1, value_parser = count(1..=1024),
        help_heading = "Model")]
    pack: u32,
    #[command(flatten)]
    recipe_flags: ToyRecipeFlags,

    #[command(flatten)]
    plots: PlotArgs,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    json: JsonArg,
}

impl Args {
    fn settings(&self, dataset: ToyDataset) -> Result<ToySettings, CliError> {
        let number = |value: Option<u32>| value.map(|value| value.to_string());
        let float = |value: Option<f64>| value.map(|value| format!("{value:?}"));
        let own = [
            ("train.steps", Some(self.steps.to_string())),
            ("train.batch", number(self.batch)),
            ("train.ema", float(self.ema)),
            ("optimizer.lr", float(self.lr)),
            ("generator.width", number(self.width)),
            ("discriminator.width", number(self.width)),
            ("generator.latent", number(self.latent)),
        ];
        let own = own.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
        let changes: Vec<_> = own.chain(self.recipe_flags.changes()).collect();
        ToySettings::new(dataset, self.seed, self.pack as usize, &changes).map_err(CliError::usage)
    }
}

/// Trains once and draws, or several times and prints the mean.
pub fn run(args: &Args, dataset: ToyDataset) -> Result<(), CliError> {
    let settings = args.settings(dataset)?;
    if args.runs > 1 && args.plots.num_frames() > 0 {
        return Err(usage!("--runs draws nothing: leave out --gif and --png, or --runs"));
    }
    args.plots.require()?;
    let device = args.device.open()?;
    let render = Render::new(args.json.json, &settings, args.runs.into());
    render.started(&settings, &device);
    let began = Instant::now();
    if args.runs > 1 {
        let outcomes = toy::sweep(&settings, args.runs as usize, &device, &|event| {
            render.event(&event, true)
        })?;
        render.swept(&outcomes, began.elapsed());
        return Ok(());
    }
    let frames = args.plots.num_frames();
    let outcome = toy::run(&settings, &device, 10, frames, &mut |event: ToyEvent| {
        render.event(&event, false)
    })?;
    let written = draw(args, &settings, &outcome)?;
    render.ended(&outcome, &written, began.elapsed());
    Ok(())
}

fn draw<'a>(
    args: &'a Args,
    settings: &ToySettings,
    outcome: &ToyOutcome,
) -> Result<Vec<&'a Path>, CliError> {
    let plots: Result<Vec<_>, _> =
        outcome.frames.iter().map(|frame| frame_plot::draw(settings, frame)).collect();
    args.plots.write(&plots?)
}
