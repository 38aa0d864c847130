//! What is inside the networks: filters, what features of the discriminator answer to (Radford et al. 2016, section 6.2), and what becomes of
//! pictures when feature maps of the generator are dropped (section 6.3.1).

pub mod filters;
pub mod forget;
pub mod guided_backprop;
mod image_sheet;
mod inspected_discriminator;
mod inspected_generator;
mod logistic_regression;
pub mod regions;

pub use image_sheet::ImageSheet;
pub use inspected_discriminator::InspectedDiscriminator;
pub use inspected_generator::{InspectedGenerator, MapLayer};
pub use logistic_regression::LogisticRegression;

use nn::StateDict;
use runs::Checkpoint;

/// The tensors of a checkpoint whose names begin so, without that.
fn section(checkpoint: &Checkpoint, prefix: &str) -> StateDict {
    let own = checkpoint
        .tensors
        .iter()
        .filter_map(|(name, array)| Some((name.strip_prefix(prefix)?, array)));
    own.map(|(name, array)| (name.to_owned(), array.clone())).collect()
}
