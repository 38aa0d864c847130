//! `dcgan eval`: metrics.

mod compare;
mod evaluator;
mod fake;
mod train_features;

pub use compare::metric_parser;
pub use evaluator::Evaluator;

use super::device::DeviceArgs;
use super::preprocess::PreprocessArgs;
use crate::error::CliError;
use clap::Subcommand;

/// Flags of `eval`.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    compare: compare::CompareArgs,
}

/// What else there is to do.
#[derive(Subcommand)]
enum Command {
    /// Train the network whose features the metrics compare, on a labelled set.
    TrainFeatures(Box<train_features::Args>),
}

/// Measures, or trains what measures.
///
/// # Errors
/// One line.
pub fn run(args: &Args) -> Result<(), CliError> {
    match &args.command {
        Some(Command::TrainFeatures(args)) => train_features::run(args),
        None => compare::run(&args.compare),
    }
}
