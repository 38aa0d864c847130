//! `dcgan data prepare`.

use crate::commands::preprocess::PreprocessArgs;
use crate::commands::{refuse_existing, require_folder};
use crate::error::CliError;
use crate::output;
use crate::render::{counter, quoted};
use data::{DataSpec, PrepareSummary, Split, prepare};
use indicatif::HumanBytes;
use std::path::PathBuf;

/// Bad pictures that are named one by one.
const BAD: usize = 5;

/// Flags of `data prepare`.
#[derive(clap::Args)]
pub struct Args {
    /// What `dcgan train --data` takes.
    #[arg(value_name = "SPEC")]
    spec: String,
    /// The file to write. What an interrupted call left beside it, as FILE.part, is gone on with.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// As for `dcgan train`, whose [image] section counts here.
    #[arg(long, value_name = "NAME|FILE.toml")]
    recipe: Option<String>,
    /// Which part of the set.
    #[arg(long, value_enum, default_value = "train")]
    split: Split,
    /// Write over a file that is there.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    pictures: PreprocessArgs,
}

/// Decodes a set once, into a file that is read without decoding ever after.
///
/// # Errors
/// A file that is there already, data, flags that do not go together, or the disk.
pub fn run(args: &Args) -> Result<(), CliError> {
    if args.pictures.flip.is_some() {
        let why =
            "pictures are mirrored while they are learned, not in the file: give it to dcgan train";
        return Err(CliError::Usage(format!("--flip: {why}")));
    }
    require_folder("--out", &args.out)?;
    refuse_existing(&args.out, args.force)?;
    let spec = DataSpec::parse(&args.spec)?;
    let preprocess = args.pictures.of_recipe(args.recipe.as_deref(), &spec)?;
    let bar = counter(0, "preparing images");
    let prepared =
        prepare(&args.spec, args.split, &preprocess, &args.out, args.force, &|progress| {
            bar.set_length(progress.total as u64);
            bar.set_position(progress.done as u64);
        });
    bar.finish_and_clear();
    let PrepareSummary { images, resumed, skipped, bytes, .. } = prepared?;
    skipped.iter().take(BAD).for_each(output::warning);
    if skipped.len() > BAD {
        output::warning(format!("{} more images cannot be decoded (skipped)", skipped.len() - BAD));
    }
    let [height, width, channels] = preprocess.shape();
    let earlier =
        if resumed > 0 { format!(", {resumed} of them by an earlier call") } else { String::new() };
    output::line(format!(
        "wrote {}: {images} images of {height}x{width}x{channels} ({}){earlier}",
        args.out.display(),
        HumanBytes(bytes)
    ));
    output::line(format!("learn them with: dcgan train --data {}", quoted(&args.out)));
    Ok(())
}
