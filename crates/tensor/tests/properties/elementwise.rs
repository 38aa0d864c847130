//! Broadcast pairs, sums, large tensors, and NaN.

use super::{BOUND, config, error, indices, position, random, usual, wide};
use proptest::prelude::*;
use tensor::op_table::{Domain, UNARY_OPS};
use tensor::rng::Philox;
use tensor::{Activation, ConvGeom, Tensor, conv2d};

proptest! {
    #![proptest_config(config(1000))]

    /// Elementwise results are exact: each is one operation on two elements.
    #[test]
    fn pairs_broadcast(
        shape in proptest::collection::vec(prop_oneof![1 => Just(0usize), 12 => 1usize..=5], 0..=5),
        ones in proptest::collection::vec((any::<bool>(), any::<bool>()), 5),
        drop in (0usize..=5, any::<bool>()), seed in any::<u32>(),
    ) {
        let side = |first: bool| -> Vec<usize> {
            let masked = shape.iter().zip(&ones).map(|(&n, &(a, b))| {
                if (first && a) || (!first && b && !a) { 1 } else { n }
            });
            let masked: Vec<usize> = masked.collect();
            let lead = if first == drop.1 { drop.0.min(shape.len()) } else { 0 };
            masked[lead..].to_vec()
        };
        check_pairs(&side(true), &side(false), u64::from(seed))?;
    }

    #[test]
    fn sums_over_any_axes(
        shape in proptest::collection::vec(prop_oneof![1 => Just(0usize), 12 => 1usize..=9], 0..=5),
        mask in proptest::collection::vec(any::<bool>(), 5), keep: bool, seed in any::<u32>(),
    ) {
        let axes: Vec<usize> = (0..shape.len()).filter(|&i| mask[i]).collect();
        check_sum(&shape, &axes, keep, u64::from(seed))?;
    }
}

fn check_pairs(a: &[usize], b: &[usize], seed: u64) -> Result<(), TestCaseError> {
    let (x, y) = (random(seed, a), random(seed + 1, b));
    let Some(shape) = x.shape().broadcast(y.shape()) else {
        return Err(TestCaseError::fail(format!("{a:?} and {b:?} broadcast")));
    };
    let rank = a.len().max(b.len());
    let expected: Vec<usize> = (0..rank)
        .map(|i| {
            let len = |s: &[usize]| (i + s.len()).checked_sub(rank).map_or(1, |i| s[i]);
            if len(a) == 1 { len(b) } else { len(a) }
        })
        .collect();
    prop_assert_eq!(&shape[..], &expected[..]);
    type Op = (&'static str, fn(&Tensor, &Tensor) -> Tensor, fn(f32, f32) -> f32);
    let ops: [Op; 6] = [
        ("add", |x, y| x.add(y), |x, y| x + y),
        ("sub", |x, y| x.sub(y), |x, y| x - y),
        ("mul", |x, y| x.mul(y), |x, y| x * y),
        ("div", |x, y| x.div(y), |x, y| x / y),
        ("maximum", |x, y| x.maximum(y), f32::max),
        ("minimum", |x, y| x.minimum(y), f32::min),
    ];
    let (xs, ys) = (x.to_vec(), y.to_vec());
    for (name, op, f) in ops {
        let ours = op(&x, &y);
        prop_assert_eq!(ours.shape(), &shape);
        for (index, value) in indices(&shape).zip(ours.to_vec()) {
            let expected = f(xs[position(&index, a)], ys[position(&index, b)]);
            prop_assert_eq!(
                value.to_bits(),
                expected.to_bits(),
                "{} of {:?} and {:?} at {:?}",
                name,
                a,
                b,
                index
            );
        }
    }
    Ok(())
}

/// Lines longer than a task, on either side of a broadcast.
#[test]
fn long_pairs_broadcast() {
    for (a, b) in [
        (&[40_000][..], &[40_000][..]),
        (&[70_000], &[]),
        (&[1], &[33_000]),
        (&[2, 33_000], &[2, 1]),
        (&[33_000], &[2, 1]),
        (&[33_000, 1], &[1, 2]),
        (&[33_000, 1, 1], &[33_000, 1, 1]),
        (&[1, 1, 33_000], &[2, 1, 1]),
        (&[20_000, 3], &[3]),
    ] {
        check_pairs(a, b, 5).unwrap();
        check_pairs(b, a, 6).unwrap();
    }
}

fn check_sum(shape: &[usize], axes: &[usize], keep: bool, seed: u64) -> Result<(), TestCaseError> {
    let x = random(seed, shape);
    let kept: Vec<usize> =
        shape.iter().enumerate().map(|(i, &n)| if axes.contains(&i) { 1 } else { n }).collect();
    let mut expected = vec![0f64; kept.iter().product()];
    for (index, value) in indices(shape).zip(x.to_vec()) {
        expected[position(&index, &kept)] += f64::from(value);
    }
    let left: Vec<usize> =
        (0..shape.len()).filter(|i| !axes.contains(i)).map(|i| shape[i]).collect();
    let ours = x.sum(axes, keep);
    prop_assert_eq!(&ours.shape()[..], if keep { &kept[..] } else { &left[..] });
    let e = error(&ours, &expected, 3.0 * usual(x.len() / expected.len().max(1)));
    prop_assert!(e <= BOUND, "{:?} over {:?}: {:.1e}", shape, axes, e);
    Ok(())
}

#[test]
fn sums_of_many_tasks() {
    for (shape, axes) in [
        (&[200_001][..], &[0][..]),
        (&[3, 70_001], &[1]),
        (&[70_001, 3], &[0]),
        (&[2, 35_001, 5], &[1]),
        (&[2, 35_001, 5], &[0, 2]),
        (&[40_000, 2], &[1]),
        (&[64, 8, 8, 70], &[0, 1, 2]),
    ] {
        check_sum(shape, axes, false, 3).unwrap();
    }
}

#[test]
fn twenty_million_elements() {
    const N: usize = 20_000_000;
    let x = Philox::new(2, 2).uniform([N], 0.0, 1.0);
    let (mut squares, mut sum) = (0f64, 0f64);
    for v in x.to_vec() {
        squares += f64::from(v * v);
        sum += f64::from(v);
    }
    let ours = x.square().sum_all().item();
    assert!((f64::from(ours) - squares).abs() <= 1e-6 * squares, "{ours} for {squares}");
    let columns = wide(&x.reshape([N / 4, 4]).sum(&[0], false));
    assert!((columns.iter().sum::<f64>() - sum).abs() <= 1e-6 * sum);
    assert!((f64::from(x.mean_all().item()) - sum / N as f64).abs() <= 1e-6);
}

#[test]
fn nan_stays_visible() {
    const NAN: f32 = f32::NAN;
    let x = Tensor::from_slice(&[-1.0, NAN, 2.0, 0.5], [4]);
    let at = |t: Tensor| t.to_vec().iter().map(|v| v.is_nan()).collect::<Vec<_>>();
    let only_second = vec![false, true, false, false];
    let defined = UNARY_OPS.iter().filter(|op| op.domain != Domain::Positive || op.name == "recip");
    for op in defined {
        for sample in op.samples {
            assert_eq!(at((op.apply)(&x, sample)), only_second, "{} {sample:?}", op.name);
        }
    }
    for (name, y) in [
        ("maximum", x.maximum(&Tensor::scalar(0.0))),
        ("maximum, right", Tensor::scalar(0.0).maximum(&x)),
        ("minimum", x.minimum(&Tensor::scalar(0.0))),
        ("minimum, right", Tensor::scalar(0.0).minimum(&x)),
        (
            "bias_activation",
            x.reshape([4, 1]).bias_activation(&Tensor::zeros([1]), Activation::Relu),
        ),
    ] {
        assert_eq!(at(y), only_second, "{name}");
    }
    for position in 0..4 {
        let mut values = [0.5, -1.0, 2.0, 1.0];
        values[position] = NAN;
        let image = Tensor::from_slice(&values, [1, 2, 2, 1]);
        assert!(image.max_pool2d([2, 2], [2, 2]).item().is_nan());
        assert!(image.avg_pool2d([2, 2], [2, 2]).item().is_nan());
        assert!(image.reshape([4]).max(0, false).item().is_nan());
        assert!(image.sum_all().item().is_nan());
        assert_eq!(image.reshape([4]).argmax_last(), [position]);
        let norm =
            image.batch_norm(&Tensor::ones([1]), &Tensor::zeros([1]), 1e-5, Activation::Relu);
        assert!(norm.output.to_vec().iter().all(|v| v.is_nan()));
        let kernel = Tensor::ones([2, 2, 1, 1]);
        assert!(conv2d(&image, &kernel, &ConvGeom::square([2, 2], 2, 1, 0)).item().is_nan());
    }
}
