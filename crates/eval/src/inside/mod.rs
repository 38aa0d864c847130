//! What is inside the networks: filters, what features of the discriminator answer to (Radford et al. 2016, section 6.2), and what becomes of
//! pictures when feature maps of the generator are dropped (section 6.3.1).

mod discriminator;
pub mod filters;
pub mod forget;
mod generator;
pub mod guided;
mod logistic;
pub mod regions;
mod sheet;

pub use discriminator::Discriminator;
pub use generator::{Generator, MapLayer};
pub use logistic::Logistic;
pub use sheet::Sheet;

use nn::StateDict;
use runs::Checkpoint;

/// The tensors of a checkpoint whose names begin so, without that.
fn section(checkpoint: &Checkpoint, prefix: &str) -> StateDict {
    let own = checkpoint
        .tensors
        .iter()
        .filter_map(|(name, array)| Some((name.strip_prefix(prefix)?, array)));
    own.map(|(name, array)| (name.to_owned(), array.clone().into())).collect()
}
