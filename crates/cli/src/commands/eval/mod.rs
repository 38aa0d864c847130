//! `dcgan eval`: metrics.

mod compare;
mod evaluator;
mod fake;
mod train_features;

pub use compare::{INCEPTION, metric_parser};
pub use evaluator::Evaluator;

use crate::error::CliError;
use clap::Subcommand;

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    compare: compare::CompareArgs,
}

/// The subcommands of `dcgan eval`.
#[derive(Subcommand)]
enum Command {
    /// Train a feature network for the metrics on a labeled dataset.
    TrainFeatures(Box<train_features::Args>),
}

impl Args {
    /// Whether several processes share the work.
    pub fn shares_work(&self) -> bool {
        self.command.is_none()
    }
}

/// Computes metrics, or trains a feature network.
pub fn run(args: &Args) -> Result<(), CliError> {
    match &args.command {
        Some(Command::TrainFeatures(args)) => train_features::run(args),
        None => compare::run(&args.compare),
    }
}
