//! The layers of a feature network.

use nn::layers::{BatchNorm, Conv2d, Dropout, Linear, Reshape, Window};
use nn::{Activation, Layer, Network};
use tensor::Tensor;
use tensor::rng::Philox;

/// Values in a feature vector.
pub(super) const FEATURES: usize = 128;
/// The layer whose activations are the features.
pub(super) const FEATURE_LAYER: &str = "features.relu";

/// Channels of the first convolution, doubled by each halving up to the most.
const WIDTH: usize = 32;
const MAX_CHANNELS: usize = 128;
/// Images are halved until no side is longer.
const LAST_SIDE: usize = 4;
/// Dropout probability of the features in front of the head.
const DROPOUT: f32 = 0.3;

/// A network for images `[H, W, C]`: halving convolutions (4×4, stride 2) with batch norm and ReLU,
/// a 3×3 convolution after the second halving, then [`FEATURES`] units and a linear head with
/// `outputs` logits. Weights are drawn from N(0, 2 / fan-in) (He et al. 2015, equation 10), the
/// head's with a tenth of that standard deviation.
pub(super) fn build(image: [usize; 3], outputs: usize, rng: &mut Philox) -> Network {
    let [mut height, mut width, mut channels] = image;
    let mut layers = Vec::new();
    let mut wide = WIDTH;
    let mut halvings = 0;
    while height.max(width) > LAST_SIDE && height.min(width) >= 2 {
        halvings += 1;
        let halve = Window { kernel: [4; 2], stride: [2; 2], pad: [[1; 2]; 2] };
        convolution(&mut layers, &format!("half{halvings}"), halve, [channels, wide], rng);
        (height, width, channels) = (height / 2, width / 2, wide);
        if halvings == 2 {
            let same = Window { kernel: [3; 2], stride: [1; 2], pad: [[1; 2]; 2] };
            convolution(&mut layers, "same", same, [channels; 2], rng);
        }
        wide = (wide * 2).min(MAX_CHANNELS);
    }
    let units = height * width * channels;
    let flat = Linear::from_image([height, width, channels], FEATURES);
    flat.weight().set(he_normal(flat.weight().value(), units, 1.0, rng));
    let head = Linear::new(FEATURES, outputs, true);
    head.weight().set(he_normal(head.weight().value(), FEATURES, 0.1, rng));
    layers.extend([
        ("flat".into(), Layer::from(Reshape(vec![units]))),
        ("features.linear".into(), Layer::from(flat)),
        ("features.norm".into(), norm(FEATURES)),
        (FEATURE_LAYER.into(), Layer::from(Activation::Relu)),
        ("dropout".into(), Layer::from(Dropout::new(DROPOUT))),
        ("head".into(), Layer::from(head)),
    ]);
    Network::new(layers)
}

fn convolution(
    layers: &mut Vec<(String, Layer)>,
    name: &str,
    window: Window,
    [inputs, outputs]: [usize; 2],
    rng: &mut Philox,
) {
    let conv = Conv2d::new(inputs, outputs, window, false);
    conv.weight().set(he_normal(
        conv.weight().value(),
        window.kernel[0] * window.kernel[1] * inputs,
        1.0,
        rng,
    ));
    layers.extend([
        (format!("{name}.conv"), Layer::from(conv)),
        (format!("{name}.norm"), norm(outputs)),
        (format!("{name}.relu"), Layer::from(Activation::Relu)),
    ]);
}

fn norm(features: usize) -> Layer {
    Layer::from(BatchNorm::new(features, 1e-5, 0.1))
}

fn he_normal(like: Tensor, fan_in: usize, gain: f64, rng: &mut Philox) -> Tensor {
    rng.normal(*like.shape(), 0.0, (gain * (2.0 / fan_in as f64).sqrt()) as f32)
}
