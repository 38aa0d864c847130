//! What a grid of pictures looks like as a whole: how different they are, how many are twins, and whether one wave lies over them.

use super::spectral_peak;
use data::Dataset;
use serde::{Deserialize, Serialize};
use tensor::Tensor;

/// Pictures looked at, evenly spread over those there are.
const LOOKED_AT: usize = 64;
/// Distances are taken of pictures shrunk to at most this many pixels a side: what differs in fine noise alone is one picture.
const SHRUNK: usize = 32;
/// Pictures closer than this (root mean square, pixels in [−1, 1]: two and a half of 255 levels) are twins to the eye.
const DUPLICATE_THRESHOLD: f64 = 0.02;

/// A grid, in numbers.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct SampleStats {
    /// The mean distance between two pictures: root mean square of the difference, in [0, 2].
    pub diversity: f32,
    /// The share of pictures that have a twin, in [0, 1].
    pub duplicates: f32,
    /// The share of all waves of at most 6 pixels that the strongest has, in [0, 1].
    #[serde(alias = "oscillation")]
    pub spectral_peak: f32,
    /// The strongest one's root mean square, pixels being in [−1, 1].
    pub amplitude: f32,
    /// Its length in pixels.
    pub period: f32,
}

impl SampleStats {
    /// Measures pictures `[N, H, W, C]` in [−1, 1]; all 0 for fewer than two.
    pub fn of(images: &Tensor) -> Self {
        let shape = [images.shape()[0], images.shape()[1], images.shape()[2], images.shape()[3]];
        Self::of_values(&images.to_vec(), shape)
    }

    /// The same of real pictures, evenly spread over the set; `None` where they cannot be read any more.
    pub fn of_dataset(dataset: &Dataset) -> Option<Self> {
        let [h, w, c] = dataset.shape();
        let count = dataset.len().min(LOOKED_AT);
        let mut values = vec![0.0; count * h * w * c];
        for (k, picture) in values.chunks_exact_mut(h * w * c).enumerate() {
            dataset.write(k * dataset.len() / count, picture).ok()?;
        }
        Some(Self::of_values(&values, [count, h, w, c]))
    }

    fn of_values(values: &[f32], [n, h, w, c]: [usize; 4]) -> Self {
        if n < 2 {
            return Self::default();
        }
        let count = n.min(LOOKED_AT);
        let pictures: Vec<&[f32]> =
            (0..count).map(|k| &values[k * n / count * h * w * c..][..h * w * c]).collect();
        let small: Vec<Vec<f32>> =
            pictures.iter().map(|picture| shrink(picture, [h, w, c])).collect();
        let (diversity, duplicates) = distances(&small);
        let wave = spectral_peak::strongest(&pictures, [h, w, c]);
        Self {
            diversity: diversity as f32,
            duplicates: duplicates as f32,
            spectral_peak: wave.share as f32,
            amplitude: wave.amplitude as f32,
            period: wave.period as f32,
        }
    }
}

/// Means of squares of pixels, so that no side is longer than [`SHRUNK`]; what is left over at the edges does not count.
fn shrink(picture: &[f32], [h, w, c]: [usize; 3]) -> Vec<f32> {
    let by = h.max(w).div_ceil(SHRUNK);
    let (height, width) = ((h / by).max(1), (w / by).max(1));
    let mut out = vec![0.0; height * width * c];
    for y in 0..(height * by).min(h) {
        for x in 0..(width * by).min(w) {
            for channel in 0..c {
                out[((y / by) * width + x / by) * c + channel] +=
                    picture[(y * w + x) * c + channel] / (by * by) as f32;
            }
        }
    }
    out
}

/// The mean over all pairs, and the share of pictures with a twin.
fn distances(pictures: &[Vec<f32>]) -> (f64, f64) {
    let n = pictures.len();
    let mut nearest = vec![f64::INFINITY; n];
    let mut sum = 0.0;
    for i in 0..n {
        for j in 0..i {
            let square: f64 =
                pictures[i].iter().zip(&pictures[j]).map(|(a, b)| f64::from(a - b).powi(2)).sum();
            let distance = (square / pictures[i].len().max(1) as f64).sqrt();
            sum += distance;
            nearest[i] = nearest[i].min(distance);
            nearest[j] = nearest[j].min(distance);
        }
    }
    let twins = nearest.iter().filter(|distance| **distance < DUPLICATE_THRESHOLD).count();
    (sum / (n * (n - 1) / 2) as f64, twins as f64 / n as f64)
}
