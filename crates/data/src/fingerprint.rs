//! The fingerprint of a dataset: one SHA-256 over everything that makes two datasets the same.

use sha2::{Digest as _, Sha256};

use crate::attributes::{self, Attribute};
use crate::preprocess::Preprocess;
use crate::source::Digest;

/// Hashes the preprocessing, then each image's digest, label and attributes in order.
pub(crate) struct FingerprintHasher(Sha256);

impl FingerprintHasher {
    pub fn new(preprocess: &Preprocess, columns: &[Attribute]) -> Self {
        // The prefix separates this hash from the others of this crate, and carries a version.
        // It never changes: every checkpoint and packed file holds a fingerprint.
        let mut hash = Sha256::new_with_prefix(b"dcgan data set 1\0");
        preprocess.hash_into(&mut hash);
        attributes::hash_into(columns, &mut hash);
        Self(hash)
    }

    /// Adds the next image.
    pub fn add(&mut self, digest: &Digest, label: Option<u32>, attributes: &[f32]) {
        self.0.update(digest);
        let label = label.map_or(-1, i64::from);
        self.0.update(label.to_le_bytes());
        for value in attributes {
            self.0.update(value.to_le_bytes());
        }
    }

    /// The fingerprint, in hexadecimal.
    pub fn finish(self) -> String {
        hex::encode(self.0.finalize())
    }
}
