//! Checkpoints that flags name, and built-in models.

use super::import::warn_unread;
use crate::error::CliError;
use crate::{output, threads};
use runs::builtin_models::MODELS;
use runs::{ArtifactError, Checkpoint, LatestValidCheckpoint, run_dir};
use std::path::{Path, PathBuf};

/// Flags that name a checkpoint or a built-in model: one of the two.
#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("networks").args(["checkpoint", "model"]).required(true)))]
pub struct CheckpointArgs {
    /// Checkpoint file, or run directory (its newest valid checkpoint).
    #[arg(long, value_name = "PATH|RUNDIR", help_heading = "Model")]
    pub checkpoint: Option<PathBuf>,
    #[command(flatten)]
    pub model: ModelArgs,
}

/// The flag that names a built-in model.
#[derive(clap::Args)]
pub struct ModelArgs {
    /// Built-in generator: fashion (garments, by --class) or emoji (people).
    #[arg(long, value_name = "NAME", value_parser = MODELS.map(|model| model.name),
        help_heading = "Model")]
    pub model: Option<String>,
}

impl CheckpointArgs {
    /// Loads the checkpoint; with the model's name if it is a built-in one.
    pub fn open(&self) -> Result<(Checkpoint, Option<&str>), CliError> {
        load(self.checkpoint.as_deref(), self.model.model.as_deref())
    }
}

/// Loads `path`, or else the built-in `model`; with the model's name in the second case.
pub fn load<'a>(
    path: Option<&Path>,
    model: Option<&'a str>,
) -> Result<(Checkpoint, Option<&'a str>), CliError> {
    match (path, model.and_then(|name| MODELS.iter().find(|model| name == model.name))) {
        (Some(path), _) => Ok((open_checkpoint(path, output::warning)?.checkpoint, None)),
        (None, Some(known)) => Ok((known.checkpoint()?, model)),
        (None, None) => Err(usage!("name the networks with --checkpoint or --model")),
    }
}

/// The checkpoint at `path` (of a run directory, the newest valid one); damaged ones that were
/// skipped are named in warnings. A state dict is imported, with the recipe that its tensors have,
/// which needs threads: a command that has `--threads` opens its device before.
pub fn open_checkpoint(
    path: &Path,
    warn: impl Fn(String),
) -> Result<LatestValidCheckpoint, CliError> {
    let found = match run_dir::resolve_checkpoint(path) {
        Err(ArtifactError::PyTorch { .. } | ArtifactError::NotCheckpoint { .. })
            if path.is_file() =>
        {
            threads::start(None)?;
            let import = train::import(None, path, None)?;
            let recipe = import.recipe.sizes_text();
            warn(format!("{path:?} is a state dict: recipe {recipe}, found by names and shapes"));
            warn_unread(&import.unread, warn);
            let (path, checkpoint) = (path.to_owned(), import.checkpoint);
            return Ok(LatestValidCheckpoint { path, checkpoint, skipped: Vec::new() });
        }
        found => found?,
    };
    if found.checkpoint.meta.recipe.is_empty() {
        let kind = &found.checkpoint.meta.recipe_name;
        return Err(failure!(
            "{path:?} is not a checkpoint of a GAN but a {kind}: give a checkpoint or run \
             directory (--features takes feature networks)"
        ));
    }
    warn_skipped(&found.skipped, &found.path, warn);
    Ok(found)
}

/// Names the damaged checkpoints that were skipped in favor of `used`.
pub fn warn_skipped(skipped: &[(PathBuf, ArtifactError)], used: &Path, warn: impl Fn(String)) {
    skipped
        .iter()
        .for_each(|(_, error)| warn(format!("{error} (skipped; using {})", used.display())));
}
