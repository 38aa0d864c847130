//! L2-regularized logistic regression by Newton's method.

use nalgebra::{DMatrix, DVector};
use rayon::prelude::*;

/// The most Newton steps; about ten suffice from zero.
const STEPS: usize = 100;
/// Rows of one partial sum. Partial sums are added in order, so the number of threads changes no
/// bit.
const PART: usize = 512;

/// Logistic regression: w and b minimize ½ |w|² + c · Σᵢ ln(1 + exp(−yᵢ (w · xᵢ + b))) with yᵢ =
/// ±1, as in liblinear and scikit-learn; the intercept b is not penalized.
#[derive(Clone, Debug)]
pub struct LogisticRegression {
    /// The weights w.
    pub weights: Vec<f64>,
    /// The intercept b.
    pub bias: f64,
}

/// Value, gradient and upper triangle of the Hessian at one point; the last variable is the bias.
struct SecondOrder {
    value: f64,
    gradient: Vec<f64>,
    hessian: Vec<f64>,
}

impl LogisticRegression {
    /// Fits `rows` of `width` values and as many labels, to about ten digits. The minimum is unique
    /// if both labels occur and c > 0.
    ///
    /// # Panics
    /// Panics if there are not `width` values for each label.
    #[track_caller]
    pub fn fit(rows: &[f32], labels: &[bool], width: usize, c: f64) -> Self {
        assert_eq!(
            rows.len(),
            labels.len() * width,
            "LogisticRegression::fit: rows of {width} values"
        );
        let mut at = vec![0.0; width + 1];
        let mut local = SecondOrder::of(&at, rows, labels, c);
        for _ in 0..STEPS {
            let step = solve(&local.hessian, &local.gradient);
            let slope: f64 = step.iter().zip(&local.gradient).map(|(s, g)| s * g).sum();
            // The decrease that the quadratic model predicts. Below this, rounding errors dominate.
            if slope <= 1e-12 * local.value.abs().max(1e-300) {
                break;
            }
            let mut length = 1.0;
            let next = loop {
                let there: Vec<f64> = at.iter().zip(&step).map(|(x, s)| x - length * s).collect();
                if objective(&there, rows, labels, c) <= local.value - 1e-4 * length * slope {
                    break Some(there);
                }
                length *= 0.5;
                if length < 1e-10 {
                    break None;
                }
            };
            let Some(next) = next else { break };
            at = next;
            local = SecondOrder::of(&at, rows, labels, c);
        }
        let bias = at.pop().unwrap_or(0.0);
        Self { weights: at, bias }
    }

    /// w · x + b: above 0 if the label is more likely true than false.
    pub fn score(&self, row: &[f32]) -> f64 {
        self.bias + self.weights.iter().zip(row).map(|(w, x)| w * f64::from(*x)).sum::<f64>()
    }

    /// The fraction of rows whose label is the sign of the score.
    pub fn accuracy(&self, rows: &[f32], labels: &[bool]) -> f64 {
        let right = rows
            .chunks_exact(self.weights.len())
            .zip(labels)
            .filter(|(row, label)| (self.score(row) > 0.0) == **label);
        right.count() as f64 / labels.len().max(1) as f64
    }
}

/// The margin y (w · x + b) with y = ±1.
fn margin(at: &[f64], row: &[f32], label: bool) -> f64 {
    let (bias, weights) = at.split_last().unwrap_or((&0.0, &[]));
    let score = bias + weights.iter().zip(row).map(|(w, x)| w * f64::from(*x)).sum::<f64>();
    if label { score } else { -score }
}

/// ln(1 + e⁻ᵐ) without overflow.
fn loss(margin: f64) -> f64 {
    (-margin.abs()).exp().ln_1p() + (-margin).max(0.0)
}

fn penalty(at: &[f64]) -> f64 {
    0.5 * at[..at.len() - 1].iter().map(|w| w * w).sum::<f64>()
}

fn objective(at: &[f64], rows: &[f32], labels: &[bool], c: f64) -> f64 {
    let rows = rows.chunks_exact(at.len() - 1).zip(labels);
    penalty(at) + c * rows.map(|(row, &label)| loss(margin(at, row, label))).sum::<f64>()
}

impl SecondOrder {
    fn of(at: &[f64], rows: &[f32], labels: &[bool], c: f64) -> Self {
        let (n, width) = (at.len(), at.len() - 1);
        let part = |(rows, labels): (&[f32], &[bool])| {
            let mut sum = Self { value: 0.0, gradient: vec![0.0; n], hessian: vec![0.0; n * n] };
            let mut x = vec![1.0; n];
            for (row, &label) in rows.chunks_exact(width).zip(labels) {
                x.iter_mut().zip(row).for_each(|(x, value)| *x = f64::from(*value));
                let m = margin(at, row, label);
                // σ(−m), the magnitude of the derivative, without overflow.
                let wrong =
                    if m > 0.0 { (-m).exp() / (1.0 + (-m).exp()) } else { 1.0 / (1.0 + m.exp()) };
                let (slope, curve) = (if label { -wrong } else { wrong }, wrong * (1.0 - wrong));
                sum.value += loss(m);
                for i in 0..n {
                    sum.gradient[i] += slope * x[i];
                    let factor = curve * x[i];
                    sum.hessian[i * n + i..(i + 1) * n]
                        .iter_mut()
                        .zip(&x[i..])
                        .for_each(|(h, x)| *h += factor * x);
                }
            }
            sum
        };
        let parts: Vec<Self> =
            rows.par_chunks(PART * width).zip(labels.par_chunks(PART)).map(part).collect();
        let mut total =
            Self { value: penalty(at), gradient: at.to_vec(), hessian: vec![0.0; n * n] };
        total.gradient[width] = 0.0;
        (0..width).for_each(|i| total.hessian[i * n + i] = 1.0);
        for part in parts {
            total.value += c * part.value;
            total.gradient.iter_mut().zip(&part.gradient).for_each(|(sum, g)| *sum += c * g);
            total.hessian.iter_mut().zip(&part.hessian).for_each(|(sum, h)| *sum += c * h);
        }
        total
    }
}

/// Solves A x = b for a positive definite A, of which the upper triangle is given, row by row.
fn solve(a: &[f64], b: &[f64]) -> Vec<f64> {
    // Read column by column it is the lower triangle, which is the one that Cholesky reads.
    let matrix = DMatrix::from_column_slice(b.len(), b.len(), a);
    match matrix.cholesky() {
        Some(root) => root.solve(&DVector::from_column_slice(b)).as_slice().to_vec(),
        // Rounding has made A indefinite: a zero step ends the iteration.
        None => vec![0.0; b.len()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systems_are_solved() {
        // [[4, 2], [2, 3]] · [1, -2] = [0, -4]
        let x = solve(&[4.0, 2.0, 0.0, 3.0], &[0.0, -4.0]);
        assert!((x[0] - 1.0).abs() < 1e-14 && (x[1] + 2.0).abs() < 1e-14, "{x:?}");
    }

    /// A single value that separates the labels: without a penalty there would be no minimum. By
    /// symmetry b = 0, and w solves w = 2c σ(−w).
    #[test]
    fn separable_labels_have_a_finite_weight() {
        let fitted = LogisticRegression::fit(&[1.0, -1.0], &[true, false], 1, 1.0);
        let w = fitted.weights[0];
        assert!(fitted.bias.abs() < 1e-9 && (w - 2.0 / (1.0 + w.exp())).abs() < 1e-9, "{fitted:?}");
        assert_eq!(fitted.accuracy(&[1.0, -1.0, 2.0], &[true, false, false]), 2.0 / 3.0);
        let strong = LogisticRegression::fit(
            &[100.0, -100.0, 50.0, -1.0],
            &[true, false, true, false],
            1,
            1e6,
        );
        assert!(
            strong.weights[0].is_finite() && strong.accuracy(&[100.0, -1.0], &[true, false]) == 1.0
        );
    }
}
