//! The one pass over all pictures when a set is opened: decode, preprocess, keep, skip what is bad, fingerprint.

use std::ops::Range;
use std::thread::available_parallelism;

use rayon::ThreadPool;
use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

use crate::attributes::{self, Attribute};
use crate::error::{DataError, SkippedImage};
use crate::fit::fit;
use crate::formats::{Digest, Source};
use crate::preprocess::{Fit, Preprocess};

/// How far opening a set has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Images looked at, good and bad.
    pub done: usize,
    /// Images there are.
    pub total: usize,
    /// Images that cannot be decoded.
    pub skipped: usize,
}

/// What the pass brought in.
pub(crate) struct Ingested {
    /// The numbers, in the source, of the images that are good.
    pub kept: Vec<u32>,
    /// `[kept, H, W, C]`, unless that is over the budget.
    pub pixels: Option<Vec<u8>>,
    pub skipped: Vec<SkippedImage>,
    /// Hexadecimal.
    pub fingerprint: String,
}

/// Images handed to the threads between two calls of the progress function, for each thread.
const BLOCK_PER_THREAD: usize = 64;

/// Reads everything once. Pixels are kept if all of them fit `cache_bytes`; otherwise files are read and their headers
/// checked, but nothing is decoded yet.
pub(crate) fn ingest(
    source: &dyn Source,
    name: &str,
    preprocess: &Preprocess,
    cache_bytes: u64,
    progress: &dyn Fn(Progress),
) -> Result<Ingested, DataError> {
    let total = source.len();
    if u32::try_from(total).is_err() {
        return Err(DataError::TooManyImages { name: name.to_owned(), images: total });
    }
    let size = preprocess.image_len();
    let all_bytes = total as u64 * size as u64;
    let mut pixels = Vec::new();
    let cached = all_bytes <= cache_bytes;
    if cached {
        let memory = || DataError::Memory { what: "the decoded images", bytes: all_bytes };
        let capacity = usize::try_from(all_bytes).map_err(|_| memory())?;
        pixels.try_reserve_exact(capacity).map_err(|_| memory())?;
    }
    let threads = available_parallelism().map_or(1, usize::from);
    let pool = thread_pool(threads)?;

    let mut kept = Vec::with_capacity(total);
    let mut bad = Vec::new();
    let attributes = source.attributes();
    let mut identity = Identity::new(preprocess, &attributes.columns);
    progress(Progress { done: 0, total, skipped: 0 });
    for start in (0..total).step_by(threads * BLOCK_PER_THREAD) {
        let block = start..(start + threads * BLOCK_PER_THREAD).min(total);
        let results = if cached {
            let used = kept.len() * size;
            pixels.resize(used + block.len() * size, 0);
            decode_block(&pool, source, preprocess, start, &mut pixels[used..])
        } else {
            check_block(&pool, source, block.clone())
        };
        for (index, result) in block.clone().zip(results) {
            match result {
                Ok(digest) => {
                    let (from, to) = (pixels.len().saturating_sub((block.end - index) * size), kept.len() * size);
                    if cached && from != to {
                        // Close the gaps that bad images leave.
                        pixels.copy_within(from..from + size, to);
                    }
                    identity.add(&digest, source.label(index), attributes.row(index));
                    kept.push(index as u32);
                }
                Err(reason) => bad.push((source.name(index), reason)),
            }
        }
        if cached {
            pixels.truncate(kept.len() * size);
        }
        progress(Progress { done: block.end, total, skipped: bad.len() });
    }
    check_share(source, &bad)?;
    let skipped = bad
        .into_iter()
        .enumerate()
        .map(|(k, (name, reason))| SkippedImage { name, reason, ordinal: k + 1, found: total })
        .collect();
    Ok(Ingested { kept, pixels: cached.then_some(pixels), skipped, fingerprint: identity.finish() })
}

/// More than a tenth bad is too many to go on.
fn check_share(source: &dyn Source, bad: &[(String, String)]) -> Result<(), DataError> {
    match bad.first() {
        Some((name, reason)) if is_too_many(bad.len(), source.len()) => Err(DataError::TooManyBad {
            path: source.path().to_owned(),
            bad: bad.len(),
            total: source.len(),
            first: format!("{name:?}: {reason}"),
        }),
        _ => Ok(()),
    }
}

/// Whether `bad` images are more than 10 % of `total`.
pub(crate) fn is_too_many(bad: usize, total: usize) -> bool {
    bad as u64 * 10 > total as u64
}

fn thread_pool(threads: usize) -> Result<ThreadPool, DataError> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|k| format!("data-open-{k}"))
        .build()
        .map_err(|error| DataError::Threads(error.to_string()))
}

fn decode_block(
    pool: &ThreadPool,
    source: &dyn Source,
    preprocess: &Preprocess,
    start: usize,
    pixels: &mut [u8],
) -> Vec<Result<Digest, String>> {
    let decode = |(k, out): (usize, &mut [u8])| {
        let (picture, digest) = source.load_with_digest(start + k)?;
        fit(&picture, preprocess, out)?;
        Ok(digest)
    };
    pool.install(|| pixels.par_chunks_mut(preprocess.image_len()).enumerate().map(decode).collect())
}

fn check_block(pool: &ThreadPool, source: &dyn Source, block: Range<usize>) -> Vec<Result<Digest, String>> {
    pool.install(|| block.into_par_iter().map(|index| source.check(index)).collect())
}

/// What makes two sets the same set: the preprocessing, and each image's digest, label and attributes in order.
struct Identity(Sha256);

impl Identity {
    fn new(preprocess: &Preprocess, columns: &[Attribute]) -> Self {
        let mut hash = Sha256::new_with_prefix(b"dcgan data set 1\0");
        let Preprocess { size, channels, fit, background } = preprocess;
        for side in size {
            hash.update(side.to_le_bytes());
        }
        let fit = match fit {
            Fit::Crop => 0,
            Fit::Pad => 1,
            Fit::Stretch => 2,
        };
        hash.update([*channels, fit]);
        hash.update(background);
        attributes::identify(columns, &mut hash);
        Self(hash)
    }

    fn add(&mut self, digest: &Digest, label: Option<u32>, attributes: &[f32]) {
        self.0.update(digest);
        let label = label.map_or(-1, i64::from);
        self.0.update(label.to_le_bytes());
        for value in attributes {
            self.0.update(value.to_le_bytes());
        }
    }

    fn finish(self) -> String {
        self.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
