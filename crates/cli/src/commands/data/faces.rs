//! `dcgan data faces`.

use crate::error::CliError;
use crate::output;
use crate::render::{counter, quoted};
use data::{DataSpec, FaceOptions, extract_faces};
use std::path::PathBuf;

/// Bad pictures that are named one by one.
const BAD: usize = 5;

/// Flags of `data faces`.
#[derive(clap::Args)]
pub struct Args {
    /// Where to look: a folder of pictures, or anything else that `dcgan train --data` takes.
    #[arg(value_name = "IN")]
    input: String,
    /// The folder to write faces into, as 000000.png, 000001.png …, with their places in faces.csv. It must not hold anything yet.
    #[arg(value_name = "OUT")]
    out: PathBuf,
    /// Keep faces whose box has at least this side, in pixels.
    #[arg(long, value_name = "N", default_value_t = FaceOptions::default().min_size, value_parser = clap::value_parser!(u32).range(20..=16384))]
    min_size: u32,
    /// Keep faces of at least this confidence: near 2 more are found, and more that are none.
    #[arg(long, value_name = "X", default_value_t = FaceOptions::default().min_score)]
    min_score: f64,
    /// Cut out this share of the box's side around it, on each side.
    #[arg(long, value_name = "X", default_value_t = FaceOptions::default().margin)]
    margin: f64,
    /// Another detector than the one that is built in: a model of SeetaFace's face detection. Take it from where you would take a
    /// program: its form is checked, and what its weights do cannot be.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
}

/// Finds and writes faces.
///
/// # Errors
/// Data, a model that is none, flags out of range, a folder that is not empty, or the disk.
pub fn run(args: &Args) -> Result<(), CliError> {
    let spec = DataSpec::parse(&args.input)?;
    let options =
        FaceOptions { min_size: args.min_size, min_score: args.min_score, margin: args.margin };
    let bar = counter(0, "looking for faces");
    let found = extract_faces(&spec, &args.out, options, args.model.as_deref(), &|progress| {
        bar.set_length(progress.total as u64);
        bar.set_position(progress.done as u64);
    });
    bar.finish_and_clear();
    let found = found?;
    found.bad.iter().take(BAD).for_each(output::warning);
    if found.bad.len() > BAD {
        output::warning(format!(
            "{} more pictures cannot be decoded (skipped)",
            found.bad.len() - BAD
        ));
    }
    let (without, bad) = (found.without_faces, found.bad.len());
    output::line(format!(
        "{} faces in {} pictures ({without} without one, {bad} bad)",
        found.faces, found.images
    ));
    if found.faces > 0 {
        output::line(format!(
            "learn them with: dcgan train --data {} --image 64",
            quoted(&args.out)
        ));
    }
    Ok(())
}
