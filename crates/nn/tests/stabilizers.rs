//! Tests the stabilizing layers of the GAN literature on the CPU: against PyTorch, and their
//! documented properties.

mod common;

#[path = "common/stabilizers.rs"]
mod table;

use common::{floats, values};
use nn::layers::{
    BatchNorm, ConcatCondition, Conv2d, ConvTranspose2d, Dropout, Embed, GaussianNoise, GlobalPool,
    InstanceNorm, LayerNorm, Linear, MinibatchDiscrimination, MinibatchForm, MinibatchStdDev,
    ProjectionHead, Reshape, SelfAttention, VirtualBatchNorm, Window,
};
use nn::{Activation, Ema, ForwardCtx, Layer, Mode, Network, NoiseRng};
use tensor::rng::Philox;
use tensor::{Device, Tensor};

#[test]
fn layers_match_pytorch() {
    table::layers_match_pytorch(&Device::Cpu);
}

const SQUARE: Window = Window { kernel: [3; 2], stride: [1; 2], pad: [[1; 2]; 2] };

fn network(layers: Vec<(&str, Layer)>) -> Network {
    Network::new(layers.into_iter().map(|(name, layer)| (name.into(), layer)).collect())
}

fn rng() -> Philox {
    Philox::new(17, 0)
}

fn difference(a: &Tensor, b: &Tensor) -> f32 {
    let largest = b.to_vec().iter().fold(0f32, |m, v| m.max(v.abs()));
    a.sub(b).to_vec().iter().fold(0f32, |m, v| m.max(v.abs())) / largest
}

/// A conditional generator with one of each layer that can be combined with virtual batch norm.
fn virtual_generator() -> Network {
    let virtual_norm = |channels| Layer::from(VirtualBatchNorm::new(channels, 1e-5));
    let mut net = network(vec![
        ("embed", Layer::from(Embed::new(2, 3))),
        ("stem", Layer::from(Linear::to_image(7, [3, 3, 8]).with_bias().with_weight_norm())),
        ("shape", Layer::from(Reshape(vec![3, 3, 8]))),
        ("vbn1", virtual_norm(8)),
        ("relu", Layer::from(Activation::Relu)),
        ("attention", Layer::from(SelfAttention::new(8).with_spectral_norm())),
        ("up", Layer::from(ConvTranspose2d::new(8, 6, SQUARE, [0; 2], true).with_spectral_norm())),
        ("vbn2", virtual_norm(6)),
        ("norm", Layer::from(InstanceNorm::new(6, 1e-5))),
        ("layer", Layer::from(LayerNorm::new(vec![3, 3, 6], 1e-5))),
        ("noise", Layer::from(GaussianNoise::new(0.1))),
        ("out", Layer::from(Conv2d::new(6, 3, SQUARE, true).with_weight_norm())),
        ("tanh", Layer::from(Activation::Tanh)),
    ]);
    let mut rng = rng();
    net.init_normal(0.3, 0.1, &mut rng);
    net.set_reference(rng.normal([5, 4], 0.0, 1.0), Some(rng.normal([5, 2], 0.0, 1.0)));
    let gamma = net
        .params()
        .into_iter()
        .find(|(name, _)| name == "attention.gamma")
        .expect("a parameter")
        .1;
    gamma.set(Tensor::full([1], 0.7));
    net
}

#[test]
fn an_image_under_virtual_batch_norm_depends_on_itself_alone() {
    let net = virtual_generator();
    let mut rng = Philox::new(2, 0);
    let (z, y) = (rng.normal([6, 4], 0.0, 1.0), rng.normal([6, 2], 0.0, 1.0));
    let draw = |z: &Tensor, y: &Tensor| {
        tensor::batch_invariant(|| net.forward(z, ForwardCtx::from(Mode::SAMPLE).with_condition(y)))
    };
    let all = draw(&z, &y);
    assert_eq!(all.shape()[..], [6, 3, 3, 3]);
    for i in 0..6 {
        let alone = draw(&z.narrow(0, i, 1), &y.narrow(0, i, 1));
        assert_eq!(alone.to_vec(), all.narrow(0, i, 1).to_vec(), "image {i}");
    }
    // The output depends on the reference batch.
    let mut other = virtual_generator();
    other.set_reference(rng.normal([5, 4], 0.0, 1.0), Some(rng.normal([5, 2], 0.0, 1.0)));
    assert!(
        difference(&other.forward(&z, ForwardCtx::from(Mode::SAMPLE).with_condition(&y)), &all)
            > 0.01
    );
}

#[test]
fn a_folded_network_draws_the_same() {
    let net = virtual_generator();
    let mut rng = Philox::new(2, 0);
    let (z, y) = (rng.normal([6, 4], 0.0, 1.0), rng.normal([6, 2], 0.0, 1.0));
    let pass = ForwardCtx::from(Mode::SAMPLE).with_condition(&y);
    let folded = net.folded();
    assert!(!folded.needs_reference());
    assert!(difference(&folded.forward(&z, pass), &net.forward(&z, pass)) < 1e-5);
    assert!(
        !folded
            .state_dict()
            .keys()
            .any(|key| key.ends_with("_orig") || key.ends_with("_g") || key == "reference")
    );
    // Batch norm is folded into the weight that a reparametrization computes.
    let norm = || Layer::from(BatchNorm::new(5, 1e-5, 0.5));
    let net = network(vec![
        ("a", Layer::from(ConvTranspose2d::new(4, 5, SQUARE, [0; 2], true).with_spectral_norm())),
        ("an", norm()),
        ("relu", Layer::from(Activation::Relu)),
        ("b", Layer::from(Conv2d::new(5, 5, SQUARE, true).with_weight_norm())),
        ("bn", norm()),
        ("c", Layer::from(ConvTranspose2d::new(5, 5, SQUARE, [0; 2], true).with_weight_norm())),
        ("cn", norm()),
    ]);
    net.init_normal(0.3, 0.1, &mut rng);
    let x = rng.normal([3, 4, 4, 4], 0.0, 1.0);
    net.forward(&x, Mode::TRAIN);
    let folded = net.folded();
    assert_eq!(folded.layers().len(), 4);
    assert!(difference(&folded.forward(&x, Mode::SAMPLE), &net.forward(&x, Mode::SAMPLE)) < 1e-5);
}

#[test]
fn a_state_dict_holds_everything() {
    let (from, to) = (virtual_generator(), virtual_generator());
    let mut rng = Philox::new(8, 0);
    let (z, y) = (rng.normal([2, 4], 0.0, 1.0), rng.normal([2, 2], 0.0, 1.0));
    let pass = |mode: Mode| ForwardCtx::from(mode).with_condition(&y);
    from.forward(&z, pass(Mode::TRAIN));
    to.init_normal(1.0, 1.0, &mut rng);
    let state = from.state_dict();
    for name in [
        "reference",
        "reference_condition",
        "up.weight_orig",
        "up.weight_u",
        "attention.g.weight_v",
        "out.weight_g",
    ] {
        assert!(state.contains_key(name), "{name}");
    }
    assert_eq!(state["up.weight_u"].shape, [6]);
    assert_eq!(state["up.weight_v"].shape, [8 * 9]);
    assert_eq!(state["out.weight_g"].shape, [3, 1, 1, 1]);
    assert_eq!(state["layer.weight"].shape, [6, 3, 3]);
    to.load_state_dict(&state).expect("of the same layers");
    assert_eq!(
        to.forward(&z, pass(Mode::SAMPLE)).to_vec(),
        from.forward(&z, pass(Mode::SAMPLE)).to_vec()
    );
    assert_eq!(to.state_dict(), state, "sampling moves nothing");
    // Recalibration is not a training step: it does not change the vectors of spectral norm.
    from.recalibrate_bn_with_condition([(z.clone(), Some(y.clone()))]);
    assert_eq!(from.state_dict(), state);
    from.forward(&z, pass(Mode::TRAIN));
    assert_ne!(floats(&from.state_dict(), "up.weight_u"), floats(&state, "up.weight_u"));
}

#[test]
fn an_average_copies_what_is_no_average() {
    let net = virtual_generator();
    let mut rng = Philox::new(8, 0);
    let mut ema = Ema::new(&net, 0.75);
    let before = net.state_dict();
    net.init_normal(0.5, 0.2, &mut rng);
    ema.update(&net);
    let (now, average) = (net.state_dict(), ema.state_dict());
    for name in ["up.weight_u", "attention.f.weight_v", "reference", "reference_condition"] {
        assert_eq!(average[name], now[name], "{name}");
    }
    assert_ne!(now["up.weight_u"], before["up.weight_u"]);
    for name in ["up.weight_orig", "out.weight_g", "vbn1.weight"] {
        let [a, b, c] = [&average, &before, &now].map(|state| floats(state, name));
        let error = a
            .iter()
            .zip(b.iter().zip(c))
            .map(|(a, (b, c))| (a - (0.75 * b + 0.25 * c)).abs())
            .fold(0.0, f32::max);
        assert!(error < 1e-6, "{name}: {error}");
    }
    ema.load_state_dict(&before).expect("of the same network");
    assert_eq!(ema.state_dict(), before);
    ema.swap(&net);
    assert_eq!(net.state_dict(), before);
    assert_eq!(ema.state_dict(), now);
}

#[test]
fn named_features_are_what_flows_there() {
    let net = network(vec![
        ("a", Layer::from(Linear::new(3, 4, true))),
        ("relu", Layer::from(Activation::Relu)),
        ("b", Layer::from(Linear::new(4, 2, true))),
    ]);
    net.init_normal(1.0, 0.0, &mut rng());
    net.params()[1].1.set(Tensor::from_slice(&[0.5, -0.5, 1.0, -2.0], [4]));
    let x = rng().normal([5, 3], 0.0, 1.0);
    let (out, features) = net.features(&x, Mode::TRAIN, &["relu", "a", "b"]);
    let [after, before, last] = &features[..] else { panic!("three features") };
    let params: Vec<Tensor> = net.params().into_iter().map(|(_, param)| param.value()).collect();
    let expected = x.matmul(&params[0], false, false).add(&params[1]);
    assert_eq!(before.to_vec(), expected.to_vec());
    assert_eq!(after.to_vec(), expected.relu().to_vec());
    assert_eq!(last.to_vec(), out.to_vec());
    assert_eq!(out.to_vec(), net.forward(&x, Mode::SAMPLE).to_vec());
    assert!(after.is_tracked());
    // Without the reference's rows.
    let net = virtual_generator();
    let (z, y) = (rng().normal([2, 4], 0.0, 1.0), rng().normal([2, 2], 0.0, 1.0));
    let (_, features) =
        net.features(&z, ForwardCtx::from(Mode::SAMPLE).with_condition(&y), &["vbn2"]);
    assert_eq!(features[0].shape()[..], [2, 3, 3, 6]);
}

#[test]
fn noise_is_drawn_from_the_stream_and_only_if_enabled() {
    let net = network(vec![
        ("drop", Layer::from(Dropout::new(0.2))),
        ("noise", Layer::from(GaussianNoise::new(0.5))),
    ]);
    let x = Tensor::ones([40_000]);
    assert_eq!(net.forward(&x, Mode::TRAIN).to_vec(), x.to_vec());
    let noise = |scale| NoiseRng::new(Philox::new(4, 2), scale);
    let (still, loud) = (noise(0.0), noise(2.0));
    let draw =
        |noise: &NoiseRng| net.forward(&x, ForwardCtx::from(Mode::TRAIN).with_rng(noise)).to_vec();
    let dropped = draw(&still);
    let kept = dropped.iter().filter(|&&v| v != 0.0).count() as f64 / 40_000.0;
    assert!((kept - 0.8).abs() < 0.01, "{kept}");
    assert!(dropped.iter().all(|&v| v == 0.0 || (v - 1.25).abs() < 1e-6));
    // The same mask, and noise of 0.5 · 2 on it.
    let noisy = draw(&loud);
    let added: Vec<f64> = noisy.iter().zip(&dropped).map(|(a, b)| f64::from(a - b)).collect();
    let std = (added.iter().map(|v| v * v).sum::<f64>() / 40_000.0).sqrt();
    assert!((std - 1.0).abs() < 0.02, "{std}");
    // The random stream advances, and can be resumed from its current state.
    let resumed = NoiseRng::new(loud.state(), loud.scale());
    let next = draw(&loud);
    assert_ne!(next, noisy);
    assert_eq!(draw(&resumed), next);
}

#[test]
fn spectral_norm_finds_the_largest_singular_value() {
    let net = network(vec![("l", Layer::from(Linear::new(6, 4, false).with_spectral_norm()))]);
    net.init_orthogonal(3.0, &mut rng());
    // All singular values are 3, whatever u and v are: the length of each vector is preserved.
    let x = rng().normal([5, 4], 0.0, 1.0);
    let weight = net.params()[0].1.value();
    let within = x.matmul(&weight, false, true).scale(1.0 / 3.0);
    let out = net.forward(&within, Mode::SAMPLE);
    assert!(difference(&out, &x) < 1e-5);
    // The largest singular value of a diagonal matrix is its largest entry.
    let diagonal: Vec<f32> =
        (0..24).map(|i| if i < 16 && i % 5 == 0 { 1.0 + (i / 5) as f32 } else { 0.0 }).collect();
    net.params()[0].1.set(Tensor::from_slice(&diagonal, [6, 4]));
    (0..60).for_each(|_| drop(net.forward(&within, Mode { track: false, ..Mode::TRAIN })));
    let expected = within.matmul(&net.params()[0].1.value().scale(0.25), false, false);
    assert!(difference(&net.forward(&within, Mode::SAMPLE), &expected) < 1e-5);
}

#[test]
fn data_dependent_initialization_normalizes_every_layer() {
    let net = network(vec![
        ("stem", Layer::from(Linear::to_image(5, [2, 2, 6]).with_bias().with_weight_norm())),
        ("relu", Layer::from(Activation::Relu)),
        ("shape", Layer::from(Reshape(vec![2, 2, 6]))),
        ("up", Layer::from(ConvTranspose2d::new(6, 4, SQUARE, [0; 2], true).with_weight_norm())),
        ("slope", Layer::from(Activation::LeakyRelu(0.2))),
        ("out", Layer::from(Conv2d::new(4, 3, SQUARE, true).with_weight_norm())),
        ("tanh", Layer::from(Activation::Tanh)),
    ]);
    net.init_normal(0.05, 0.0, &mut rng());
    let x = rng().normal([64, 5], 0.3, 2.0);
    net.data_dependent_init(&x, Mode::TRAIN);
    let (_, results) = net.features(&x, Mode::SAMPLE, &["stem", "up", "out"]);
    for result in results {
        let rows = result.reshape([
            result.len() / result.shape()[result.shape().rank() - 1],
            result.shape()[result.shape().rank() - 1],
        ]);
        let mean = rows.mean(&[0], true);
        let variance = rows.sub(&mean).square().mean(&[0], false);
        assert!(mean.to_vec().iter().all(|m| m.abs() < 1e-4), "{mean:?}");
        assert!(variance.to_vec().iter().all(|v| (v - 1.0).abs() < 1e-3), "{variance:?}");
    }
}

/// Statistics of 40,000 values: of N(0, 1) within ±2 the variance is 1 − 2·2·φ(2) / P(|Z| < 2) =
/// 0.7737 (Johnson & Kotz 1970).
#[test]
fn convolutions_start_within_two_deviations() {
    let net = network(vec![
        ("conv", Layer::from(Conv2d::new(40, 40, Window { kernel: [5; 2], ..SQUARE }, false))),
        (
            "up",
            Layer::from(ConvTranspose2d::new(
                40,
                40,
                Window { kernel: [5; 2], ..SQUARE },
                [0; 2],
                false,
            )),
        ),
    ]);
    net.init_truncated_normal(0.02, 0.0, &mut rng());
    let values = values(&net);
    for (name, variance, most) in [("conv.weight", 0.7737, 2.0), ("up.weight", 1.0, 6.0)] {
        let drawn: Vec<f64> = values[name].iter().map(|w| f64::from(*w) / 0.02).collect();
        let n = drawn.len() as f64;
        let mean = drawn.iter().sum::<f64>() / n;
        let found = drawn.iter().map(|w| w * w).sum::<f64>() / n;
        let largest = drawn.iter().fold(0.0f64, |a, w| a.max(w.abs()));
        assert!(
            mean.abs() < 0.02 && (found / variance - 1.0).abs() < 0.03,
            "{name}: {mean} {found}"
        );
        // Values occur up to the ends of both tails.
        assert!(largest <= most + 1e-5 && largest > 1.99, "{name}: {largest}");
    }
    let (_, d) = nn::Recipe::preset("tf").expect("a preset").build(&mut rng()).expect("valid");
    let weights = common::values(&d);
    assert!(
        weights["main.0.weight"].iter().all(|w| w.abs() <= 0.04)
            && weights["main.12.weight"].iter().any(|w| w.abs() > 0.04)
    );
}

#[test]
fn initializers_reach_every_weight() {
    let discriminator = || {
        network(vec![
            ("conv", Layer::from(Conv2d::new(3, 8, SQUARE, true).with_spectral_norm())),
            ("attention", Layer::from(SelfAttention::new(8))),
            ("spread", Layer::from(MinibatchStdDev::new(4))),
            ("up", Layer::from(ConvTranspose2d::new(9, 5, SQUARE, [0; 2], false))),
            ("norm", Layer::from(InstanceNorm::new(5, 1e-5))),
            ("pool", Layer::from(GlobalPool::Sum)),
            ("near", Layer::from(MinibatchDiscrimination::new(5, 3, 2, MinibatchForm::Code))),
            ("embed", Layer::from(Embed::new(4, 2))),
            ("head", Layer::from(ProjectionHead::new(10, 4).with_spectral_norm())),
        ])
    };
    let fixed = |name: &str| {
        name.ends_with("bias")
            || ["attention.gamma", "near.b", "near.log_weight_scale"].contains(&name)
    };
    let net = discriminator();
    let new = values(&net);
    net.init_normal(0.02, 0.02, &mut rng());
    for (name, value) in values(&net) {
        assert_eq!(fixed(&name), value == new[&name], "{name}");
    }
    let out = net.forward(
        &rng().normal([4, 4, 4, 3], 0.0, 1.0),
        ForwardCtx::from(Mode::TRAIN).with_condition(&Tensor::ones([4, 4])),
    );
    assert_eq!(out.shape()[..], [4, 1]);
    assert!(out.all_finite());
    let net = discriminator();
    net.init_orthogonal(1.5, &mut rng());
    for (name, value) in values(&net) {
        let drawn = !fixed(&name) && !name.starts_with("norm.");
        assert_eq!(drawn, value != new[&name], "{name}");
    }
    // As `[out, rest]`, for convolutions and transposed convolutions.
    for (name, outputs, transposed) in [
        ("conv.weight_orig", 8, false),
        ("up.weight", 5, true),
        ("head.linear.weight_orig", 1, false),
    ] {
        let state = net.state_dict();
        let shape = state[name].shape.to_vec();
        let mut weight = Tensor::from_slice(floats(&state, name), &shape[..]);
        if transposed {
            weight = weight.permute(&[1, 0, 2, 3]);
        }
        let rows = weight.reshape([outputs, weight.len() / outputs]);
        let product = rows.matmul(&rows, false, true).to_vec();
        for (i, found) in product.iter().enumerate() {
            let expected = if i / outputs == i % outputs { 2.25 } else { 0.0 };
            assert!((found - expected).abs() < 1e-5, "{name}: {found}");
        }
    }
}

/// The message of a panic.
fn panic_of(f: impl FnOnce()) -> String {
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).expect_err("a panic");
    let text = panic.downcast_ref::<String>().cloned();
    text.or(panic.downcast_ref::<&str>().map(|s| s.to_string())).expect("a message")
}

#[test]
fn misuse_is_named() {
    let x = Tensor::ones([2, 4]);
    let run = |layer: Layer, x: &Tensor| drop(network(vec![("l", layer)]).forward(x, Mode::TRAIN));
    let virtual_norm = || Layer::from(VirtualBatchNorm::new(4, 1e-5));
    let forwarded = |net: &Network, condition: Option<&Tensor>| {
        drop(net.forward(&x, ForwardCtx::from(Mode::TRAIN).with_condition(condition)))
    };
    let with_reference = |condition: Option<Tensor>| {
        let mut net = network(vec![("l", virtual_norm())]);
        net.set_reference(Tensor::ones([3, 4]), condition);
        net
    };
    type Misuse<'a> = (&'a str, Box<dyn FnOnce() + 'a>);
    let table: Vec<Misuse<'_>> = vec![
        (
            "ConcatCondition: the forward pass has no condition",
            Box::new(|| run(Layer::from(ConcatCondition), &x)),
        ),
        (
            "Embed: the forward pass has no condition",
            Box::new(|| run(Layer::from(Embed::new(3, 2)), &x)),
        ),
        (
            "ProjectionHead: the forward pass has no condition",
            Box::new(|| run(Layer::from(ProjectionHead::new(4, 3)), &x)),
        ),
        ("without a reference (set_reference)", Box::new(|| run(virtual_norm(), &x))),
        (
            "the reference batch has a condition, the pass has none",
            Box::new(|| forwarded(&with_reference(Some(Tensor::ones([3, 1]))), None)),
        ),
        (
            "the pass has a condition, the reference batch has none",
            Box::new(|| forwarded(&with_reference(None), Some(&Tensor::ones([2, 1])))),
        ),
        (
            "BatchNorm with VirtualBatchNorm",
            Box::new(|| {
                drop(network(vec![
                    ("a", virtual_norm()),
                    ("b", Layer::from(BatchNorm::new(4, 1e-5, 0.1))),
                ]))
            }),
        ),
        (
            "MinibatchStdDev with VirtualBatchNorm",
            Box::new(|| {
                drop(network(vec![
                    ("a", Layer::from(MinibatchStdDev::new(2))),
                    ("b", virtual_norm()),
                ]))
            }),
        ),
        (
            "set_reference: the network has no virtual batch norm",
            Box::new(|| {
                network(vec![("c", Layer::from(ConcatCondition))]).set_reference(x.clone(), None)
            }),
        ),
        (
            "no layer is called \"b\"",
            Box::new(|| drop(with_reference(None).features(&x, Mode::SAMPLE, &["b"]))),
        ),
        (
            "more than one pixel",
            Box::new(|| run(Layer::from(InstanceNorm::new(4, 1e-5)), &Tensor::ones([2, 1, 1, 4]))),
        ),
        (
            "samples of [2, 4] are not [3]",
            Box::new(|| run(Layer::from(LayerNorm::new(vec![3], 1e-5)), &x)),
        ),
        (
            "Dropout: the probability 1 is not in [0, 1)",
            Box::new(|| run(Layer::from(Dropout::new(1.0)), &x)),
        ),
        (
            "reparametrized already",
            Box::new(|| drop(Linear::new(2, 2, true).with_weight_norm().with_spectral_norm())),
        ),
    ];
    for (expected, misuse) in table {
        let found = panic_of(misuse);
        assert!(found.contains(expected), "{found:?} instead of {expected:?}");
    }
}
