//! Distances between the rows of two sets, through matrix products, and what is decided by them.
//!
//! |a − b|² = |a|² + |b|² − 2 a·b loses digits where a and b are close. So the product of a block is only a guess with a bound on its error:
//! whatever lies within the bound of a decision is computed again as Σ (a − b)² in double precision. Decisions are those of exact distances.

use super::features::Features;
use crate::EvalError;
use crate::Progress;
use rayon::prelude::*;
use tensor::{Device, Tensor};

/// Distances held at a time, and the most rows of the first set that they are of.
const HELD: usize = 1 << 24;
const BLOCK: usize = 512;

/// A row's neighbour: its number and the squared distance to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbor {
    /// The row's number in the second set.
    pub index: usize,
    /// Σ (a − b)².
    pub squared: f64,
}

/// Σ (a − b)² in double precision.
#[must_use]
pub fn squared(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum()
}

/// Two sets of rows, moved so that the second's mean is at 0 (which changes no distance, and makes the products small).
pub struct PairwiseDistances<'a> {
    a: &'a Features,
    b: &'a Features,
    own: bool,
    centred_a: Features,
    centred_b: Tensor,
    /// |b|² of each row, and the largest.
    norms_b: Vec<f64>,
    most_b: f64,
    device: Device,
}

/// Guesses of one row's squared distances to all rows of the second set.
pub struct ApproxDistances<'a> {
    pair: &'a PairwiseDistances<'a>,
    row: usize,
    values: &'a [f32],
    norm: f64,
    bound: f64,
}

impl<'a> PairwiseDistances<'a> {
    /// Distances from the rows of `a` to those of `b`, guessed on `device`.
    ///
    /// # Panics
    /// When the widths differ.
    #[track_caller]
    #[must_use]
    pub fn new(a: &'a Features, b: &'a Features, device: &Device) -> Self {
        assert_eq!(a.width(), b.width(), "PairwiseDistances: rows of different widths");
        let mean = b.mean();
        let centred = |rows: &Features| {
            let values = rows
                .values()
                .iter()
                .zip(mean.iter().cycle())
                .map(|(&value, mean)| (f64::from(value) - mean) as f32);
            Features::new(rows.width(), values.collect())
        };
        let moved = centred(b);
        let norms_b: Vec<f64> = norms(&moved);
        let most_b = norms_b.iter().copied().fold(0.0, f64::max);
        let centred_b = moved.tensor(0, moved.len()).to_device(device);
        Self {
            own: std::ptr::eq(a, b),
            centred_a: centred(a),
            a,
            b,
            centred_b,
            norms_b,
            most_b,
            device: device.clone(),
        }
    }

    /// `f` of each row of `a` with its distances, in order of the rows; a row is not its own neighbour where both sets are the same one.
    ///
    /// # Errors
    /// The device, or [`EvalError::Stopped`].
    pub fn each<R: Send>(
        &self,
        what: &str,
        progress: Progress<'_>,
        f: impl Fn(&ApproxDistances<'_>) -> R + Sync,
    ) -> Result<Vec<R>, EvalError> {
        let mut results = Vec::with_capacity(self.a.len());
        let norms_a = norms(&self.centred_a);
        let block = (HELD / self.b.len().max(1)).clamp(1, BLOCK);
        for start in (0..self.a.len()).step_by(block) {
            progress.report(what, start, self.a.len())?;
            let count = block.min(self.a.len() - start);
            let block = self.centred_a.tensor(start, count).to_device(&self.device);
            let products = block.matmul(&self.centred_b, false, true).to_vec();
            self.device.check()?;
            let part = products.par_chunks_exact(self.b.len()).enumerate().map(|(at, values)| {
                let row = start + at;
                let norm = norms_a.get(row).copied().unwrap_or(0.0);
                // Rounding of the moved rows, and of a product of this length in single precision.
                let bound = f64::from(f32::EPSILON)
                    * (self.a.width() + 8) as f64
                    * 2.0
                    * (norm.max(self.most_b) + f64::MIN_POSITIVE);
                f(&ApproxDistances { pair: self, row, values, norm, bound })
            });
            results.par_extend(part);
        }
        Ok(results)
    }

    /// The `k`-th nearest row of the second set for each row of the first (counted from 1), with the ones before it: `[k]` each, nearest first.
    ///
    /// # Errors
    /// As [`each`](Self::each), and fewer rows than that.
    pub fn nearest(
        &self,
        k: usize,
        progress: Progress<'_>,
    ) -> Result<Vec<Vec<Neighbor>>, EvalError> {
        let there = self.b.len() - usize::from(self.own);
        if there < k {
            return Err(EvalError::Mismatch(format!(
                "{k} nearest neighbors among {there} pictures: give more of them"
            )));
        }
        self.each("looking for neighbors", progress, |guess| guess.nearest(k))
    }
}

fn norms(rows: &Features) -> Vec<f64> {
    rows.values()
        .chunks_exact(rows.width())
        .map(|row| row.iter().map(|&v| f64::from(v).powi(2)).sum())
        .collect()
}

impl ApproxDistances<'_> {
    /// The number of this row.
    #[must_use]
    pub fn row(&self) -> usize {
        self.row
    }

    /// Numbers of the second set's rows, with guesses; this row itself is left out.
    fn guesses(&self) -> impl Iterator<Item = (usize, f64)> {
        let skip = if self.pair.own { self.row } else { usize::MAX };
        let all = self.values.iter().zip(&self.pair.norms_b).enumerate();
        all.filter(move |(index, _)| *index != skip).map(move |(index, (&product, norm))| {
            (index, self.norm + norm - 2.0 * f64::from(product))
        })
    }

    /// The exact squared distance to a row.
    #[must_use]
    pub fn exact(&self, index: usize) -> f64 {
        squared(self.pair.a.row(self.row), self.pair.b.row(index))
    }

    /// Numbers of the rows within their own squared radius, `radii[index]`.
    pub fn within<'b>(&'b self, radii: &'b [f64]) -> impl Iterator<Item = usize> + 'b {
        self.guesses().zip_radius(radii).filter_map(move |(index, guess, radius)| {
            let inside = if (guess - radius).abs() <= self.bound {
                self.exact(index) <= radius
            } else {
                guess < radius
            };
            inside.then_some(index)
        })
    }

    /// The `k` nearest, nearest first; of equally near ones those of smaller numbers.
    #[must_use]
    pub fn nearest(&self, k: usize) -> Vec<Neighbor> {
        let mut guesses: Vec<(usize, f64)> = self.guesses().collect();
        if k < guesses.len() {
            guesses.select_nth_unstable_by(k - 1, |a, b| a.1.total_cmp(&b.1));
            let reach = guesses.get(k - 1).map_or(0.0, |(_, guess)| guess + 2.0 * self.bound);
            guesses.retain(|(_, guess)| *guess <= reach);
        }
        let mut found: Vec<Neighbor> = guesses
            .into_iter()
            .map(|(index, _)| Neighbor { index, squared: self.exact(index) })
            .collect();
        found.sort_by(|a, b| a.squared.total_cmp(&b.squared).then(a.index.cmp(&b.index)));
        found.truncate(k);
        found
    }
}

trait ZipRadius: Iterator<Item = (usize, f64)> + Sized {
    /// Each row's radius beside its guess.
    fn zip_radius(self, radii: &[f64]) -> impl Iterator<Item = (usize, f64, f64)> {
        self.filter_map(move |(index, guess)| {
            radii.get(index).map(|&radius| (index, guess, radius))
        })
    }
}

impl<I: Iterator<Item = (usize, f64)>> ZipRadius for I {}
