//! Guarantees of the GPU runtime: the same bits every time, no new buffers or pipelines in a steady
//! step, writes in order, and failures that identify their cause.

use super::common::workload::{self, rules};
use tensor::gpu::{Gpu, GpuError};
use tensor::{Device, FiniteCheck, ParamUpdate, Tensor, UpdateStep, read_async, update};

fn own() -> (Device, Gpu) {
    match super::adapter::open() {
        Ok(Device::Gpu(gpu)) => (Device::Gpu(gpu.clone()), gpu),
        other => panic!("{other:?}"),
    }
}

pub fn twice_the_same_bits() {
    let (device, _) = own();
    let results = || {
        workload::training(&device)
            .into_iter()
            .map(|(name, t)| (name, t.to_vec()))
            .collect::<Vec<_>>()
    };
    let (a, b) = (results(), results());
    for ((name, a), (_, b)) in a.iter().zip(&b) {
        let differ = a.iter().zip(b).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
        assert_eq!(differ, 0, "{name}: {differ} of {} elements differ", a.len());
    }
}

pub fn a_steady_step_allocates_nothing() {
    let (device, gpu) = own();
    let step = || {
        let x = Tensor::full_on(&device, [64, 33], 0.5).leaf();
        let w = Tensor::full_on(&device, [33, 65], 0.25).leaf();
        let loss = x.matmul(&w, false, false).tanh().square().mean_all();
        let gradients = loss.backward();
        drop(gradients);
        device.flush();
        loss.detach()
    };
    step();
    let second = (step(), gpu.counters()).1;
    for _ in 0..5 {
        step();
    }
    let after = gpu.counters();
    assert_eq!(after.pipelines, second.pipelines, "pipelines");
    // The results of two steps are alive at a time while one replaces the other.
    assert_eq!(after.allocations, second.allocations, "buffers");
    assert_eq!(after.submits, second.submits + 5);
    assert!(after.dispatches > second.dispatches && after.peak_bytes > 0);
}

pub fn buffers_are_written_in_order() {
    let (device, _) = own();
    // Each upload may land in memory that recorded work still reads under another name.
    let mut total = Tensor::full_on(&device, [1000], 0.0);
    let mut later = Vec::new();
    for i in 0..50 {
        let x = Tensor::full([1000], i as f32).to_device(&device);
        total = total.add(&x);
        later.push(read_async(&[&total, &x]));
    }
    let mut sum = 0.0;
    for (i, reading) in later.into_iter().enumerate() {
        sum += i as f32;
        let values = reading.wait();
        assert!(values[..1000].iter().all(|v| *v == sum), "{i}: {}, expected {sum}", values[0]);
        assert!(values[1000..].iter().all(|v| *v == i as f32), "{i}: {}", values[1000]);
    }
}

pub fn a_lost_device_says_so() {
    let (device, gpu) = own();
    let x = Tensor::full_on(&device, [100], 1.0);
    assert_eq!(device.check(), Ok(()));
    gpu.destroy();
    let y = x.add(&x).sum_all();
    assert!(y.item().is_nan() && x.to_vec().iter().all(|v| v.is_nan()));
    assert!(Tensor::ones([3]).to_device(&device).to_vec().iter().all(|v| v.is_nan()));
    let error = device.check().unwrap_err();
    assert!(matches!(error, GpuError::Lost { .. }), "{error:?}");
}

pub fn a_tensor_beyond_the_binding_limit_is_refused() {
    let (device, gpu) = own();
    let limit = gpu.adapter().max_binding_size.min((1 << 31) - 1);
    let x = Tensor::full_on(&device, [1], 1.0);
    let y = x.broadcast_to([limit as usize / 4 + 1]);
    assert!(y.narrow(0, 0, 1).item().is_nan());
    let error = device.check().unwrap_err();
    assert!(matches!(&error, GpuError::TooLarge { bytes, .. } if *bytes > limit), "{error:?}");
    // Another device of the same adapter is not affected.
    let (other, _) = own();
    assert_eq!(Tensor::full_on(&other, [3], 2.0).sum_all().item(), 6.0);
}

pub fn updates_are_skipped_after_a_non_finite_gradient() {
    let (device, _) = own();
    for (rule, bad) in
        rules().into_iter().flat_map(|rule| [(rule, f32::NAN), (rule, f32::INFINITY)])
    {
        let mut guard = FiniteCheck::new(&device);
        let fine = Tensor::full_on(&device, [300], 0.5);
        let mut value = Tensor::full_on(&device, [300], 1.0);
        let mut state: Vec<Tensor> =
            rule.state_names().iter().map(|_| Tensor::full_on(&device, [300], 0.0)).collect();
        let constants = UpdateStep { rule, lr: 0.1, weight_decay: 0.0, step: 1 };
        let mut step = |grad: &Tensor, guard: &mut FiniteCheck, mark: f32| {
            guard.check(grad, mark);
            update(
                &mut [ParamUpdate { value: &mut value, grad, state: &mut state }],
                &constants,
                guard,
            );
            value.to_vec()
        };
        let moved = step(&fine, &mut guard, 1.0);
        assert!(moved.iter().all(|v| *v < 0.99), "{rule:?}: {}", moved[0]);
        let mut values = vec![0.1; 300];
        values[299] = bad;
        let grad = Tensor::from_slice(&values, [300]).to_device(&device);
        assert_eq!(step(&grad, &mut guard, 2.0), moved);
        // Later updates are skipped too, and the first code is kept.
        assert_eq!(step(&fine, &mut guard, 3.0), moved);
        assert_eq!(step(&grad, &mut guard, 4.0), moved);
        assert_eq!(guard.value().item(), 2.0);
    }
}
