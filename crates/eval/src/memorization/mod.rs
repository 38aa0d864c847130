//! What is in a set twice, and what a generator may have learned by heart.

mod autoencoder;
mod dedup;
mod framed_sheet;
mod hash_codes;
mod nearest;

pub use autoencoder::{Autoencoder, AutoencoderConfig};
pub use dedup::{Duplicates, Group, Options, dedup};
pub use framed_sheet::{FrameColor, FramedSheet};
pub use hash_codes::{Code, groups};
pub use nearest::{NearestImage, nearest};
