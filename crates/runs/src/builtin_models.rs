//! Small trained generators that are compiled into the program, to draw from before any training.
//!
//! ```
//! let fashion = &runs::builtin_models::MODELS[0];
//! assert_eq!(fashion.name, "fashion");
//! let checkpoint = fashion.checkpoint().unwrap();
//! assert!(checkpoint.tensors.keys().any(|name| name.starts_with("g.")));
//! ```

use crate::{ArtifactError, Checkpoint, checkpoint};

/// A generator that is compiled into the program.
pub struct BuiltinModel {
    /// The name of the model.
    pub name: &'static str,
    /// The kind of its images, in one line.
    pub about: &'static str,
    bytes: &'static [u8],
}

/// All built-in models; docs/recipes.md gives the commands that trained them.
pub const MODELS: [BuiltinModel; 2] = [
    BuiltinModel {
        name: "fashion",
        about: "garments of Fashion-MNIST, 28x28 gray, by class",
        bytes: include_bytes!("../models/fashion.safetensors"),
    },
    BuiltinModel {
        name: "emoji",
        about: "people of emoji, 64x64 in color",
        bytes: include_bytes!("../models/emoji.safetensors"),
    },
];

impl BuiltinModel {
    /// Parses the model as a checkpoint, which holds the generator alone.
    ///
    /// # Errors
    /// Returns an error if the compiled-in bytes are damaged, which a test excludes.
    pub fn checkpoint(&self) -> Result<Checkpoint, ArtifactError> {
        checkpoint::load_bytes(self.name, self.bytes)
    }
}
