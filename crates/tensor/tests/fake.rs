//! Operations under `fake_tensor_mode` are counted as real ones, and take no memory. This test has
//! its own binary because the counters of real memory are global.

use tensor::rng::Philox;
use tensor::{
    Activation, ConvGeom, Device, FiniteCheck, OptimizerKind, ParamUpdate, Tensor, UpdateStep,
    catch_out_of_memory, conv_transpose2d, conv2d, conv2d_weight_grad, fake_tensor_mode,
    memory_stats, reset_peak_memory_stats, update,
};

/// Two training steps of a layer of each kind, among them all algorithms of convolutions.
fn steps() {
    let mut rng = Philox::new(1, 0);
    let mut weight = rng.normal([4, 4, 32, 64], 0.0, 0.02);
    let mut state = [Tensor::zeros([4, 4, 32, 64])];
    let rgb = rng.normal([4, 4, 3, 32], 0.0, 0.02);
    let first = rng.normal([5, 5, 3, 32], 0.0, 0.02);
    let dense = rng.normal([4096, 50], 0.0, 0.02);
    let (gamma, beta) = (Tensor::ones([64]), Tensor::zeros([64]));
    for _ in 0..2 {
        let x = rng.uniform([16, 32, 32, 3], -1.0, 1.0);
        let w = weight.leaf();
        let h = conv2d(&x, &first.leaf(), &ConvGeom::square([32, 32], 5, 1, 2));
        let h = conv2d(&h.leaky_relu(0.2), &w, &ConvGeom::square([32, 32], 4, 2, 1));
        let h = h.batch_norm(&gamma.leaf(), &beta.leaf(), 1e-5, Activation::Relu).output;
        let pooled = h.max_pool2d([2, 2], [2, 2]).reshape([16, 4096]);
        let features = pooled.matmul(&dense.leaf(), false, false).reshape([16, 10, 5]);
        let image =
            conv_transpose2d(&h.narrow(3, 0, 32), &rgb.leaf(), [2, 2], [[1, 1], [1, 1]], [0, 0]);
        let distances = features.pairwise_l1().mean_all();
        let loss = image.tanh().square().mean_all().add(&distances);
        let gradients = loss.backward();
        let gradient = gradients.of(&w).unwrap().clone();
        drop((w, gradients));
        let rule = OptimizerKind::Sgd { momentum: 0.9, nesterov: false };
        let step = UpdateStep { rule, lr: 0.1, weight_decay: 0.0, step: 1 };
        let mut params = [ParamUpdate { value: &mut weight, grad: &gradient, state: &mut state }];
        update(&mut params, &step, &FiniteCheck::new(&Device::Cpu));
    }
}

#[test]
fn fake_tensors_are_counted_as_real_ones() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    pool.install(|| {
        let fake = fake_tensor_mode(|| {
            steps();
            memory_stats()
        });
        assert_eq!(memory_stats().peak_reserved, 0, "nothing was real");
        steps();
        let real = memory_stats();
        assert_eq!(
            (fake.allocated, fake.peak, fake.reserved, fake.peak_reserved, fake.num_allocs),
            (real.allocated, real.peak, real.reserved, real.peak_reserved, real.num_allocs)
        );
        assert!(real.peak_reserved > 16 << 20 && real.allocated == 0, "{real:?}");

        // Far more than this machine has.
        let (shape, peak) = fake_tensor_mode(|| {
            let x = Tensor::full([1 << 20, 1 << 14], 1.0).leaf();
            let loss = x.square().mean_all();
            (*loss.backward().of(&x).unwrap().shape(), memory_stats().peak)
        });
        assert!(shape[..] == [1 << 20, 1 << 14] && peak >= 2 << 36, "{peak}");

        // Partial sums, and what is computed from them, take no memory either.
        let peak = fake_tensor_mode(|| {
            let x = Tensor::zeros([1, 8, 8, 1 << 15]);
            drop(conv2d_weight_grad(&x, &x, &ConvGeom::square([8, 8], 5, 1, 2)));
            drop(Tensor::zeros([1 << 17, 2, 1 << 15]).mean(&[1], false));
            memory_stats().peak
        });
        assert!(peak >= 25 << 32, "{peak}");

        // An allocation that fails returns its size, and what was allocated is free again.
        let before = memory_stats().allocated;
        let error = catch_out_of_memory(|| {
            let kept = Tensor::ones([1 << 20]);
            let huge = Tensor::zeros([1 << 30, 1 << 30]);
            (kept, huge)
        });
        assert_eq!(error.map(|_| ()).map_err(|error| error.bytes), Err(1 << 62));
        assert_eq!(memory_stats().allocated, before);
        reset_peak_memory_stats();
        assert_eq!(memory_stats().peak_reserved, memory_stats().reserved);
    });
}
