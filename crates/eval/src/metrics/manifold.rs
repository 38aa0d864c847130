//! Improved precision and recall, density and coverage, and memorisation: what nearest neighbors tell of two sets.

use super::features::{Features, comparable};
use super::pairwise::{Neighbor, PairwiseDistances};
use crate::{EvalError, Progress};
use std::borrow::Cow;
use tensor::Device;

/// Precision and recall (Kynkäänniemi et al. 2019, equations 1 and 2), density and coverage (Naeem et al. 2020, equations 4 and 6).
#[derive(Clone, Debug, PartialEq)]
pub struct Manifold {
    /// Of each generated picture: whether it lies within the k-th neighbour's distance of a real one.
    pub precise: Vec<bool>,
    /// Of each real picture: whether it lies within the k-th neighbour's distance of a generated one.
    pub recalled: Vec<bool>,
    /// Of each generated picture: how many real ones' balls it lies in, divided by k.
    pub density: Vec<f64>,
    /// Of each real picture: whether its ball holds a generated one.
    pub covered: Vec<bool>,
}

/// The share that is true.
#[must_use]
pub fn fraction(flags: &[bool]) -> f64 {
    flags.iter().filter(|&&flag| flag).count() as f64 / flags.len().max(1) as f64
}

/// The squared distance of each row to its k-th nearest one in the same set.
///
/// # Errors
/// Not more than `k` rows, the device, or [`EvalError::Stopped`].
pub fn radii(
    rows: &Features,
    k: usize,
    device: &Device,
    progress: Progress<'_>,
) -> Result<Vec<f64>, EvalError> {
    let nearest = PairwiseDistances::new(rows, rows, device).nearest(k, progress)?;
    Ok(nearest.iter().map(|found| found.last().map_or(0.0, |last| last.squared)).collect())
}

/// All four, by the `k` nearest neighbors.
///
/// # Errors
/// Features of different widths, not more than `k` pictures, the device, or [`EvalError::Stopped`].
pub fn manifold(
    real: &Features,
    fake: &Features,
    k: usize,
    device: &Device,
    progress: Progress<'_>,
) -> Result<Manifold, EvalError> {
    comparable(real, fake, k + 1, &format!("precision and recall by {k} neighbors"))?;
    let (radii_real, radii_fake) =
        (radii(real, k, device, progress)?, radii(fake, k, device, progress)?);
    let balls = PairwiseDistances::new(fake, real, device).each(
        "comparing the sets",
        progress,
        |guess| guess.within(&radii_real).collect::<Vec<usize>>(),
    )?;
    let recalled = PairwiseDistances::new(real, fake, device).each(
        "comparing the sets",
        progress,
        |guess| guess.within(&radii_fake).next().is_some(),
    )?;
    let mut covered = vec![false; real.len()];
    for index in balls.iter().flatten() {
        if let Some(flag) = covered.get_mut(*index) {
            *flag = true;
        }
    }
    Ok(Manifold {
        precise: balls.iter().map(|balls| !balls.is_empty()).collect(),
        density: balls.iter().map(|balls| balls.len() as f64 / k as f64).collect(),
        recalled,
        covered,
    })
}

/// How near generated pictures are to training pictures.
#[derive(Clone, Debug, PartialEq)]
pub struct Memorization {
    /// Of each generated picture: whether it is nearer to a training picture than that one is to all other training pictures.
    pub memorized: Vec<bool>,
    /// Of each training picture: whether it is nearer to another one than that one is to all the rest. It is what to expect of new pictures from the same
    /// distribution, and by no means 0.
    pub expected: Vec<bool>,
    /// Of each generated picture: its nearest training picture.
    pub nearest: Vec<Neighbor>,
}

/// All pictures that could have been learned by heart, and the nearest ones of each among them: found once, for any number of generated sets.
#[derive(Clone, Debug)]
pub struct TrainNeighborIndex<'a> {
    rows: Cow<'a, Features>,
    own: Vec<Vec<Neighbor>>,
}

impl<'a> TrainNeighborIndex<'a> {
    /// Looks for the two nearest of each.
    ///
    /// # Errors
    /// Fewer than 3 pictures, the device, or [`EvalError::Stopped`].
    pub fn new(
        rows: Cow<'a, Features>,
        device: &Device,
        progress: Progress<'_>,
    ) -> Result<Self, EvalError> {
        comparable(&rows, &rows, 3, "the memorisation score")?;
        let own = PairwiseDistances::new(&rows, &rows, device).nearest(2, progress)?;
        Ok(Self { rows, own })
    }

    /// The distance of training picture `index` to its nearest one but `without`.
    fn radius(&self, index: usize, without: Option<usize>) -> f64 {
        let others = self.own.get(index).into_iter().flatten();
        others
            .filter(|other| Some(other.index) != without)
            .map(|other| other.squared)
            .next()
            .unwrap_or(0.0)
    }

    /// Looks for generated pictures that are nearer to a training picture than any other training picture is.
    ///
    /// # Errors
    /// Features of different widths, the device, or [`EvalError::Stopped`].
    pub fn memorization(
        &self,
        fake: &Features,
        device: &Device,
        progress: Progress<'_>,
    ) -> Result<Memorization, EvalError> {
        comparable(&self.rows, fake, 1, "the memorisation score")?;
        let found = PairwiseDistances::new(fake, &self.rows, device).nearest(1, progress)?;
        let nearest: Vec<Neighbor> =
            found.into_iter().filter_map(|found| found.first().copied()).collect();
        let memorized =
            nearest.iter().map(|found| found.squared < self.radius(found.index, None)).collect();
        let first = self.own.iter().map(|found| found.first());
        let expected = first
            .enumerate()
            .map(|(i, found)| {
                found.is_some_and(|near| near.squared < self.radius(near.index, Some(i)))
            })
            .collect();
        Ok(Memorization { memorized, expected, nearest })
    }
}
