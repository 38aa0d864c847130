//! `dcgan`: trains, samples, inspects and exchanges deep convolutional GANs. The only crate that
//! prints.

#![forbid(unsafe_code)]

#[macro_use]
mod error;
mod cache;
mod commands;
mod distributed;
mod environment;
#[cfg(feature = "fault-injection")]
mod fault;
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
    if let Err(code) = distributed::join() {
        return output::finish(code);
    }
    distributed::finish(distributed::catch_panic(start))
}

fn start() -> ExitCode {
    let short = std::env::args_os().any(|arg| arg == "-h");
    let matches = commands::with_help(Cli::command(), short).try_get_matches();
    let parsed = matches.and_then(|matches| {
        let name = matches.subcommand_name().unwrap_or_default().to_owned();
        Ok((Cli::from_arg_matches(&matches)?, name))
    });
    let ranks = distributed::ranks();
    let failure = ranks.first_failure(parsed.as_ref().err().map(usage::exit_code));
    let (cli, name) = match (parsed, failure) {
        (Ok(parsed), None) => parsed,
        (Err(error), Some((rank, _))) if rank == ranks.group().rank() => {
            return usage::report(&error);
        }
        // Another rank has printed it.
        (_, failure) => return ExitCode::from(failure.map_or(2, |(_, code)| code)),
    };
    if ranks.is_root() {
        render::watch_silence();
    }
    tensor::catch_out_of_memory(|| run(&cli.command, &name))
        .unwrap_or_else(|error| Err(error::CliError::OutOfMemory(error)))
        .unwrap_or_else(|error| distributed::fail(&error))
}

fn run(command: &Command, name: &str) -> Result<ExitCode, error::CliError> {
    let ranks = distributed::ranks();
    ranks.agree(command.check_ranks(name).and_then(|()| environment::configure_kernels()))?;
    data::set_datasets_folder(environment::datasets_folder());
    command.run()
}
