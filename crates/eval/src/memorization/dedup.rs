//! Near-duplicates of a dataset, by the hash codes of a denoising autoencoder (Radford et al. 2016,
//! section 4.1).

use super::autoencoder::{Autoencoder, AutoencoderConfig};
use super::hash_codes::{Code, hash_groups};
use crate::images::{load_images, require_shape};
use crate::metrics::pairwise::squared_distance;
use crate::{EvalError, Progress};
use data::Dataset;
use std::collections::HashSet;
use tensor::Device;
use tensor::rng::Philox;

/// Shape of the images that the paper hashes.
const SHAPE: [usize; 3] = [32, 32, 3];
/// Philox stream of random pairs, which are presumably not duplicates.
const PAIR_STREAM: u64 = 0x7061_6972;
/// The number of random pairs.
const RANDOM_PAIRS: usize = 2000;
/// The quantile of random pairs' distances beyond which a duplicate is borderline.
const BORDERLINE_QUANTILE: f64 = 0.01;

/// Options of near-duplicate detection.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Options {
    /// How the autoencoder is trained.
    pub training: AutoencoderConfig,
    /// The number of bits by which two codes may differ: 0 in the paper.
    pub radius: u32,
}

/// A group of near-duplicates.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Indices of the images, ascending; the first is kept.
    pub images: Vec<usize>,
    /// Root mean square difference of each other image to the first, for pixels in [−1, 1].
    pub distances: Vec<f64>,
}

/// The near-duplicates of a dataset.
#[derive(Clone, Debug, PartialEq)]
pub struct Duplicates {
    /// The groups, in the order of their first images.
    pub groups: Vec<Group>,
    /// The number of different codes.
    pub distinct: usize,
    /// The number of bits, of 128, that differ between some images. The others carry no
    /// information.
    pub informative_bits: u32,
    /// The autoencoder's mean squared error per pixel, with noise and dropout.
    pub loss: f64,
    /// The median distance of random pairs.
    pub median: f64,
    /// The 1 % quantile of the distances of random pairs.
    pub near: f64,
}

impl Duplicates {
    /// Indices of the images to drop, ascending.
    pub fn to_drop(&self) -> Vec<usize> {
        let mut all: Vec<usize> =
            self.groups.iter().flat_map(|group| group.images.iter().skip(1).copied()).collect();
        all.sort_unstable();
        all
    }

    /// The number of images to drop that are as far from the image that is kept as 99 % of random
    /// pairs: false positives, as far as pixels can show. The DCGAN authors estimated theirs, by
    /// visual inspection, as less than 1 in 100.
    pub fn borderline(&self) -> usize {
        self.groups
            .iter()
            .flat_map(|group| &group.distances)
            .filter(|&&distance| distance > self.near)
            .count()
    }
}

/// Finds the near-duplicates of a dataset with images of 32×32×3, in linear time for a radius of 0.
///
/// # Errors
/// Returns an error if the images have another size or cannot be decoded, the autoencoder diverges,
/// or the device fails; [`EvalError::Stopped`] if `progress` cancels.
pub fn dedup(
    dataset: &Dataset,
    options: Options,
    device: &Device,
    progress: Progress<'_>,
) -> Result<Duplicates, EvalError> {
    require_shape(dataset, SHAPE)?;
    let autoencoder = Autoencoder::train(dataset, options.training, device, progress)?;
    let codes = autoencoder.codes(dataset, progress)?;
    let (any, all) = codes.iter().fold((0, Code::MAX), |(any, all), code| (any | code, all & code));
    let found = hash_groups(&codes, options.radius);
    let mut groups = Vec::with_capacity(found.len());
    for (k, images) in found.iter().enumerate() {
        let mut distances = Vec::with_capacity(images.len());
        for other in images.iter().skip(1) {
            distances.push(rms_difference(dataset, images[0], *other)?);
        }
        groups.push(Group { images: images.clone(), distances });
        progress.report("measuring groups", k + 1, found.len())?;
    }
    let random = random_pair_distances(dataset, options.training.seed)?;
    let quantile = |q: f64| random.get((random.len() as f64 * q) as usize).copied().unwrap_or(0.0);
    Ok(Duplicates {
        groups,
        distinct: codes.iter().collect::<HashSet<_>>().len(),
        informative_bits: (any & !all).count_ones(),
        loss: autoencoder.loss,
        median: quantile(0.5),
        near: quantile(BORDERLINE_QUANTILE),
    })
}

/// Distances of random pairs, ascending.
fn random_pair_distances(dataset: &Dataset, seed: u64) -> Result<Vec<f64>, EvalError> {
    let len = dataset.len() as u32;
    let mut rng = Philox::new(seed, PAIR_STREAM);
    let mut distances = Vec::new();
    if len > 1 {
        for _ in 0..RANDOM_PAIRS {
            let a = rng.below(len);
            let b = (a + 1 + rng.below(len - 1)) % len;
            distances.push(rms_difference(dataset, a as usize, b as usize)?);
        }
    }
    distances.sort_by(f64::total_cmp);
    Ok(distances)
}

/// The root mean square difference of two images.
fn rms_difference(dataset: &Dataset, a: usize, b: usize) -> Result<f64, EvalError> {
    let values = load_images(dataset, &[a, b])?.to_vec();
    let (a, b) = values.split_at(values.len() / 2);
    Ok((squared_distance(a, b) / a.len() as f64).sqrt())
}
