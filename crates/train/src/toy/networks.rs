//! The two perceptrons.

use super::Settings;
use nn::layers::{BatchNorm, Linear, MinibatchDiscrimination, MinibatchForm, MinibatchStdDev};
use nn::{Activation, Layer, Network};
use tensor::rng::Philox;

/// Samples of a group of minibatch standard deviation (Karras et al. 2018).
const GROUP: usize = 4;

/// Latents `[N, latent]` to points `[N, 2]`: two hidden layers with ReLU.
pub(super) fn generator(settings: &Settings, rng: &mut Philox) -> Network {
    let Settings { latent, width, batch_norm_g, .. } = *settings;
    let mut layers = hidden([latent, width, width], batch_norm_g, false);
    layers.push(Layer::Linear(Linear::new(width, 2, true)));
    network(layers, rng)
}

/// Packs of points `[N, 2 · pack]` to logits `[N, 1]`: two hidden layers with ReLU, the last of them called [`FEATURES`].
pub(super) fn discriminator(settings: &Settings, rng: &mut Philox) -> Network {
    let Settings { pack, width, batch_norm_d, spectral_norm, .. } = *settings;
    let mut layers = hidden([2 * pack, width, width], batch_norm_d, spectral_norm);
    let mut features = width;
    if let Some([kernels, dims]) = settings.minibatch_discrimination {
        let layer = MinibatchDiscrimination::new(width, kernels, dims, MinibatchForm::Mean);
        layers.push(Layer::MinibatchDiscrimination(layer));
        features += kernels;
    }
    if settings.minibatch_stddev {
        layers.push(Layer::MinibatchStdDev(MinibatchStdDev::new(GROUP)));
        features += 1;
    }
    layers.push(linear(features, 1, spectral_norm));
    network(layers, rng)
}

/// The name of D's last hidden layer, activated.
pub(super) fn features(discriminator: &Network) -> &str {
    let hidden = discriminator
        .layers()
        .iter()
        .rev()
        .find(|(_, layer)| matches!(layer, Layer::Activation(_)));
    hidden.map_or("", |(name, _)| name)
}

fn hidden(sizes: [usize; 3], batch_norm: bool, spectral_norm: bool) -> Vec<Layer> {
    let mut layers = Vec::new();
    for pair in sizes.windows(2) {
        layers.push(linear(pair[0], pair[1], spectral_norm));
        if batch_norm {
            layers.push(Layer::BatchNorm(BatchNorm::new(pair[1], 1e-5, 0.1)));
        }
        layers.push(Layer::Activation(Activation::Relu));
    }
    layers
}

fn linear(inputs: usize, outputs: usize, spectral_norm: bool) -> Layer {
    let layer = Linear::new(inputs, outputs, true);
    Layer::Linear(if spectral_norm { layer.with_spectral_norm() } else { layer })
}

/// The standard deviation of minibatch discrimination's T at the start: distances between modes are then of the order of 1, where
/// exp(−d) has a slope.
const SPREAD: f32 = 0.1;

/// Weights from N(0, 2 / inputs) before a ReLU, which passes the variance on (He et al. 2015), and from N(0, 1 / inputs) in the
/// last layer; biases 0. The DCGAN's 0.02 would start layers this narrow near 0.
fn network(layers: Vec<Layer>, rng: &mut Philox) -> Network {
    let network = Network::new(
        layers.into_iter().enumerate().map(|(i, layer)| (format!("main.{i}"), layer)).collect(),
    );
    network.init_normal(SPREAD, 0.0, rng);
    let last = network.layers().len() - 1;
    for (i, (_, layer)) in network.layers().iter().enumerate() {
        if let Layer::Linear(layer) = layer {
            let value = layer.weight().value();
            let gain = if i == last { 1.0 } else { 2.0 };
            layer.weight().set(value.scale((gain / value.shape()[0] as f32).sqrt() / SPREAD));
        }
    }
    network
}
