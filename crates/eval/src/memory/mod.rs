//! What is in a set twice, and what a generator may have learned by heart.

mod autoencoder;
mod codes;
mod dedup;
mod neighbours;
mod sheet;

pub use autoencoder::{Autoencoder, Training};
pub use codes::{Code, groups};
pub use dedup::{Duplicates, Group, Options, dedup};
pub use neighbours::{Neighbour, nearest};
pub use sheet::{Frame, Sheet};
