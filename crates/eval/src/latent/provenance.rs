//! What a picture file says of its origin.

use super::SampleSpec;
use crate::EvalError;
use image::DynamicImage;
use runs::{Checkpoint, grid};
use serde::{Deserialize, Serialize};
use std::path::Path;
use train::{BatchNormMode, Sampler};

/// The keyword of the PNG text that holds an [`Provenance`] as JSON.
pub const KEYWORD: &str = "dcgan";

/// Which networks drew it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelId {
    /// [`Checkpoint::identity`].
    pub identity: String,
    /// The recipe's name.
    pub recipe: String,
    /// Training steps.
    pub step: u64,
    /// The name of a generator that comes with the program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

impl ModelId {
    /// Those of a checkpoint.
    pub fn of(checkpoint: &Checkpoint, model: Option<&str>) -> Self {
        Self {
            identity: checkpoint.identity(),
            recipe: checkpoint.meta.recipe_name.clone(),
            step: checkpoint.meta.step,
            model: model.map(str::to_owned),
        }
    }
}

/// All that drawing a picture again takes, and by which command it was drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// The program's version.
    pub version: String,
    /// The command line.
    pub command: String,
    /// Which networks drew it.
    pub networks: ModelId,
    /// What batch norm normalised by.
    pub batch_norm: BatchNormMode,
    /// Pictures drawn at a time, where they depend on it (batch norm by the batch itself).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<usize>,
    /// Instruction set or graphics processor: another one may round otherwise.
    pub computed_with: String,
    /// What was drawn.
    pub drawing: SampleSpec,
}

impl Provenance {
    /// The origin of what this sampler draws, `batch` pictures at a time.
    pub fn new(
        sampler: &Sampler,
        networks: ModelId,
        command: String,
        batch: usize,
        drawing: SampleSpec,
    ) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            command,
            networks,
            batch_norm: sampler.batch_norm(),
            batch: (sampler.batch_norm() == BatchNormMode::Batch).then_some(batch),
            computed_with: sampler.device().numerics_id(),
            drawing,
        }
    }

    /// The same for another drawing.
    pub fn with(&self, drawing: SampleSpec) -> Self {
        Self { drawing, ..self.clone() }
    }

    /// The texts for [`grid::save_png_with`].
    ///
    /// # Panics
    /// Never: it holds nothing that JSON lacks.
    pub fn texts(&self) -> Vec<(&'static str, String)> {
        let json =
            serde_json::to_string(self).unwrap_or_else(|error| panic!("Provenance: {error}"));
        vec![("Software", format!("dcgan {}", self.version)), (KEYWORD, json)]
    }

    /// A PNG and its origin.
    ///
    /// # Errors
    /// A file that is missing, no PNG, without an origin, or with one that this version does not understand.
    pub fn read(path: &Path) -> Result<(DynamicImage, Self), EvalError> {
        let (image, mut texts) = grid::read_png(path)?;
        let Some(text) = texts.remove(KEYWORD) else {
            return Err(EvalError::Mismatch(format!(
                "{path:?} does not say how it was drawn: PNGs of dcgan sample, walk, arithmetic, turn, invert and restore do, unless another program wrote \
                 them anew"
            )));
        };
        let origin = serde_json::from_str(&text).map_err(|error| {
            EvalError::Mismatch(format!(
                "what {path:?} says of its origin cannot be understood ({error}): is it of a newer version?"
            ))
        })?;
        Ok((image, origin))
    }
}
