//! What `--fake` means: a checkpoint, a run, a model that comes along, noise, or a set of pictures.

use crate::commands::open_checkpoint;
use crate::error::CliError;
use crate::output;
use runs::Checkpoint;
use runs::builtin_models::MODELS;
use std::path::Path;
use tensor::Device;
use train::Sampler;

/// Uniform noise.
const NOISE: &str = "noise";
/// Before the name of a model that comes along.
const MODEL: &str = "model:";

/// What was named.
pub enum Fake {
    /// A generator.
    Generator {
        /// What draws.
        sampler: Box<Sampler>,
        /// What it was loaded from.
        checkpoint: Box<Checkpoint>,
    },
    /// Uniform noise.
    Noise,
    /// A set.
    Set(String),
}

impl Fake {
    /// Finds out, and opens what has a generator on `device`.
    ///
    /// # Errors
    /// A checkpoint that cannot be read, or a model that does not exist.
    pub fn open(text: &str, device: &Device) -> Result<Self, CliError> {
        if text == NOISE {
            return Ok(Self::Noise);
        }
        let path = Path::new(text);
        let is_checkpoint = path.join("checkpoints").is_dir()
            || path.is_file()
                && path.extension().is_some_and(|extension| extension == "safetensors");
        let checkpoint = if let Some(name) = text.strip_prefix(MODEL) {
            let model = MODELS.iter().find(|model| model.name == name).ok_or_else(|| {
                let names: Vec<_> = MODELS.iter().map(|model| model.name).collect();
                CliError::Usage(format!(
                    "--fake {text}: the models that come along are {}",
                    names.join(", ")
                ))
            })?;
            model.checkpoint()?
        } else if is_checkpoint {
            open_checkpoint(path, output::warning)?.checkpoint
        } else {
            return Ok(Self::Set(text.to_owned()));
        };
        let sampler = Box::new(Sampler::new(&checkpoint, None, device)?);
        Ok(Self::Generator { sampler, checkpoint: Box::new(checkpoint) })
    }
}
