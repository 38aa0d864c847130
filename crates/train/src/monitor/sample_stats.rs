//! Statistics of a set of images: how different they are, how many have a near-duplicate, and
//! whether one spatial frequency dominates them.

use super::spectral_peak;
use data::Dataset;
use serde::{Deserialize, Serialize};
use tensor::Tensor;

/// The most images that are used, evenly spread over the set.
const MAX_IMAGES: usize = 64;
/// Distances are computed of images reduced to at most this many pixels a side: images that differ
/// in fine noise alone are the same.
const REDUCED_SIDE: usize = 32;
/// Images closer than this (root mean square, pixels in [−1, 1]: two and a half of 255 levels) are
/// near-duplicates to the eye.
const DUPLICATE_THRESHOLD: f64 = 0.02;

/// Statistics of a set of images.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct SampleStats {
    /// The mean distance of two images: root mean square of the difference, in [0, 2].
    pub diversity: f32,
    /// The share of images that have a near-duplicate, in [0, 1].
    pub duplicates: f32,
    /// The share of the strongest spatial frequency in the spectral power at periods below 6
    /// pixels, in [0, 1].
    #[serde(alias = "oscillation")]
    pub spectral_peak: f32,
    /// The root mean square of that frequency, pixels being in [−1, 1].
    pub amplitude: f32,
    /// The period of the strongest frequency in pixels.
    pub period: f32,
}

impl SampleStats {
    /// Statistics of images `[N, H, W, C]` in [−1, 1]; all 0 for fewer than two.
    pub fn of(images: &Tensor) -> Self {
        let shape = [images.shape()[0], images.shape()[1], images.shape()[2], images.shape()[3]];
        Self::of_values(&images.to_vec(), shape)
    }

    /// Statistics of real images, evenly spread over the dataset; `None` if they cannot be read.
    pub fn of_dataset(dataset: &Dataset) -> Option<Self> {
        let [h, w, c] = dataset.shape();
        let count = dataset.len().min(MAX_IMAGES);
        let mut values = vec![0.0; count * h * w * c];
        for (k, image) in values.chunks_exact_mut(h * w * c).enumerate() {
            dataset.write(k * dataset.len() / count, image).ok()?;
        }
        Some(Self::of_values(&values, [count, h, w, c]))
    }

    fn of_values(values: &[f32], [n, h, w, c]: [usize; 4]) -> Self {
        if n < 2 {
            return Self::default();
        }
        let count = n.min(MAX_IMAGES);
        let images: Vec<&[f32]> =
            (0..count).map(|k| &values[k * n / count * h * w * c..][..h * w * c]).collect();
        let small: Vec<Vec<f32>> = images.iter().map(|image| reduce(image, [h, w, c])).collect();
        let (diversity, duplicates) = distances(&small);
        let peak = spectral_peak::strongest(&images, [h, w, c]);
        Self {
            diversity: diversity as f32,
            duplicates: duplicates as f32,
            spectral_peak: peak.share as f32,
            amplitude: peak.amplitude as f32,
            period: peak.period as f32,
        }
    }
}

/// Averages squares of pixels, so that no side is longer than [`REDUCED_SIDE`]; incomplete squares
/// at the edges are ignored.
fn reduce(image: &[f32], [h, w, c]: [usize; 3]) -> Vec<f32> {
    let by = h.max(w).div_ceil(REDUCED_SIDE);
    let (height, width) = ((h / by).max(1), (w / by).max(1));
    let mut out = vec![0.0; height * width * c];
    for y in 0..(height * by).min(h) {
        for x in 0..(width * by).min(w) {
            for channel in 0..c {
                out[((y / by) * width + x / by) * c + channel] +=
                    image[(y * w + x) * c + channel] / (by * by) as f32;
            }
        }
    }
    out
}

/// The mean distance over all pairs, and the share of images with a near-duplicate.
fn distances(images: &[Vec<f32>]) -> (f64, f64) {
    let n = images.len();
    let mut nearest = vec![f64::INFINITY; n];
    let mut sum = 0.0;
    for i in 0..n {
        for j in 0..i {
            let square: f64 =
                images[i].iter().zip(&images[j]).map(|(a, b)| f64::from(a - b).powi(2)).sum();
            let distance = (square / images[i].len().max(1) as f64).sqrt();
            sum += distance;
            nearest[i] = nearest[i].min(distance);
            nearest[j] = nearest[j].min(distance);
        }
    }
    let duplicates = nearest.iter().filter(|distance| **distance < DUPLICATE_THRESHOLD).count();
    (sum / (n * (n - 1) / 2) as f64, duplicates as f64 / n as f64)
}
