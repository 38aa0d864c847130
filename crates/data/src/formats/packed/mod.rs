//! Packed files: a dataset decoded once, in the shape that a network is trained on, and read
//! through a memory map.
//!
//! ```text
//! head     64 bytes: "DCGANPK1", lengths, hash of the input, CRC-32C
//! records  one per image, of equal length: pixels [H, W, C], SHA-256 of the encoded image, source
//!          index, label, attributes (f32), CRC-32C of all that
//! names    offsets (u64, one more than images) into the bytes that follow them
//! footer   JSON: shape, columns, classes, fingerprint, CRC-32C of the names; its length, CRC-32C,
//!          "DCGANEND"
//! ```
//!
//! All numbers are little-endian. A file without a footer is unfinished;
//! [`prepare`](crate::prepare) resumes it. Opening reads head, names and footer; each record is
//! checked when it is read.

pub(crate) mod layout;
mod source;

use super::{Confidence, Format, no_split};
use crate::preprocess::Preprocess;
use crate::source::Split;
use layout::{FORMAT_NAME, MAGIC, read_footer};
use source::PackedSource;

pub(crate) static FORMAT: Format = Format {
    name: "packed",
    about: "a packed file: a dataset decoded once by `prepare`",
    detect: |candidate| {
        // Without the version, so that another one is reported as such.
        let signature = candidate.start.as_ref().map(|start| start.starts_with(&MAGIC[..7]));
        Ok(Confidence::Likely.when(signature == Some(true)))
    },
    open: |path, split, _| {
        // A packed file holds one split, whichever was packed; it opens as the training split.
        if split == Split::Test {
            let wanted = format!("a {FORMAT_NAME} holds one split: pack the other one too");
            return Err(no_split(path, split, wanted));
        }
        Ok(Box::new(PackedSource::open(path)?))
    },
    image_shape: |path, _| {
        let Preprocess { size: [height, width], channels, .. } = read_footer(path)?.1.preprocess;
        Ok(Some([height, width, channels.into()]))
    },
};
