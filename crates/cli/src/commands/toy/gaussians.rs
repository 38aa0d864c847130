//! `dcgan toy ring` and `dcgan toy grid`.

use super::PictureArgs;
use super::render::Render;
use crate::commands::device::DeviceArgs;
use crate::error::CliError;
use crate::parse;
use ::train::toy::{self, Event, Outcome, Settings, Target, picture};
use clap::{ValueEnum, value_parser};
use nn::OptimizerKind;
use nn::loss::GanLoss;
use std::time::Instant;

/// Shown below the help.
pub const EXAMPLES: &str = "\
Examples:
  dcgan toy grid --gif grid.gif                   watch a plain GAN lose modes
  dcgan toy grid --minibatch-discrimination --gif minibatch.gif
                                                  and find more of them
  dcgan toy grid --runs 10                        how many over ten seeds
  dcgan toy saddle --gif saddle.gif               the game underneath";

/// Which of the two networks.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Networks {
    /// The generator.
    G,
    /// The discriminator.
    D,
    /// Both.
    Both,
}

/// Flags of `toy ring` and `toy grid`.
#[derive(clap::Args)]
pub struct Args {
    /// Steps, each of --d-steps updates of D and --g-steps of G.
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = value_parser!(u64).range(1..=1_000_000_000), help_heading = "Training")]
    steps: u64,
    /// Points per batch.
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = value_parser!(u32).range(2..=65536), help_heading = "Training")]
    batch: u32,
    /// Units of each hidden layer; both networks have two.
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = value_parser!(u32).range(1..=8192), help_heading = "Training")]
    width: u32,
    /// Length of the latent vector, drawn from N(0, 1).
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = value_parser!(u32).range(1..=8192), help_heading = "Training")]
    latent: u32,
    /// Learning rate.
    #[arg(long, value_name = "X", default_value_t = 1e-3, value_parser = parse::learning_rate, allow_negative_numbers = true, help_heading = "Training")]
    lr: f64,
    /// Learning rate of D [default: that of --lr]: two time scales (Heusel et al. 2017).
    #[arg(long, value_name = "X", value_parser = parse::learning_rate, allow_negative_numbers = true, help_heading = "Training")]
    lr_d: Option<f64>,
    /// How both networks move along their gradients.
    #[arg(long, value_enum, default_value = "adam", help_heading = "Training")]
    optimizer: OptimizerChoice,
    /// Adam's β₁ [default: 0.5].
    #[arg(long, value_name = "X", value_parser = parse::decay, allow_negative_numbers = true, help_heading = "Training")]
    beta1: Option<f64>,
    /// Updates of D per step.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u32).range(1..=1000), help_heading = "Training")]
    d_steps: u32,
    /// Updates of G per step.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u32).range(1..=1000), help_heading = "Training")]
    g_steps: u32,
    /// The same seed gives the same points, bit by bit, with any number of threads.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = parse::seed, help_heading = "Training")]
    seed: u64,
    /// Train with this many seeds, --seed and those after it, and tell mean and standard deviation.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u32).range(1..=10_000), help_heading = "Training")]
    runs: u32,

    /// What the networks minimise.
    #[arg(long, value_enum, default_value = "non-saturating", help_heading = "Regularization")]
    objective: ObjectiveChoice,
    /// Compare each logit with the mean of the other kind (Jolicoeur-Martineau 2019).
    #[arg(long, help_heading = "Regularization")]
    relativistic: bool,
    /// Weight of the gradient penalty between real and generated points (Gulrajani et al. 2017: 10).
    #[arg(long, value_name = "W", default_value_t = 0.0, value_parser = parse::weight, allow_negative_numbers = true, help_heading = "Regularization")]
    gp: f64,
    /// Weight γ of R1, the gradient penalty on real points (Mescheder et al. 2018: 10).
    #[arg(long, value_name = "W", default_value_t = 0.0, value_parser = parse::weight, allow_negative_numbers = true, help_heading = "Regularization")]
    r1: f64,
    /// Cut D's weights to [-C, C] after each of its updates (Arjovsky et al. 2017: 0.01).
    #[arg(long, value_name = "C", default_value_t = 0.0, value_parser = parse::weight, allow_negative_numbers = true, help_heading = "Regularization")]
    clip: f64,
    /// D's target for real points in place of 1: a number, or a range to draw it from (Salimans et al. 2016: 0.9).
    #[arg(long, value_name = "T|LOW,HIGH", value_parser = parse::range, allow_hyphen_values = true, help_heading = "Regularization")]
    smooth: Option<[f64; 2]>,
    /// G also matches the mean of D's last hidden features, with this weight (Salimans et al. 2016).
    #[arg(long, value_name = "W", default_value_t = 0.0, value_parser = parse::weight, allow_negative_numbers = true, help_heading = "Regularization")]
    feature_matching: f64,
    /// D sees how near the others of a batch are, by B kernels of C dimensions (Salimans et al. 2016).
    #[arg(long, value_name = "B,C", value_parser = parse::counts, num_args = 0..=1, default_missing_value = "16,4", help_heading = "Regularization")]
    minibatch_discrimination: Option<[usize; 2]>,
    /// D sees how much groups of four of a batch vary (Karras et al. 2018).
    #[arg(long, help_heading = "Regularization")]
    minibatch_stddev: bool,
    /// Spectral norm in D (Miyato et al. 2018).
    #[arg(long, help_heading = "Regularization")]
    spectral_norm: bool,
    /// Batch norm in the hidden layers of these networks (Ioffe & Szegedy 2015).
    #[arg(long, value_name = "NETWORKS", value_enum, help_heading = "Regularization")]
    batch_norm: Option<Networks>,
    /// D judges this many points at once (PacGAN, Lin et al. 2018).
    #[arg(long, value_name = "M", default_value_t = 1, value_parser = value_parser!(u32).range(1..=1024), help_heading = "Regularization")]
    pack: u32,
    /// Gaussian noise of this standard deviation on all that D sees, falling to 0 (Sønderby et al. 2017).
    #[arg(long, value_name = "STD", default_value_t = 0.0, value_parser = parse::weight, allow_negative_numbers = true, help_heading = "Regularization")]
    noise: f64,
    /// Sample with an average of G's weights of this decay, such as 0.999.
    #[arg(long, value_name = "X", default_value_t = 0.0, value_parser = parse::decay, allow_negative_numbers = true, help_heading = "Regularization")]
    ema: f64,

    #[command(flatten)]
    pictures: PictureArgs,
    #[command(flatten)]
    device: DeviceArgs,
    /// Threads of the CPU to compute with [default: one per core].
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=1024), help_heading = "Device")]
    threads: Option<u32>,
    /// JSON lines on standard output, one object per event, and nothing else there.
    #[arg(long)]
    json: bool,
}

/// What the networks minimise.
#[derive(Clone, Copy, ValueEnum)]
enum ObjectiveChoice {
    /// Goodfellow et al. 2014, equation 1.
    Minimax,
    /// The second form of section 3 there.
    NonSaturating,
    /// Mao et al. 2017.
    LeastSquares,
    /// Lim & Ye 2017; Miyato et al. 2018.
    Hinge,
    /// Arjovsky et al. 2017; needs a bound on D's slope, such as --gp 10.
    Wasserstein,
}

/// How networks move along their gradients.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OptimizerChoice {
    /// Kingma & Ba 2015, β₂ = 0.999.
    Adam,
    /// Plain gradient descent.
    Sgd,
    /// Tieleman & Hinton 2012, α = 0.99.
    Rmsprop,
}

impl Args {
    fn rule(&self) -> Result<OptimizerKind, CliError> {
        if let (Some(beta1), OptimizerChoice::Sgd | OptimizerChoice::Rmsprop) =
            (self.beta1, self.optimizer)
        {
            return Err(CliError::Usage(format!(
                "--beta1 {beta1}: only Adam has it; leave it out, or take --optimizer adam"
            )));
        }
        Ok(match self.optimizer {
            OptimizerChoice::Adam => Settings::adam(self.beta1.unwrap_or(0.5)),
            OptimizerChoice::Sgd => OptimizerKind::Sgd { momentum: 0.0, nesterov: false },
            OptimizerChoice::Rmsprop => {
                OptimizerKind::RmsProp { alpha: 0.99, eps: 1e-8, momentum: 0.0 }
            }
        })
    }

    fn settings(&self, target: Target) -> Result<Settings, CliError> {
        let on = |network| {
            self.batch_norm.is_some_and(|chosen| chosen == network || chosen == Networks::Both)
        };
        let objective = match self.objective {
            ObjectiveChoice::Minimax => GanLoss::Minimax,
            ObjectiveChoice::NonSaturating => GanLoss::NonSaturating,
            ObjectiveChoice::LeastSquares => GanLoss::LeastSquares,
            ObjectiveChoice::Hinge => GanLoss::Hinge,
            ObjectiveChoice::Wasserstein => GanLoss::Wasserstein,
        };
        let settings = Settings {
            target,
            seed: self.seed,
            steps: self.steps,
            batch: self.batch as usize,
            width: self.width as usize,
            latent: self.latent as usize,
            lr: self.lr,
            lr_d: self.lr_d.unwrap_or(self.lr),
            rule: self.rule()?,
            objective,
            relativistic: self.relativistic,
            gp: self.gp,
            r1: self.r1,
            clip: self.clip,
            smooth: self.smooth,
            feature_matching: self.feature_matching,
            minibatch_discrimination: self.minibatch_discrimination,
            minibatch_stddev: self.minibatch_stddev,
            spectral_norm: self.spectral_norm,
            d_steps: self.d_steps,
            g_steps: self.g_steps,
            batch_norm_g: on(Networks::G),
            batch_norm_d: on(Networks::D),
            noise: self.noise,
            ema: self.ema,
            pack: self.pack as usize,
        };
        settings.validate().map_err(CliError::usage)?;
        Ok(settings)
    }
}

/// Trains once and draws, or several times and counts.
///
/// # Errors
/// Flags that make no sense together, files that are there already, the device, the disk.
pub fn run(args: &Args, target: Target) -> Result<(), CliError> {
    let settings = args.settings(target)?;
    if args.runs > 1 && args.pictures.needed() > 0 {
        return Err(CliError::Usage(
            "--runs counts and draws nothing: leave --gif and --png out, or --runs".into(),
        ));
    }
    args.pictures.require()?;
    let device = args.device.open()?;
    if let Some(threads) = args.threads {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads as usize).build_global();
        pool.map_err(|e| CliError::Failed(format!("--threads {threads}: {e}")))?;
    }
    let render = Render::new(args.json, &settings, args.runs.into());
    render.started(&settings, &device);
    let began = Instant::now();
    if args.runs > 1 {
        let outcomes = toy::sweep(&settings, args.runs as usize, &device, &|event| {
            render.event(&event, true)
        })?;
        render.swept(&outcomes, began.elapsed());
        return Ok(());
    }
    let outcome = toy::run(&settings, &device, 10, args.pictures.needed(), &mut |event: Event| {
        render.event(&event, false)
    })?;
    let written = draw(args, &settings, &outcome)?;
    render.ended(&outcome, &written, began.elapsed());
    Ok(())
}

fn draw<'a>(
    args: &'a Args,
    settings: &Settings,
    outcome: &Outcome,
) -> Result<Vec<&'a std::path::Path>, CliError> {
    let pictures: Result<Vec<_>, _> =
        outcome.frames.iter().map(|frame| picture::draw(settings, frame)).collect();
    args.pictures.write(&pictures?)
}
