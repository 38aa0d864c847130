//! Image data for training: dataset formats, decoding, preprocessing, shuffling and batching.
//!
//! The way of an image:
//!
//! 1. a dataset spec is parsed into a [`DataSpec`];
//! 2. its format (`src/formats/`, one file each) yields images of any size, with labels and
//!    attributes if there are any;
//! 3. [`Preprocess`] brings each to one shape `[H, W, C]` of bytes;
//! 4. a [`Dataset`] holds them (in memory up to [`CACHE_BYTES`]) and scales them to `[-1, 1]`;
//! 5. a [`Loader`] returns shuffled batches, with random flips if requested, prepared on other
//!    threads, from a [`Cursor`] that can be saved.
//!
//! The ranks of a process group open one dataset [together](Dataset::open_on) and load
//! [their rows](Loader::of_rows) of each batch.
//!
//! Everything random is a function of the cursor, never of threads or time, so that a resumed run
//! gets the same batches as an uninterrupted one.
//!
//! ```
//! use std::sync::Arc;
//! use data::{Cursor, Dataset, Fit, Loader, Preprocess, Split};
//!
//! let preprocess = Preprocess { fit: Fit::Pad, ..Preprocess::new([32, 32], 1) };
//! let dataset = Arc::new(Dataset::open("fashion-mnist", Split::Test, &preprocess, &|_| ())?);
//! let mut loader = Loader::new(dataset, 128, Cursor::new(0), 4)?;
//! let batch = loader.next()?;
//! assert_eq!(batch.images.len(), 128 * 32 * 32); // [128, 32, 32, 1] in [-1, 1]
//! loader.recycle(batch.images);
//! # Ok::<(), data::DataError>(())
//! ```

#![deny(unsafe_code)]

mod attributes;
mod builtin;
mod cursor;
mod dataset;
mod decode;
mod error;
mod faces;
mod fetch;
mod fingerprint;
mod fit;
mod flip;
mod folder_listing;
mod foreign;
mod formats;
mod layout_report;
mod load_image;
mod loader;
mod prepare;
mod preprocess;
mod quiet;
mod ranks;
mod read_ahead;
mod scan;
mod source;
mod spec;
mod split;
mod stats;

pub use attributes::{Attribute, AttributeKind};
pub use builtin::{KnownSet, builtin_names, known_sets, set_datasets_folder};
pub use cursor::{Cursor, SHARD, order, permutation};
pub use dataset::{CACHE_BYTES, Dataset};
pub use decode::{MAX_DECODED_BYTES, MAX_SIDE};
pub use error::{
    DataError, EntryProblem, FileProblem, IdxProblem, PreprocessProblem, RankFailure, RankProblem,
    SkippedImage, SplitProblem,
};
pub use faces::{FaceCounts, FaceOptions, extract_faces};
pub use fetch::{
    FetchError, FetchProgress, HubDataset, RemoteSet, fetch, fetch_hub, remote_set, remote_sets,
};
pub use foreign::ForeignFormat;
pub use formats::formats;
pub use imaging::{Fit, ResizeFilter};
pub use layout_report::{LayoutNote, LayoutReport};
pub use load_image::load_image;
pub use loader::{Batch, Loader};
pub use prepare::{PrepareSummary, prepare};
pub use preprocess::Preprocess;
pub use scan::ScanProgress;
pub use source::Split;
pub use spec::DataSpec;
pub use split::{SplitCounts, SplitOptions, require_outside, select, split};
pub use stats::{AttributeStats, DatasetStats, STATS_MAX_COUNTED, STATS_MAX_IMAGES};
