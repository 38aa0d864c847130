//! `dcgan data`: what there is to learn from, what a network will see of it, and where to get more.

mod faces;
mod fetch;
mod list;
mod prepare;
mod preview;
mod split;
mod stats;

use crate::error::CliError;
use clap::Subcommand;

/// Flags of `data`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

/// What to do with data.
#[derive(Subcommand)]
enum Command {
    /// List the sets that are known by name, and where they are.
    List(list::Args),
    /// Tell what a set holds: sizes, channels, classes, attributes, bad pictures.
    Info(stats::Args),
    /// Get a set from where it is kept: what is cut is gone on with, and every file's checksum must be right.
    Fetch(fetch::Args),
    /// Cut faces out of pictures: the set of the DCGAN paper, from your own.
    Faces(faces::Args),
    /// Decode a set once, into one file from which it is learned faster.
    Prepare(prepare::Args),
    /// Show what a network will see of a set, as one PNG.
    Preview(preview::Args),
    /// Divide a folder of pictures into a part to learn from and a held-out one.
    Split(split::Args),
}

/// Does it.
///
/// # Errors
/// One line.
pub fn run(args: &Args) -> Result<(), CliError> {
    match &args.command {
        Command::List(args) => list::run(args),
        Command::Info(args) => stats::run(args),
        Command::Faces(args) => faces::run(args),
        Command::Fetch(args) => fetch::run(args),
        Command::Prepare(args) => prepare::run(args),
        Command::Preview(args) => preview::run(args),
        Command::Split(args) => split::run(args),
    }
}
