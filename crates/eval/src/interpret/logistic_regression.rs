//! LogisticRegression regression by Newton's method.

use nalgebra::{DMatrix, DVector};
use rayon::prelude::*;

/// Steps of Newton's method; from zero it takes about ten.
const STEPS: usize = 100;
/// Rows that are summed one after the other: parts are summed in order, whatever the threads.
const PART: usize = 512;

/// What minimises ½ |w|² + c · Σᵢ ln(1 + exp(−yᵢ (w · xᵢ + b))) with yᵢ = ±1: the logistic regression of liblinear and scikit-learn, whose
/// intercept b is not penalised.
#[derive(Clone, Debug)]
pub struct LogisticRegression {
    /// w.
    pub weights: Vec<f64>,
    /// b.
    pub bias: f64,
}

/// Value, gradient and upper triangle of the Hessian, of the weights and, last, the bias.
struct Local {
    value: f64,
    gradient: Vec<f64>,
    hessian: Vec<f64>,
}

impl LogisticRegression {
    /// The minimum, to about ten digits, for `rows` of `width` numbers and as many truths. It is unique where both truths occur and c > 0.
    ///
    /// # Panics
    /// When there are not `width` numbers for each truth.
    #[track_caller]
    pub fn fit(rows: &[f32], truths: &[bool], width: usize, c: f64) -> Self {
        assert_eq!(
            rows.len(),
            truths.len() * width,
            "LogisticRegression::fit: rows of {width} numbers"
        );
        let mut at = vec![0.0; width + 1];
        let mut local = Local::of(&at, rows, truths, c);
        for _ in 0..STEPS {
            let step = solve(&local.hessian, &local.gradient);
            let slope: f64 = step.iter().zip(&local.gradient).map(|(s, g)| s * g).sum();
            // What the quadratic model still promises; rounding allows no more.
            if slope <= 1e-12 * local.value.abs().max(1e-300) {
                break;
            }
            let mut length = 1.0;
            let next = loop {
                let there: Vec<f64> = at.iter().zip(&step).map(|(x, s)| x - length * s).collect();
                if objective(&there, rows, truths, c) <= local.value - 1e-4 * length * slope {
                    break Some(there);
                }
                length *= 0.5;
                if length < 1e-10 {
                    break None;
                }
            };
            let Some(next) = next else { break };
            at = next;
            local = Local::of(&at, rows, truths, c);
        }
        let bias = at.pop().unwrap_or(0.0);
        Self { weights: at, bias }
    }

    /// w · x + b: above 0 where the truth is more likely than not.
    pub fn score(&self, row: &[f32]) -> f64 {
        self.bias + self.weights.iter().zip(row).map(|(w, x)| w * f64::from(*x)).sum::<f64>()
    }

    /// The share of rows whose truth the sign of the score tells.
    pub fn accuracy(&self, rows: &[f32], truths: &[bool]) -> f64 {
        let right = rows
            .chunks_exact(self.weights.len())
            .zip(truths)
            .filter(|(row, truth)| (self.score(row) > 0.0) == **truth);
        right.count() as f64 / truths.len().max(1) as f64
    }
}

/// ±(w · x + b), the sign being the truth's.
fn margin(at: &[f64], row: &[f32], truth: bool) -> f64 {
    let (bias, weights) = at.split_last().unwrap_or((&0.0, &[]));
    let score = bias + weights.iter().zip(row).map(|(w, x)| w * f64::from(*x)).sum::<f64>();
    if truth { score } else { -score }
}

/// ln(1 + e⁻ᵐ) without overflow.
fn loss(margin: f64) -> f64 {
    (-margin.abs()).exp().ln_1p() + (-margin).max(0.0)
}

fn penalty(at: &[f64]) -> f64 {
    0.5 * at[..at.len() - 1].iter().map(|w| w * w).sum::<f64>()
}

fn objective(at: &[f64], rows: &[f32], truths: &[bool], c: f64) -> f64 {
    let rows = rows.chunks_exact(at.len() - 1).zip(truths);
    penalty(at) + c * rows.map(|(row, &truth)| loss(margin(at, row, truth))).sum::<f64>()
}

impl Local {
    fn of(at: &[f64], rows: &[f32], truths: &[bool], c: f64) -> Self {
        let (n, width) = (at.len(), at.len() - 1);
        let part = |(rows, truths): (&[f32], &[bool])| {
            let mut sum = Self { value: 0.0, gradient: vec![0.0; n], hessian: vec![0.0; n * n] };
            let mut x = vec![1.0; n];
            for (row, &truth) in rows.chunks_exact(width).zip(truths) {
                x.iter_mut().zip(row).for_each(|(x, value)| *x = f64::from(*value));
                let m = margin(at, row, truth);
                // σ(−m): the derivative's size, at most 1.
                let wrong =
                    if m > 0.0 { (-m).exp() / (1.0 + (-m).exp()) } else { 1.0 / (1.0 + m.exp()) };
                let (slope, curve) = (if truth { -wrong } else { wrong }, wrong * (1.0 - wrong));
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
            rows.par_chunks(PART * width).zip(truths.par_chunks(PART)).map(part).collect();
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

/// The x of A x = b for a positive definite A, of which only the upper triangle is given, row by row.
fn solve(a: &[f64], b: &[f64]) -> Vec<f64> {
    // Column by column it is the lower one, and that is what the decomposition reads.
    let matrix = DMatrix::from_column_slice(b.len(), b.len(), a);
    match matrix.cholesky() {
        Some(root) => root.solve(&DVector::from_column_slice(b)).as_slice().to_vec(),
        // Rounding has made it indefinite: no step, and so the end.
        None => vec![0.0; b.len()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_is_solved() {
        // [[4, 2], [2, 3]] · [1, -2] = [0, -4]
        let x = solve(&[4.0, 2.0, 0.0, 3.0], &[0.0, -4.0]);
        assert!((x[0] - 1.0).abs() < 1e-14 && (x[1] + 2.0).abs() < 1e-14, "{x:?}");
    }

    /// A single number that separates the truths: without a penalty there would be no minimum. By symmetry b = 0, and w solves w = 2c σ(−w).
    #[test]
    fn what_separates_has_a_finite_weight() {
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
