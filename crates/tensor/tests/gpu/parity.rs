//! The results of the CPU, to 1e-5 of the largest element.

use super::common::{error, workload};
use proptest::prelude::*;
use proptest::test_runner::{TestRng, TestRunner};
use tensor::gpu::GpuError;
use tensor::op_table::UNARY_OPS;
use tensor::rng::{Distribution, Philox};
use tensor::{
    Activation, ConvGeom, Device, Tensor, autograd, conv_transpose2d, conv2d, conv2d_input_grad,
    conv2d_weight_grad, gpu,
};

const BOUND: f64 = 1e-5;

fn wide(t: &Tensor) -> Vec<f64> {
    t.to_vec().iter().map(|&v| f64::from(v)).collect()
}

/// max|a − b| / max|b|, the reference taken as at least `least`.
fn distance(ours: &Tensor, reference: &Tensor, least: f64) -> f64 {
    let reference = wide(reference);
    let largest = reference.iter().fold(0f64, |m, v| m.max(v.abs()));
    error(&ours.to_vec(), &reference)
        * if largest == 0.0 { 1.0 } else { largest / largest.max(least) }
}

/// ‖a − b‖ / ‖b‖.
fn root_mean_square(ours: &Tensor, reference: &Tensor) -> f64 {
    let (a, b) = (wide(ours), wide(reference));
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    norm(&mut a.iter().zip(&b).map(|(a, b)| a - b)) / norm(&mut b.iter().copied()).max(0.1)
}

fn compare(ours: &[(String, Tensor)], reference: &[(String, Tensor)], bound: f64) {
    assert_eq!(ours.len(), reference.len());
    let mut failures = Vec::new();
    for ((name, a), (_, b)) in ours.iter().zip(reference) {
        assert_eq!(a.shape(), b.shape(), "{name}");
        let e = distance(a, b, 0.0);
        if e > bound {
            failures.push(format!("{name} {:?}: {e:.1e}", a.shape()));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

pub fn every_kernel_family_equals_the_cpu(device: &Device) {
    compare(&workload::kernels(device), &workload::kernels(&Device::Cpu), BOUND);
}

pub fn training_equals_the_cpu(device: &Device) {
    // Adam divides a gradient by its own size, so a tiny one's rounding moves a weight.
    compare(&workload::training(device), &workload::training(&Device::Cpu), 1e-4);
}

fn run<S: Strategy>(cases: u32, strategy: S, test: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        max_global_rejects: 100_000,
        ..ProptestConfig::default()
    };
    // The same cases every time: at the kink of a rectifier, where the two sides may differ, a rare
    // case would fail some day.
    let rng = TestRng::deterministic_rng(config.rng_algorithm);
    if let Err(failure) = TestRunner::new_with_rng(config, rng).run(&strategy, test) {
        panic!("{failure}");
    }
}

fn random(seed: u32, shape: &[usize]) -> Tensor {
    Philox::new(u64::from(seed), shape.len() as u64).uniform(shape, -1.0, 1.0)
}

fn pair(range: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = [usize; 2]> {
    [range.clone(), range]
}

/// Few channels, a few vectors, about a tile, and an odd number.
fn channels() -> impl Strategy<Value = usize> {
    prop_oneof![
        3 => 1usize..=9,
        2 => (1usize..=5).prop_map(|n| 4 * n),
        1 => 31usize..=34,
        1 => 63usize..=66,
        1 => Just(74usize),
    ]
}

/// A tenth of the usual size of a sum of so many products of U(−1, 1).
fn usual(products: usize) -> f64 {
    0.1 * (products as f64).sqrt() / 3.0
}

pub fn random_convolutions_equal_the_cpu(device: &Device) {
    let side = prop_oneof![1 => Just(1usize), 6 => 1usize..=13];
    let geometry = ([side.clone(), side], pair(1..=7), pair(1..=3), [pair(0..=3), pair(0..=3)])
        .prop_map(|(input, kernel, stride, pad)| ConvGeom { input, kernel, stride, pad })
        .prop_filter("the kernel fits", |g| g.try_output().is_some());
    run(
        200,
        (geometry, 1usize..=5, channels(), channels(), any::<u32>()),
        |(g, batch, cin, cout, seed)| {
            let [oh, ow] = g.output();
            let x = random(seed, &[batch, g.input[0], g.input[1], cin]);
            let w = random(seed ^ 1, &[g.kernel[0], g.kernel[1], cin, cout]);
            let dy = random(seed ^ 2, &[batch, oh, ow, cout]);
            let triple = |x: &Tensor, w: &Tensor, dy: &Tensor| {
                [conv2d(x, w, &g), conv2d_input_grad(dy, w, &g), conv2d_weight_grad(x, dy, &g)]
            };
            let reference = triple(&x, &w, &dy);
            let ours = triple(&x.to_device(device), &w.to_device(device), &dy.to_device(device));
            for (name, (a, b)) in ["conv2d", "conv2d_input_grad", "conv2d_weight_grad"]
                .iter()
                .zip(ours.iter().zip(&reference))
            {
                prop_assert_eq!(a.shape(), b.shape(), "{}", name);
                let terms =
                    batch * oh * ow * g.kernel[0] * g.kernel[1] * cin * cout / b.len().max(1);
                let e = distance(a, b, usual(terms));
                prop_assert!(
                    e <= BOUND,
                    "{}: {:.1e}, {:?}, batch {}, {} to {} channels",
                    name,
                    e,
                    g,
                    batch,
                    cin,
                    cout
                );
            }
            Ok(())
        },
    );
}

pub fn random_products_equal_the_cpu(device: &Device) {
    let side =
        prop_oneof![4 => 1usize..=20, 2 => 30usize..=70, 1 => 120usize..=140, 1 => Just(600usize)];
    let strategy =
        ([side.clone(), side.clone(), side], 1usize..=3, any::<[bool; 2]>(), any::<u32>());
    run(150, strategy, |([m, k, n], batch, [trans_a, trans_b], seed)| {
        let sides =
            |trans: bool, r: usize, c: usize| if trans { [batch, c, r] } else { [batch, r, c] };
        let (a, b) = (random(seed, &sides(trans_a, m, k)), random(seed ^ 1, &sides(trans_b, k, n)));
        let reference = a.matmul(&b, trans_a, trans_b);
        let ours = a.to_device(device).matmul(&b.to_device(device), trans_a, trans_b);
        prop_assert_eq!(ours.shape(), reference.shape());
        let e = distance(&ours, &reference, usual(k));
        prop_assert!(
            e <= BOUND,
            "{:.1e}: {} × [{}, {}, {}], transposed {} and {}",
            e,
            batch,
            m,
            k,
            n,
            trans_a,
            trans_b
        );
        Ok(())
    });
}

pub fn random_pairs_and_sums_equal_the_cpu(device: &Device) {
    let shape = proptest::collection::vec(
        prop_oneof![1 => Just(1usize), 4 => 1usize..=9, 1 => 30usize..=40],
        0..=5,
    )
    .prop_filter("small", |axes| axes.iter().product::<usize>() <= 40_000);
    run(150, (shape, any::<[u8; 3]>(), any::<u32>()), |(axes, [ones_a, ones_b, summed], seed)| {
        let set = |bits: u8| (0..axes.len()).filter(move |i| bits >> i & 1 == 1);
        let operand = |bits: u8| {
            let mut own = axes.clone();
            set(bits).for_each(|i| own[i] = 1);
            own
        };
        let (a, b) = (random(seed, &operand(ones_a)), random(seed ^ 1, &operand(ones_b)));
        let sums: Vec<usize> = set(summed).collect();
        let compute = |a: &Tensor, b: &Tensor| {
            let (a, b) = (a.leaf(), b.leaf());
            let out = a.mul(&b).add(&a).maximum(&b);
            let total = out.sum(&sums, false);
            let grads = autograd::grad(
                &[(&total, &total.detach())],
                &[a.id().unwrap(), b.id().unwrap()],
                false,
            );
            [out.detach(), total.detach()]
                .into_iter()
                .chain(grads.into_iter().flatten())
                .collect::<Vec<_>>()
        };
        let (ours, reference) =
            (compute(&a.to_device(device), &b.to_device(device)), compute(&a, &b));
        for (i, (a, b)) in ours.iter().zip(&reference).enumerate() {
            prop_assert_eq!(a.shape(), b.shape());
            let e = distance(a, b, usual(axes.iter().product::<usize>() / b.len().max(1)));
            prop_assert!(
                e <= BOUND,
                "result {}: {:.1e}, shape {:?}, ones {} and {}, axes {:?}",
                i,
                e,
                axes,
                ones_a,
                ones_b,
                sums
            );
        }
        Ok(())
    });
    // Long sums, in several passes; and a sum with more lines than a row of the grid has
    // workgroups.
    let lines = random(8, &[70_000, 2]);
    assert!(
        distance(&lines.to_device(device).sum(&[1], false), &lines.sum(&[1], false), 0.0) <= BOUND
    );
    for (shape, axes) in [
        (vec![2_500_000], vec![0]),
        (vec![70_000, 5], vec![0]),
        (vec![3, 20_000], vec![1]),
        (vec![2, 600, 33], vec![1]),
    ] {
        let x = random(7, &shape).add_scalar(0.3);
        let e = distance(&x.to_device(device).sum(&axes, false), &x.sum(&axes, false), 0.0);
        assert!(e <= BOUND, "sum of {shape:?} over {axes:?}: {e:.1e}");
    }
}

pub fn random_normalizations_equal_the_cpu(device: &Device) {
    let activation = prop_oneof![
        Just(Activation::None),
        Just(Activation::Relu),
        Just(Activation::LeakyRelu(0.2)),
        Just(Activation::Tanh),
        Just(Activation::Sigmoid)
    ];
    // Two or three rows leave almost nothing of dx: golden vectors cover those.
    let rows = prop_oneof![8usize..=40, 100usize..=400, Just(3000usize)];
    run(
        150,
        (rows, channels(), activation, -30f32..30.0, any::<u32>()),
        |(rows, channels, activation, mean, seed)| {
            let x = random(seed, &[rows, channels]).add_scalar(mean);
            let (gamma, beta) =
                (random(seed ^ 1, &[channels]).add_scalar(1.5), random(seed ^ 2, &[channels]));
            let dy = random(seed ^ 3, &[rows, channels]);
            let compute = |device: &Device| {
                let [x, gamma, beta, dy] =
                    [&x, &gamma, &beta, &dy].map(|t| t.to_device(device).leaf());
                let result = x.batch_norm(&gamma, &beta, 1e-5, activation);
                let keys = [&x, &gamma, &beta].map(|t| t.id().unwrap());
                let grads = autograd::grad(&[(&result.output, &dy.detach())], &keys, false);
                let biased = x.detach().bias_activation(&beta.detach(), activation);
                let scaled = x.detach().scale_shift(&gamma.detach(), &beta.detach(), activation);
                [result.output.detach(), result.mean, result.variance, biased, scaled]
                    .into_iter()
                    .chain(grads.into_iter().flatten())
                    .collect::<Vec<_>>()
            };
            let (ours, reference) = (compute(device), compute(&Device::Cpu));
            // A large mean costs both sides digits of x − mean, and two rows leave almost nothing
            // of dx.
            let digits = 1.0 + f64::from(mean.abs());
            let kinked = matches!(activation, Activation::Relu | Activation::LeakyRelu(_));
            for (i, (a, b)) in ours.iter().zip(&reference).enumerate() {
                prop_assert_eq!(a.shape(), b.shape());
                // At the kink of a rectifier the two sides may use different slopes: a few
                // gradients then differ entirely.
                let (e, bound) = if kinked && i >= 5 {
                    (root_mean_square(a, b), 1e-2 + 4.0 / (b.len() as f64).sqrt())
                } else {
                    (distance(a, b, 0.1), BOUND * digits)
                };
                prop_assert!(
                    e <= bound,
                    "result {}: {:.1e}, {} rows, {} channels, {:?}, mean {}",
                    i,
                    e,
                    rows,
                    channels,
                    activation,
                    mean
                );
            }
            Ok(())
        },
    );
}

/// Infinity, NaN, zeros and the smallest normal values, as arguments of every function of one
/// element.
pub fn special_values_equal_the_cpu(device: &Device) {
    let values = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        1e30,
        -1e30,
        1e-30,
        88.0,
        90.0,
        -80.0,
        -200.0,
        0.624,
        0.626,
    ];
    let x = Tensor::from_slice(&values, [values.len()]);
    let same =
        |a: f32, b: f32| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 4e-6 * b.abs();
    let check = |name: &str, f: &dyn Fn(&Tensor) -> Tensor| {
        let (ours, reference) = (f(&x.to_device(device)).to_vec(), f(&x).to_vec());
        for ((v, a), b) in values.iter().zip(ours).zip(reference) {
            assert!(same(a, b), "{name}({v}): {a}, expected {b}");
        }
    };
    // powf is exp(p · ln x) on a GPU, which loses digits at such values.
    for op in UNARY_OPS.iter().filter(|op| op.name != "powf") {
        op.samples.iter().for_each(|sample| check(op.name, &|x| (op.apply)(x, sample)));
    }
    check("maximum", &|x| x.maximum(&Tensor::full_on(&x.device(), [], 0.5)));
    assert!(
        !x.to_device(device).all_finite()
            && Tensor::from_slice(&[1e38, -1e38], [2]).to_device(device).all_finite()
    );
    assert_eq!(x.to_device(device).argmax_last(), x.argmax_last());
}

pub fn random_words_equal_the_cpu(device: &Device) {
    for (seed, stream) in [(0, 0), (u64::MAX, 3), (0x0123_4567_89ab_cdef, u64::MAX)] {
        let (mut ours, mut reference) = (Philox::new(seed, stream), Philox::new(seed, stream));
        for len in [1, 7, 4099] {
            // U(0, 2²⁴) is the upper 24 bits of each word, exactly.
            let words = Distribution::Uniform { low: 0.0, high: 16_777_216.0 };
            let (a, b) =
                (ours.draw(device, [len], words), reference.draw(&Device::Cpu, [len], words));
            assert_eq!(a.to_vec(), b.to_vec(), "{len} words of stream {stream} under seed {seed}");
        }
        assert_eq!(ours, reference);
        let normal = Distribution::Normal { mean: 0.0, std: 1.0 };
        let (a, b) =
            (ours.draw(device, [1000], normal), reference.draw(&Device::Cpu, [1000], normal));
        assert!(distance(&a, &b, 0.0) < 1e-6);
    }
}

/// Convolutions whose operands, small gradients among them, are rounded to half precision.
pub fn mixed_precision_is_near() {
    let device = match super::adapter::open_with(gpu::Options { half: true, ..Default::default() })
    {
        Ok(device) => device,
        // The adapter has no half precision.
        Err(error) => return assert!(matches!(error, GpuError::NoHalf(_)), "{error}"),
    };
    for (side, cin, cout, size) in [(16, 3, 64, 1.0), (8, 64, 34, 1e-6), (5, 33, 8, 1e-3)] {
        let g = ConvGeom::square([side; 2], 4, 2, 1);
        let [oh, ow] = g.output();
        let x = random(1, &[4, side, side, cin]);
        let w = random(2, &[4, 4, cin, cout]).scale(0.1);
        let dy = random(3, &[4, oh, ow, cout]).scale(size);
        let triple = |x: &Tensor, w: &Tensor, dy: &Tensor| {
            [conv2d(x, w, &g), conv2d_input_grad(dy, w, &g), conv2d_weight_grad(x, dy, &g)]
        };
        let ours = triple(&x.to_device(&device), &w.to_device(&device), &dy.to_device(&device));
        for (i, (a, b)) in ours.iter().zip(triple(&x, &w, &dy)).enumerate() {
            let e = distance(a, &b, 0.0);
            // Close, but rounded; except the input gradient of images with few channels, which uses
            // no tiles.
            assert!(
                e <= 1e-2 && (e > 1e-6 || (i == 1 && cin <= 4)),
                "{side} {cin} {cout}, result {i}: {e:.1e}"
            );
        }
    }
    // A generator's layer: large activations forward, small gradients back, of both operands; and
    // values beyond half precision.
    for (size, slope) in [(100.0, 1e-6), (1e5, 1.0)] {
        let x = random(4, &[3, 5, 5, 24]).scale(size);
        let (w, dy) =
            (random(5, &[4, 4, 20, 24]).scale(0.1), random(6, &[3, 10, 10, 20]).scale(slope));
        let compute = |device: &Device| {
            let [x, w, dy] = [&x, &w, &dy].map(|t| t.to_device(device).leaf());
            let y = conv_transpose2d(&x, &w, [2, 2], [[1, 1]; 2], [0, 0]);
            let grads =
                autograd::grad(&[(&y, &dy.detach())], &[x.id().unwrap(), w.id().unwrap()], false);
            std::iter::once(y.detach()).chain(grads.into_iter().flatten()).collect::<Vec<_>>()
        };
        for (i, (a, b)) in compute(&device).iter().zip(compute(&Device::Cpu)).enumerate() {
            let e = distance(a, &b, 0.0);
            // Values beyond the range of half precision become its largest value: wrong by a third
            // here, but finite.
            let bound = if size > 65504.0 && i != 1 { 0.5 } else { 1e-2 };
            assert!(e <= bound, "activations of {size}, gradients of {slope}, result {i}: {e:.1e}");
        }
    }
    device.check().unwrap();
}

/// The choice of the tile affects only speed.
pub fn every_tile_gives_the_same_bits() {
    let results = |tile: usize| {
        let device =
            super::adapter::open_with(gpu::Options { tile: Some(tile), ..Default::default() })
                .unwrap();
        let mut all = Vec::new();
        for (side, cin, cout, stride) in
            [(9, 16, 36, 2), (8, 5, 7, 1), (7, 48, 130, 3), (6, 130, 64, 2)]
        {
            let g = ConvGeom::square([side; 2], 4, stride, 1);
            let [oh, ow] = g.output();
            let x = random(1, &[5, side, side, cin]).to_device(&device);
            let w = random(2, &[4, 4, cin, cout]).to_device(&device);
            let dy = random(3, &[5, oh, ow, cout]).to_device(&device);
            all.extend(
                [
                    conv2d(&x, &w, &g),
                    conv2d_input_grad(&dy, &w, &g),
                    conv2d_weight_grad(&x, &dy, &g),
                ]
                .map(|t| t.to_vec()),
            );
        }
        for (m, k, n) in [(130, 700, 33), (64, 64, 128), (1, 3000, 1)] {
            for (ta, tb) in [(false, false), (false, true), (true, false), (true, true)] {
                let sides = |trans: bool, r: usize, c: usize| if trans { [c, r] } else { [r, c] };
                let (a, b) = (random(4, &sides(ta, m, k)), random(5, &sides(tb, k, n)));
                all.push(a.to_device(&device).matmul(&b.to_device(&device), ta, tb).to_vec());
            }
        }
        device.check().unwrap();
        all
    };
    let first = results(0);
    for tile in [1, 2] {
        for (i, (a, b)) in results(tile).iter().zip(&first).enumerate() {
            let differ = a.iter().zip(b).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
            assert_eq!(
                differ,
                0,
                "result {i}: {differ} of {} elements differ between tile 0 and tile {tile}",
                a.len()
            );
        }
    }
}

/// The self-test that decides about cooperative matrices passes in both precisions.
pub fn the_self_test_passes(device: &Device) {
    let Device::Gpu(gpu) = device else { panic!("{device}") };
    assert!(gpu.self_test_passes());
    if let Ok(Device::Gpu(half)) =
        super::adapter::open_with(gpu::Options { half: true, ..Default::default() })
    {
        assert!(half.self_test_passes());
    }
}

/// The kernels without runtime checks, as in releases, over memory that is filled with NaN, which
/// reveals reads beyond an end and elements that are not written.
pub fn unchecked_kernels_leave_nothing_out() {
    let options = gpu::Options { poisoned: true, ..Default::default() };
    let device = super::adapter::open_as(options).unwrap();
    super::common::golden::every_operation_equals_pytorch_in_float64(&device);
    every_kernel_family_equals_the_cpu(&device);
    random_products_equal_the_cpu(&device);
    random_convolutions_equal_the_cpu(&device);
    random_normalizations_equal_the_cpu(&device);
    device.check().unwrap();
}

/// A grid of several rows, in a kernel with one element per thread.
pub fn a_copy_beyond_a_row_of_workgroups(device: &Device) {
    let (rows, width) = (17_000, 1001);
    let x = Philox::new(1, 1).draw(
        device,
        [rows, width],
        Distribution::Uniform { low: 0.0, high: 1.0 },
    );
    let turned = x.transpose();
    let (last, first) = (turned.narrow(1, rows - 1, 1).to_vec(), x.narrow(0, rows - 1, 1).to_vec());
    assert_eq!(last, first);
    assert_eq!(turned.transpose().sub(&x).abs().sum_all().item(), 0.0);
}

/// With `batch_invariant` the batch size does not change the split of sums.
pub fn results_do_not_depend_on_the_batch(device: &Device) {
    let g = ConvGeom::square([6, 6], 4, 2, 1);
    let x = random(1, &[16, 6, 6, 96]).to_device(device);
    let w = random(2, &[4, 4, 96, 20]).to_device(device);
    let one = |x: &Tensor| conv2d(&x.narrow(0, 0, 1), &w, &g).to_vec();
    let all = |x: &Tensor| conv2d(x, &w, &g).narrow(0, 0, 1).to_vec();
    let (alone, together) = tensor::batch_invariant(|| (one(&x), all(&x)));
    assert_eq!(alone, together);
    // Otherwise k = 1536 is split depending on the number of tiles, which shows that this test can
    // fail.
    let tall = random(3, &[2000, 6, 6, 96]).to_device(device);
    assert_ne!(one(&tall), all(&tall));
}
