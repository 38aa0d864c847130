//! `dcgan invert`.

use super::inversion_args::{InversionArgs, drawing, print_starts};
use super::{FileArgs, options};
use crate::commands::generator::{ConditionArgs, GeneratorArgs};
use crate::error::CliError;
use crate::render::with_progress;
use crate::{output, parse};
use eval::checkpoint_discriminator::CheckpointDiscriminator;
use eval::latent::{Cell, InvertOptions, SampleSpec, invert};
use serde_json::json;
use std::path::PathBuf;

/// Flags of `invert`.
#[derive(clap::Args)]
pub struct Args {
    /// The picture; it is brought to the size of the generator's.
    #[arg(value_name = "IMAGE")]
    image: PathBuf,
    #[command(flatten)]
    generator: GeneratorArgs,
    /// With --class all, every class is tried, and the one that comes nearest is kept.
    #[command(flatten)]
    condition: ConditionArgs,
    #[command(flatten)]
    descent: InversionArgs,
    /// Weight of the difference of the discriminator's features beside that of pixels: nearer in what is seen, further in pixels.
    #[arg(long, value_name = "X", default_value_t = 0.0, value_parser = parse::weight, allow_negative_numbers = true)]
    features: f64,
    #[command(flatten)]
    files: FileArgs,
}

/// Finds the latent and shows its picture beside the given one.
///
/// # Errors
/// A picture that cannot be read, a condition that is missing, features without a discriminator, files that are there already, the disk.
pub fn run(args: &Args) -> Result<(), CliError> {
    args.files.require(None)?;
    args.descent.require(&args.files)?;
    let opened = args.generator.open_alone()?;
    let conditions = args.condition.read(opened.sampler.recipe())?;
    let (target, _) = args.descent.read(&args.image, opened.sampler.shape())?;
    let critic = if args.features > 0.0 {
        CheckpointDiscriminator::for_sampler(&opened.checkpoint, &opened.sampler)?
    } else {
        None
    };
    let asked = InvertOptions { optimizer: args.descent.descent(), features: args.features };
    let told = conditions.tensor();
    let found = with_progress(args.files.json, |progress| {
        invert(&opened.sampler, critic.as_ref(), &target, told.as_ref(), &asked, progress)
    })?;
    let error = found.starts.get(found.best).map_or(f64::NAN, |start| start.error);
    if args.files.json {
        let starts: Vec<_> = found
            .starts
            .iter()
            .map(|start| json!({ "condition": start.candidate, "error": start.error }))
            .collect();
        output::json(
            &json!({ "error": error, "psnr": found.psnr, "best": found.best, "starts": starts }),
        );
    } else {
        print_starts(&opened, &conditions, &found.starts, found.best);
        output::line(format!(
            "\nthe latent's picture is {error:.2} grey levels of 255 from the given one (root mean square), a PSNR of {:.2} dB",
            found.psnr
        ));
    }
    args.descent.write(&args.files, &found.latent, found.condition.as_ref())?;
    let base = drawing(&found.latent, found.condition.as_ref(), options(&opened, 2));
    args.files.write_grid(
        &opened,
        SampleSpec { cells: vec![Cell::External(0), Cell::Image(0)], ..base },
        &[target],
    )
}
