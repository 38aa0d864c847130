//! The value of `--fake`: a checkpoint, a run, a built-in model, noise, or a dataset.

use crate::commands::open_checkpoint;
use crate::error::CliError;
use crate::output;
use runs::Checkpoint;
use runs::builtin_models::MODELS;
use std::ffi::OsStr;
use std::path::Path;
use tensor::Device;
use train::Sampler;

/// Uniform noise.
const NOISE: &str = "noise";
/// The prefix of a built-in model's name.
const MODEL: &str = "model:";

/// The source of generated images.
pub enum Fake {
    /// Images that a generator samples.
    Generator {
        /// The sampler of the generator.
        sampler: Box<Sampler>,
        /// The checkpoint it was loaded from.
        checkpoint: Box<Checkpoint>,
    },
    /// Uniform noise.
    Noise,
    /// Images of a dataset.
    Dataset(String),
}

impl Fake {
    /// Parses `text`, and loads a generator onto `device`.
    pub fn open(text: &str, device: &Device) -> Result<Self, CliError> {
        if text == NOISE {
            return Ok(Self::Noise);
        }
        let path = Path::new(text);
        let is_weights =
            |extension: &OsStr| ["safetensors", "pth", "pt"].iter().any(|e| extension == *e);
        let is_checkpoint = path.join("checkpoints").is_dir()
            || path.is_file() && path.extension().is_some_and(is_weights);
        let checkpoint = if let Some(name) = text.strip_prefix(MODEL) {
            let model = MODELS.iter().find(|model| model.name == name).ok_or_else(|| {
                let names: Vec<_> = MODELS.iter().map(|model| model.name).collect();
                usage!("--fake {text}: the built-in models are {}", names.join(", "))
            })?;
            model.checkpoint()?
        } else if is_checkpoint {
            open_checkpoint(path, output::warning)?.checkpoint
        } else {
            return Ok(Self::Dataset(text.to_owned()));
        };
        Self::generator(checkpoint, device)
    }

    /// Loads the generator of a checkpoint onto `device`.
    pub fn generator(checkpoint: Checkpoint, device: &Device) -> Result<Self, CliError> {
        let sampler = Box::new(Sampler::new(&checkpoint, None, device)?);
        Ok(Self::Generator { sampler, checkpoint: Box::new(checkpoint) })
    }
}
