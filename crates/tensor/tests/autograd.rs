//! The autograd graph: accumulation of gradients, lifetime of saved tensors, and deep graphs that
//! must not overflow the stack.

mod common;

use std::hint::black_box;
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use tensor::autograd::{self, TensorId};
use tensor::rng::Philox;
use tensor::{
    Activation, ConvGeom, Device, FiniteCheck, OptimizerKind, ParamUpdate, Tensor, UpdateStep,
    conv2d, memory_stats, reset_peak_memory_stats, update,
};

/// The memory statistics cover the whole process, so tests that read them run alone.
static MEMORY: RwLock<()> = RwLock::new(());

fn shared() -> RwLockReadGuard<'static, ()> {
    MEMORY.read().unwrap_or_else(|e| e.into_inner())
}

fn alone() -> RwLockWriteGuard<'static, ()> {
    MEMORY.write().unwrap_or_else(|e| e.into_inner())
}

fn vector(values: &[f32]) -> Tensor {
    Tensor::from_slice(values, [values.len()])
}

/// Without a gradient, the maxima are found in another way: with the same elements, NaN included.
#[test]
fn max_pool2d_has_the_same_values_without_a_gradient() {
    let _guard = shared();
    let mut values = Philox::new(3, 0).normal([2 * 7 * 9 * 5], 0.0, 1.0).to_vec();
    for at in [0, 17, 200, 301] {
        values[at] = f32::NAN;
    }
    values[40..60].fill(f32::NEG_INFINITY);
    let x = Tensor::from_slice(&values, [2, 7, 9, 5]);
    for (kernel, stride) in [([3, 3], [2, 2]), ([3, 3], [1, 1]), ([1, 4], [3, 1]), ([7, 9], [1, 1])]
    {
        let bits = |y: Tensor| -> Vec<u32> {
            // All NaNs are one.
            y.to_vec().iter().map(|v| if v.is_nan() { u32::MAX } else { v.to_bits() }).collect()
        };
        let tracked = x.leaf().max_pool2d(kernel, stride);
        assert_eq!(bits(x.max_pool2d(kernel, stride)), bits(tracked), "{kernel:?}, {stride:?}");
    }
}

#[test]
fn a_leaf_used_twice_adds_its_gradients() {
    let _guard = shared();
    let x = vector(&[2.0, -3.0]).leaf();
    let loss = x.mul(&x).add(&x.scale(10.0)).add(&x).sum_all();
    assert_eq!(loss.backward().of(&x).unwrap().to_vec(), [15.0, 5.0]);
}

#[test]
fn leaves_with_one_id_add_their_gradients() {
    let _guard = shared();
    let (value, key) = (vector(&[2.0, -3.0]), TensorId::fresh());
    let (a, b) = (value.leaf_with_id(key), value.leaf_with_id(key));
    let first = a.square().sum_all();
    let second = b.scale(5.0).sum_all();
    let one = Tensor::scalar(1.0);
    let grads = autograd::backward(&[(&first, &one), (&second, &one)]);
    assert_eq!((grads.len(), grads.get(key).unwrap().to_vec()), (1, vec![9.0, -1.0]));
    let mut sum = a.square().sum_all().backward();
    sum.accumulate(b.scale(5.0).sum_all().backward());
    assert_eq!(sum.get(key).unwrap().to_vec(), [9.0, -1.0]);
}

/// `add` returns one gradient for both parents and `reshape` shares storage, so adding in place
/// would change another gradient.
#[test]
fn shared_gradients_are_not_added_to_in_place() {
    let _guard = shared();
    let (x, y) = (vector(&[1.0, 2.0]).leaf(), vector(&[3.0, 4.0]).leaf());
    let sum = x.add(&y);
    let loss = sum.reshape([2, 1]).sum_all().add(&x.scale(7.0).sum_all()).add(&sum.sum_all());
    let outer = Tensor::scalar(1.0);
    let grads = autograd::backward(&[(&loss, &outer), (&loss, &outer)]);
    assert_eq!(grads.of(&x).unwrap().to_vec(), [18.0, 18.0]);
    assert_eq!(grads.of(&y).unwrap().to_vec(), [4.0, 4.0]);
    assert_eq!(outer.item(), 1.0, "the gradient of the caller is unchanged");
}

#[test]
fn grad_returns_one_gradient_per_id() {
    let _guard = shared();
    let (x, y, unused) = (vector(&[2.0]).leaf(), vector(&[5.0]).leaf(), vector(&[1.0]).leaf());
    let middle = x.mul(&y);
    let loss = middle.square().sum_all();
    let one = Tensor::scalar(1.0);
    let key = |t: &Tensor| t.id().unwrap();
    let keys = [key(&middle), key(&unused), key(&x), key(&x)];
    let grads = autograd::grad(&[(&loss, &one)], &keys, true);
    let values: Vec<Option<f32>> = grads.iter().map(|g| g.as_ref().map(Tensor::item)).collect();
    assert_eq!(values, [Some(20.0), None, Some(100.0), Some(100.0)]);
    let constant = vector(&[1.0]).square().sum_all();
    assert!(autograd::backward(&[(&constant, &one)]).is_empty());
}

/// A branch that leads only to other leaves is not consumed: its backward pass can still run.
#[test]
fn grad_leaves_other_branches_alone() {
    let _guard = shared();
    let (x, y) = (vector(&[2.0]).leaf(), vector(&[5.0]).leaf());
    let other = y.square();
    let loss = x.square().add(&other).sum_all();
    let one = Tensor::scalar(1.0);
    let by_x = autograd::grad(&[(&loss, &one)], &[x.id().unwrap()], false);
    assert_eq!(by_x[0].as_ref().unwrap().item(), 4.0);
    assert_eq!(autograd::backward(&[(&other, &vector(&[1.0]))]).of(&y).unwrap().item(), 10.0);
}

/// At an operation on both, the gradient of the other leaf is not computed: it would need this much
/// more memory.
#[test]
fn grad_does_not_compute_other_gradients() {
    let _guard = alone();
    const N: usize = 1 << 20;
    let (x, y) = (Tensor::ones([N]).leaf(), Tensor::ones([N]).leaf());
    let peak = |keys: &[TensorId]| {
        let loss = x.mul(&y);
        let weight = Tensor::ones([N]);
        reset_peak_memory_stats();
        let before = memory_stats().allocated;
        drop(autograd::grad(&[(&loss, &weight)], keys, false));
        memory_stats().peak - before
    };
    let (kx, ky) = (x.id().unwrap(), y.id().unwrap());
    let (one, both) = (peak(&[kx]), peak(&[kx, ky]));
    assert!(one < both && both - one >= 4 * N - 4096, "{one} and {both} bytes");
}

#[test]
fn third_order_of_the_fourth_power() {
    let _guard = shared();
    for power in [
        |x: &Tensor| x.powf(4.0),
        |x: &Tensor| x.square().square(),
        |x: &Tensor| x.mul(x).mul(x).mul(x),
    ] {
        let x = vector(&[1.5, 2.0]).leaf();
        let (key, one) = (x.id().unwrap(), Tensor::ones([2]));
        let mut y = power(&x);
        for factor in [[4.0 * 3.375, 32.0], [12.0 * 2.25, 48.0], [36.0, 48.0], [24.0, 24.0]] {
            y = autograd::grad(&[(&y, &one)], &[key], true).remove(0).unwrap();
            for (have, want) in y.to_vec().iter().zip(factor) {
                assert!((have - want).abs() < 1e-4 * want, "{y:?} for {factor:?}");
            }
        }
    }
}

#[test]
#[should_panic(expected = "backward: the graph at `mul` was consumed by an earlier backward pass")]
fn a_second_backward_pass_names_the_operation() {
    let _guard = shared();
    let x = vector(&[2.0]).leaf();
    let product = x.mul(&x);
    drop(product.sum_all().backward());
    product.exp().sum_all().backward();
}

#[test]
#[should_panic(expected = "backward: the graph at `sum` was consumed by an earlier backward pass")]
fn a_second_order_pass_over_a_consumed_graph_names_it_too() {
    let _guard = shared();
    let x = vector(&[2.0]).leaf();
    let loss = x.square().sum_all();
    drop(loss.backward());
    autograd::grad(&[(&loss, &Tensor::scalar(1.0))], &[x.id().unwrap()], true);
}

#[test]
fn a_kept_graph_allows_another_backward_pass() {
    let _guard = shared();
    let x = vector(&[2.0]).leaf();
    let (loss, one) = (x.square().sum_all(), Tensor::scalar(1.0));
    for _ in 0..2 {
        assert_eq!(
            autograd::grad(&[(&loss, &one)], &[x.id().unwrap()], true)[0].as_ref().unwrap().item(),
            4.0
        );
    }
    assert_eq!(loss.backward().of(&x).unwrap().item(), 4.0);
}

/// With 128 KiB of stack: a recursion over a million nodes would need a hundred times that.
#[test]
fn a_million_operations_need_no_stack() {
    let _guard = alone();
    let chain = |x: &Tensor, n: usize| {
        let mut y = x.clone();
        for i in 0..n {
            // Operations that save nothing, their operand, and their result.
            y = match i % 3 {
                0 => y.reshape([1]),
                1 => y.scale(1.0),
                _ => y.relu(),
            };
        }
        y
    };
    let work = move || {
        let x = vector(&[0.75]).leaf();
        drop(chain(&x, 1_000_000));
        let y = chain(&x, 1_000_000);
        assert_eq!(y.sum_all().backward().of(&x).unwrap().item(), 1.0);
        drop(y);
        let y = chain(&x, 100_000);
        let g = autograd::grad(&[(&y, &vector(&[1.0]).leaf())], &[x.id().unwrap()], true)
            .remove(0)
            .unwrap();
        drop(y);
        assert_eq!(g.item(), 1.0);
    };
    std::thread::Builder::new().stack_size(128 * 1024).spawn(work).unwrap().join().unwrap();
}

/// A forward pass through operations that save inputs, results and constants.
fn forward(x: &Tensor, w: &Tensor) -> Tensor {
    let c = vector(&[1.0, 0.5, 2.0]);
    let y = conv2d(x, w, &ConvGeom::square([8, 8], 3, 1, 1));
    let y = y.batch_norm(&c.leaf(), &c.leaf(), 1e-5, Activation::LeakyRelu(0.2)).output.tanh();
    let y = y.max_pool2d([2, 2], [2, 2]).sigmoid().upsample_nearest2d([2, 2]).exp();
    let rows = y.reshape([4, 8 * 8 * 3]);
    let distances = rows.reshape([4, 8, 24]).pairwise_l1().sum_all();
    rows.matmul(&rows, false, true).softmax(1).sqrt().sum_all().add(&distances)
}

#[test]
fn nothing_leaks() {
    let _guard = alone();
    let mut rng = Philox::new(1, 1);
    let (x, w) = (rng.normal([4, 8, 8, 3], 0.0, 1.0), rng.normal([3, 3, 3, 3], 0.0, 1.0));
    let baseline = memory_stats().allocated;
    drop(forward(&x.leaf(), &w.leaf()));
    assert_eq!(memory_stats().allocated, baseline, "forward without backward");
    drop(forward(&x.leaf(), &w.leaf()).backward());
    assert_eq!(memory_stats().allocated, baseline, "forward and backward");
    // First and second order: the graph of the gradients refers to the graph of the values, never
    // the other way round.
    let (x, w) = (x.leaf(), w.leaf());
    let keys = [x.id().unwrap(), w.id().unwrap()];
    let loss = forward(&x, &w);
    let grads = autograd::grad(&[(&loss, &Tensor::scalar(1.0))], &keys, true);
    let penalty =
        grads.iter().flatten().map(|g| g.square().sum_all()).reduce(|a, b| a.add(&b)).unwrap();
    assert_eq!(penalty.backward().len(), 4, "x, w, gamma and beta");
    drop((loss, grads, penalty));
    assert_eq!(memory_stats().allocated, baseline, "after a gradient penalty");
}

#[test]
fn memory_falls_during_the_backward_pass() {
    let _guard = alone();
    const N: usize = 1 << 18;
    const BYTES: usize = 4 * N;
    let baseline = memory_stats().allocated;
    let x = Tensor::ones([N]).leaf();
    let mut y = x.clone();
    for _ in 0..20 {
        y = y.tanh();
    }
    let loss = y.sum_all();
    drop(y);
    let full = memory_stats().allocated - baseline;
    assert!(full >= 21 * BYTES, "the results are saved: {full}");
    reset_peak_memory_stats();
    let grads = loss.backward();
    // The first step adds the gradient, the next one and temporaries; after that memory falls.
    let most = memory_stats().peak - baseline;
    assert!(most <= full + 5 * BYTES, "gradients outlive their use: {most} bytes over {full}");
    assert!(
        memory_stats().allocated - baseline <= 2 * BYTES + 4096,
        "saved tensors outlive the backward pass: {}",
        memory_stats().allocated - baseline
    );
    drop((loss, grads, x));
    assert_eq!(memory_stats().allocated, baseline);
}

fn adam_step(value: &mut Tensor, grad: &Tensor, memory: &mut [Tensor; 2], step: u64) -> usize {
    let rule = OptimizerKind::Adam { beta1: 0.5, beta2: 0.999, eps: 1e-8, decoupled: false };
    let step = UpdateStep { rule, lr: 0.1, weight_decay: 0.0, step };
    update(
        &mut [ParamUpdate { value, grad, state: memory }],
        &step,
        &FiniteCheck::new(&Device::Cpu),
    )
}

#[test]
fn adam_copies_nothing_in_a_steady_step() {
    let _guard = shared();
    let (mut w, mut memory) = (vector(&[1.0, -2.0]), [Tensor::zeros([2]), Tensor::zeros([2])]);
    for step in 1..=4 {
        let leaf = w.leaf();
        let grads = leaf.square().sum_all().backward();
        let key = leaf.id().unwrap();
        drop(leaf);
        assert_eq!(adam_step(&mut w, grads.get(key).unwrap(), &mut memory, step), 0, "step {step}");
    }
    // A gradient of constant sign moves a weight by about the learning rate, whatever its size.
    assert!((w.to_vec()[0] - 0.6).abs() < 0.02 && (w.to_vec()[1] + 1.6).abs() < 0.02, "{w:?}");
}

#[test]
fn adam_leaves_graphs_their_old_values() {
    let _guard = shared();
    let (mut w, mut memory) = (vector(&[1.0, -2.0]), [Tensor::zeros([2]), Tensor::zeros([2])]);
    let leaf = w.leaf();
    let loss = leaf.square().sum_all();
    assert_eq!(adam_step(&mut w, &vector(&[1.0, 1.0]), &mut memory, 1), 1);
    assert_ne!(w.to_vec(), [1.0, -2.0]);
    assert_eq!(leaf.to_vec(), [1.0, -2.0]);
    assert_eq!(loss.backward().of(&leaf).unwrap().to_vec(), [2.0, -4.0]);
    // The gradient may be the parameter's own storage.
    let mut w = vector(&[3.0]);
    let same = w.clone();
    assert_eq!(adam_step(&mut w, &same, &mut [Tensor::zeros([1]), Tensor::zeros([1])], 1), 1);
    assert_eq!(same.item(), 3.0);
}

/// Adam compared with its definition (Kingma & Ba 2015, algorithm 1) in f64.
#[test]
fn adam_follows_its_definition() {
    let _guard = shared();
    let mut rng = Philox::new(3, 3);
    let n = 40_000;
    let (mut w, mut memory) = (rng.normal([n], 0.0, 1.0), [Tensor::zeros([n]), Tensor::zeros([n])]);
    let wide = |t: &Tensor| t.to_vec().iter().map(|&v| f64::from(v)).collect::<Vec<f64>>();
    let (mut we, mut me, mut ve) = (wide(&w), vec![0f64; n], vec![0f64; n]);
    let (lr, beta1, beta2, eps, decay) = (0.01, 0.5, 0.999, 1e-3, 0.1);
    for step in 1..=5 {
        let g = rng.normal([n], 0.0, 1.0);
        let rule = OptimizerKind::Adam { beta1, beta2, eps, decoupled: false };
        let constants = UpdateStep { rule, lr, weight_decay: decay, step };
        let mut slots = [ParamUpdate { value: &mut w, grad: &g, state: &mut memory }];
        update(&mut slots, &constants, &FiniteCheck::new(&Device::Cpu));
        let [b1, b2] = [beta1, beta2];
        for (i, g) in wide(&g).into_iter().enumerate() {
            let g = g + decay * we[i];
            me[i] = b1 * me[i] + (1.0 - b1) * g;
            ve[i] = b2 * ve[i] + (1.0 - b2) * g * g;
            let (mh, vh) = (
                me[i] / (1.0 - f64::powi(b1, step as i32)),
                ve[i] / (1.0 - f64::powi(b2, step as i32)),
            );
            we[i] -= lr * mh / (vh.sqrt() + eps);
        }
    }
    let [m, v] = &memory;
    for (name, ours, reference) in [("value", &w, &we), ("m", m, &me), ("v", v, &ve)] {
        let e = common::error(&ours.to_vec(), reference);
        assert!(e < 1e-5, "{name}: {e:.1e}");
    }
}

fn gradual_underflow() -> bool {
    black_box(f32::MIN_POSITIVE) * black_box(0.5) > 0.0
}

/// Kernels flush denormals; arithmetic outside them does not, on this thread and on those of the
/// pool.
#[test]
fn denormals_are_flushed_inside_kernels_only() {
    let _guard = shared();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    assert!(gradual_underflow());
    for n in [1, 100, 200_000] {
        let check = || {
            let tiny = Tensor::full([n], 1e-30).mul(&Tensor::full([n], 1e-10));
            assert!(
                tiny.to_vec().iter().all(|v| v.to_bits() == 0),
                "a result below the normal range"
            );
            let denormal = Tensor::full([n], 1e-40);
            assert!(
                denormal.scale(1e30).to_vec().iter().all(|v| *v == 0.0),
                "an operand below the normal range"
            );
            let product =
                Tensor::full([n, 1], 1e-30).matmul(&Tensor::full([1, 1], 1e-10), false, false);
            assert!(product.to_vec().iter().all(|v| *v == 0.0), "a matrix product");
            assert!(gradual_underflow());
        };
        check();
        pool.install(check);
        assert!(pool.broadcast(|_| gradual_underflow()).into_iter().all(|kept| kept));
    }
}

#[test]
#[should_panic(expected = "gradients of one tensor have different shapes")]
fn gradients_of_different_shapes_are_not_added() {
    let _guard = shared();
    let key = TensorId::fresh();
    let _ = [(key, Tensor::ones([2])), (key, Tensor::ones([3]))]
        .into_iter()
        .collect::<tensor::autograd::Gradients>();
}

#[test]
fn the_variance_of_nan_is_nan() {
    let _guard = shared();
    let x = Tensor::from_slice(&[f32::NAN, 1.0, f32::INFINITY, 1.0, 1.0, 3.0], [2, 3]);
    let variance = x
        .batch_norm(&Tensor::ones([3]), &Tensor::zeros([3]), 1e-5, Activation::None)
        .variance
        .to_vec();
    assert!(variance[0].is_nan() && variance[1] == 0.0 && variance[2].is_nan(), "{variance:?}");
}
