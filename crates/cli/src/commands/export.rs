//! `dcgan export`.

use super::export_html::HtmlArgs;
use super::{CheckpointArgs, ForceArg};
use crate::error::CliError;
use crate::{output, threads};
use nn::export::onnx::OnnxOptions;
use nn::recipe::NetworkRole;
use std::path::PathBuf;

#[derive(clap::Args)]
#[command(group(
    clap::ArgGroup::new("what")
        .args(["out", "generator", "onnx", "html"])
        .required(true)
        .multiple(true)
))]
pub struct Args {
    #[command(flatten)]
    checkpoint: CheckpointArgs,
    /// Output path: a folder for generator.safetensors and discriminator.safetensors, with the
    /// tensor names and layouts of the PyTorch DCGAN example, and generator.py and
    /// discriminator.py, which load them.
    #[arg(long, value_name = "PATH", help_heading = "Output")]
    out: Option<PathBuf>,
    /// Generator's weights: writes a small file of the generator alone, which `dcgan sample
    /// --checkpoint` takes.
    #[arg(long, value_name = "FILE.safetensors", help_heading = "Output")]
    generator: Option<PathBuf>,
    /// Write an ONNX file of the generator, for other runtimes (docs/export.md).
    #[arg(long, value_name = "FILE.onnx", help_heading = "Output")]
    onnx: Option<PathBuf>,
    #[command(flatten)]
    format: OnnxArgs,
    #[command(flatten)]
    html: HtmlArgs,
    #[command(flatten)]
    force: ForceArg,
}

/// Flags of an ONNX file.
#[derive(clap::Args)]
#[command(next_help_heading = "Output")]
struct OnnxArgs {
    /// With --onnx: the discriminator, from images in [-1, 1] to logits.
    #[arg(long, requires = "onnx", conflicts_with = "uint8")]
    discriminator: bool,
    /// With --onnx: images as bytes [batch, H, W, C], instead of [batch, C, H, W] in [-1, 1].
    #[arg(long, requires = "onnx")]
    uint8: bool,
    /// With --onnx: weights in half precision, for half the size.
    #[arg(long, requires = "onnx")]
    half: bool,
    /// With --onnx: batch norm as layers of its own, not folded into the weights.
    #[arg(long, requires = "onnx")]
    no_fold: bool,
}

/// Writes the networks.
pub fn run(args: &Args) -> Result<(), CliError> {
    threads::start(None)?;
    let force = args.force.force;
    // All outputs are checked before anything is written, those in the folder when it is.
    super::require_files(
        force,
        [("--generator", args.generator.as_deref(), ""), ("--onnx", args.onnx.as_deref(), "onnx")],
    )?;
    args.html.check(force)?;
    let (checkpoint, model) = args.checkpoint.open()?;
    if let Some(folder) = &args.out {
        for file in train::export(&checkpoint, folder, force)? {
            output::wrote(&file, false);
        }
    }
    if let Some(file) = &args.generator {
        train::export_generator(&checkpoint, file)?;
        output::wrote(file, false);
    }
    if let Some(file) = &args.onnx {
        let OnnxArgs { discriminator, uint8, half, no_fold } = args.format;
        let role = if discriminator { NetworkRole::Discriminator } else { NetworkRole::Generator };
        let options = OnnxOptions { fold: !no_fold, half, bytes: uint8, ..OnnxOptions::default() };
        train::export_onnx(&checkpoint, model, role, &options, file)?;
        output::wrote(file, false);
    }
    args.html.write(&checkpoint, model)
}
