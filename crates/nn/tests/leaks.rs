//! A training loop with a gradient penalty over every kind of layer keeps no graph from step to
//! step. This test has its own binary because the counters are global.

use nn::layers::{
    ConcatCondition, Conv2d, Dropout, Embed, GaussianNoise, GlobalPool, InstanceNorm, LayerNorm,
    Linear, Maxout, MinibatchStdDev, ProjectionHead, Reshape, SelfAttention, VirtualBatchNorm,
    Window,
};
use nn::{Activation, ForwardCtx, Layer, Mode, Network, NoiseRng};
use tensor::autograd::grad;
use tensor::rng::{Distribution, Philox};
use tensor::{Device, Tensor};

#[test]
fn a_steady_step_leaves_nothing_behind() {
    let window = Window { kernel: [4; 2], stride: [2; 2], pad: [[1; 2]; 2] };
    let named = |layers: Vec<Layer>| {
        Network::new(
            layers.into_iter().enumerate().map(|(i, l)| (format!("main.{i}"), l)).collect(),
        )
    };
    let mut g = named(vec![
        Layer::from(ConcatCondition),
        Layer::from(Linear::to_image(8, [8, 8, 3]).with_bias().with_weight_norm()),
        Layer::from(VirtualBatchNorm::new(192, 1e-5)),
        Layer::from(Activation::Tanh),
        Layer::from(Reshape(vec![8, 8, 3])),
    ]);
    let d = named(vec![
        Layer::from(GaussianNoise::new(0.1)),
        Layer::from(Conv2d::new(3, 16, window, true).with_spectral_norm()),
        Layer::from(InstanceNorm::new(16, 1e-5)),
        Layer::from(Activation::LeakyRelu(0.2)),
        Layer::from(SelfAttention::new(16).with_spectral_norm()),
        Layer::from(LayerNorm::new(vec![4, 4, 16], 1e-5)),
        Layer::from(Maxout::new(2)),
        Layer::from(Dropout::new(0.3)),
        Layer::from(MinibatchStdDev::new(4)),
        Layer::from(GlobalPool::Average),
        Layer::from(Embed::new(2, 3)),
        Layer::from(ProjectionHead::new(12, 2)),
    ]);
    let mut rng = Philox::new(3, 0);
    g.init_normal(0.1, 0.02, &mut rng);
    d.init_normal(0.1, 0.02, &mut rng);
    let coin = Distribution::Bernoulli { keep: 0.5, value: 1.0 };
    let condition = rng.draw(&Device::Cpu, [8, 2], coin);
    g.set_reference(rng.normal([4, 6], 0.0, 1.0), Some(condition.narrow(0, 0, 4)));
    let noise = NoiseRng::new(Philox::new(3, 1), 1.0);
    let z = rng.normal([8, 6], 0.0, 1.0);
    let mut held = Vec::new();
    for _ in 0..6 {
        let pass = ForwardCtx::from(Mode::TRAIN).with_condition(&condition).with_rng(&noise);
        let fake = g.forward(&z, pass);
        let point = fake.leaf();
        let out = d.forward(&point, pass);
        let key = point.id().expect("a leaf");
        let slope = grad(&[(&out, &Tensor::ones(*out.shape()))], &[key], true)
            .remove(0)
            .expect("a gradient");
        let gradients = out.mean_all().add(&slope.square().mean_all()).backward();
        assert!(gradients.len() > d.param_ids().len() / 2);
        drop((out, point, slope, gradients));
        let mode = Mode { track: false, ..Mode::TRAIN };
        let pass = ForwardCtx::from(mode).with_condition(&condition).with_rng(&noise);
        let logits = d.forward(&fake, pass);
        let gradients = grad(&[(&logits, &Tensor::ones(*logits.shape()))], &g.param_ids(), false);
        assert!(gradients.iter().all(Option::is_some));
        drop((logits, gradients, fake));
        held.push(tensor::memory_stats().allocated);
    }
    assert_eq!(held[2..], vec![held[1]; 4], "bytes held after each step");
}
