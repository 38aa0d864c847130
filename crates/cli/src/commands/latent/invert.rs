//! `dcgan invert`.

use super::inversion_args::{InversionArgs, Starts, drawing};
use super::{FileArgs, grid_options};
use crate::commands::{ConditionArgs, GeneratorArgs};
use crate::error::CliError;
use crate::parse;
use crate::render::with_progress;
use crate::report::{self, Report};
use eval::checkpoint_discriminator::CheckpointDiscriminator;
use eval::latent::{Cell, InvertOptions, SampleSpec, invert};
use serde::Serialize;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    /// The image, which is fitted to the generator's size.
    #[arg(value_name = "IMAGE")]
    image: PathBuf,
    #[command(flatten)]
    generator: GeneratorArgs,
    /// With --class all, every class is tried, and the one with the lowest error is kept.
    #[command(flatten)]
    condition: ConditionArgs,
    #[command(flatten)]
    inversion: InversionArgs,
    /// Weight of a feature-matching loss under the discriminator's features, in addition to the
    /// pixel loss: perceptually closer images with a larger pixel error.
    #[arg(long, value_name = "X", default_value_t = 0.0, value_parser = parse::weight,
        allow_negative_numbers = true, help_heading = "Optimizer")]
    feature_weight: f64,
    #[command(flatten)]
    files: FileArgs,
}

/// Finds the latent of an image by gradient descent.
pub fn run(args: &Args) -> Result<(), CliError> {
    args.inversion.require(&args.files, &["safetensors"])?;
    let opened = args.generator.open_batch_invariant()?;
    args.files.require_grid_size(&opened, 2, 2)?;
    let conditions = args.condition.read(opened.sampler.recipe())?;
    let (target, _) = args.inversion.read(&args.image, opened.sampler.shape())?;
    let discriminator = match args.feature_weight > 0.0 {
        true => CheckpointDiscriminator::for_sampler(&opened.checkpoint, &opened.sampler)?,
        false => None,
    };
    let options =
        InvertOptions { optimizer: args.inversion.descent(), features: args.feature_weight };
    let condition_rows = conditions.tensor();
    let found = with_progress(|progress| {
        invert(
            &opened.sampler,
            discriminator.as_ref(),
            &target,
            condition_rows.as_ref(),
            &options,
            progress,
        )
    })?;
    let starts = Starts::new(&opened, &conditions, &found.starts, found.best);
    let report = InversionReport { error: starts.error(), psnr: found.psnr, starts };
    report::print(&report, args.files.json);
    args.inversion.write(&args.files, &found.latent, found.condition.as_ref())?;
    let base = drawing(&found.latent, found.condition.as_ref(), grid_options(&opened, 2));
    let cells = vec![Cell::External(0), Cell::Image(0)];
    args.files.write_grid(&opened, SampleSpec { cells, ..base }, &[target])
}

/// The reconstruction error of the best start.
#[derive(Serialize)]
struct InversionReport {
    error: f64,
    psnr: f64,
    #[serde(flatten)]
    starts: Starts,
}

impl Report for InversionReport {
    fn text(&self) -> Vec<String> {
        let summary = format!(
            "\nthe reconstruction differs by {:.2} gray levels of 255 (root mean square), a PSNR \
             of {:.2} dB",
            self.error, self.psnr
        );
        vec![self.starts.table(), summary]
    }
}
