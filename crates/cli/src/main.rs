//! `dcgan`: trains, samples, inspects and exchanges deep convolutional GANs. The only crate that
//! prints.

#![forbid(unsafe_code)]

#[macro_use]
mod error;
mod cache;
mod commands;
mod environment;
mod hints;
mod interrupt;
mod memory;
mod output;
mod parse;
mod render;
mod report;
mod threads;
mod usage;

use clap::{CommandFactory, FromArgMatches, Parser};
use commands::Command;
use std::process::ExitCode;

/// Trains deep convolutional GANs (Radford et al. 2016) on this computer, and generates images.
#[derive(Parser)]
#[command(
    name = "dcgan",
    version,
    arg_required_else_help = true,
    after_help = "Start with `dcgan train`: it trains on Fashion-MNIST, which is built in, and \
                  writes images to runs/. `dcgan COMMAND -h` shows the flags of a command."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    interrupt::watch();
    let short = std::env::args_os().any(|arg| arg == "-h");
    let matches = commands::with_help(Cli::command(), short).try_get_matches();
    let cli = match matches.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => return output::finish(usage::report(&error)),
    };
    render::watch_silence();
    let code = tensor::catch_out_of_memory(|| run(&cli.command))
        .unwrap_or_else(|error| Err(error::CliError::OutOfMemory(error)))
        .unwrap_or_else(|error| {
            output::error(&error);
            error.exit_code()
        });
    output::finish(code)
}

fn run(command: &Command) -> Result<ExitCode, error::CliError> {
    environment::configure_kernels()?;
    data::set_datasets_folder(environment::datasets_folder());
    command.run()
}
