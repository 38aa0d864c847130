//! `dcgan data`: inspect, fetch and prepare datasets.

mod faces;
mod fetch;
mod list;
mod prepare;
mod preview;
mod split;
mod stats;

use crate::error::CliError;
use clap::Subcommand;

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the datasets known by name, and where they are.
    List(list::Args),
    /// Print the contents of a dataset: sizes, channels, classes, attributes, unreadable images.
    Info(stats::Args),
    /// Download a dataset. An interrupted download is resumed; every checksum is verified.
    Fetch(fetch::Args),
    /// Cut faces out of images, as for the face dataset of the DCGAN paper.
    Faces(faces::Args),
    /// Decode a dataset once into one packed file, which loads faster.
    Prepare(prepare::Args),
    /// Write the preprocessed images, the discriminator's real inputs, as one PNG.
    Preview(preview::Args),
    /// Split a folder of images into a training and a test split.
    Split(split::Args),
}

/// Runs the subcommand.
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

/// The dataset of a command: `SPEC` alone, or `--data SPEC` as in other commands.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
pub struct SpecArgs {
    /// Dataset: a name of `dcgan data list`, a folder or archive of images, or a dataset's own
    /// files.
    #[arg(value_name = "SPEC", value_parser = crate::parse::spec())]
    spec: Option<String>,
    /// Dataset: the same as SPEC.
    #[arg(long, value_name = "SPEC", value_parser = crate::parse::spec(), help_heading = "Data")]
    data: Option<String>,
}

impl SpecArgs {
    /// The text of whichever was given; clap requires one of the two.
    pub fn get(&self) -> &str {
        self.spec.as_deref().or(self.data.as_deref()).unwrap_or_default()
    }
}

/// The help of a flag that takes a dataset, with the formats of the registry.
pub(super) fn spec_help() -> String {
    format!(
        "Dataset: a name, folder, archive or file [default: fashion-mnist].\n\n{}",
        format_help()
    )
}

/// The kinds of datasets, with the formats of the registry.
pub(super) fn format_help() -> String {
    let formats: Vec<_> = data::formats()
        .map(|(name, about)| format!("  {:<10} {about}", format!("{name}:")))
        .collect();
    format!(
        "A name is one of `dcgan data list`. The format of a path is detected from its contents; a \
         prefix forces it:\n{}",
        formats.join("\n")
    )
}
