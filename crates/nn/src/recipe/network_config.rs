//! The sections of a recipe that shape the two networks.

use super::is_default;
use crate::layers::{LayerConfig, MinibatchDiscriminationConfig, Parametrization};
use serde::{Deserialize, Serialize};
use tensor::Activation;

/// The generator: a stem makes a seed image from the latent vector, layers that double it make the full size. Or the layers listed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GeneratorConfig {
    /// Length of the latent vector.
    pub latent: usize,
    /// What the latent vector is drawn from.
    pub distribution: LatentDistribution,
    /// Channels at the last hidden resolution (half the image); each halving doubles them.
    #[serde(default = "width")]
    pub width: usize,
    /// How the seed is made.
    #[serde(default)]
    pub stem: Stem,
    /// Side of the kernels.
    #[serde(default = "kernel")]
    pub kernel: usize,
    /// After each hidden layer's norm.
    #[serde(default = "relu")]
    pub activation: Activation,
    /// How images are doubled.
    #[serde(default, skip_serializing_if = "is_default")]
    pub upsample: UpsampleMethod,
    /// What normalises the hidden layers.
    #[serde(default, skip_serializing_if = "is_default")]
    pub norm: NormKind,
    /// Whether the last layer is normalised, too (Radford et al. 2016 found that it makes training unstable).
    #[serde(default, skip_serializing_if = "is_default")]
    pub norm_everywhere: bool,
    /// How the weights of linear layers and convolutions are parametrised.
    #[serde(default, skip_serializing_if = "is_default")]
    pub parametrization: Parametrization,
    /// Whether linear layers and convolutions have a bias.
    #[serde(default, skip_serializing_if = "is_default")]
    pub bias: bool,
    /// Probability with which each number after a hidden activation is dropped, in [0, 1).
    #[serde(default, skip_serializing_if = "is_default")]
    pub dropout: f64,
    /// Self-attention after the hidden layer whose smaller side has this many pixels; 0 for none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub attention: usize,
    /// Size of the reference batch of virtual batch norm.
    #[serde(default = "reference", skip_serializing_if = "is_reference")]
    pub reference: usize,
    /// The layers, one by one, in place of those that the keys from `width` to `attention` make.
    #[serde(default, skip_serializing_if = "is_default")]
    pub layers: Vec<LayerConfig>,
}

/// The discriminator: layers that halve the image to the seed, a head makes one logit of it. Or the layers listed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiscriminatorConfig {
    /// Channels at the first hidden resolution (half the image); each halving doubles them.
    #[serde(default = "width")]
    pub width: usize,
    /// Side of the kernels.
    #[serde(default = "kernel")]
    pub kernel: usize,
    /// Slope of the leaky rectifier below 0; 0 makes it a plain one.
    #[serde(default = "slope")]
    pub slope: f64,
    /// How the logit is made.
    #[serde(default)]
    pub head: Head,
    /// How images are halved.
    #[serde(default, skip_serializing_if = "is_default")]
    pub downsample: DownsampleMethod,
    /// What normalises the hidden layers but the first.
    #[serde(default, skip_serializing_if = "is_default")]
    pub norm: NormKind,
    /// Whether the first layer is normalised, too (Radford et al. 2016 found that it makes training unstable).
    #[serde(default, skip_serializing_if = "is_default")]
    pub norm_everywhere: bool,
    /// How the weights of linear layers and convolutions are parametrised.
    #[serde(default, skip_serializing_if = "is_default")]
    pub parametrization: Parametrization,
    /// Whether linear layers and convolutions have a bias.
    #[serde(default, skip_serializing_if = "is_default")]
    pub bias: bool,
    /// Probability with which each number after a hidden activation is dropped, in [0, 1).
    #[serde(default, skip_serializing_if = "is_default")]
    pub dropout: f64,
    /// Standard deviation of the Gaussian noise added after each hidden activation.
    #[serde(default, skip_serializing_if = "is_default")]
    pub noise: f64,
    /// Self-attention after the hidden layer whose smaller side has this many pixels; 0 for none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub attention: usize,
    /// Before the head, the standard deviation within groups of this many samples as one more channel (Karras et al. 2018); 0 for none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub minibatch_stddev: usize,
    /// Before the head, minibatch discrimination (Salimans et al. 2016).
    #[serde(default, skip_serializing_if = "is_default")]
    pub minibatch_discrimination: Option<MinibatchDiscriminationConfig>,
    /// The layers, one by one, in place of those that the other keys make.
    #[serde(default, skip_serializing_if = "is_default")]
    pub layers: Vec<LayerConfig>,
}

fn width() -> usize {
    64
}

fn kernel() -> usize {
    4
}

fn slope() -> f64 {
    0.2
}

fn relu() -> Activation {
    Activation::Relu
}

fn reference() -> usize {
    64
}

fn is_reference(size: &usize) -> bool {
    *size == reference()
}

/// Where latent vectors come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LatentDistribution {
    /// N(0, 1).
    Normal,
    /// U(−1, 1).
    Uniform,
}

/// How the generator makes its seed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stem {
    /// A transposed convolution of a 1×1 image, with batch norm per channel.
    #[default]
    Conv,
    /// A matrix product, with batch norm per unit, as in the paper's code.
    Linear,
}

/// How the discriminator ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Head {
    /// A convolution over the whole seed.
    #[default]
    Conv,
    /// Flattening and a matrix product.
    Linear,
    /// The mean of each channel and a matrix product (which Radford et al. 2016 found to converge more slowly).
    GlobalAverage,
}

/// How the generator doubles its images.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpsampleMethod {
    /// Transposed convolutions of stride 2.
    #[default]
    Transposed,
    /// Every pixel twice down and across, then a convolution of stride 1.
    Nearest,
}

/// How the discriminator halves its images.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DownsampleMethod {
    /// Convolutions of stride 2.
    #[default]
    Strided,
    /// Convolutions of stride 1, then the largest of each 2×2 pixels.
    MaxPool,
    /// Convolutions of stride 1, then the mean of each 2×2 pixels.
    AveragePool,
}

/// What normalises hidden layers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NormKind {
    /// Nothing.
    None,
    /// Batch norm (Ioffe & Szegedy 2015).
    #[default]
    Batch,
    /// Instance norm (Ulyanov et al. 2016): each channel of each sample on its own.
    Instance,
    /// Layer norm (Ba et al. 2016): each sample as a whole.
    Layer,
    /// Virtual batch norm (Salimans et al. 2016): by a fixed reference batch and the sample itself. For generators.
    VirtualBatch,
}
