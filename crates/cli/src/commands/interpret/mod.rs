//! What is inside trained networks: `dcgan filters`, `dcgan guided`, `dcgan forget`.

pub mod filters;
pub mod forget;
pub mod guided;

use crate::error::CliError;
use crate::output;
use runs::Checkpoint;
use runs::builtin_models::MODELS;
use std::path::{Path, PathBuf};

/// Flags that say which networks.
#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("networks").args(["checkpoint", "model"]).required(true)))]
struct NetworkArgs {
    /// A checkpoint, or a run directory, which means its newest good checkpoint.
    #[arg(long, value_name = "PATH|RUNDIR")]
    checkpoint: Option<PathBuf>,
    /// A small generator that comes with this program: fashion (garments, by --class) or emoji (people).
    #[arg(long, value_name = "NAME", value_parser = MODELS.map(|model| model.name))]
    model: Option<String>,
}

impl NetworkArgs {
    fn open(&self) -> Result<Checkpoint, CliError> {
        match (
            &self.checkpoint,
            MODELS.iter().find(|model| self.model.as_deref() == Some(model.name)),
        ) {
            (Some(path), _) => Ok(super::open_checkpoint(path, output::warning)?.checkpoint),
            (None, Some(model)) => Ok(model.checkpoint()?),
            (None, None) => {
                Err(CliError::Usage("--checkpoint or --model says which networks".into()))
            }
        }
    }
}

/// Tells of a picture that was written.
fn wrote(json: bool, path: &Path) {
    match json {
        true => output::json(&serde_json::json!({ "event": "wrote", "path": path })),
        false => output::line(format!("wrote {}", path.display())),
    }
}
