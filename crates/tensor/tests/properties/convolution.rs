//! The convolution triple and the transposed convolution.

use super::{BOUND, config, error, indices, pair, random, usual, wide};
use proptest::prelude::*;
use tensor::{
    Activation, ConvGeom, conv_transpose2d, conv2d, conv2d_bias_activation, conv2d_input_grad,
    conv2d_weight_grad,
};

/// The trilinear form of a convolution and what its three members are, in f64.
struct Reference {
    y: Vec<f64>,
    dx: Vec<f64>,
    dw: Vec<f64>,
}

fn convolution(
    x: &[f64],
    w: &[f64],
    dy: &[f64],
    g: &ConvGeom,
    [batch, cin, cout]: [usize; 3],
) -> Reference {
    let [oh, ow] = g.output();
    let [h, wid] = g.input;
    let mut r =
        Reference { y: vec![0.0; dy.len()], dx: vec![0.0; x.len()], dw: vec![0.0; w.len()] };
    for at in indices(&[batch, oh, ow, g.kernel[0], g.kernel[1]]) {
        let [n, oy, ox, ky, kx] = at[..] else { unreachable!() };
        let (Some(iy), Some(ix)) = (
            (oy * g.stride[0] + ky).checked_sub(g.pad[0][0]),
            (ox * g.stride[1] + kx).checked_sub(g.pad[1][0]),
        ) else {
            continue;
        };
        if iy >= h || ix >= wid {
            continue;
        }
        let (from, to) = (((n * h + iy) * wid + ix) * cin, ((n * oh + oy) * ow + ox) * cout);
        for ci in 0..cin {
            let tap = ((ky * g.kernel[1] + kx) * cin + ci) * cout;
            for co in 0..cout {
                r.y[to + co] += x[from + ci] * w[tap + co];
                r.dx[from + ci] += dy[to + co] * w[tap + co];
                r.dw[tap + co] += x[from + ci] * dy[to + co];
            }
        }
    }
    r
}

fn check_convolution(
    seed: u64,
    g: &ConvGeom,
    [batch, cin, cout]: [usize; 3],
) -> Result<(), TestCaseError> {
    let [oh, ow] = g.output();
    let x = random(seed, &[batch, g.input[0], g.input[1], cin]);
    let w = random(seed + 1, &[g.kernel[0], g.kernel[1], cin, cout]);
    let dy = random(seed + 2, &[batch, oh, ow, cout]);
    let expected = convolution(&wide(&x), &wide(&w), &wide(&dy), g, [batch, cin, cout]);
    for (name, ours, like, reference) in [
        ("conv2d", conv2d(&x, &w, g), &dy, &expected.y),
        ("conv2d_input_grad", conv2d_input_grad(&dy, &w, g), &x, &expected.dx),
        ("conv2d_weight_grad", conv2d_weight_grad(&x, &dy, g), &w, &expected.dw),
    ] {
        prop_assert_eq!(ours.shape(), like.shape(), "{}", name);
        let e = error(&ours, reference, usual(cost(g, [batch, cin, cout]) / like.len()));
        prop_assert!(
            e <= BOUND,
            "{}: error {:.1e}, {:?}, batch {}, {} → {} channels",
            name,
            e,
            g,
            batch,
            cin,
            cout
        );
    }
    let bias = random(seed + 3, &[cout]);
    for activation in [Activation::Relu, Activation::Tanh] {
        let fused = conv2d_bias_activation(&x, &w, &bias, g, activation);
        let two = conv2d(&x, &w, g).bias_activation(&bias, activation);
        prop_assert_eq!(fused.to_vec(), two.to_vec(), "conv2d_bias_activation, {:?}", g);
    }
    Ok(())
}

/// Multiply-adds of the reference.
fn cost(g: &ConvGeom, sizes: [usize; 3]) -> usize {
    g.try_output()
        .map_or(0, |o| o[0] * o[1] * g.kernel[0] * g.kernel[1] * sizes.iter().product::<usize>())
}

fn channels() -> impl Strategy<Value = usize> {
    prop_oneof![8 => 1usize..=20, 1 => 63usize..=65]
}

fn geometry() -> impl Strategy<Value = ConvGeom> {
    let side = prop_oneof![1 => Just(1usize), 6 => 1usize..=10];
    ([side.clone(), side], pair(1..=7), pair(1..=3), [pair(0..=3), pair(0..=3)])
        .prop_map(|(input, kernel, stride, pad)| ConvGeom { input, kernel, stride, pad })
        .prop_filter("the kernel fits", |g| g.try_output().is_some())
}

proptest! {
    #![proptest_config(config(1500))]

    #[test]
    fn the_convolution_triple(
        (g, sizes) in (geometry(), [(1usize..=3).boxed(), channels().boxed(), channels().boxed()])
            .prop_filter("small", |(g, s)| cost(g, *s) <= 1_000_000),
        seed in any::<u32>(),
    ) {
        check_convolution(u64::from(seed), &g, sizes)?;
    }
}

/// Sizes that reach the other paths: bands of lines, merged phases, groups of images, several
/// blocks of k, shares of columns, split sums, kernels as large as the image, and strides beyond
/// the kernel.
#[test]
fn the_convolution_triple_at_chosen_sizes() {
    let square = ConvGeom::square;
    for (g, sizes) in [
        (square([16, 16], 4, 2, 1), [5, 3, 64]),
        (square([33, 40], 4, 2, 1), [1, 3, 8]),
        (square([32, 32], 5, 2, 2), [2, 1, 17]),
        (square([28, 28], 5, 1, 2), [1, 1, 6]),
        (square([48, 45], 3, 1, 1), [2, 3, 5]),
        (square([48, 45], 3, 2, 1), [2, 6, 5]),
        (square([8, 8], 4, 2, 1), [40, 4, 6]),
        (square([4, 4], 4, 1, 0), [7, 20, 3]),
        (square([4, 4], 4, 2, 1), [2, 70, 130]),
        (square([3, 3], 2, 1, 0), [2, 65, 1024]),
        (square([1, 2], 1, 1, 0), [1, 4100, 1024]),
        (square([9, 9], 1, 3, 0), [2, 3, 4]),
        // Winograd's two forms, by the table of algorithms.
        (square([16, 16], 4, 2, 1), [9, 32, 48]),
        (square([8, 8], 4, 2, 1), [9, 48, 80]),
        (
            ConvGeom { input: [15, 9], kernel: [4, 4], stride: [2, 2], pad: [[1, 0], [0, 2]] },
            [8, 32, 32],
        ),
        (square([5, 5], 2, 3, 1), [2, 7, 4]),
        (square([1, 1], 7, 1, 3), [1, 2, 3]),
        (square([2, 1], 7, 3, 3), [1, 1, 1]),
        (
            ConvGeom { input: [3, 200], kernel: [1, 7], stride: [1, 2], pad: [[0, 0], [5, 0]] },
            [3, 2, 9],
        ),
        (
            ConvGeom { input: [5, 6], kernel: [2, 3], stride: [2, 1], pad: [[4, 0], [0, 7]] },
            [2, 3, 4],
        ),
    ] {
        check_convolution(9, &g, sizes).unwrap();
    }
}

proptest! {
    #![proptest_config(config(1000))]

    /// The transposed convolution scatters: pixel (i, j) of x adds x · w at (i, j) · stride −
    /// padding.
    #[test]
    fn conv_transpose2d_is_a_scatter(
        input in pair(1..=6), kernel in pair(1..=6), stride in pair(1..=3),
        pad in [pair(0..=2), pair(0..=2)],
        extra in pair(0..=2), sizes in [1usize..=2, 1..=9, 1..=9], seed in any::<u32>(),
    ) {
        let extra = [extra[0] % stride[0], extra[1] % stride[1]];
        let side = |i: usize| {
            let grown = (input[i] - 1) * stride[i] + kernel[i] + extra[i];
            grown.checked_sub(pad[i][0] + pad[i][1]).filter(|&n| n > 0)
        };
        let [batch, cin, cout] = sizes;
        let (Some(h), Some(wid)) = (side(0), side(1)) else {
            prop_assert!(ConvGeom::transposed(input, kernel, stride, pad, extra).is_err());
            return Ok(());
        };
        let x = random(u64::from(seed), &[batch, input[0], input[1], cin]);
        let w = random(u64::from(seed) + 1, &[kernel[0], kernel[1], cout, cin]);
        let (xs, ws) = (wide(&x), wide(&w));
        let mut expected = vec![0f64; batch * h * wid * cout];
        for at in indices(&[batch, input[0], input[1], kernel[0], kernel[1], cout, cin]) {
            let [n, i, j, ky, kx, co, ci] = at[..] else { unreachable!() };
            let y = (i * stride[0] + ky).wrapping_sub(pad[0][0]);
            let x = (j * stride[1] + kx).wrapping_sub(pad[1][0]);
            if y < h && x < wid {
                expected[((n * h + y) * wid + x) * cout + co] +=
                    xs[((n * input[0] + i) * input[1] + j) * cin + ci]
                        * ws[((ky * kernel[1] + kx) * cout + co) * cin + ci];
            }
        }
        let ours = conv_transpose2d(&x, &w, stride, pad, extra);
        prop_assert_eq!(&ours.shape()[..], &[batch, h, wid, cout][..]);
        prop_assert!(error(&ours, &expected, usual(cin)) <= BOUND);
    }
}
