//! Packed files: a set decoded once, in the shape it is learned in, read through a memory map ever after.
//!
//! ```text
//! head     64 bytes: "DCGANPK1", lengths, what it is made from, CRC-32C
//! records  one an image, of one length: pixels [H, W, C], SHA-256 of what it was decoded from, number in the source,
//!          label, attributes (f32), CRC-32C of all that
//! names    offsets (u64, one more than images) into the bytes that follow them
//! footer   JSON: shape, columns, classes, fingerprint; its length, CRC-32C, "DCGANEND"
//! ```
//!
//! All numbers are little-endian. A file without its footer is an unfinished one, which [`prepare`] goes on with. Opening
//! reads head and footer alone; each record is checked when it is read.

mod layout;
mod prepare;
mod source;

pub(crate) use layout::{FORMAT, MAGIC, read_footer};
pub use prepare::{PrepareSummary, prepare};
pub(crate) use source::PackedSource;
