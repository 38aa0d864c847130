//! Pairwise distances and exact nearest neighbors of two feature sets, by matrix products.
//!
//! |a − b|² = |a|² + |b|² − 2 a·b is fast, because the products a·b of a block of rows are one
//! matrix product, but in single precision it loses digits where a and b are close. So the product
//! only approximates, with a bound on its error: wherever the bound cannot decide, the distance is
//! computed again as Σ (a − b)² in double precision. All decisions are those of exact distances.
//!
//! ```
//! use eval::Progress;
//! use eval::features::Features;
//! use eval::metrics::pairwise::PairwiseDistances;
//! use tensor::Device;
//!
//! let a = Features::new(2, vec![0.0, 0.0]); let b = Features::new(2, vec![3.0, 4.0, 1.0, 0.0]);
//! let nearest = PairwiseDistances::new(&a, &b, &Device::Cpu).nearest(2, Progress::SILENT)?;
//! assert_eq!(nearest[0].iter().map(|n| (n.index, n.squared)).collect::<Vec<_>>(), [(1, 1.0), (0,
//! 25.0)]);
//! # Ok::<(), eval::EvalError>(())
//! ```

use crate::features::Features;
use crate::{EvalError, Progress};
use rayon::prelude::*;
use tensor::{Device, Tensor};

/// The most approximate distances in memory at a time.
const MAX_HELD: usize = 1 << 24;
/// The most rows of the first set in a block, and the most multiply-adds of one: less than a
/// second.
const MAX_BLOCK: usize = 512;
const MAX_WORK: usize = 1 << 34;

/// A neighbor: a row of the second set and the squared distance to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbor {
    /// The row's index in the second set.
    pub index: usize,
    /// Σ (a − b)².
    pub squared: f64,
}

/// The squared Euclidean distance Σ (a − b)², in double precision.
pub fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum()
}

/// Distances from the rows of one set to those of another.
pub struct PairwiseDistances<'a> {
    a: &'a Features,
    b: &'a Features,
    /// Whether both are the same set, in which a row is not its own neighbor.
    same: bool,
    /// Both sets minus the mean of the second. That changes no distance, and makes the products,
    /// and so their rounding errors, small.
    centered_a: Features,
    centered_b: Tensor,
    /// |b|² of each row, and the largest.
    norms_b: Vec<f64>,
    max_norm_b: f64,
    device: Device,
}

/// Approximate squared distances of one row to all rows of the second set.
pub struct ApproxDistances<'a> {
    sets: &'a PairwiseDistances<'a>,
    row: usize,
    /// a·b for each row b.
    products: &'a [f32],
    norm: f64,
    /// The largest error of an approximate distance.
    bound: f64,
}

impl<'a> PairwiseDistances<'a> {
    /// Distances from the rows of `a` to those of `b`, approximated on `device`.
    ///
    /// # Panics
    /// Panics if the widths differ.
    #[track_caller]
    pub fn new(a: &'a Features, b: &'a Features, device: &Device) -> Self {
        assert_eq!(a.width(), b.width(), "PairwiseDistances: features of different widths");
        let mean = b.mean();
        let center = |features: &Features| {
            let values = features
                .values()
                .iter()
                .zip(mean.iter().cycle())
                .map(|(&value, mean)| (f64::from(value) - mean) as f32);
            Features::new(features.width(), values.collect())
        };
        let centered = center(b);
        let norms_b: Vec<f64> = squared_norms(&centered);
        let max_norm_b = norms_b.iter().copied().fold(0.0, f64::max);
        let centered_b = centered.tensor(0, centered.len()).to_device(device);
        Self {
            same: std::ptr::eq(a, b),
            centered_a: center(a),
            a,
            b,
            centered_b,
            norms_b,
            max_norm_b,
            device: device.clone(),
        }
    }

    /// Applies `f` to the distances of each row of `a`, and returns its results in the order of
    /// the rows.
    ///
    /// # Errors
    /// Returns an error if the device fails; [`EvalError::Stopped`] if `progress` cancels.
    pub fn for_each_row<R: Send>(
        &self,
        task: &str,
        progress: Progress<'_>,
        f: impl Fn(&ApproxDistances<'_>) -> R + Sync,
    ) -> Result<Vec<R>, EvalError> {
        let mut results = Vec::with_capacity(self.a.len());
        let norms_a = squared_norms(&self.centered_a);
        let held = MAX_HELD / self.b.len().max(1);
        let block = held.min(MAX_WORK / self.b.values().len().max(1)).clamp(1, MAX_BLOCK);
        for start in (0..self.a.len()).step_by(block) {
            progress.report(task, start, self.a.len())?;
            let count = block.min(self.a.len() - start);
            let block = self.centered_a.tensor(start, count).to_device(&self.device);
            let products = block.matmul(&self.centered_b, false, true).to_vec();
            self.device.check()?;
            let rows = products.par_chunks_exact(self.b.len()).enumerate().map(|(at, products)| {
                let row = start + at;
                let norm = norms_a.get(row).copied().unwrap_or(0.0);
                // Rounding of the centered rows, and of a single-precision dot product of this
                // length; MIN_POSITIVE keeps the bound above 0 for rows that are all zero.
                let bound = f64::from(f32::EPSILON)
                    * (self.a.width() + 8) as f64
                    * 2.0
                    * (norm.max(self.max_norm_b) + f64::MIN_POSITIVE);
                f(&ApproxDistances { sets: self, row, products, norm, bound })
            });
            results.par_extend(rows);
        }
        Ok(results)
    }

    /// The `k` nearest rows of the second set for each row of the first, nearest first.
    ///
    /// # Errors
    /// Returns the errors of [`for_each_row`](Self::for_each_row), and an error if the second set
    /// has fewer than `k` rows.
    pub fn nearest(
        &self,
        k: usize,
        progress: Progress<'_>,
    ) -> Result<Vec<Vec<Neighbor>>, EvalError> {
        let available = self.b.len() - usize::from(self.same);
        if available < k {
            return Err(EvalError::TooFewImages {
                purpose: "a nearest-neighbor search".into(),
                set: "searched set".into(),
                needed: k,
                found: available,
            });
        }
        self.for_each_row("finding nearest neighbors", progress, |row| row.nearest(k))
    }
}

fn squared_norms(features: &Features) -> Vec<f64> {
    features
        .values()
        .chunks_exact(features.width())
        .map(|row| row.iter().map(|&v| f64::from(v).powi(2)).sum())
        .collect()
}

impl ApproxDistances<'_> {
    /// Indices of the second set's rows with approximate squared distances, without this row
    /// itself.
    fn approximate(&self) -> impl Iterator<Item = (usize, f64)> {
        let skip = if self.sets.same { self.row } else { usize::MAX };
        let all = self.products.iter().zip(&self.sets.norms_b).enumerate();
        all.filter(move |(index, _)| *index != skip).map(move |(index, (&product, norm))| {
            (index, self.norm + norm - 2.0 * f64::from(product))
        })
    }

    fn exact(&self, index: usize) -> f64 {
        squared_distance(self.sets.a.row(self.row), self.sets.b.row(index))
    }

    /// Indices of the rows whose squared distance is at most their own squared radius,
    /// `radii[index]`.
    pub fn within<'b>(&'b self, radii: &'b [f64]) -> impl Iterator<Item = usize> + 'b {
        self.approximate().filter_map(move |(index, distance)| {
            let radius = *radii.get(index)?;
            let inside = if (distance - radius).abs() <= self.bound {
                self.exact(index) <= radius
            } else {
                distance < radius
            };
            inside.then_some(index)
        })
    }

    /// The `k` nearest rows, nearest first; equally near ones in ascending order of their indices.
    pub fn nearest(&self, k: usize) -> Vec<Neighbor> {
        let mut candidates: Vec<(usize, f64)> = self.approximate().collect();
        if k < candidates.len() {
            candidates.select_nth_unstable_by(k - 1, |a, b| a.1.total_cmp(&b.1));
            // The k-th distance and a candidate's may each be wrong by the bound.
            let limit = candidates.get(k - 1).map_or(0.0, |(_, kth)| kth + 2.0 * self.bound);
            candidates.retain(|(_, distance)| *distance <= limit);
        }
        let mut found: Vec<Neighbor> = candidates
            .into_iter()
            .map(|(index, _)| Neighbor { index, squared: self.exact(index) })
            .collect();
        found.sort_by(|a, b| a.squared.total_cmp(&b.squared).then(a.index.cmp(&b.index)));
        found.truncate(k);
        found
    }
}
