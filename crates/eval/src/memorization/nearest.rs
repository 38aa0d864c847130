//! Nearest-neighbor search: the images of a dataset nearest to generated ones.

use crate::images::load_images;
use crate::metrics::pairwise::squared_distance;
use crate::representation::Representation;
use crate::{EvalError, Progress};
use data::Dataset;
use rayon::prelude::*;
use tensor::Tensor;

/// Images of the dataset that are compared at a time.
const BLOCK: usize = 256;
/// Candidates of a block beyond those wanted: distances by matrix products may rank wrongly.
const EXTRA_CANDIDATES: usize = 4;

/// An image of a dataset and its distance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NearestImage {
    /// The index of the image.
    pub index: usize,
    /// The root mean square difference of the representations.
    pub distance: f64,
}

/// The `count` nearest images of a dataset for each of `samples` `[N, H, W, C]`, nearest first;
/// equally near ones in ascending order of their indices. Only a block of the dataset is in memory
/// at a time: matrix products select candidates, exact distances order them.
///
/// # Errors
/// Returns an error if the dataset has fewer images, one cannot be decoded, or the device fails;
/// [`EvalError::Stopped`] if `progress` cancels.
pub fn nearest(
    representation: &dyn Representation,
    samples: &Tensor,
    dataset: &Dataset,
    count: usize,
    task: &str,
    progress: Progress<'_>,
) -> Result<Vec<Vec<NearestImage>>, EvalError> {
    if dataset.len() < count {
        return Err(EvalError::TooFewImages {
            purpose: "a nearest-neighbor search".into(),
            set: dataset.name().to_owned(),
            needed: count,
            found: dataset.len(),
        });
    }
    let own = representation.rows(samples);
    representation.check()?;
    let rows = own.to_vec();
    let width = representation.width();
    let mut found: Vec<Vec<NearestImage>> = vec![Vec::new(); own.shape()[0]];
    let all: Vec<usize> = (0..dataset.len()).collect();
    for (k, part) in all.chunks(BLOCK).enumerate() {
        let block = representation.rows(&load_images(dataset, part)?);
        representation.check()?;
        // |a − b|² without |a|², which is the same for all candidates of a sample.
        let norms = block.square().sum(&[1], false);
        let approximate = own.matmul(&block, false, true).scale(-2.0).add(&norms).to_vec();
        let block = block.to_vec();
        let samples = found
            .par_iter_mut()
            .zip(rows.par_chunks(width))
            .zip(approximate.par_chunks(part.len()));
        samples.for_each(|((kept, row), approximate)| {
            let mut order: Vec<usize> = (0..part.len()).collect();
            order.sort_by(|&a, &b| approximate[a].total_cmp(&approximate[b]));
            kept.extend(order.into_iter().take(count + EXTRA_CANDIDATES).map(|at| {
                let exact = squared_distance(row, &block[at * width..][..width]);
                NearestImage { index: part[at], distance: (exact / width as f64).sqrt() }
            }));
            kept.sort_by(|a, b| a.distance.total_cmp(&b.distance).then(a.index.cmp(&b.index)));
            kept.truncate(count);
        });
        progress.report(task, k * BLOCK + part.len(), all.len())?;
    }
    Ok(found)
}
