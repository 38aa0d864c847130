//! The one pass over all images when a dataset is opened: decode, preprocess, cache, skip bad
//! images, compute the fingerprint.

use std::ops::Range;

use rayon::prelude::*;

use crate::error::{DataError, ImageError, SkippedImage};
use crate::fingerprint::FingerprintHasher;
use crate::fit::fit_image;
use crate::preprocess::Preprocess;
use crate::source::{Digest, Source};

/// Progress of a pass over a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanProgress {
    /// Images processed, good and bad.
    pub done: usize,
    /// Images in total.
    pub total: usize,
    /// Images that cannot be decoded.
    pub skipped: usize,
}

/// The result of the pass.
pub(crate) struct ScanResult {
    /// The source's indices of the good images.
    pub kept: Vec<u32>,
    /// `[kept, H, W, C]`, unless that exceeds the limit.
    pub pixels: Option<Vec<u8>>,
    pub skipped: Vec<SkippedImage>,
    /// The fingerprint in hexadecimal.
    pub fingerprint: String,
}

/// Images per thread between two calls of the progress callback.
const BLOCK_PER_THREAD: usize = 64;

/// Reads all images once. Pixels are kept if all of them fit `cache_bytes`; otherwise files are
/// read and their headers checked, but nothing is decoded yet.
pub(crate) fn scan(
    source: &dyn Source,
    name: &str,
    preprocess: &Preprocess,
    cache_bytes: u64,
    progress: &dyn Fn(ScanProgress),
) -> Result<ScanResult, DataError> {
    check_count(source, name)?;
    let total = source.len();
    if let Some(fingerprint) = source.fingerprint(preprocess) {
        progress(ScanProgress { done: total, total, skipped: 0 });
        return Ok(ScanResult {
            kept: (0..total as u32).collect(),
            pixels: None,
            skipped: Vec::new(),
            fingerprint,
        });
    }
    let size = preprocess.image_len();
    let all_bytes = total as u64 * size as u64;
    let mut pixels = Vec::new();
    let cached = all_bytes <= cache_bytes;
    if cached {
        let memory =
            || DataError::Memory { what: "the decoded images".to_owned(), bytes: all_bytes };
        let capacity = usize::try_from(all_bytes).map_err(|_| memory())?;
        pixels.try_reserve_exact(capacity).map_err(|_| memory())?;
    }
    let block_len = block_len();

    let mut kept = Vec::with_capacity(total);
    let mut bad = Vec::new();
    let mut identity = FingerprintHasher::new(preprocess, source.columns());
    progress(ScanProgress { done: 0, total, skipped: 0 });
    for start in (0..total).step_by(block_len) {
        let block = start..(start + block_len).min(total);
        let results = if cached {
            let used = kept.len() * size;
            pixels.resize(used + block.len() * size, 0);
            decode_block(source, preprocess, start, &mut pixels[used..])
        } else {
            check_block(source, block.clone())
        };
        for (index, result) in block.clone().zip(results) {
            match result {
                Ok(digest) => {
                    let (from, to) = (
                        pixels.len().saturating_sub((block.end - index) * size),
                        kept.len() * size,
                    );
                    if cached && from != to {
                        // Close the gaps that bad images leave.
                        pixels.copy_within(from..from + size, to);
                    }
                    identity.add(&digest, source.hashed_label(index), &source.attributes_of(index));
                    kept.push(index as u32);
                }
                Err(error) => {
                    let name = source.name(index);
                    let reason = error.reason(&name)?;
                    bad.push((name, reason));
                }
            }
        }
        if cached {
            pixels.truncate(kept.len() * size);
        }
        progress(ScanProgress { done: block.end, total, skipped: bad.len() });
    }
    check_share(source, &bad)?;
    let (skipped, fingerprint) = (skipped(bad, total), identity.finish());
    Ok(ScanResult { kept, pixels: cached.then_some(pixels), skipped, fingerprint })
}

/// The bad images as they are reported.
pub(crate) fn skipped(bad: Vec<(String, String)>, found: usize) -> Vec<SkippedImage> {
    let one = |(k, (name, reason))| SkippedImage { name, reason, ordinal: k + 1, found };
    bad.into_iter().enumerate().map(one).collect()
}

/// Checks that all images have a 32-bit index.
pub(crate) fn check_count(source: &dyn Source, name: &str) -> Result<(), DataError> {
    match u32::try_from(source.len()) {
        Ok(_) => Ok(()),
        Err(_) => Err(DataError::TooManyImages { name: name.to_owned(), images: source.len() }),
    }
}

/// Returns an error if more than 10 % of the images are bad.
pub(crate) fn check_share(source: &dyn Source, bad: &[(String, String)]) -> Result<(), DataError> {
    match bad.first() {
        Some((name, reason)) if is_too_many(bad.len(), source.len()) => {
            Err(DataError::TooManyBad {
                path: source.path().to_owned(),
                bad: bad.len(),
                total: source.len(),
                first: format!("{name:?}: {reason}"),
            })
        }
        _ => Ok(()),
    }
}

/// Whether `bad` images are more than 10 % of `total`.
pub(crate) fn is_too_many(bad: usize, total: usize) -> bool {
    bad as u64 * 10 > total as u64
}

/// Images to hand to the threads at once.
pub(crate) fn block_len() -> usize {
    rayon::current_num_threads() * BLOCK_PER_THREAD
}

/// Decodes images from `start` on into `pixels`, `[images, H, W, C]`.
pub(crate) fn decode_block(
    source: &dyn Source,
    preprocess: &Preprocess,
    start: usize,
    pixels: &mut [u8],
) -> Vec<Result<Digest, ImageError>> {
    let decode = |(k, out): (usize, &mut [u8])| {
        let (image, digest) = source.load_with_digest(start + k)?;
        fit_image(&image, preprocess, out)?;
        Ok(digest)
    };
    pixels.par_chunks_mut(preprocess.image_len()).enumerate().map(decode).collect()
}

fn check_block(source: &dyn Source, block: Range<usize>) -> Vec<Result<Digest, ImageError>> {
    block.into_par_iter().map(|index| source.check(index)).collect()
}
