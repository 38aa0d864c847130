//! `dcgan reproduce`.

use super::FileArgs;
use crate::commands::device::DeviceArgs;
use crate::commands::generator::checkpoint;
use crate::error::CliError;
use crate::output;
use crate::render::with_progress;
use eval::latent::{ModelId, Provenance, reproduce};
use runs::grid;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use train::Sampler;

/// Flags of `reproduce`.
#[derive(clap::Args)]
pub struct Args {
    /// A PNG that sample, walk, arithmetic, turn, invert or restore wrote.
    #[arg(value_name = "IMAGE.png")]
    image: PathBuf,
    /// The checkpoint it was drawn with, or its run directory [default: the generator that comes with this program, where it was that one].
    #[arg(long, value_name = "PATH|RUNDIR")]
    checkpoint: Option<PathBuf>,
    /// Draw with another checkpoint than the picture names: what does another one make of these latents?
    #[arg(long, requires = "checkpoint")]
    force_checkpoint: bool,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    files: FileArgs,
}

/// Draws a picture again and compares it; exit code 1 where pixels differ, unless another checkpoint was forced.
///
/// # Errors
/// A picture without an origin, another checkpoint, a file that is there already, the disk.
pub fn run(args: &Args) -> Result<ExitCode, CliError> {
    args.files.require(None)?;
    let (old, origin) = Provenance::read(&args.image)?;
    let model = origin.networks.model.as_deref().filter(|_| args.checkpoint.is_none());
    if args.checkpoint.is_none() && model.is_none() {
        let ModelId { recipe, step, identity, .. } = &origin.networks;
        return Err(CliError::Usage(format!(
            "--checkpoint: say where the one is that drew it: recipe {recipe}, step {step}, {identity}"
        )));
    }
    let (found, _) = checkpoint(args.checkpoint.as_deref(), model)?;
    let own = ModelId::of(&found, model);
    if own.identity != origin.networks.identity && !args.force_checkpoint {
        return Err(CliError::Failed(format!(
            "{:?} was drawn by another checkpoint: recipe {}, step {}, {}; this one is {}, step {}, {} (--force-checkpoint draws with it all the same)",
            args.image,
            origin.networks.recipe,
            origin.networks.step,
            origin.networks.identity,
            own.recipe,
            own.step,
            own.identity
        )));
    }
    let sampler = Sampler::new(&found, Some(origin.batch_norm), &args.device.open()?)?;
    let drawn = with_progress(args.files.json, |progress| {
        reproduce(&origin, &old, &sampler, 64, progress)
    })?;
    if let Some(path) = &args.files.grid {
        let now = Provenance::new(
            &sampler,
            own,
            origin.command.clone(),
            origin.batch.unwrap_or(64),
            origin.samples.clone(),
        );
        grid::save_png_with(path, &drawn.image, &now.texts())?;
        args.files.wrote(path);
    }
    let equal = drawn.differing == 0;
    if args.files.json {
        output::json(&json!({
            "equal": equal,
            "compared": drawn.compared,
            "differing": drawn.differing,
            "largest": drawn.largest,
            "copied": drawn.copied,
            "command": origin.command,
            "computed_with": origin.computed_with,
        }));
    } else {
        output::line(format!("drawn by: {}", origin.command));
        if drawn.copied > 0 {
            output::line(format!(
                "{} of its pictures were not drawn by the generator: they are copied, not compared",
                drawn.copied
            ));
        }
        output::line(if equal {
            "drawn again, all pixels are equal".to_owned()
        } else {
            format!(
                "drawn again, {} of {} values differ, by {} of 255 at most (drawn first by {}, now by {})",
                drawn.differing,
                drawn.compared,
                drawn.largest,
                origin.computed_with,
                sampler.device().numerics_id()
            )
        });
    }
    Ok(if equal || args.force_checkpoint { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
