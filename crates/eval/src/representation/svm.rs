//! Linear SVM with squared hinge loss, one-vs-rest, with liblinear's solution.
//!
//! min over w of ½‖w‖² + C Σ max(0, 1 − y_i wᵀx_i)². The bias is the weight of one more feature
//! that is always 1 (and so regularized, as in liblinear and scikit-learn's `LinearSVC`). The
//! problem is solved in the dual by coordinate descent with shrinking (Hsieh et al. 2008, algorithm
//! 3, L2-loss form): min over α ≥ 0 of ½ αᵀQ̄α − Σα, Q̄ = (y_i y_j x_iᵀx_j) + I / 2C.
//!
//! Rows are dense. With fewer rows than features the Gram matrix is computed first, after which a
//! step costs N operations in place of D.
//!
//! ```
//! use eval::representation::svm::{Options, SvmRows, train};
//!
//! let values = [1.0, 0.9, -1.0, -1.1];
//! let svms = train(&SvmRows::new(&values, 1), &[0, 0, 1, 1], 2, &[1.0], Options::default());
//! assert!(svms.converged[0]);
//! assert_eq!(svms.correct(&[2.0, -3.0], &[0, 1]), [2]);
//! ```

use rayon::prelude::*;
use tensor::Tensor;
use tensor::rng::Philox;

/// The first of the Philox streams, one for each class, of the order in which coordinates are
/// visited.
const ORDER_STREAM: u64 = 0x7376_6d00;
/// Accumulators of a dot product.
const LANES: usize = 8;

/// SvmRows `[N, width]` that svms are trained on.
pub struct SvmRows<'a> {
    values: &'a [f32],
    width: usize,
    /// Squared norms, the constant feature included.
    norms: Vec<f64>,
    /// The Gram matrix `[N, N]`, if there are at most as many rows as features.
    gram: Option<Vec<f32>>,
}

/// Options of the solver.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// The solver has converged if the largest and the smallest projected gradient of a sweep over
    /// all coordinates differ by at most this (liblinear: 0.1; scikit-learn: 1e-4).
    pub tolerance: f64,
    /// The most sweeps.
    pub sweeps: usize,
    /// Seed of the order of the coordinates.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { tolerance: 1e-3, sweeps: 1000, seed: 0 }
    }
}

/// Linear SVMs, one for each class, for several values of C.
pub struct LinearSvms {
    /// `[D + 1, costs · classes]`: the SVMs of the first C first; the last row is the bias.
    weights: Tensor,
    classes: usize,
    /// For each C whether all of its SVMs converged.
    pub converged: Vec<bool>,
}

impl<'a> SvmRows<'a> {
    /// Rows of `width` values.
    ///
    /// # Panics
    /// Panics if the values do not fill the last row.
    #[track_caller]
    pub fn new(values: &'a [f32], width: usize) -> Self {
        assert!(
            width > 0 && values.len().is_multiple_of(width),
            "SvmRows: {} values in rows of {width}",
            values.len()
        );
        let count = values.len() / width;
        let norms = values
            .par_chunks(width)
            .map(|row| 1.0 + row.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>())
            .collect();
        let gram = (count <= width).then(|| {
            let rows = Tensor::from_slice(values, [count, width]);
            rows.matmul(&rows, false, true).add_scalar(1.0).to_vec()
        });
        Self { values, width, norms, gram }
    }

    /// The number of rows N.
    pub fn len(&self) -> usize {
        self.norms.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.norms.is_empty()
    }

    fn row(&self, i: usize) -> &[f32] {
        &self.values[i * self.width..(i + 1) * self.width]
    }
}

/// Trains one-vs-rest SVMs of `classes` classes for each C of `costs`, each starting from the
/// solution of the one before. The same seed gives the same bits, whatever the number of threads.
///
/// # Panics
/// Panics if there are not as many labels as rows, or a label is not below `classes`.
#[track_caller]
pub fn train(
    rows: &SvmRows<'_>,
    labels: &[u32],
    classes: usize,
    costs: &[f64],
    options: Options,
) -> LinearSvms {
    assert_eq!(rows.len(), labels.len(), "svm::train: rows and labels");
    assert!(
        labels.iter().all(|&label| (label as usize) < classes),
        "svm::train: a label beyond {classes} classes"
    );
    let paths: Vec<Vec<Solution>> = (0..classes)
        .into_par_iter()
        .map(|class| {
            let signs: Vec<f64> = labels
                .iter()
                .map(|&label| if label as usize == class { 1.0 } else { -1.0 })
                .collect();
            let mut rng = Philox::new(options.seed, ORDER_STREAM + class as u64);
            let mut alpha = vec![0.0; rows.len()];
            costs
                .iter()
                .map(|&cost| {
                    let converged = match &rows.gram {
                        Some(gram) => coordinate_descent(
                            &mut GramMargins::new(gram, rows.len()),
                            rows,
                            &signs,
                            cost,
                            &mut alpha,
                            options,
                            &mut rng,
                        ),
                        None => coordinate_descent(
                            &mut PrimalMargins::new(rows),
                            rows,
                            &signs,
                            cost,
                            &mut alpha,
                            options,
                            &mut rng,
                        ),
                    };
                    let signed = alpha.iter().zip(&signs).map(|(a, y)| (a * y) as f32).collect();
                    Solution { signed, converged }
                })
                .collect()
        })
        .collect();
    let count = costs.len() * classes;
    let mut signed = Vec::with_capacity(count * rows.len());
    for k in 0..costs.len() {
        paths.iter().for_each(|path| signed.extend_from_slice(&path[k].signed));
    }
    let signed = Tensor::from_slice(&signed, [count, rows.len()]);
    let values = Tensor::from_slice(rows.values, [rows.len(), rows.width]);
    let weights = values.matmul(&signed, true, true);
    let weights = tensor::concat(&[&weights, &signed.sum(&[1], false).reshape([1, count])], 0);
    let converged = (0..costs.len()).map(|k| paths.iter().all(|path| path[k].converged)).collect();
    LinearSvms { weights, classes, converged }
}

impl LinearSvms {
    /// The SVMs of the `k`-th C alone.
    ///
    /// # Panics
    /// Panics if there are not so many.
    #[track_caller]
    pub fn only(&self, k: usize) -> Self {
        let weights = self.weights.narrow(1, k * self.classes, self.classes);
        Self { weights, classes: self.classes, converged: vec![self.converged[k]] }
    }

    /// For SVMs trained on standardized rows (x − mean) / scale, the equivalent SVMs for x. Both
    /// `mean` and `scale` have D values.
    ///
    /// # Panics
    /// Panics if they have another number of values.
    #[track_caller]
    pub fn unscaled(&self, mean: &[f32], scale: &[f32]) -> Self {
        let inputs = self.weights.shape()[0] - 1;
        assert!(
            mean.len() == inputs && scale.len() == inputs,
            "LinearSvms: {} means for {inputs} features",
            mean.len()
        );
        let weights =
            self.weights.narrow(0, 0, inputs).div(&Tensor::from_slice(scale, [inputs, 1]));
        let shift = Tensor::from_slice(mean, [1, inputs]).matmul(&weights, false, false);
        let weights =
            tensor::concat(&[&weights, &self.weights.narrow(0, inputs, 1).sub(&shift)], 0);
        Self { weights, classes: self.classes, converged: self.converged.clone() }
    }

    /// The decision values `[N, costs · classes]` of rows `[N, D]`.
    ///
    /// # Panics
    /// Panics if the values do not fill the last row.
    #[track_caller]
    pub fn decisions(&self, rows: &[f32]) -> Tensor {
        let [inputs, outputs] = [self.weights.shape()[0] - 1, self.weights.shape()[1]];
        assert!(
            rows.len().is_multiple_of(inputs),
            "LinearSvms: {} values in rows of {inputs}",
            rows.len()
        );
        let rows = Tensor::from_slice(rows, [rows.len() / inputs, inputs]);
        rows.matmul(&self.weights.narrow(0, 0, inputs), false, false)
            .add(&self.weights.narrow(0, inputs, 1).reshape([outputs]))
    }

    /// For each C the number of rows whose largest decision value is the label's.
    ///
    /// # Panics
    /// Panics if there are not D values for each label.
    #[track_caller]
    pub fn correct(&self, rows: &[f32], labels: &[u32]) -> Vec<usize> {
        let costs = self.converged.len();
        let width = self.weights.shape()[0] - 1;
        let mut correct = vec![0; costs];
        // In parts, because each part is copied into a tensor.
        for (rows, labels) in rows.chunks(width * 1024).zip(labels.chunks(1024)) {
            assert_eq!(rows.len(), labels.len() * width, "LinearSvms: rows and labels");
            let predicted =
                self.decisions(rows).reshape([labels.len() * costs, self.classes]).argmax_last();
            for (predicted, &label) in predicted.chunks(costs).zip(labels) {
                correct
                    .iter_mut()
                    .zip(predicted)
                    .for_each(|(n, &class)| *n += usize::from(class == label as usize));
            }
        }
        correct
    }
}

struct Solution {
    /// α_i y_i.
    signed: Vec<f32>,
    converged: bool,
}

/// The weights w, as coordinate descent uses them.
trait Margins {
    /// wᵀx_i.
    fn margin(&self, i: usize) -> f64;

    /// w += delta · x_i.
    fn step(&mut self, i: usize, delta: f64);
}

/// The weights themselves: D operations a step.
struct PrimalMargins<'a> {
    rows: &'a SvmRows<'a>,
    weights: Vec<f32>,
    bias: f64,
}

impl<'a> PrimalMargins<'a> {
    fn new(rows: &'a SvmRows<'a>) -> Self {
        Self { rows, weights: vec![0.0; rows.width], bias: 0.0 }
    }
}

impl Margins for PrimalMargins<'_> {
    fn margin(&self, i: usize) -> f64 {
        self.bias + f64::from(dot(&self.weights, self.rows.row(i)))
    }

    fn step(&mut self, i: usize, delta: f64) {
        self.bias += delta;
        let delta = delta as f32;
        self.weights.iter_mut().zip(self.rows.row(i)).for_each(|(w, x)| *w += delta * x);
    }
}

/// The margins of all rows, updated by the Gram matrix: N operations a step.
struct GramMargins<'a> {
    gram: &'a [f32],
    margins: Vec<f64>,
}

impl<'a> GramMargins<'a> {
    fn new(gram: &'a [f32], count: usize) -> Self {
        Self { gram, margins: vec![0.0; count] }
    }
}

impl Margins for GramMargins<'_> {
    fn margin(&self, i: usize) -> f64 {
        self.margins[i]
    }

    fn step(&mut self, i: usize, delta: f64) {
        let n = self.margins.len();
        self.margins
            .iter_mut()
            .zip(&self.gram[i * n..(i + 1) * n])
            .for_each(|(m, &p)| *m += delta * f64::from(p));
    }
}

/// The dot product. Independent accumulators let the compiler use SIMD, and the order of the
/// additions is fixed.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a_lanes, a_rest) = a.as_chunks::<LANES>();
    let (b_lanes, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0.0f32; LANES];
    for (a, b) in a_lanes.iter().zip(b_lanes) {
        sums.iter_mut().zip(a.iter().zip(b)).for_each(|(s, (a, b))| *s += a * b);
    }
    sums.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}

/// Minimizes over α from its present value, with `w` initially 0. Returns whether the tolerance was
/// met.
fn coordinate_descent(
    w: &mut impl Margins,
    rows: &SvmRows<'_>,
    signs: &[f64],
    cost: f64,
    alpha: &mut [f64],
    options: Options,
    rng: &mut Philox,
) -> bool {
    let diagonal = 0.5 / cost;
    (0..alpha.len()).filter(|&i| alpha[i] > 0.0).for_each(|i| w.step(i, alpha[i] * signs[i]));
    let mut order: Vec<usize> = (0..alpha.len()).collect();
    let mut active = order.len();
    // The largest projected gradient of the last sweep, by which coordinates are shrunk away.
    let mut bound = f64::INFINITY;
    for _ in 0..options.sweeps {
        let (mut largest, mut smallest) = (f64::NEG_INFINITY, f64::INFINITY);
        rng.partial_shuffle(&mut order[..active], active);
        let mut s = 0;
        while s < active {
            let i = order[s];
            let gradient = signs[i] * w.margin(i) - 1.0 + diagonal * alpha[i];
            if alpha[i] == 0.0 && gradient > bound {
                // Shrinking: the coordinate will most likely stay 0, so it is skipped until the
                // end.
                active -= 1;
                order.swap(s, active);
                continue;
            }
            let projected = if alpha[i] == 0.0 { gradient.min(0.0) } else { gradient };
            largest = largest.max(projected);
            smallest = smallest.min(projected);
            if projected.abs() > 1e-12 {
                let old = alpha[i];
                alpha[i] = (old - gradient / (rows.norms[i] + diagonal)).max(0.0);
                w.step(i, (alpha[i] - old) * signs[i]);
            }
            s += 1;
        }
        if largest - smallest <= options.tolerance {
            if active == order.len() {
                return true;
            }
            // Met by the active coordinates; now all are checked.
            (active, bound) = (order.len(), f64::INFINITY);
            continue;
        }
        bound = if largest <= 0.0 { f64::INFINITY } else { largest };
    }
    false
}
