//! `dcgan data prepare`.

use super::SpecArgs;
use crate::commands::{ForceArg, PreprocessArgs, require_files};
use crate::error::CliError;
use crate::output;
use crate::render::{count_images, quoted, warn_left_out, warn_skipped};
use data::{DataSpec, PrepareSummary, Split, prepare};
use indicatif::HumanBytes;
use std::path::PathBuf;

#[derive(clap::Args)]
#[command(next_help_heading = "Data")]
pub struct Args {
    #[command(flatten)]
    spec: SpecArgs,
    /// Output path: the packed file. The FILE.part of an interrupted call is resumed.
    #[arg(long, value_name = "PATH", help_heading = "Output")]
    out: PathBuf,
    /// Recipe whose image section sets the preprocessing [default: as for `dcgan train`].
    #[arg(long, value_name = "NAME|FILE.toml")]
    recipe: Option<String>,
    /// Split of the dataset to pack.
    #[arg(long, value_enum, default_value = "train")]
    split: Split,
    #[command(flatten)]
    force: ForceArg,
    #[command(flatten)]
    preprocess: PreprocessArgs,
}

/// Decodes a dataset once into a file that is read without decoding.
pub fn run(args: &Args) -> Result<(), CliError> {
    if args.preprocess.flip.is_some() {
        return Err(usage!(
            "--flip: images are mirrored during training, not in the packed file: give --flip to \
             dcgan train"
        ));
    }
    require_files(args.force.force, [("--out", Some(&*args.out), "")])?;
    let text = args.spec.get();
    let preprocess = args.preprocess.of_recipe(args.recipe.as_deref(), &DataSpec::parse(text)?)?;
    let PrepareSummary { images, resumed, skipped, bytes, report, .. } =
        count_images("preparing images", |progress| {
            prepare(text, args.split, &preprocess, &args.out, args.force.force, progress)
        })?;
    warn_left_out(report.as_ref());
    warn_skipped(&skipped);
    let [height, width, channels] = preprocess.shape();
    let earlier = match resumed {
        0 => String::new(),
        _ => format!(", {resumed} of them by an earlier call"),
    };
    let layout = report.map_or_else(String::new, |report| format!(", {}", report.description));
    output::line(format!(
        "wrote {}: {images} images of {height}x{width}x{channels} ({}){earlier}{layout}",
        output::name(args.out.display()),
        HumanBytes(bytes)
    ));
    output::line(format!("train on it with: dcgan train --data {}", quoted(&args.out)));
    Ok(())
}
