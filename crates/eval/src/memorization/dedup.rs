//! Duplicates of a set, by the codes of an autoencoder.

use super::autoencoder::{Autoencoder, AutoencoderConfig};
use super::hash_codes::{Code, groups};
use crate::images::load_images;
use crate::{EvalError, Progress};
use data::Dataset;
use std::collections::HashSet;
use tensor::Device;
use tensor::rng::Philox;

/// Philox stream of the pairs that are no duplicates, presumably.
const PAIRS: u64 = 0x7061_6972;
/// How many of those.
const RANDOM_PAIRS: usize = 2000;
/// Of their distances, this share is smaller than that from which a duplicate is borderline.
const NEAR: f64 = 0.01;

/// What counts as a duplicate.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Options {
    /// How the autoencoder learns.
    pub training: AutoencoderConfig,
    /// How many bits of two codes may differ: 0 in the paper.
    pub radius: u32,
}

/// Pictures that are alike.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Their numbers, ascending; the first is kept.
    pub pictures: Vec<usize>,
    /// Root mean square difference of each of the others to the first, over pixels from −1 to 1.
    pub distances: Vec<f64>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Duplicates {
    /// In the order of their first pictures.
    pub groups: Vec<Group>,
    /// How many different codes there are.
    pub distinct: usize,
    /// Hidden units that are above 0 for some pictures and not for others, of 128: the rest tells nothing.
    pub informative_bits: u32,
    /// The autoencoder's mean squared error per pixel, with noise and dropout on.
    pub loss: f64,
    /// The median distance of pairs drawn by chance, and what 1 % of them stay below.
    pub median: f64,
    /// See `median`.
    pub near: f64,
}

impl Duplicates {
    /// Numbers of the pictures that would be left out.
    #[must_use]
    pub fn to_drop(&self) -> Vec<usize> {
        let mut all: Vec<usize> =
            self.groups.iter().flat_map(|group| group.pictures.iter().skip(1).copied()).collect();
        all.sort_unstable();
        all
    }

    /// How many of those lie as far from the picture that stands for them as 99 % of pairs drawn by chance: false positives, as far as pixels can
    /// tell. The authors looked at collisions and put theirs at less than 1 in 100.
    #[must_use]
    pub fn borderline(&self) -> usize {
        self.groups
            .iter()
            .flat_map(|group| &group.distances)
            .filter(|&&distance| distance > self.near)
            .count()
    }
}

/// Finds the duplicates of a set whose pictures are 32×32×3, in linear time for a radius of 0.
///
/// # Errors
/// Pictures of another size or that cannot be decoded, the device, or the user stops it.
pub fn dedup(
    dataset: &Dataset,
    options: Options,
    device: &Device,
    progress: Progress<'_>,
) -> Result<Duplicates, EvalError> {
    if dataset.shape() != [32, 32, 3] {
        let [h, w, c] = dataset.shape();
        return Err(EvalError::Mismatch(format!(
            "{}: pictures of {h}x{w}x{c}; codes are made of 32x32x3",
            dataset.name()
        )));
    }
    let autoencoder = Autoencoder::train(dataset, options.training, device, progress)?;
    let codes = autoencoder.codes(dataset, progress)?;
    let (ever, always) =
        codes.iter().fold((0, Code::MAX), |(ever, always), code| (ever | code, always & code));
    let found = groups(&codes, options.radius);
    let mut measured = Vec::with_capacity(found.len());
    for (k, pictures) in found.iter().enumerate() {
        let mut distances = Vec::with_capacity(pictures.len());
        for other in pictures.iter().skip(1) {
            distances.push(distance(dataset, pictures[0], *other)?);
        }
        measured.push(Group { pictures: pictures.clone(), distances });
        progress.report("measuring groups", k + 1, found.len())?;
    }
    let chance = random_pair_distances(dataset, options.training.seed)?;
    let at =
        |share: f64| chance.get((chance.len() as f64 * share) as usize).copied().unwrap_or(0.0);
    Ok(Duplicates {
        groups: measured,
        distinct: codes.iter().collect::<HashSet<_>>().len(),
        informative_bits: (ever & !always).count_ones(),
        loss: autoencoder.loss,
        median: at(0.5),
        near: at(NEAR),
    })
}

/// Distances of pairs drawn by chance, ascending.
fn random_pair_distances(dataset: &Dataset, seed: u64) -> Result<Vec<f64>, EvalError> {
    let len = dataset.len() as u32;
    let mut rng = Philox::new(seed, PAIRS);
    let mut distances = Vec::new();
    if len > 1 {
        for _ in 0..RANDOM_PAIRS {
            let a = rng.below(len);
            let b = (a + 1 + rng.below(len - 1)) % len;
            distances.push(distance(dataset, a as usize, b as usize)?);
        }
    }
    distances.sort_by(f64::total_cmp);
    Ok(distances)
}

/// The root mean square difference of two pictures.
fn distance(dataset: &Dataset, a: usize, b: usize) -> Result<f64, EvalError> {
    let values = load_images(dataset, &[a, b])?.to_vec();
    let (a, b) = values.split_at(values.len() / 2);
    let sum: f64 = a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum();
    Ok((sum / a.len() as f64).sqrt())
}
