//! `dcgan reproduce`.

use crate::commands::{DeviceArgs, ModelArgs, OutputArgs, checkpoint, require_files};
use crate::error::CliError;
use crate::output;
use crate::render::with_progress;
use crate::report::{self, Report};
use eval::latent::{ModelId, Provenance, reproduce};
use runs::grid;
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;
use train::Sampler;

/// Images drawn at a time if the file does not record it.
const BATCH: usize = 64;

#[derive(clap::Args)]
pub struct Args {
    /// A PNG written by sample, walk, arithmetic, turn, invert or restore.
    #[arg(value_name = "IMAGE.png")]
    image: PathBuf,
    /// Checkpoint file, or run directory, that generated the image [default: the built-in model
    /// that drew it].
    #[arg(long, value_name = "PATH|RUNDIR", conflicts_with = "model", help_heading = "Model")]
    checkpoint: Option<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
    /// Draw with a model other than the one named in the file, to see its images of these latents.
    #[arg(long, help_heading = "Model")]
    force_checkpoint: bool,
    #[command(flatten)]
    device: DeviceArgs,
    /// Output path: a PNG of the reproduced image, with its metadata.
    #[arg(long, visible_alias = "grid", value_name = "PATH", help_heading = "Output")]
    out: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

/// Redraws an image from the metadata in its PNG and compares the pixels. The exit code is 1 if
/// pixels differ, unless another checkpoint was forced.
pub fn run(args: &Args) -> Result<ExitCode, CliError> {
    require_files(args.output.force, [("--out", args.out.as_deref(), "png")])?;
    let (old, origin) = Provenance::read(&args.image)?;
    let named = origin.networks.model.as_deref().filter(|_| args.checkpoint.is_none());
    let model = args.model.model.as_deref().or(named);
    if args.checkpoint.is_none() && model.is_none() {
        return Err(usage!(
            "--checkpoint: name the checkpoint that drew the image: {}",
            describe(&origin.networks)
        ));
    }
    let device = args.device.open()?;
    let (found, _) = checkpoint::load(args.checkpoint.as_deref(), model)?;
    let own = ModelId::of(&found, model);
    if own.identity != origin.networks.identity && !args.force_checkpoint {
        return Err(failure!(
            "{:?} was drawn by another checkpoint: {}; this one is {} (--force-checkpoint draws \
             with it nevertheless)",
            args.image,
            describe(&origin.networks),
            describe(&own)
        ));
    }
    let sampler = Sampler::new(&found, Some(origin.batch_norm), &device)?;
    let drawn = with_progress(|progress| reproduce(&origin, &old, &sampler, BATCH, progress))?;
    if let Some(path) = &args.out {
        let batch = origin.batch.unwrap_or(BATCH);
        let new =
            Provenance::new(&sampler, own, origin.command.clone(), batch, origin.samples.clone());
        grid::save_png_with(path, &drawn.image, &new.texts())?;
        output::wrote(path, args.output.json);
    }
    let equal = drawn.differing == 0;
    let report = ReproductionReport {
        equal,
        compared: drawn.compared,
        differing: drawn.differing,
        largest: drawn.largest,
        copied: drawn.copied,
        command: origin.command,
        computed_with: origin.computed_with,
        now_computed_with: sampler.device().numerics_id(),
    };
    report::print(&report, args.output.json);
    Ok(if equal || args.force_checkpoint { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn describe(ModelId { recipe, step, identity, .. }: &ModelId) -> String {
    format!("recipe {recipe}, step {step}, {identity}")
}

/// The comparison of an image with its reproduction.
#[derive(Serialize)]
struct ReproductionReport {
    equal: bool,
    compared: usize,
    differing: usize,
    largest: u8,
    copied: usize,
    command: String,
    computed_with: String,
    #[serde(skip)]
    now_computed_with: String,
}

impl Report for ReproductionReport {
    fn text(&self) -> Vec<String> {
        let Self { compared, differing, largest, copied, command, .. } = self;
        let mut lines = vec![format!("drawn by: {}", output::name(command))];
        if *copied > 0 {
            lines.push(format!(
                "{copied} of its images were not drawn by the generator: they are copied, not \
                 compared"
            ));
        }
        lines.push(match self.equal {
            true => "reproduced: all pixels are equal".to_owned(),
            false => format!(
                "reproduced: {differing} of {compared} values differ, by {largest} of 255 at most \
                 (drawn first by {}, now by {})",
                self.computed_with, self.now_computed_with
            ),
        });
        lines
    }
}
