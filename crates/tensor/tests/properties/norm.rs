//! Batch norm, its statistics and its gradients.

use super::{BOUND, config, error, wide};
use proptest::prelude::*;
use tensor::rng::Philox;
use tensor::{Activation, Tensor};

proptest! {
    #![proptest_config(config(1000))]

    /// Narrow channels are folded into wide rows when the number of rows allows it: both sides of
    /// every such edge.
    #[test]
    fn batch_norm_of_any_size(
        rows in prop_oneof![4 => 2usize..=70, 1 => 500usize..=900],
        channels in prop_oneof![6 => 1usize..=5, 3 => 6usize..=40, 1 => 63usize..=65],
        activation in 0usize..5, offset in -3f32..3.0, seed in any::<u32>(),
    ) {
        let activation = [
            Activation::None,
            Activation::Relu,
            Activation::LeakyRelu(0.2),
            Activation::Tanh,
            Activation::Sigmoid,
        ][activation];
        check_batch_norm(u64::from(seed), rows, channels, activation, offset)?;
    }
}

struct Norm {
    mean: Vec<f64>,
    variance: Vec<f64>,
    out: Vec<f64>,
    dx: Vec<f64>,
    dgamma: Vec<f64>,
    dbeta: Vec<f64>,
}

/// Value and derivative of an activation.
fn activate(a: Activation, v: f64) -> (f64, f64) {
    match a {
        Activation::None => (v, 1.0),
        Activation::Relu => (v.max(0.0), f64::from(v > 0.0)),
        Activation::LeakyRelu(s) => {
            if v > 0.0 {
                (v, 1.0)
            } else {
                (f64::from(s) * v, f64::from(s))
            }
        }
        Activation::Tanh => (v.tanh(), 1.0 - v.tanh().powi(2)),
        Activation::Sigmoid => {
            let s = 1.0 / (1.0 + (-v).exp());
            (s, s * (1.0 - s))
        }
    }
}

fn batch_norm(
    x: &[f64],
    gamma: &[f64],
    beta: &[f64],
    dy: &[f64],
    eps: f64,
    activation: Activation,
) -> Norm {
    let c = gamma.len();
    let n = (x.len() / c) as f64;
    let mut r = Norm {
        mean: vec![0.0; c],
        variance: vec![0.0; c],
        out: vec![0.0; x.len()],
        dx: vec![0.0; x.len()],
        dgamma: vec![0.0; c],
        dbeta: vec![0.0; c],
    };
    x.iter().enumerate().for_each(|(i, v)| r.mean[i % c] += v / n);
    x.iter().enumerate().for_each(|(i, v)| r.variance[i % c] += (v - r.mean[i % c]).powi(2) / n);
    let rstd: Vec<f64> = r.variance.iter().map(|v| 1.0 / (v + eps).sqrt()).collect();
    let normal: Vec<f64> =
        x.iter().enumerate().map(|(i, v)| (v - r.mean[i % c]) * rstd[i % c]).collect();
    let mut g = vec![0f64; x.len()];
    for (i, z) in normal.iter().enumerate() {
        let (value, slope) = activate(activation, z * gamma[i % c] + beta[i % c]);
        r.out[i] = value;
        g[i] = dy[i] * slope;
        r.dgamma[i % c] += g[i] * z;
        r.dbeta[i % c] += g[i];
    }
    for (i, z) in normal.iter().enumerate() {
        r.dx[i] =
            gamma[i % c] * rstd[i % c] * (g[i] - r.dbeta[i % c] / n - z * r.dgamma[i % c] / n);
    }
    r
}

fn check_batch_norm(
    seed: u64,
    rows: usize,
    channels: usize,
    activation: Activation,
    offset: f32,
) -> Result<(), TestCaseError> {
    const EPS: f32 = 1e-5;
    let mut rng = Philox::new(seed, 77);
    let dy = rng.uniform([rows, channels], -1.0, 1.0);
    let gamma = rng.uniform([channels], 0.5, 1.5);
    let beta = rng.uniform([channels], -0.5, 0.5);
    // If the argument of a rectifier is within rounding of its kink, the derivative is not unique:
    // draw again.
    let (x, expected) = loop {
        let x = rng.normal([rows, channels], offset, 1.0);
        let run =
            |a| batch_norm(&wide(&x), &wide(&gamma), &wide(&beta), &wide(&dy), f64::from(EPS), a);
        if run(Activation::None).out.iter().all(|v| v.abs() > 1e-6) {
            break (x.clone(), run(activation));
        }
    };
    let leaves = [&x, &gamma, &beta].map(Tensor::leaf);
    let result = leaves[0].batch_norm(&leaves[1], &leaves[2], EPS, activation);
    let grads = tensor::autograd::backward(&[(&result.output, &dy)]);
    // Few rows cancel almost entirely in dx: the measure is what is cancelled. And x · scale +
    // offset keeps as many digits as |mean| / σ leaves of an f32.
    let rstd: Vec<f64> =
        expected.variance.iter().map(|v| 1.0 / (v + f64::from(EPS)).sqrt()).collect();
    let cancelled = rstd.iter().copied().fold(0f64, f64::max);
    let far = expected.mean.iter().zip(&rstd).map(|(m, r)| m.abs() * r).fold(0f64, f64::max);
    let bound = BOUND * (far / 20.0).max(1.0);
    let scale = |r: &[f64]| r.iter().fold(0f64, |m, v| m.max(v.abs()));
    for (name, ours, reference, least) in [
        ("mean", Some(&result.mean), &expected.mean, 0.1),
        ("variance", Some(&result.variance), &expected.variance, 0.0),
        ("output", Some(&result.output), &expected.out, 0.1),
        ("dx", grads.of(&leaves[0]), &expected.dx, cancelled),
        ("dgamma", grads.of(&leaves[1]), &expected.dgamma, 1.0),
        ("dbeta", grads.of(&leaves[2]), &expected.dbeta, 1.0),
    ] {
        let ours = ours.unwrap().to_vec();
        prop_assert_eq!(ours.len(), reference.len());
        let wrong = ours
            .iter()
            .zip(reference)
            .map(|(a, b)| (f64::from(*a) - b).abs())
            .fold(0f64, |m, d| if d > m || d.is_nan() { d } else { m });
        let e = wrong / scale(reference).max(least);
        prop_assert!(
            e <= bound,
            "{}: error {:.1e}, {} rows of {} channels, {:?}, offset {}",
            name,
            e,
            rows,
            channels,
            activation,
            offset
        );
    }
    Ok(())
}

#[test]
fn batch_norm_of_many_tasks() {
    for (rows, channels) in [(40_000, 3), (33_333, 4), (9_001, 65), (2_048, 256), (131, 1000)] {
        check_batch_norm(8, rows, channels, Activation::LeakyRelu(0.2), 0.5).unwrap();
    }
}

/// The statistics are computed about a rough mean, which an outlier in the first row must not
/// spoil.
#[test]
fn batch_norm_with_an_outlier_in_front() {
    let (rows, channels) = (4096, 3);
    let mut values = Philox::new(4, 0).normal([rows, channels], 0.0, 1.0).to_vec();
    values[..channels].fill(30.0);
    let x = Tensor::from_slice(&values, [rows, channels]);
    let (gamma, beta) = (Tensor::ones([channels]), Tensor::zeros([channels]));
    let ours = x.batch_norm(&gamma, &beta, 1e-5, Activation::None);
    let zero = vec![0f64; values.len()];
    let expected =
        batch_norm(&wide(&x), &wide(&gamma), &wide(&beta), &zero, 1e-5, Activation::None);
    assert!(error(&ours.variance, &expected.variance, 0.0) <= BOUND);
    assert!(error(&ours.output, &expected.out, 0.0) <= BOUND);
}

/// With a mean a thousand deviations from 0 the variance keeps its accuracy.
#[test]
fn batch_norm_far_from_zero() {
    let x = Philox::new(6, 0).normal([3000, 2], 1000.0, 1.0);
    let ours = x.batch_norm(&Tensor::ones([2]), &Tensor::zeros([2]), 1e-5, Activation::None);
    let zero = vec![0f64; x.len()];
    let expected = batch_norm(&wide(&x), &[1.0; 2], &[0.0; 2], &zero, 1e-5, Activation::None);
    assert!(error(&ours.variance, &expected.variance, 0.0) <= BOUND);
    assert!(error(&ours.mean, &expected.mean, 0.0) <= 1e-7);
}
