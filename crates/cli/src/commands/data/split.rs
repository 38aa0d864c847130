//! `dcgan data split`.

use crate::error::CliError;
use crate::output;
use crate::render::{counter, quoted};
use data::{SplitCounts, SplitOptions, split};
use std::path::PathBuf;

/// Flags of `data split`.
#[derive(clap::Args)]
pub struct Args {
    /// A folder of pictures. It stays as it is.
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// The folder to make, with train/ and test/ in it. It must not hold anything yet.
    #[arg(value_name = "OUT")]
    out: PathBuf,
    /// The share that is held out, of each class.
    #[arg(long, value_name = "X", default_value_t = 0.1, allow_negative_numbers = true)]
    test: f64,
    /// Another seed holds out other pictures.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = crate::parse::seed)]
    seed: u64,
    /// Keep pictures together that have the same value in this column of IN/attributes.csv: those of one person, say.
    #[arg(long, value_name = "COLUMN")]
    group_by: Option<String>,
}

/// Divides a folder.
///
/// # Errors
/// A folder that cannot be divided, one that is not empty, or the disk.
pub fn run(args: &Args) -> Result<(), CliError> {
    let bar = counter(0, "dividing");
    let options =
        SplitOptions { test: args.test, seed: args.seed, group_by: args.group_by.clone() };
    let divided = split(&args.input, &args.out, &options, &|progress| {
        bar.set_length(progress.total as u64);
        bar.set_position(progress.done as u64);
    });
    bar.finish_and_clear();
    let SplitCounts { train, test } = divided?;
    output::line(format!(
        "{train} pictures to learn from and {test} held out in {}",
        args.out.display()
    ));
    output::line(format!("learn them with: dcgan train --data {} --image 64", quoted(&args.out)));
    Ok(())
}
