//! The one pass over all images when a dataset is opened: decode, preprocess, cache, skip bad
//! images, compute the fingerprint.

use std::ops::Range;

use rayon::prelude::*;
use tensor::distributed::ProcessGroup;

use crate::error::{DataError, ImageError, RankFailure, RankProblem, SkippedImage};
use crate::fingerprint::FingerprintHasher;
use crate::fit::fit_image;
use crate::preprocess::Preprocess;
use crate::ranks::{from_bytes, to_bytes};
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

/// Memory for the pixels of all images, if they are to be decoded now and fit `cache_bytes`.
pub(crate) fn reserve_pixels(
    source: &dyn Source,
    name: &str,
    preprocess: &Preprocess,
    cache_bytes: u64,
) -> Result<Option<Vec<u8>>, DataError> {
    check_count(source, name)?;
    let bytes = source.len() as u64 * preprocess.image_len() as u64;
    if bytes > cache_bytes || source.fingerprint(preprocess).is_some() {
        return Ok(None);
    }
    let memory = || DataError::Memory { what: "the decoded images".to_owned(), bytes };
    let mut pixels = Vec::new();
    let capacity = usize::try_from(bytes).map_err(|_| memory())?;
    pixels.try_reserve_exact(capacity).map_err(|_| memory())?;
    Ok(Some(pixels))
}

/// Reads all images once. With memory for their pixels, each is decoded by one rank of the group;
/// without, each rank reads all files and checks their headers, but nothing is decoded yet.
pub(crate) fn scan(
    group: &ProcessGroup,
    spec: &str,
    source: &dyn Source,
    preprocess: &Preprocess,
    pixels: Option<Vec<u8>>,
    progress: &dyn Fn(ScanProgress),
) -> Result<ScanResult, DataError> {
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
    let cached = pixels.is_some();
    let mut pixels = pixels.unwrap_or_default();
    // Of each block, every rank decodes as much as its threads do at once.
    let shares = if cached { group.all_gather_f64(&[block_len() as f64]) } else { Vec::new() };
    let shares: Vec<usize> = shares.into_iter().map(|share| share as usize).collect();
    let block_len = if cached { shares.iter().sum() } else { block_len() };

    let mut kept = Vec::with_capacity(total);
    let mut bad = Vec::new();
    let mut identity = FingerprintHasher::new(preprocess, source.columns());
    progress(ScanProgress { done: 0, total, skipped: 0 });
    for start in (0..total).step_by(block_len) {
        let block = start..(start + block_len).min(total);
        let results = if cached {
            let used = kept.len() * size;
            pixels.resize(used + block.len() * size, 0);
            let out = &mut pixels[used..];
            BlockDivision { group, spec, shares: &shares }.decode(source, preprocess, start, out)?
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

/// The ranks that decode the images of a block.
struct BlockDivision<'a> {
    group: &'a ProcessGroup,
    spec: &'a str,
    /// The number of images of a full block that each rank decodes.
    shares: &'a [usize],
}

impl BlockDivision<'_> {
    /// The images that a rank decodes of a block of `len`.
    fn part(&self, rank: usize, len: usize) -> Range<usize> {
        let all: usize = self.shares.iter().sum();
        let at = |rank: usize| len * self.shares[..rank].iter().sum::<usize>() / all;
        at(rank)..at(rank + 1)
    }

    /// [`decode_block`] by all ranks, with the same result on each.
    ///
    /// A rank that cannot decode an image might lack the file, so rank 0 tries it again: whether an
    /// image is left out depends on the files that rank 0 has, as in a process of its own.
    ///
    /// # Errors
    /// Returns [`DataError::Ranks`] if rank 0 can decode it.
    fn decode(
        &self,
        source: &dyn Source,
        preprocess: &Preprocess,
        start: usize,
        pixels: &mut [u8],
    ) -> Result<Vec<Result<Digest, ImageError>>, DataError> {
        let group = self.group;
        if group.is_single() {
            return Ok(decode_block(source, preprocess, start, pixels));
        }
        let size = preprocess.image_len();
        let len = pixels.len() / size;
        let pixels_of = |part: &Range<usize>| part.start * size..part.end * size;
        let own = self.part(group.rank(), len);
        let own_pixels = &mut pixels[pixels_of(&own)];
        let results = decode_block(source, preprocess, start + own.start, own_pixels);
        let (results, decoded) =
            (group.all_gather(&to_bytes(&results)), group.all_gather(own_pixels));
        let mut all = Vec::with_capacity(len);
        for (rank, (results, decoded)) in results.iter().zip(&decoded).enumerate() {
            let part = self.part(rank, len);
            pixels[pixels_of(&part)].copy_from_slice(decoded);
            let unread =
                |reason: String| part.clone().map(|_| Err(reason.clone().into())).collect();
            all.extend(from_bytes::<Vec<_>>(results).unwrap_or_else(unread));
        }
        self.confirm_bad(source, preprocess, start, &all)?;
        Ok(all)
    }

    /// Decodes on rank 0 the images that are bad on other ranks.
    fn confirm_bad(
        &self,
        source: &dyn Source,
        preprocess: &Preprocess,
        start: usize,
        results: &[Result<Digest, ImageError>],
    ) -> Result<(), DataError> {
        let len = results.len();
        let is_bad = |&index: &usize| matches!(results[index], Err(ImageError::Bad(_)));
        let mut bad: Vec<usize> = (self.part(0, len).end..len).filter(is_bad).collect();
        if bad.is_empty() {
            return Ok(());
        }
        let is_good = |&index: &usize| {
            let mut pixels = vec![0; preprocess.image_len()];
            u8::from(decode_block(source, preprocess, start + index, &mut pixels)[0].is_ok())
        };
        let root = self.group.is_root();
        let good = if root { bad.par_iter().map(is_good).collect() } else { Vec::new() };
        let mut good = self.group.broadcast(good).into_iter();
        bad.retain(|_| good.next() == Some(1));
        // One image of each rank is enough.
        let failure = |rank| {
            let index = self.part(rank, len).find(|index| bad.contains(index))?;
            let Err(ImageError::Bad(reason)) = &results[index] else { return None };
            let (name, reason) = (source.name(start + index), reason.clone());
            Some(RankFailure { rank, problem: RankProblem::Image { name, reason } })
        };
        let failures: Vec<RankFailure> = (1..self.shares.len()).filter_map(failure).collect();
        match failures.is_empty() {
            true => Ok(()),
            false => Err(DataError::Ranks { spec: self.spec.to_owned(), failures }),
        }
    }
}

fn check_block(source: &dyn Source, block: Range<usize>) -> Vec<Result<Digest, ImageError>> {
    block.into_par_iter().map(|index| source.check(index)).collect()
}
