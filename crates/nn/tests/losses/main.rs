//! Compares losses, optimizers and augmentation with PyTorch in float64 (xtask/golden/losses.py) on
//! the CPU.

mod cases;
#[path = "../common/mod.rs"]
mod common;

use nn::layers::{Conv2d, Reshape, Window};
use nn::loss;
use nn::{Layer, Mode, Network};
use tensor::rng::Philox;
use tensor::{Activation, Device};

#[test]
fn objectives() {
    cases::objectives(&Device::Cpu);
}

#[test]
fn penalties() {
    cases::penalties(&Device::Cpu);
}

/// A penalty's graph contains the point at which it was evaluated: the gradient of that point must
/// neither be returned nor change the critic's gradients.
#[test]
fn gradients_are_those_of_one_network() {
    let window = |kernel, stride, pad| Window {
        kernel: [kernel; 2],
        stride: [stride; 2],
        pad: [[pad; 2]; 2],
    };
    let net = Network::new(vec![
        ("a".into(), Layer::from(Conv2d::new(1, 4, window(4, 2, 1), true))),
        ("b".into(), Layer::from(Activation::Tanh)),
        ("c".into(), Layer::from(Conv2d::new(4, 1, window(3, 1, 0), false))),
        ("d".into(), Layer::from(Reshape(vec![]))),
    ]);
    let mut rng = Philox::new(1, 1);
    net.init_normal(0.5, 0.0, &mut rng);
    let [real, fake] = [(); 2].map(|()| rng.uniform([3, 6, 6, 1], -1.0, 1.0));
    let mix = rng.uniform([3, 1, 1, 1], 0.0, 1.0);
    let penalty = || loss::gradient_penalty(&|x| net.forward(x, Mode::TRAIN), &real, &fake, &mix);
    let (all, own) = (penalty().backward(), loss::gradients(&penalty(), &net));
    let keys: Vec<_> = own.iter().map(|(key, _)| key).collect();
    assert_eq!(keys, net.param_ids());
    assert_eq!(all.len(), own.len() + 1);
    for key in keys {
        let found = own.get(key).map(tensor::Tensor::to_vec).unwrap_or_default();
        assert!(found.iter().any(|&g| g != 0.0));
        assert_eq!(Some(found), all.get(key).map(tensor::Tensor::to_vec));
    }
}

#[test]
fn features_and_classes() {
    cases::features_and_classes(&Device::Cpu);
}

#[test]
fn optimizers() {
    cases::optimizers(&Device::Cpu);
}

#[test]
fn clipping() {
    cases::clipping(&Device::Cpu);
}

#[test]
fn histories() {
    cases::histories(&Device::Cpu);
}

#[test]
fn augmentation() {
    cases::augmentation(&Device::Cpu);
}
