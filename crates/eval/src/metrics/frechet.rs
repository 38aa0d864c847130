//! Fréchet distance of two feature sets, each modeled as a Gaussian (Dowson & Landau 1982; FID:
//! Heusel et al. 2017, equation 6):
//!
//! ```text
//! d² = |μ₁ − μ₂|² + tr(Σ₁) + tr(Σ₂) − 2 tr((Σ₁^½ Σ₂ Σ₁^½)^½)
//! ```
//!
//! The last term is Σ √λ over the eigenvalues λ of Tᵀ Σ₂ T for any factor T of Σ₁ = T Tᵀ, as many
//! as the rank of Σ₁. So the smaller set bounds the work: where it has fewer images than the
//! features are wide, as with pixels, T is given by its images, and no covariance of the features
//! is computed.
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
use super::statistics::Statistics;
use crate::features::{Features, require_comparable};
use crate::stats::{MeanStd, normal_interval, replicate_stream};
use crate::{EvalError, Progress};
use nalgebra::{DMatrix, DMatrixViewMut, DVector};
use rayon::prelude::*;
use std::sync::atomic::{AtomicUsize, Ordering};
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

/// The largest matrix, in rows, whose eigenvalues are computed: twice the width of Inception
/// features. The time grows with the third power.
pub const MAX_DIMENSION: usize = 4096;
/// The multiply-adds of a block of rows whose products are summed at a time: less than a second.
const BLOCK_WORK: usize = 1 << 30;
/// Matrices with more rows than this get few bootstrap replicates, because the time grows with the
/// third power.
const WIDE: usize = 256;
/// Bootstrap replicates for matrices wider than [`WIDE`].
const WIDE_REPLICATES: usize = 20;
/// The largest and the smallest number of random groups that a set is divided into for the
/// bootstrap, and the most elements of their sums of products.
const GROUPS: usize = 50;
const MIN_GROUPS: usize = 10;
const GROUP_ELEMENTS: usize = 1 << 26;
/// Philox stream of resampled groups.
const GROUP_STREAM: u64 = 61;

fn compute(inputs: &MetricInputs<'_>) -> Result<MetricReport, EvalError> {
    let (options, progress) = (inputs.options, inputs.progress);
    let [real, fake] = inputs.features();
    let warnings = [("real", real), ("generated", fake)];
    let warnings = warnings.into_iter().filter_map(|(set, of)| rank_warning(set, of)).collect();
    let pair = FeaturePair::new(real, fake)?;
    let squared = pair.distance(progress)?;
    let replicates =
        if pair.rank() > WIDE { options.bootstrap.min(WIDE_REPLICATES) } else { options.bootstrap };
    let interval = pair.bootstrap_interval(squared, replicates, options.seed, progress)?;
    let value = MetricValue::new("frechet", "Fréchet distance", squared, Direction::Lower);
    Ok(MetricReport { values: vec![MetricValue { interval, ..value }], warnings })
}

/// The metric for a real set of which only statistics are known, without an interval.
pub(super) fn with_statistics(
    real: &Statistics,
    fake: &Features,
    progress: Progress<'_>,
) -> Result<MetricReport, EvalError> {
    let own = Statistics::of(fake, progress)?;
    progress.report("comparing covariances", 0, 1)?;
    let squared = real.distance(&own)?;
    let value = MetricValue::new("frechet", "Fréchet distance", squared, Direction::Lower);
    let warnings = rank_warning("generated", fake).into_iter().collect();
    Ok(MetricReport { values: vec![value], warnings })
}

fn rank_warning(set: &'static str, features: &Features) -> Option<MetricWarning> {
    let (images, width) = (features.len(), features.width());
    (images <= width).then_some(MetricWarning::RankDeficient { set, images, width })
}

/// The Fréchet distance d² of two feature sets.
///
/// # Errors
/// Returns an error if the features have different widths, a set has fewer than 2 rows, a value is
/// NaN or infinite, or both sets and the features are larger than [`MAX_DIMENSION`].
pub fn distance(real: &Features, fake: &Features) -> Result<f64, EvalError> {
    FeaturePair::new(real, fake)?.distance(Progress::SILENT)
}

/// The 95 % bootstrap interval of the Fréchet distance `value`; `None` for fewer than 2 groups or
/// replicates. Each set is divided at random into up to 50 groups, which are resampled with
/// replacement; the interval is `value` ± 1.96 standard deviations of the replicates, at least 0.
/// Percentiles of the replicates would be biased: repeated images raise every replicate.
///
/// # Errors
/// Returns the errors of [`distance`]; [`EvalError::Stopped`] if `progress` cancels.
pub fn bootstrap_interval(
    value: f64,
    [real, fake]: [&Features; 2],
    replicates: usize,
    seed: u64,
    progress: Progress<'_>,
) -> Result<Option<[f64; 2]>, EvalError> {
    FeaturePair::new(real, fake)?.bootstrap_interval(value, replicates, seed, progress)
}

/// Two feature sets, and the coordinates in which their covariances are compared.
struct FeaturePair<'a> {
    /// The smaller set, whose covariance is factored.
    first: &'a Features,
    second: &'a Features,
    /// The mean of the first set, about which sums are taken: an origin near the means avoids
    /// cancellation.
    origin: Vec<f64>,
    /// The rows of the first set about the origin, `[N, D]`, if they are fewer than the features
    /// are wide. The coordinates of a row are its inner products with these; otherwise they are the
    /// features themselves.
    axes: Option<DMatrix<f64>>,
}

impl<'a> FeaturePair<'a> {
    fn new(real: &'a Features, fake: &'a Features) -> Result<Self, EvalError> {
        require_comparable(real, fake, 2, "the Fréchet distance")?;
        let (first, second) = if fake.len() < real.len() { (fake, real) } else { (real, fake) };
        let (images, width) = (first.len(), first.width());
        if images.min(width) > MAX_DIMENSION {
            return Err(EvalError::FrechetTooLarge { images, width });
        }
        let finite = |features: &Features| features.values().iter().all(|value| value.is_finite());
        if !finite(first) || !finite(second) {
            return Err(EvalError::NonFiniteFeatures);
        }
        let origin = first.mean();
        let axes = (images < width).then(|| centered(first.values(), &origin).transpose());
        Ok(Self { first, second, origin, axes })
    }

    /// The size of the matrices whose eigenvalues are computed.
    fn rank(&self) -> usize {
        self.first.len().min(self.first.width())
    }

    fn distance(&self, progress: Progress<'_>) -> Result<f64, EvalError> {
        let first = self.sums(self.first, true, progress)?;
        let second = self.sums(self.second, false, progress)?;
        progress.report("comparing covariances", 0, 1)?;
        let factor = self.factor(&first, || vec![1.0; self.first.len()]);
        Ok(squared_distance(&first, &factor, &second))
    }

    /// The sums of rows of the first set, or of the second.
    fn sums(
        &self,
        rows: &Features,
        of_first: bool,
        progress: Progress<'_>,
    ) -> Result<MomentSums, EvalError> {
        let (count, width) = (rows.len(), rows.width());
        // The covariance of the first set is given by its rows where those are the axes.
        let rank = if of_first && self.axes.is_some() { 0 } else { self.rank() };
        let mut sums = MomentSums::new(width, rank);
        let block = (BLOCK_WORK / (self.rank() * width)).clamp(1, 1024);
        for (k, rows) in rows.values().chunks(block * width).enumerate() {
            progress.report("summing features", k * block, count)?;
            let rows = centered(rows, &self.origin);
            sums.sum += rows.column_sum();
            sums.squares += rows.norm_squared();
            sums.count += rows.ncols() as f64;
            if rank > 0 {
                let coordinates = match &self.axes {
                    Some(axes) => product(axes, &rows),
                    None => rows,
                };
                sums.coordinates += coordinates.column_sum();
                add_product(&mut sums.products, &coordinates, &coordinates.transpose());
            }
        }
        Ok(sums)
    }

    /// T of the covariance Σ₁ = T Tᵀ of the first set in the coordinates, from its sums with each
    /// row counted as often as its weight says.
    fn factor(&self, sums: &MomentSums, weights: impl FnOnce() -> Vec<f64>) -> DMatrix<f64> {
        if self.axes.is_none() {
            return cholesky(&sums.covariance());
        }
        // With rows X, weights w and their sum W, Σ₁ = Xᵀ (diag(w) − w wᵀ / W) X / (W − 1), and
        // diag(√w) − w √wᵀ / W is a factor of the middle.
        let weights = DVector::from_vec(weights());
        let (roots, total) = (weights.map(f64::sqrt), weights.sum());
        let mut factor = DMatrix::from_diagonal(&roots);
        factor.ger(-1.0 / total, &weights, &roots, 1.0);
        factor / (total - 1.0).sqrt()
    }

    fn bootstrap_interval(
        &self,
        value: f64,
        replicates: usize,
        seed: u64,
        progress: Progress<'_>,
    ) -> Result<Option<[f64; 2]>, EvalError> {
        let affordable = (GROUP_ELEMENTS / self.rank().pow(2)).clamp(MIN_GROUPS, GROUPS);
        let groups = affordable.min(self.first.len());
        if groups < 2 || replicates < 2 {
            return Ok(None);
        }
        let sums = |features: &Features, groups: &[Vec<usize>], of_first| {
            let group = |rows: &Vec<usize>| self.sums(&features.select(rows), of_first, progress);
            groups.iter().map(group).collect::<Result<Vec<_>, _>>()
        };
        let members = random_groups(self.first.len(), groups, seed, 0);
        let first = sums(self.first, &members, true)?;
        let second = sums(self.second, &random_groups(self.second.len(), groups, seed, 1), false)?;
        let done = AtomicUsize::new(0);
        let replicate = |number: usize| {
            progress.report("resampling", done.fetch_add(1, Ordering::Relaxed), replicates)?;
            let mut rng = Philox::new(seed, replicate_stream(GROUP_STREAM, number));
            let mut draw = || -> Vec<usize> {
                (0..groups).map(|_| rng.below(groups as u32) as usize).collect()
            };
            let (drawn, others) = (draw(), draw());
            let factor_weights = || {
                let mut weights = vec![0.0; self.first.len()];
                for &row in drawn.iter().flat_map(|&group| &members[group]) {
                    weights[row] += 1.0;
                }
                weights
            };
            let first = MomentSums::sum(drawn.iter().map(|&group| &first[group]));
            let second = MomentSums::sum(others.iter().map(|&group| &second[group]));
            let factor = self.factor(&first, factor_weights);
            Ok(squared_distance(&first, &factor, &second))
        };
        let distances: Vec<f64> =
            (0..replicates).into_par_iter().map(replicate).collect::<Result<_, EvalError>>()?;
        let [low, high] = normal_interval(value, MeanStd::of(&distances).std);
        Ok(Some([low.max(0.0), high]))
    }
}

/// Sums over rows x about an origin. Mean and covariance follow from them, and those of disjoint
/// groups of rows can be added.
struct MomentSums {
    /// Σ x, `[D]`.
    sum: DVector<f64>,
    /// Σ |x|².
    squares: f64,
    /// Σ c of the coordinates c of x, and Σ c cᵀ.
    coordinates: DVector<f64>,
    products: DMatrix<f64>,
    count: f64,
}

impl MomentSums {
    /// The sums over no rows of `width` elements and `rank` coordinates.
    fn new(width: usize, rank: usize) -> Self {
        Self {
            sum: DVector::zeros(width),
            squares: 0.0,
            coordinates: DVector::zeros(rank),
            products: DMatrix::zeros(rank, rank),
            count: 0.0,
        }
    }

    /// The sums over all rows of several groups.
    fn sum<'s>(groups: impl IntoIterator<Item = &'s Self>) -> Self {
        let mut groups = groups.into_iter().peekable();
        let sizes = groups.peek().map_or((0, 0), |first| (first.sum.len(), first.products.nrows()));
        groups.fold(Self::new(sizes.0, sizes.1), |mut all, group| {
            all.sum += &group.sum;
            all.squares += group.squares;
            all.coordinates += &group.coordinates;
            all.products += &group.products;
            all.count += group.count;
            all
        })
    }

    /// The trace of the unbiased covariance (divided by N − 1, as `numpy.cov`).
    fn trace(&self) -> f64 {
        (self.squares - self.sum.norm_squared() / self.count) / (self.count - 1.0)
    }

    /// The covariance of the coordinates.
    fn covariance(&self) -> DMatrix<f64> {
        let mut covariance = self.products.clone();
        covariance.ger(-1.0 / self.count, &self.coordinates, &self.coordinates, 1.0);
        covariance / (self.count - 1.0)
    }
}

/// d² of two Gaussians, at least 0, with a factor T of the first one's covariance.
fn squared_distance(first: &MomentSums, factor: &DMatrix<f64>, second: &MomentSums) -> f64 {
    let overlap = overlap(factor, &second.covariance());
    let means = (&first.sum / first.count - &second.sum / second.count).norm_squared();
    (means + first.trace() + second.trace() - 2.0 * overlap).max(0.0)
}

/// tr((Σ₁^½ Σ₂ Σ₁^½)^½) from a factor T of Σ₁ = T Tᵀ and Σ₂.
fn overlap(factor: &DMatrix<f64>, second: &DMatrix<f64>) -> f64 {
    let inner = product(&factor.transpose(), &product(second, factor));
    // The product is symmetric but for rounding; the eigenvalue solver reads one triangle.
    let inner = (&inner + inner.transpose()) * 0.5;
    // Eigenvalues that rounding made negative count as 0.
    inner.symmetric_eigenvalues().iter().map(|value| value.max(0.0).sqrt()).sum()
}

/// d² of two Gaussians with these means and covariances, at least 0.
pub(super) fn gaussian_distance(means: [&DVector<f64>; 2], covariances: [&DMatrix<f64>; 2]) -> f64 {
    let [first, second] = covariances;
    // The factor of lower rank: eigenvalues that are 0 would be rounding errors, and their roots
    // larger ones.
    let factors = [cholesky(first), cholesky(second)];
    let overlap = match &factors {
        [other, own] if own.ncols() < other.ncols() => overlap(own, covariances[0]),
        [own, _] => overlap(own, covariances[1]),
    };
    let means = (means[0] - means[1]).norm_squared();
    (means + first.trace() + second.trace() - 2.0 * overlap).max(0.0)
}

/// Mean and covariance (divided by N − 1, as `numpy.cov`) of the rows of a feature set.
pub(super) fn moments(
    features: &Features,
    progress: Progress<'_>,
) -> Result<(DVector<f64>, DMatrix<f64>), EvalError> {
    let (width, origin) = (features.width(), features.mean());
    let mut products = DMatrix::zeros(width, width);
    let block = (BLOCK_WORK / (width * width)).clamp(1, 1024);
    for (k, rows) in features.values().chunks(block * width).enumerate() {
        progress.report("summing features", k * block, features.len())?;
        let rows = centered(rows, &origin);
        add_product(&mut products, &rows, &rows.transpose());
    }
    Ok((DVector::from_vec(origin), products / (features.len() as f64 - 1.0)))
}

/// T `[D, R]` with T Tᵀ = S for a positive semidefinite matrix S of rank R, by Cholesky's method
/// with diagonal pivoting (Higham 2002, section 10.3).
fn cholesky(matrix: &DMatrix<f64>) -> DMatrix<f64> {
    let size = matrix.nrows();
    let mut remaining: Vec<f64> = matrix.diagonal().iter().copied().collect();
    let limit = size as f64 * f64::EPSILON * remaining.iter().copied().fold(0.0, f64::max);
    // Row by row: element k of row i is at i · size + k.
    let mut factor = vec![0.0; size * size];
    let mut rank = 0;
    while rank < size {
        let largest = (0..size).max_by(|&a, &b| remaining[a].total_cmp(&remaining[b]));
        let Some(pivot) = largest.filter(|&pivot| remaining[pivot] > limit) else { break };
        let root = remaining[pivot].sqrt();
        let pivot_row = factor[pivot * size..][..rank].to_vec();
        let rows = factor.par_chunks_mut(size).zip(&mut remaining).enumerate();
        rows.with_min_len(64).for_each(|(i, (row, remaining))| {
            // The rows of earlier pivots are complete.
            if *remaining == f64::NEG_INFINITY {
                return;
            }
            let known: f64 = row.iter().zip(&pivot_row).map(|(a, b)| a * b).sum();
            let value = if i == pivot { root } else { (matrix[(i, pivot)] - known) / root };
            row[rank] = value;
            *remaining = if i == pivot { f64::NEG_INFINITY } else { *remaining - value * value };
        });
        rank += 1;
    }
    DMatrix::from_row_slice(size, size, &factor).columns(0, rank).into_owned()
}

/// Rows minus the origin, as the columns of a matrix.
fn centered(rows: &[f32], origin: &[f64]) -> DMatrix<f64> {
    let values = rows.iter().zip(origin.iter().cycle()).map(|(&v, origin)| f64::from(v) - origin);
    DMatrix::from_iterator(origin.len(), rows.len() / origin.len(), values)
}

/// a · b.
fn product(a: &DMatrix<f64>, b: &DMatrix<f64>) -> DMatrix<f64> {
    let mut out = DMatrix::zeros(a.nrows(), b.ncols());
    add_product(&mut out, a, b);
    out
}

/// Adds a · b to `out`, whose columns are shared among threads.
fn add_product(out: &mut DMatrix<f64>, a: &DMatrix<f64>, b: &DMatrix<f64>) {
    const COLUMNS: usize = 64;
    let rows = out.nrows();
    let columns = out.as_mut_slice().par_chunks_mut((rows * COLUMNS).max(1)).enumerate();
    columns.for_each(|(k, out)| {
        let count = out.len() / rows;
        let b = b.columns(k * COLUMNS, count);
        DMatrixViewMut::from_slice(out, rows, count).gemm(1.0, a, &b, 1.0);
    });
}

/// The indices `0..len` in random groups of nearly equal size.
fn random_groups(len: usize, groups: usize, seed: u64, salt: u64) -> Vec<Vec<usize>> {
    let order =
        data::permutation(seed, u64::MAX - 2 - salt, u32::try_from(len).unwrap_or(u32::MAX));
    (0..groups)
        .map(|group| {
            let own = &order[len * group / groups..len * (group + 1) / groups];
            own.iter().map(|&index| index as usize).collect()
        })
        .collect()
}
