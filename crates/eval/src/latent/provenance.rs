//! Provenance of an image file: the metadata in a PNG that say how it was generated.

use super::SampleSpec;
use crate::EvalError;
use image::DynamicImage;
use runs::{Checkpoint, grid};
use serde::{Deserialize, Serialize};
use std::path::Path;
use train::{BatchNormMode, Sampler};

/// The keyword of the PNG text chunk that holds a [`Provenance`] as JSON.
pub const KEYWORD: &str = "dcgan";

/// Identifies the networks of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelId {
    /// [`Checkpoint::identity`].
    pub identity: String,
    /// The recipe's name.
    pub recipe: String,
    /// Training steps.
    pub step: u64,
    /// The name of a built-in model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

impl ModelId {
    /// The identity of a checkpoint.
    pub fn of(checkpoint: &Checkpoint, model: Option<&str>) -> Self {
        Self {
            identity: checkpoint.identity(),
            recipe: checkpoint.meta.recipe_name.clone(),
            step: checkpoint.meta.step,
            model: model.map(str::to_owned),
        }
    }
}

/// Everything that reproducing an image takes, and the command that generated it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// The program's version.
    pub version: String,
    /// The command line.
    pub command: String,
    /// The networks that generated it.
    pub networks: ModelId,
    /// The statistics that batch norm used.
    pub batch_norm: BatchNormMode,
    /// Images generated at a time, if they depend on it (batch norm by batch statistics).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<usize>,
    /// The device's numerics: another one may round differently.
    pub computed_with: String,
    /// How the images were sampled.
    #[serde(alias = "drawing")]
    pub samples: SampleSpec,
}

impl Provenance {
    /// The provenance of images that this sampler generates, `batch` at a time.
    pub fn new(
        sampler: &Sampler,
        networks: ModelId,
        command: String,
        batch: usize,
        samples: SampleSpec,
    ) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            command,
            networks,
            batch_norm: sampler.batch_norm(),
            batch: (sampler.batch_norm() == BatchNormMode::Batch).then_some(batch),
            computed_with: sampler.device().numerics_id(),
            samples,
        }
    }

    /// The text chunks for [`grid::save_png_with`].
    ///
    /// # Panics
    /// Never: every value can be represented in JSON.
    pub fn texts(&self) -> Vec<(&'static str, String)> {
        let json =
            serde_json::to_string(self).unwrap_or_else(|error| panic!("Provenance: {error}"));
        vec![(imaging::SOFTWARE_KEYWORD, imaging::signature(&self.version)), (KEYWORD, json)]
    }

    /// Reads a PNG and its provenance.
    ///
    /// # Errors
    /// Returns an error if the file is missing or not a PNG, or its provenance is missing or of
    /// another version.
    pub fn read(path: &Path) -> Result<(DynamicImage, Self), EvalError> {
        let (image, mut texts) = grid::read_png(path)?;
        let Some(text) = texts.remove(KEYWORD) else {
            return Err(EvalError::NoProvenance { path: path.into() });
        };
        let provenance = serde_json::from_str(&text).map_err(|error| EvalError::Provenance {
            path: path.into(),
            problem: error.to_string(),
        })?;
        Ok((image, provenance))
    }
}
