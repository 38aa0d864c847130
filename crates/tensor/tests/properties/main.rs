//! Random shapes compared with plain loops in f64. Errors are max|a − b| / max|reference| per
//! tensor; if the reference may cancel to almost nothing (a single sum of random signs), the
//! divisor is at least its usual size.

#[path = "../common/mod.rs"]
mod common;
mod convolution;
mod elementwise;
mod matmul;
mod movement;
mod norm;

use proptest::prelude::*;
use tensor::Tensor;
use tensor::rng::Philox;

const BOUND: f64 = 1e-5;

fn random(seed: u64, shape: &[usize]) -> Tensor {
    Philox::new(seed, shape.len() as u64).uniform(shape, -1.0, 1.0)
}

fn wide(t: &Tensor) -> Vec<f64> {
    t.to_vec().iter().map(|&v| f64::from(v)).collect()
}

/// max|a − b| / max|reference|, the reference taken as at least `least`.
fn error(ours: &Tensor, reference: &[f64], least: f64) -> f64 {
    let largest = reference.iter().fold(0f64, |m, v| m.max(v.abs()));
    common::error(&ours.to_vec(), reference)
        * if largest == 0.0 { 1.0 } else { largest / largest.max(least) }
}

/// A tenth of the usual size of a sum of so many products of U(−1, 1).
fn usual(products: usize) -> f64 {
    0.1 * (products as f64).sqrt() / 3.0
}

/// All indices below `axes`, in row-major order.
fn indices(axes: &[usize]) -> impl Iterator<Item = Vec<usize>> + '_ {
    (0..axes.iter().product::<usize>()).map(move |mut at| {
        let mut index = vec![0; axes.len()];
        for (slot, &len) in index.iter_mut().zip(axes).rev() {
            *slot = at % len;
            at /= len;
        }
        index
    })
}

/// The row-major offset of `index` in a tensor that is broadcast to it.
fn position(index: &[usize], axes: &[usize]) -> usize {
    let index = &index[index.len() - axes.len()..];
    index.iter().zip(axes).fold(0, |at, (&i, &len)| at * len + if len == 1 { 0 } else { i })
}

fn pair(range: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = [usize; 2]> {
    [range.clone(), range]
}

fn config(cases: u32) -> ProptestConfig {
    // A failure is shrunk and printed; no file is written.
    ProptestConfig {
        cases,
        failure_persistence: None,
        max_global_rejects: 100_000,
        ..ProptestConfig::default()
    }
}
