//! Small trained generators that come with the program, so that there is something to draw before any training.

use crate::{ArtifactError, Checkpoint, checkpoint};

/// A generator that comes with the program.
pub struct Model {
    /// Its name.
    pub name: &'static str,
    /// What it draws.
    pub about: &'static str,
    bytes: &'static [u8],
}

/// All of them. docs/recipes.md says how they were made.
pub const MODELS: [Model; 2] = [
    Model {
        name: "fashion",
        about: "garments of Fashion-MNIST, 28x28 grey, by class",
        bytes: include_bytes!("../models/fashion.safetensors"),
    },
    Model {
        name: "emoji",
        about: "people of emoji, 64x64 in colour",
        bytes: include_bytes!("../models/emoji.safetensors"),
    },
];

impl Model {
    /// The generator as a checkpoint.
    ///
    /// # Errors
    /// None that a sound build of this program has.
    pub fn checkpoint(&self) -> Result<Checkpoint, ArtifactError> {
        checkpoint::load_bytes(self.name, self.bytes)
    }
}
