//! Memorization: near-duplicates in a dataset, and nearest training images of generated ones.
//!
//! ```
//! use eval::memorization::hash_groups;
//!
//! // Codes 5 and 4 differ by one bit; 96 is far from both.
//! assert_eq!(hash_groups(&[5, 96, 4, 5], 0), [vec![0, 3]]);
//! assert_eq!(hash_groups(&[5, 96, 4, 5], 1), [vec![0, 2, 3]]);
//! ```

mod autoencoder;
mod dedup;
mod hash_codes;
mod nearest;

pub use autoencoder::{Autoencoder, AutoencoderConfig};
pub use dedup::{Duplicates, Group, Options, dedup};
pub use hash_codes::{Code, hash_groups};
pub use nearest::{NearestImage, nearest};
