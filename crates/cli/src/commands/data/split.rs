//! `dcgan data split`.

use crate::error::CliError;
use crate::output;
use crate::render::{count_images, quoted};
use data::{SplitCounts, SplitOptions, split};
use std::path::PathBuf;

#[derive(clap::Args)]
#[command(next_help_heading = "Data")]
pub struct Args {
    /// A folder of images. It is not changed.
    #[arg(value_name = "DIR")]
    input: PathBuf,
    /// Output path: a new or empty folder, in which train/ and test/ are made.
    #[arg(long, value_name = "PATH", help_heading = "Output")]
    out: PathBuf,
    /// Fraction of each class in the test split.
    #[arg(long, value_name = "X", default_value_t = 0.1, allow_negative_numbers = true)]
    test: f64,
    /// Random seed of the choice of test images.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = crate::parse::seed)]
    seed: u64,
    /// Keep images with the same value in this column of DIR/attributes.csv in one split, such as
    /// the images of one person.
    #[arg(long, value_name = "COLUMN")]
    group_by: Option<String>,
}

/// Splits a folder.
pub fn run(args: &Args) -> Result<(), CliError> {
    let options =
        SplitOptions { test: args.test, seed: args.seed, group_by: args.group_by.clone() };
    let SplitCounts { train, test } =
        count_images("splitting", |progress| split(&args.input, &args.out, &options, progress))?;
    let out = output::name(args.out.display());
    output::line(format!("{train} training and {test} test images in {out}"));
    output::line(format!(
        "train on them with: dcgan train --data {} --image 64",
        quoted(&args.out)
    ));
    Ok(())
}
