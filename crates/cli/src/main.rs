//! `dcgan`: train, sample, inspect and exchange deep convolutional GANs. The only crate that prints.

#![forbid(unsafe_code)]

mod cache;
mod commands;
mod error;
mod interrupt;
mod memory;
mod output;
mod parse;
mod render;
mod usage;

use clap::Parser;
use commands::Command;
use std::process::ExitCode;

/// Trains deep convolutional GANs (Radford et al. 2016) on this computer, and draws pictures with them.
#[derive(Parser)]
#[command(
    name = "dcgan",
    version,
    arg_required_else_help = true,
    after_help = "Start with `dcgan train`: it learns Fashion-MNIST, which comes along, and puts pictures into runs/."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage::report(&error),
    };
    match run(&cli.command) {
        Ok(code) => code,
        Err(error) => {
            output::error(&error);
            error.exit_code()
        }
    }
}

fn run(command: &Command) -> Result<ExitCode, error::CliError> {
    // The first kernel would panic on a bad name.
    tensor::isa_from_env().map_err(error::CliError::Failed)?;
    tensor::conv_algorithm_from_env().map_err(error::CliError::Failed)?;
    command.run()
}
