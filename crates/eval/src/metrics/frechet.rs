//! The Fréchet distance between two sets of features, each taken for a Gaussian (Dowson & Landau 1982; Heusel et al. 2017, equation 6):
//!
//! ```text
//! d² = |μ₁ − μ₂|² + tr(Σ₁) + tr(Σ₂) − 2 tr((Σ₁^½ Σ₂ Σ₁^½)^½)
//! ```
//!
//! "FID" is this number under Inception's features; under any others it has another scale and must not be compared with published ones.

use super::rows::{Rows, comparable};
use crate::EvalError;
use nalgebra::{DMatrix, DVector};

/// Rows whose outer products are added at a time.
const BLOCK: usize = 1024;

/// Mean and covariance of features.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    mean: DVector<f64>,
    /// Unbiased: divided by one less than the number of rows, as `numpy.cov`.
    covariance: DMatrix<f64>,
    count: usize,
}

impl Statistics {
    /// Those of a set, in double precision.
    ///
    /// # Errors
    /// Fewer than 2 rows, or a number that is not finite.
    pub fn of(rows: &Rows) -> Result<Self, EvalError> {
        if rows.len() < 2 {
            return Err(EvalError::Mismatch(format!("a covariance takes at least 2 pictures, not {}", rows.len())));
        }
        let (width, count) = (rows.width(), rows.len());
        let mean = DVector::from_vec(rows.mean());
        let mut covariance = DMatrix::zeros(width, width);
        for block in rows.values().chunks(BLOCK * width) {
            let centred = DMatrix::from_iterator(width, block.len() / width, block.iter().map(|&value| f64::from(value)));
            let centred = DMatrix::from_fn(width, centred.ncols(), |i, j| centred[(i, j)] - mean[i]);
            covariance.gemm(1.0, &centred, &centred.transpose(), 1.0);
        }
        covariance /= (count - 1) as f64;
        if covariance.iter().all(|value| value.is_finite()) {
            Ok(Self { mean, covariance, count })
        } else {
            Err(EvalError::Mismatch("the features are not all finite: the pictures or the feature network are broken".into()))
        }
    }

    /// Whether the rows are too few for the covariance to have full rank: the distance is then mostly about their number.
    #[must_use]
    pub fn is_singular(&self) -> bool {
        self.count <= self.mean.len()
    }

    /// The root of the covariance, and its trace.
    fn root(&self) -> DMatrix<f64> {
        root(&self.covariance)
    }
}

/// Σ^½ of a positive semidefinite matrix; eigenvalues that rounding made negative count as 0.
fn root(matrix: &DMatrix<f64>) -> DMatrix<f64> {
    let eigen = matrix.clone().symmetric_eigen();
    let roots = eigen.eigenvalues.map(|value| value.max(0.0).sqrt());
    let scaled = &eigen.eigenvectors * DMatrix::from_diagonal(&roots);
    scaled * eigen.eigenvectors.transpose()
}

/// A set that others are compared with: the root of its covariance is computed once.
pub struct Frechet {
    statistics: Statistics,
    root: DMatrix<f64>,
}

impl Frechet {
    /// Distances from these statistics.
    #[must_use]
    pub fn to(statistics: Statistics) -> Self {
        Self { root: statistics.root(), statistics }
    }

    /// d² between the two, at least 0.
    ///
    /// # Errors
    /// Features of different widths.
    pub fn distance(&self, other: &Statistics) -> Result<f64, EvalError> {
        let own = &self.statistics;
        let (a, b) = (own.mean.len(), other.mean.len());
        if a != b {
            return Err(EvalError::Mismatch(format!(
                "features of {a} numbers beside features of {b}: measure both sets by the same network"
            )));
        }
        let inner = &self.root * &other.covariance * &self.root;
        let inner = (&inner + inner.transpose()) * 0.5;
        let overlap: f64 = inner.symmetric_eigenvalues().iter().map(|value| value.max(0.0).sqrt()).sum();
        let squared = (&own.mean - &other.mean).norm_squared();
        Ok((squared + own.covariance.trace() + other.covariance.trace() - 2.0 * overlap).max(0.0))
    }
}

/// The Fréchet distance of two sets of features.
///
/// # Errors
/// Features of different widths, fewer than 2 rows, or a number that is not finite.
pub fn distance(real: &Rows, fake: &Rows) -> Result<f64, EvalError> {
    comparable(real, fake, 2, "the Fréchet distance")?;
    Frechet::to(Statistics::of(real)?).distance(&Statistics::of(fake)?)
}
