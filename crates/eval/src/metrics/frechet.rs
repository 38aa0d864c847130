//! Fréchet distance of two feature sets, each modeled as a Gaussian (Dowson & Landau 1982; FID:
//! Heusel et al. 2017, equation 6):
//!
//! ```text
//! d² = |μ₁ − μ₂|² + tr(Σ₁) + tr(Σ₂) − 2 tr((Σ₁^½ Σ₂ Σ₁^½)^½)
//! ```
//!
//! With Inception features this value is FID (Fréchet inception distance). With any other features
//! it has another scale and must not be compared with published values.
//!
//! ```
//! use eval::features::Features;
//! use eval::metrics::frechet;
//!
//! // Two sets with the same covariance whose means are 3 apart: d² = 3².
//! let real = Features::new(1, vec![0.0, 1.0, 2.0]);
//! let fake = Features::new(1, vec![3.0, 4.0, 5.0]);
//! assert!((frechet::distance(&real, &fake)? - 9.0).abs() < 1e-9);
//! # Ok::<(), eval::EvalError>(())
//! ```

use super::metric::{
    Direction, Metric, MetricInputs, MetricReport, MetricValue, MetricWarning, Needs,
};
use crate::features::{Features, require_comparable};
use crate::stats::{MeanStd, normal_interval, replicate_stream};
use crate::{EvalError, Progress};
use nalgebra::{DMatrix, DVector};
use rayon::prelude::*;
use std::borrow::Cow;
use tensor::rng::Philox;

/// The Fréchet distance, FID under Inception features.
pub const METRIC: Metric = Metric {
    name: "fid",
    help: "Fréchet distance (FID with Inception features)",
    key: "frechet",
    needs: Needs::Features,
    default: true,
    compute,
};

/// The largest covariance matrix, in rows, whose eigenvalues are computed: twice the width of
/// Inception features. One of 1728 rows took 55 s, and the time grows with the third power.
pub const MAX_DIMENSION: usize = 4096;
/// Rows whose outer products are summed in one matrix product.
const BLOCK: usize = 1024;
/// Covariances with more rows than this get few bootstrap replicates, because the time grows with
/// the third power.
const WIDE: usize = 256;
/// Bootstrap replicates for covariances wider than [`WIDE`].
const WIDE_REPLICATES: usize = 20;
/// Random groups that a set is divided into for the bootstrap.
const GROUPS: usize = 50;
/// Philox stream of resampled groups.
const GROUP_STREAM: u64 = 61;

fn compute(inputs: &MetricInputs<'_>) -> Result<MetricReport, EvalError> {
    let options = inputs.options;
    let [real, fake] = inputs.features();
    let mut warnings = Vec::new();
    for (set, features) in [("real", real), ("generated", fake)] {
        let (images, width) = (features.len(), features.width());
        if images <= width {
            warnings.push(MetricWarning::RankDeficient { set, images, width });
        }
    }
    let [real, fake] = project_to_row_space(real, fake)?;
    let squared = Frechet::to(GaussianStats::of(&real)?).distance(&GaussianStats::of(&fake)?)?;
    let replicates = if real.width() > WIDE {
        options.bootstrap.min(WIDE_REPLICATES)
    } else {
        options.bootstrap
    };
    let interval =
        bootstrap_interval(squared, [&real, &fake], replicates, options.seed, inputs.progress)?;
    let value = MetricValue::new("frechet", "Fréchet distance", squared, Direction::Lower);
    Ok(MetricReport { values: vec![MetricValue { interval, ..value }], warnings })
}

/// Mean and covariance of a feature set.
#[derive(Clone, Debug, PartialEq)]
pub struct GaussianStats {
    mean: DVector<f64>,
    /// Unbiased: divided by N − 1, as `numpy.cov`.
    covariance: DMatrix<f64>,
}

/// Sums of rows and of their outer products about an origin. Mean and covariance follow from
/// them, and those of disjoint groups of rows can be added.
#[derive(Clone, Debug)]
pub struct MomentSums {
    origin: DVector<f64>,
    sum: DVector<f64>,
    products: DMatrix<f64>,
    count: usize,
}

impl MomentSums {
    /// The sums of `features` about `origin`, in double precision. An origin near the mean
    /// avoids cancellation.
    ///
    /// # Panics
    /// Panics if the origin has another width than the features.
    #[track_caller]
    pub fn of(features: &Features, origin: &[f64]) -> Self {
        let width = features.width();
        assert_eq!(origin.len(), width, "MomentSums: an origin of another width");
        let (mut sum, mut products) = (DVector::zeros(width), DMatrix::zeros(width, width));
        for block in features.values().chunks(BLOCK * width) {
            let centered = block
                .iter()
                .zip(origin.iter().cycle())
                .map(|(&value, origin)| f64::from(value) - origin);
            let centered = DMatrix::from_iterator(width, block.len() / width, centered);
            products.gemm(1.0, &centered, &centered.transpose(), 1.0);
            sum += centered.column_sum();
        }
        Self { origin: DVector::from_column_slice(origin), sum, products, count: features.len() }
    }

    /// The sums over all rows of several groups, which must have the same origin.
    pub fn sum<'a>(groups: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut groups = groups.into_iter();
        let empty = || Self {
            origin: DVector::zeros(0),
            sum: DVector::zeros(0),
            products: DMatrix::zeros(0, 0),
            count: 0,
        };
        let first = groups.next().map_or_else(empty, Self::clone);
        groups.fold(first, |mut all, group| {
            all.sum += &group.sum;
            all.products += &group.products;
            all.count += group.count;
            all
        })
    }

    /// Mean and covariance; `None` for fewer than 2 rows.
    pub fn gaussian(&self) -> Option<GaussianStats> {
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
    /// Mean and covariance of a feature set, in double precision.
    ///
    /// # Errors
    /// Returns an error if there are fewer than 2 rows, or a value is NaN or infinite.
    pub fn of(features: &Features) -> Result<Self, EvalError> {
        let found = MomentSums::of(features, &features.mean()).gaussian();
        let found = found.ok_or_else(|| EvalError::TooFewImages {
            purpose: "a covariance".into(),
            set: "set".into(),
            needed: 2,
            found: features.len(),
        })?;
        if found.covariance.iter().all(|value| value.is_finite()) {
            Ok(found)
        } else {
            Err(EvalError::NonFiniteFeatures)
        }
    }
}

/// Σ^½ of a positive semidefinite matrix. Eigenvalues that rounding made negative count as 0.
fn matrix_sqrt(matrix: &DMatrix<f64>) -> DMatrix<f64> {
    let eigen = matrix.clone().symmetric_eigen();
    let roots = eigen.eigenvalues.map(|value| value.max(0.0).sqrt());
    let scaled = &eigen.eigenvectors * DMatrix::from_diagonal(&roots);
    scaled * eigen.eigenvectors.transpose()
}

/// Both sets in coordinates of the space that their rows span, if the rows together are fewer than
/// the features are wide; otherwise the sets unchanged. Lengths and angles are the same in those
/// coordinates, and so are the Fréchet distance and that of any subset of the rows; but the
/// covariances are as small as the sets are, which makes pixels affordable as features.
///
/// # Errors
/// Returns an error if the features have different widths, a value is NaN or infinite, or both
/// images and features are more than [`MAX_DIMENSION`].
pub fn project_to_row_space<'a>(
    real: &'a Features,
    fake: &'a Features,
) -> Result<[Cow<'a, Features>; 2], EvalError> {
    require_comparable(real, fake, 2, "the Fréchet distance")?;
    let (width, rows) = (real.width(), real.len() + fake.len());
    if width.min(rows) > MAX_DIMENSION {
        return Err(EvalError::FrechetTooLarge { images: rows, width });
    }
    if width <= rows {
        return Ok([real, fake].map(Cow::Borrowed));
    }
    let mean = real.mean();
    let centered = real
        .values()
        .iter()
        .chain(fake.values())
        .zip(mean.iter().cycle())
        .map(|(&value, mean)| f64::from(value) - mean);
    let centered = DMatrix::from_iterator(width, rows, centered);
    let products = centered.tr_mul(&centered);
    if !products.iter().all(|value| value.is_finite()) {
        return Err(EvalError::NonFiniteFeatures);
    }
    // XᵀX = QΛQᵀ, and the columns of Λ^½Qᵀ have the same inner products as those of X.
    let eigen = products.symmetric_eigen();
    let lengths = eigen.eigenvalues.map(|value| value.max(0.0).sqrt());
    let coordinates = DMatrix::from_diagonal(&lengths) * eigen.eigenvectors.transpose();
    let of = |from: usize, count: usize| {
        let values = coordinates.columns(from, count).iter().map(|&value| value as f32).collect();
        Cow::Owned(Features::new(rows, values))
    };
    Ok([of(0, real.len()), of(real.len(), fake.len())])
}

/// One side of a Fréchet distance. Several sets can be compared with it, and the square root of
/// its covariance, the expensive part, is computed once.
pub struct Frechet {
    stats: GaussianStats,
    root: DMatrix<f64>,
}

impl Frechet {
    /// Distances to a Gaussian with this mean and covariance.
    pub fn to(stats: GaussianStats) -> Self {
        Self { root: matrix_sqrt(&stats.covariance), stats }
    }

    /// d² between the two, at least 0.
    ///
    /// # Errors
    /// Returns an error if the features have different widths.
    pub fn distance(&self, other: &GaussianStats) -> Result<f64, EvalError> {
        let own = &self.stats;
        let (real, fake) = (own.mean.len(), other.mean.len());
        if real != fake {
            return Err(EvalError::FeatureWidths { real, fake });
        }
        let inner = &self.root * &other.covariance * &self.root;
        // The product is symmetric but for rounding; the eigenvalue solver reads one triangle.
        let inner = (&inner + inner.transpose()) * 0.5;
        let overlap: f64 =
            inner.symmetric_eigenvalues().iter().map(|value| value.max(0.0).sqrt()).sum();
        let squared = (&own.mean - &other.mean).norm_squared();
        Ok((squared + own.covariance.trace() + other.covariance.trace() - 2.0 * overlap).max(0.0))
    }
}

/// The Fréchet distance d² of two feature sets.
///
/// # Errors
/// Returns the errors of [`project_to_row_space`], and an error if a set has fewer than 2 rows.
pub fn distance(real: &Features, fake: &Features) -> Result<f64, EvalError> {
    let [real, fake] = project_to_row_space(real, fake)?;
    Frechet::to(GaussianStats::of(&real)?).distance(&GaussianStats::of(&fake)?)
}

/// The 95 % bootstrap interval of the Fréchet distance `value`; `None` for fewer than 2 groups or
/// replicates. Each set is divided at random into 50 groups, which are resampled with replacement;
/// the interval is `value` ± 1.96 standard deviations of the replicates, at least 0. Percentiles
/// of the replicates would be biased: repeated images raise every replicate.
///
/// # Errors
/// Returns [`EvalError::Stopped`] if `progress` cancels.
pub fn bootstrap_interval(
    value: f64,
    [real, fake]: [&Features; 2],
    replicates: usize,
    seed: u64,
    progress: Progress<'_>,
) -> Result<Option<[f64; 2]>, EvalError> {
    let groups = GROUPS.min(real.len()).min(fake.len());
    if groups < 2 || replicates < 2 {
        return Ok(None);
    }
    let of = |features, salt| random_groups(features, groups, seed, salt);
    let (real, fake) = (of(real, 0), of(fake, 1));
    let replicate = |number: usize| {
        let mut rng = Philox::new(seed, replicate_stream(GROUP_STREAM, number));
        let mut resample = |groups: &[MomentSums]| {
            let count = groups.len() as u32;
            let drawn = (0..count).filter_map(|_| groups.get(rng.below(count) as usize));
            MomentSums::sum(drawn).gaussian()
        };
        let (real, fake) = (resample(&real)?, resample(&fake)?);
        Frechet::to(real).distance(&fake).ok()
    };
    // Eight at a time, so that progress is reported in between.
    let mut distances = Vec::with_capacity(replicates);
    for start in (0..replicates).step_by(8) {
        progress.report("resampling", start, replicates)?;
        distances
            .par_extend((start..(start + 8).min(replicates)).into_par_iter().filter_map(replicate));
    }
    let [low, high] = normal_interval(value, MeanStd::of(&distances).std);
    Ok(Some([low.max(0.0), high]))
}

/// The moment sums of random groups of nearly equal size.
fn random_groups(features: &Features, groups: usize, seed: u64, salt: u64) -> Vec<MomentSums> {
    let len = u32::try_from(features.len()).unwrap_or(u32::MAX);
    let order = data::permutation(seed, u64::MAX - 2 - salt, len);
    let mean = features.mean();
    let rows = features.len();
    (0..groups)
        .into_par_iter()
        .map(|group| {
            let own = &order[rows * group / groups..rows * (group + 1) / groups];
            let own: Vec<usize> = own.iter().map(|&index| index as usize).collect();
            MomentSums::of(&features.select(&own), &mean)
        })
        .collect()
}
