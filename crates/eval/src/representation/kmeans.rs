//! Single-layer K-means features (Coates, Lee & Ng 2011, "An analysis of single-layer networks in
//! unsupervised feature learning"): the DCGAN paper's baseline.

use super::Representation;
use crate::images::load_images;
use crate::{EvalError, Progress};
use data::Dataset;
use nalgebra::{DMatrix, DVector, SymmetricEigen};
use rayon::prelude::*;
use tensor::Tensor;
use tensor::rng::Philox;

/// Philox stream of patches and initial centroids.
const PATCHES: u64 = 0x6b6d_6561;
/// Added to the variance of a patch before normalization: 10 for pixels up to 255 in the paper,
/// here for pixels in [−1, 1].
const CONTRAST: f64 = 10.0 / (127.5 * 127.5);
/// Added to the eigenvalues of the covariance in whitening.
const WHITENING: f64 = 0.1;
/// Images encoded by one task.
const BATCH: usize = 16;
/// Patches compared with the centroids at a time.
const BLOCK: usize = 4096;

/// Options of K-means features. The paper's values are much larger and take hours.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KMeansOptions {
    /// Side of a patch: 6 in the paper.
    pub patch: usize,
    /// The number of centroids: up to 4000 in the paper.
    pub centroids: usize,
    /// Training patches: 400,000 in the paper.
    pub patches: usize,
    /// Lloyd iterations.
    pub iterations: usize,
    /// Seed of patches and initial centroids.
    pub seed: u64,
}

impl Default for KMeansOptions {
    fn default() -> Self {
        Self { patch: 6, centroids: 400, patches: 100_000, iterations: 20, seed: 0 }
    }
}

/// K-means features: every patch is normalized to mean 0 and variance 1 and whitened (ZCA); its
/// distances z_k to the centroids become max(0, mean z − z_k) ("triangle" activation); these are
/// summed over the four quadrants of the image: `[4, centroids]`, row-major.
pub struct KMeans {
    shape: [usize; 3],
    patch: usize,
    mean: Vec<f32>,
    /// `[F, F]`, F = patch² · C.
    whitening: Tensor,
    /// `[K, F]`.
    centroids: Tensor,
}

impl KMeans {
    /// Learns centroids from images of a dataset. The same seed gives the same bits, whatever the
    /// number of threads.
    ///
    /// # Errors
    /// Returns an error if patches are not smaller than the images, there are fewer patches than
    /// centroids, or an image cannot be decoded; [`EvalError::Stopped`] if `progress` cancels.
    pub fn train(
        dataset: &Dataset,
        options: KMeansOptions,
        progress: Progress<'_>,
    ) -> Result<Self, EvalError> {
        let (shape, KMeansOptions { patch, centroids, .. }) = (dataset.shape(), options);
        let [h, w, c] = shape;
        if patch < 2 || patch + 1 > h.min(w) {
            return Err(EvalError::PatchSize { patch, height: h, width: w });
        }
        if centroids == 0 || options.patches < centroids {
            return Err(EvalError::CentroidCount { centroids, patches: options.patches });
        }
        let mut rng = Philox::new(options.seed, PATCHES);
        let width = patch * patch * c;
        let mut values = sample_patches(dataset, options, &mut rng, progress)?;
        let (mean, whitening) = zca(&values, width);
        let mut own =
            Self { shape, patch, mean, whitening, centroids: Tensor::zeros([centroids, width]) };
        for block in values.chunks_mut(BLOCK * width) {
            let white = own.whiten(block).to_vec();
            block.copy_from_slice(&white);
        }
        own.centroids = lloyd(&values, width, options, &mut rng, progress)?;
        Ok(own)
    }

    /// Whitens patches `[N, F]`.
    fn whiten(&self, patches: &[f32]) -> Tensor {
        let width = self.mean.len();
        let rows = Tensor::from_slice(patches, [patches.len() / width, width]);
        rows.sub(&Tensor::from_slice(&self.mean, [1, width])).matmul(&self.whitening, false, false)
    }

    /// The features of one image `[H, W, C]`.
    fn encode(&self, image: &[f32]) -> Vec<f32> {
        let [h, w, c] = self.shape;
        let [down, across] = [h - self.patch + 1, w - self.patch + 1];
        let mut patches = Vec::with_capacity(down * across * self.mean.len());
        for y in 0..down {
            (0..across)
                .for_each(|x| patches.extend(normalized_patch(image, [w, c], [y, x], self.patch)));
        }
        let distances = distances(&self.whiten(&patches), &self.centroids).to_vec();
        let count = self.centroids.shape()[0];
        let mut sums = vec![0.0; 4 * count];
        for (at, row) in distances.chunks_exact(count).enumerate() {
            let quadrant = (at / across * 2 / down) * 2 + at % across * 2 / across;
            let mean = row.iter().sum::<f32>() / count as f32;
            sums[quadrant * count..]
                .iter_mut()
                .zip(row)
                .for_each(|(sum, z)| *sum += (mean - z).max(0.0));
        }
        sums
    }
}

impl Representation for KMeans {
    fn width(&self) -> usize {
        4 * self.centroids.shape()[0]
    }

    fn rows(&self, images: &Tensor) -> Tensor {
        let size: usize = self.shape.iter().product();
        let values = images.to_vec();
        let parts = values
            .par_chunks(size * BATCH)
            .map(|part| part.chunks_exact(size).flat_map(|p| self.encode(p)).collect::<Vec<f32>>());
        let rows: Vec<f32> = parts.collect::<Vec<_>>().concat();
        Tensor::from_slice(&rows, [images.shape()[0], self.width()])
    }
}

/// The patch at `[y, x]`, normalized to mean 0 and variance 1.
fn normalized_patch(
    image: &[f32],
    [w, c]: [usize; 2],
    [y, x]: [usize; 2],
    side: usize,
) -> Vec<f32> {
    let lines = (y..y + side).flat_map(|y| image[(y * w + x) * c..].iter().take(side * c));
    let mut patch: Vec<f32> = lines.copied().collect();
    let n = patch.len() as f64;
    let mean = patch.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
    let variance = patch.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n;
    let scale = (variance + CONTRAST).sqrt();
    patch.iter_mut().for_each(|v| *v = ((f64::from(*v) - mean) / scale) as f32);
    patch
}

/// Random patches of random images, one after the other.
fn sample_patches(
    dataset: &Dataset,
    options: KMeansOptions,
    rng: &mut Philox,
    progress: Progress<'_>,
) -> Result<Vec<f32>, EvalError> {
    let [h, w, c] = dataset.shape();
    let side = options.patch;
    let mut values = Vec::with_capacity(options.patches * side * side * c);
    // A few patches of each image, so that most datasets are decoded only once.
    let each = 10.min(options.patches);
    let mut order: Vec<usize> = (0..dataset.len()).collect();
    rng.shuffle(&mut order);
    let mut images = order.into_iter().cycle();
    while values.len() < options.patches * side * side * c {
        let Some(index) = images.next() else { break };
        let image = load_images(dataset, &[index])?.to_vec();
        for _ in 0..each {
            let at = [
                rng.below((h - side + 1) as u32) as usize,
                rng.below((w - side + 1) as u32) as usize,
            ];
            values.extend(normalized_patch(&image, [w, c], at, side));
        }
        progress.report("sampling patches", values.len() / (side * side * c), options.patches)?;
    }
    Ok(values)
}

/// The mean of the rows and the ZCA whitening matrix V (D + ε)^(−1/2) Vᵀ of their covariance.
fn zca(values: &[f32], width: usize) -> (Vec<f32>, Tensor) {
    let count = (values.len() / width) as f64;
    let mut mean = vec![0.0f64; width];
    for row in values.chunks_exact(width) {
        mean.iter_mut().zip(row).for_each(|(m, &v)| *m += f64::from(v) / count);
    }
    let mut covariance = DMatrix::<f64>::zeros(width, width);
    for row in values.chunks_exact(width) {
        let centered =
            DVector::from_iterator(width, row.iter().zip(&mean).map(|(&v, m)| f64::from(v) - m));
        covariance.ger(1.0 / count, &centered, &centered, 1.0);
    }
    let eigen = SymmetricEigen::new(covariance);
    let scale =
        DMatrix::from_diagonal(&eigen.eigenvalues.map(|d| (d.max(0.0) + WHITENING).sqrt().recip()));
    let matrix = &eigen.eigenvectors * scale * eigen.eigenvectors.transpose();
    // The matrix is symmetric, so column-major is row-major.
    let matrix: Vec<f32> = matrix.iter().map(|&v| v as f32).collect();
    (mean.into_iter().map(|m| m as f32).collect(), Tensor::from_slice(&matrix, [width, width]))
}

/// Distances `[N, K]` of rows `[N, F]` to centroids `[K, F]`.
fn distances(rows: &Tensor, centroids: &Tensor) -> Tensor {
    let norms = centroids.square().sum(&[1], false);
    let squared = rows
        .matmul(centroids, false, true)
        .scale(-2.0)
        .add(&norms)
        .add(&rows.square().sum(&[1], true));
    // Rounding may make the distance to an equal row negative.
    squared.maximum(&Tensor::zeros([1, 1])).sqrt()
}

/// Lloyd's algorithm from random rows. A centroid without nearest rows stays unchanged.
fn lloyd(
    values: &[f32],
    width: usize,
    options: KMeansOptions,
    rng: &mut Philox,
    progress: Progress<'_>,
) -> Result<Tensor, EvalError> {
    let count = options.centroids;
    let mut order: Vec<usize> = (0..values.len() / width).collect();
    rng.shuffle(&mut order);
    let first: Vec<f32> = order
        .iter()
        .take(count)
        .flat_map(|&i| &values[i * width..(i + 1) * width])
        .copied()
        .collect();
    let mut centroids = Tensor::from_slice(&first, [count, width]);
    for iteration in 0..options.iterations {
        progress.report("K-means", iteration, options.iterations)?;
        let (mut sums, mut members) = (vec![0.0f64; count * width], vec![0usize; count]);
        let mut old = centroids.to_vec();
        for block in values.chunks(BLOCK * width) {
            let rows = Tensor::from_slice(block, [block.len() / width, width]);
            let nearest = distances(&rows, &centroids).neg().argmax_last();
            for (row, &k) in block.chunks_exact(width).zip(&nearest) {
                members[k] += 1;
                sums[k * width..].iter_mut().zip(row).for_each(|(sum, &v)| *sum += f64::from(v));
            }
        }
        for (k, &n) in members.iter().enumerate().filter(|(_, n)| **n > 0) {
            let own = old[k * width..].iter_mut().zip(&sums[k * width..(k + 1) * width]);
            own.for_each(|(centroid, sum)| *centroid = (sum / n as f64) as f32);
        }
        centroids = Tensor::from_slice(&old, [count, width]);
    }
    progress.report("K-means", options.iterations, options.iterations)?;
    Ok(centroids)
}
