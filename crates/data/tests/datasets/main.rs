//! The datasets that can be read. One test binary, since each binary links all crates again.

#[path = "../common/mod.rs"]
mod common;

mod archives;
mod containers;
mod decode;
mod emoji;
mod faces;
mod fashion;
mod flip;
mod folder;
mod foreign;
mod formats;
mod idx;
mod layout;
mod loader;
mod mnist;
mod numpy;
mod packed;
#[cfg(feature = "parquet")]
mod parquet;
mod ranks;
mod split;
mod stats;
