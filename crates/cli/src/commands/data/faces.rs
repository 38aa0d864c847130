//! `dcgan data faces`.

use super::SpecArgs;
use crate::error::CliError;
use crate::output;
use crate::parse::count;
use crate::render::{count_images, quoted, warn_skipped};
use data::{DataSpec, FaceOptions, extract_faces};
use std::path::PathBuf;

#[derive(clap::Args)]
#[command(next_help_heading = "Data")]
pub struct Args {
    #[command(flatten)]
    spec: SpecArgs,
    /// Output path: a new or empty folder for the faces, 000000.png, 000001.png …, and their boxes
    /// in faces.csv.
    #[arg(long, value_name = "PATH", help_heading = "Output")]
    out: PathBuf,
    /// Keep faces whose box has at least this side, in pixels.
    #[arg(long, value_name = "N", default_value_t = FaceOptions::default().min_size,
        value_parser = count(20..=16384))]
    min_size: u32,
    /// Keep faces of at least this confidence: values near 2 find more faces and more false ones.
    #[arg(long, value_name = "X", default_value_t = FaceOptions::default().min_score)]
    min_score: f64,
    /// Margin around the box on each side, as a fraction of the box's side.
    #[arg(long, value_name = "X", default_value_t = FaceOptions::default().margin)]
    margin: f64,
    /// SeetaFace face detection model to use instead of the built-in one. Take it from a source you
    /// trust as you would a program: its format is checked, the effect of its weights cannot be.
    #[arg(long, value_name = "FILE", help_heading = "Model")]
    detector: Option<PathBuf>,
}

/// Finds faces and writes them.
pub fn run(args: &Args) -> Result<(), CliError> {
    let spec = DataSpec::parse(args.spec.get())?;
    let options =
        FaceOptions { min_size: args.min_size, min_score: args.min_score, margin: args.margin };
    let found = count_images("looking for faces", |progress| {
        extract_faces(&spec, &args.out, options, args.detector.as_deref(), progress)
    })?;
    warn_skipped(&found.bad);
    output::line(format!(
        "{} faces in {} images ({} without a face, {} unreadable)",
        found.faces,
        found.images,
        found.without_faces,
        found.bad.len()
    ));
    if found.faces > 0 {
        output::line(format!(
            "train on them with: dcgan train --data {} --image 64",
            quoted(&args.out)
        ));
    }
    Ok(())
}
