//! The Winograd forms compared with plain loops in f64.

use super::tiling::KERNELS;
use super::{forward, input_grad, taps, weight_grad};
use crate::descriptors::{ConvGeom, ConvParams};
use crate::rng::Philox;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

const BOUND: f64 = 1e-5;

/// y, dx and dw of the trilinear form.
fn reference(x: &[f32], w: &[f32], dy: &[f32], call: &ConvParams) -> [Vec<f64>; 3] {
    let ConvParams { geom, batch, cin, cout } = *call;
    let [oh, ow] = geom.output();
    let [h, wid] = geom.input;
    let (mut y, mut dx, mut dw) = (vec![0f64; dy.len()], vec![0f64; x.len()], vec![0f64; w.len()]);
    for (n, oy, ox) in
        (0..batch).flat_map(|n| (0..oh).flat_map(move |oy| (0..ow).map(move |ox| (n, oy, ox))))
    {
        let side = geom.kernel[0];
        for (ky, kx) in (0..side).flat_map(|ky| (0..side).map(move |kx| (ky, kx))) {
            let (iy, ix) = (
                (oy * geom.stride[0] + ky).wrapping_sub(geom.pad[0][0]),
                (ox * geom.stride[1] + kx).wrapping_sub(geom.pad[1][0]),
            );
            if iy >= h || ix >= wid {
                continue;
            }
            let (from, to) = (((n * h + iy) * wid + ix) * cin, ((n * oh + oy) * ow + ox) * cout);
            for ci in 0..cin {
                let tap = ((ky * side + kx) * cin + ci) * cout;
                for co in 0..cout {
                    let [a, b, c] = [x[from + ci], w[tap + co], dy[to + co]].map(f64::from);
                    y[to + co] += a * b;
                    dx[from + ci] += c * b;
                    dw[tap + co] += a * c;
                }
            }
        }
    }
    [y, dx, dw]
}

/// The triple by tiles of 2×2 and of 4×4 outputs: y, dx and dw of each. The input gradient of
/// 3×3 kernels always uses tiles of 2×2 (`conv_algo::exact`).
fn both(x: &[f32], w: &[f32], dy: &[f32], call: ConvParams) -> [[Vec<f32>; 3]; 2] {
    let poisoned = || [dy.len(), x.len(), w.len()].map(|len| vec![f32::NAN; len]);
    let ([mut y2, mut dx2, mut dw2], [mut y4, mut dx4, mut dw4]) = (poisoned(), poisoned());
    if taps(&call.geom) == Some(2) {
        forward::<2, 3, 2>(x, w, &mut y2, call, None);
        input_grad::<2, 3, 2>(dy, w, &mut dx2, call);
        weight_grad::<2, 3, 2>(x, dy, &mut dw2, call);
        forward::<4, 5, 2>(x, w, &mut y4, call, None);
        input_grad::<4, 5, 2>(dy, w, &mut dx4, call);
        weight_grad::<4, 5, 2>(x, dy, &mut dw4, call);
    } else {
        forward::<2, 4, 3>(x, w, &mut y2, call, None);
        input_grad::<2, 4, 3>(dy, w, &mut dx2, call);
        weight_grad::<2, 4, 3>(x, dy, &mut dw2, call);
        forward::<4, 6, 3>(x, w, &mut y4, call, None);
        if call.geom.stride == [1; 2] {
            input_grad::<2, 4, 3>(dy, w, &mut dx4, call);
        } else {
            input_grad::<4, 6, 3>(dy, w, &mut dx4, call);
        }
        weight_grad::<4, 6, 3>(x, dy, &mut dw4, call);
    }
    [[y2, dx2, dw2], [y4, dx4, dw4]]
}

/// The errors of both tiles in forward, input gradient and weight gradient, with images and weights
/// uniform from `low` to 1.
fn errors(seed: u64, call: ConvParams, low: [f32; 2]) -> [[f64; 3]; 2] {
    let ConvParams { geom, batch, cin, cout } = call;
    let [oh, ow] = geom.output();
    let mut rng = Philox::new(seed, 0);
    let x = rng.uniform([batch, geom.input[0], geom.input[1], cin], low[0], 1.0);
    let w = rng.uniform([geom.kernel[0], geom.kernel[1], cin, cout], low[1], 1.0);
    let dy = rng.uniform([batch, oh, ow, cout], low[0], 1.0);
    let (x, w, dy) = (x.on_cpu("test"), w.on_cpu("test"), dy.on_cpu("test"));
    let expected = reference(x, w, dy, &call);
    let ours = both(x, w, dy, call);
    // If windows cover little but padding, the reference is almost 0 and the errors come from the
    // other pixels of the tile: the scale is at least the usual size of a sum of so many products
    // of U(−1, 1).
    let least = [geom.kernel[0].pow(2) * cin, 4 * cout, batch * oh * ow]
        .map(|products| (products as f64).sqrt() / 3.0);
    let error = |ours: &[f32], reference: &[f64], least: f64| {
        let scale = reference.iter().fold(least, |m, v| m.max(v.abs()));
        let differ = |(a, b): (&f32, &f64)| (f64::from(*a) - b).abs();
        ours.iter()
            .zip(reference)
            .map(differ)
            .fold(0f64, |m, d| if d.is_nan() { f64::INFINITY } else { m.max(d) })
            / scale
    };
    ours.map(|all| [0, 1, 2].map(|i| error(&all[i], &expected[i], least[i])))
}

fn check(seed: u64, call: ConvParams) {
    let e = errors(seed, call, [-1.0; 2]);
    assert!(e.iter().flatten().all(|&e| e <= BOUND), "{call:?}: errors {e:?}");
}

fn geometry() -> impl Strategy<Value = ConvGeom> {
    let pair = |range: std::ops::RangeInclusive<usize>| [range.clone(), range];
    let kernel = prop::sample::select(KERNELS.to_vec());
    (pair(1..=23), [pair(0..=4), pair(0..=4)], kernel)
        .prop_map(|(input, pad, (side, stride))| ConvGeom {
            input,
            kernel: [side; 2],
            stride: [stride; 2],
            pad,
        })
        .prop_filter("the kernel fits", |g| g.try_output().is_some())
}

proptest! {
    // Rounding errors have a long tail: the worst error of 6000 layers drawn like these was 8.5e-6
    // when sums had one chain a block, and transforms other points.
    // The seed is fixed so that no run of the tests meets 1e-5 by chance; use another seed and more
    // cases when a transform changes.
    #![proptest_config(ProptestConfig {
        cases: 300,
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn random_geometries(
        geom in geometry(),
        batch in 1usize..=3,
        channels in [1usize..=5, 1usize..=5],
        seed in any::<u32>(),
    ) {
        let [cin, cout] = channels.map(|c| 16 * c);
        check(u64::from(seed), ConvParams { geom, batch, cin, cout });
    }
}

/// Sizes with several blocks of k, of columns, of tiles and of images.
#[test]
fn chosen_sizes() {
    for (kernel, stride) in KERNELS {
        for (side, pad, [batch, cin, cout]) in [
            (8, 1, [150, 16, 32]),
            (8, kernel - 3, [5, 96, 208]),
            (9, 1, [3, 144, 48]),
            (51, 1, [2, 16, 16]),
            (97, 0, [1, 16, 16]),
            (kernel, 0, [300, 32, 16]),
        ] {
            check(
                5,
                ConvParams {
                    geom: ConvGeom::square([side; 2], kernel, stride, pad),
                    batch,
                    cin,
                    cout,
                },
            );
        }
    }
}

/// The errors of long sums, in the largest layers of the networks here.
#[test]
#[ignore = "seconds of f64 loops; run with --nocapture when a transform changes"]
fn errors_of_large_layers() {
    let layers = [
        (32, 16, 64, 128),
        (16, 16, 128, 256),
        (8, 16, 256, 512),
        (8, 128, 64, 64),
        (8, 2, 512, 1024),
    ];
    for ((kernel, stride), (side, batch, cin, cout)) in
        KERNELS.into_iter().flat_map(|k| layers.map(|layer| (k, layer)))
    {
        for low in [[-1.0, -1.0], [0.0, -1.0], [0.0, 0.0]] {
            let geom = ConvGeom::square([side; 2], kernel, stride, (kernel - 1) / 2);
            let e = errors(1, ConvParams { geom, batch, cin, cout }, low);
            assert!(e.iter().flatten().all(|&e| e <= BOUND), "{e:?}");
            println!(
                "{kernel}×{kernel}/{stride}, {side}×{side} {cin} → {cout}, batch {batch}, \
                 from {low:?}: {:.1?}",
                e.map(|r| r.map(|e| e * 1e6))
            );
        }
    }
}

/// The number of threads does not change a bit.
#[test]
fn threads() {
    for (kernel, stride) in KERNELS {
        let call = ConvParams {
            geom: ConvGeom::square([12, 16], kernel, stride, 1),
            batch: 40,
            cin: 48,
            cout: 144,
        };
        let [oh, ow] = call.geom.output();
        let mut rng = Philox::new(3, 0);
        let x = rng.uniform([call.batch, 12, 16, call.cin], -1.0, 1.0);
        let w = rng.uniform([kernel, kernel, call.cin, call.cout], -1.0, 1.0);
        let dy = rng.uniform([call.batch, oh, ow, call.cout], -1.0, 1.0);
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let all =
                pool.install(|| both(x.on_cpu("test"), w.on_cpu("test"), dy.on_cpu("test"), call));
            all.map(|triple| triple.map(|t| t.into_iter().map(f32::to_bits).collect::<Vec<_>>()))
        };
        let alone = run(1);
        assert!(run(2) == alone && run(3) == alone);
    }
}
