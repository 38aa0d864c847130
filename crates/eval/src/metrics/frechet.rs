//! The Fréchet distance between two sets of features, each taken for a Gaussian (Dowson & Landau 1982; Heusel et al. 2017, equation 6):
//!
//! ```text
//! d² = |μ₁ − μ₂|² + tr(Σ₁) + tr(Σ₂) − 2 tr((Σ₁^½ Σ₂ Σ₁^½)^½)
//! ```
//!
//! "FID" is this number under Inception's features; under any others it has another scale and must not be compared with published ones.

use super::features::{Features, comparable};
use crate::EvalError;
use nalgebra::{DMatrix, DVector};
use std::borrow::Cow;

/// The largest side of a covariance that is taken apart: that of Inception's features, twice. One of 1728 took 55 s, and the time goes with the third power.
pub const MAX_DIMENSION: usize = 4096;

/// Features whose outer products are added at a time.
const BLOCK: usize = 1024;

/// Mean and covariance of features.
#[derive(Clone, Debug, PartialEq)]
pub struct GaussianStats {
    mean: DVector<f64>,
    /// Unbiased: divided by one less than the number of rows, as `numpy.cov`.
    covariance: DMatrix<f64>,
}

/// Sums of rows and of their outer products, about an origin: what mean and covariance are made of, and what can be added.
#[derive(Clone, Debug)]
pub struct MomentSums {
    origin: DVector<f64>,
    sum: DVector<f64>,
    products: DMatrix<f64>,
    count: usize,
}

impl MomentSums {
    /// Those of `rows` about `origin`, in double precision. Near the mean no digits are lost.
    ///
    /// # Panics
    /// When the origin has another width.
    #[track_caller]
    #[must_use]
    pub fn of(rows: &Features, origin: &[f64]) -> Self {
        let width = rows.width();
        assert_eq!(
            origin.len(),
            width,
            "MomentSums: rows of {width} numbers about {}",
            origin.len()
        );
        let (mut sum, mut products) = (DVector::zeros(width), DMatrix::zeros(width, width));
        for block in rows.values().chunks(BLOCK * width) {
            let moved = block
                .iter()
                .zip(origin.iter().cycle())
                .map(|(&value, origin)| f64::from(value) - origin);
            let moved = DMatrix::from_iterator(width, block.len() / width, moved);
            products.gemm(1.0, &moved, &moved.transpose(), 1.0);
            sum += moved.column_sum();
        }
        Self { origin: DVector::from_column_slice(origin), sum, products, count: rows.len() }
    }

    /// The moments of all these rows together, which must have one origin.
    pub fn sum<'a>(parts: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut parts = parts.into_iter();
        let empty = || Self {
            origin: DVector::zeros(0),
            sum: DVector::zeros(0),
            products: DMatrix::zeros(0, 0),
            count: 0,
        };
        let first = parts.next().map_or_else(empty, Self::clone);
        parts.fold(first, |mut all, part| {
            all.sum += &part.sum;
            all.products += &part.products;
            all.count += part.count;
            all
        })
    }

    /// Mean and covariance; `None` of fewer than 2 rows.
    #[must_use]
    pub fn statistics(&self) -> Option<GaussianStats> {
        if self.count < 2 {
            return None;
        }
        let count = self.count as f64;
        let shift = &self.sum / count;
        let covariance = (&self.products - &shift * shift.transpose() * count) / (count - 1.0);
        Some(GaussianStats { mean: &self.origin + shift, covariance })
    }
}

impl GaussianStats {
    /// Those of a set, in double precision.
    ///
    /// # Errors
    /// Fewer than 2 rows, or a number that is not finite.
    pub fn of(rows: &Features) -> Result<Self, EvalError> {
        let found = MomentSums::of(rows, &rows.mean()).statistics();
        let found = found.ok_or_else(|| {
            EvalError::Mismatch(format!(
                "a covariance takes at least 2 pictures, not {}",
                rows.len()
            ))
        })?;
        if found.covariance.iter().all(|value| value.is_finite()) {
            Ok(found)
        } else {
            Err(not_finite())
        }
    }
}

/// Σ^½ of a positive semidefinite matrix; eigenvalues that rounding made negative count as 0.
fn root(matrix: &DMatrix<f64>) -> DMatrix<f64> {
    let eigen = matrix.clone().symmetric_eigen();
    let roots = eigen.eigenvalues.map(|value| value.max(0.0).sqrt());
    let scaled = &eigen.eigenvectors * DMatrix::from_diagonal(&roots);
    scaled * eigen.eigenvectors.transpose()
}

/// The two sets in as many numbers as they have rows together, where that is fewer than the features have: coordinates in the space that they span.
/// Lengths and angles are the same there, and so are the distance and that of any of the rows; the time is not, for pixels are many.
///
/// # Errors
/// Features of different widths, a number that is not finite, or sets of more than [`MAX_DIMENSION`] features and rows.
pub fn project_to_row_space<'a>(
    real: &'a Features,
    fake: &'a Features,
) -> Result<[Cow<'a, Features>; 2], EvalError> {
    comparable(real, fake, 2, "the Fréchet distance")?;
    let (width, rows) = (real.width(), real.len() + fake.len());
    if width.min(rows) > MAX_DIMENSION {
        return Err(EvalError::Mismatch(format!(
            "the Fréchet distance of {rows} pictures by features of {width} numbers takes too long, its time goes with the third power: leave fid out of the metrics, or take smaller \
             pictures, fewer of them, or other features"
        )));
    }
    if width <= rows {
        return Ok([real, fake].map(Cow::Borrowed));
    }
    let mean = real.mean();
    let moved = real
        .values()
        .iter()
        .chain(fake.values())
        .zip(mean.iter().cycle())
        .map(|(&value, mean)| f64::from(value) - mean);
    let moved = DMatrix::from_iterator(width, rows, moved);
    let products = moved.tr_mul(&moved);
    if !products.iter().all(|value| value.is_finite()) {
        return Err(not_finite());
    }
    // XᵀX = QΛQᵀ, and the columns of Λ^½Qᵀ have the same products with each other as those of X.
    let eigen = products.symmetric_eigen();
    let lengths = eigen.eigenvalues.map(|value| value.max(0.0).sqrt());
    let coordinates = DMatrix::from_diagonal(&lengths) * eigen.eigenvectors.transpose();
    let of = |from: usize, count: usize| {
        let values = coordinates.columns(from, count).iter().map(|&value| value as f32).collect();
        Cow::Owned(Features::new(rows, values))
    };
    Ok([of(0, real.len()), of(real.len(), fake.len())])
}

fn not_finite() -> EvalError {
    EvalError::Mismatch(
        "the features are not all finite: the pictures or the feature network are broken".into(),
    )
}

/// A set that others are compared with: the root of its covariance is computed once.
pub struct Frechet {
    statistics: GaussianStats,
    root: DMatrix<f64>,
}

impl Frechet {
    /// Distances from these statistics.
    #[must_use]
    pub fn to(statistics: GaussianStats) -> Self {
        Self { root: root(&statistics.covariance), statistics }
    }

    /// d² between the two, at least 0.
    ///
    /// # Errors
    /// Features of different widths.
    pub fn distance(&self, other: &GaussianStats) -> Result<f64, EvalError> {
        let own = &self.statistics;
        let (a, b) = (own.mean.len(), other.mean.len());
        if a != b {
            return Err(EvalError::Mismatch(format!(
                "features of {a} numbers beside features of {b}: measure both sets by the same network"
            )));
        }
        let inner = &self.root * &other.covariance * &self.root;
        let inner = (&inner + inner.transpose()) * 0.5;
        let overlap: f64 =
            inner.symmetric_eigenvalues().iter().map(|value| value.max(0.0).sqrt()).sum();
        let squared = (&own.mean - &other.mean).norm_squared();
        Ok((squared + own.covariance.trace() + other.covariance.trace() - 2.0 * overlap).max(0.0))
    }
}

/// The Fréchet distance of two sets of features.
///
/// # Errors
/// As [`project_to_row_space`], or fewer than 2 rows.
pub fn distance(real: &Features, fake: &Features) -> Result<f64, EvalError> {
    let [real, fake] = project_to_row_space(real, fake)?;
    Frechet::to(GaussianStats::of(&real)?).distance(&GaussianStats::of(&fake)?)
}
