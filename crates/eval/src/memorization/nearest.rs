//! The pictures of a set that are nearest to others.

use crate::images::load_images;
use crate::representation::Representation;
use crate::{EvalError, Progress};
use data::Dataset;
use rayon::prelude::*;
use tensor::Tensor;

/// Pictures of the set that are compared at a time.
const BLOCK: usize = 256;

/// A picture of a set, and how far it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NearestImage {
    /// Its number.
    pub index: usize,
    /// The root mean square difference of the representations.
    pub distance: f64,
}

/// The `count` nearest pictures of a set for each of `samples` `[N, H, W, C]`, nearest first (of equals, the one that comes first in the set). Of
/// the set a block is in memory at a time: matrix products choose a few more candidates than are wanted, exact distances their order.
///
/// # Errors
/// A set of fewer pictures, pictures that cannot be decoded, the device, or the user stops it.
pub fn nearest(
    representation: &dyn Representation,
    samples: &Tensor,
    dataset: &Dataset,
    count: usize,
    what: &str,
    progress: Progress<'_>,
) -> Result<Vec<Vec<NearestImage>>, EvalError> {
    if dataset.len() < count {
        let (name, len) = (dataset.name(), dataset.len());
        return Err(EvalError::Mismatch(format!(
            "{name} has {len} pictures: {count} nearest ones cannot be found in it"
        )));
    }
    let own = representation.rows(samples);
    representation.check()?;
    let rows = own.to_vec();
    let width = representation.width();
    let mut found: Vec<Vec<NearestImage>> = vec![Vec::new(); own.shape()[0]];
    let all: Vec<usize> = (0..dataset.len()).collect();
    for (k, part) in all.chunks(BLOCK).enumerate() {
        let theirs = representation.rows(&load_images(dataset, part)?);
        representation.check()?;
        // |a − b|² less |a|², which is the same for all of a sample's candidates.
        let norms = theirs.square().sum(&[1], false);
        let guesses = own.matmul(&theirs, false, true).scale(-2.0).add(&norms).to_vec();
        let theirs = theirs.to_vec();
        let samples =
            found.par_iter_mut().zip(rows.par_chunks(width)).zip(guesses.par_chunks(part.len()));
        samples.for_each(|((kept, row), guesses)| {
            let mut order: Vec<usize> = (0..part.len()).collect();
            order.sort_by(|&a, &b| guesses[a].total_cmp(&guesses[b]));
            kept.extend(order.into_iter().take(count + 4).map(|at| {
                let exact: f64 = row
                    .iter()
                    .zip(&theirs[at * width..])
                    .map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2))
                    .sum();
                NearestImage { index: part[at], distance: (exact / width as f64).sqrt() }
            }));
            kept.sort_by(|a, b| a.distance.total_cmp(&b.distance).then(a.index.cmp(&b.index)));
            kept.truncate(count);
        });
        progress.report(what, k * BLOCK + part.len(), all.len())?;
    }
    Ok(found)
}
