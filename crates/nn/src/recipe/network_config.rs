//! The sections of a recipe that define the architecture of the two networks.

use super::is_default;
use crate::layers::{LayerConfig, MinibatchDiscriminationConfig, Parametrization};
use serde::{Deserialize, Serialize};
use tensor::Activation;

/// The generator's architecture.
///
/// A stem maps the latent vector to an image at the base resolution, and layers that double it
/// reach the full size; or the layers are listed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GeneratorConfig {
    /// Length of the latent vector.
    pub latent: usize,
    /// The distribution of the latent vector.
    pub distribution: LatentDistribution,
    /// Channels at the last hidden resolution (half the image); each halving doubles them.
    #[serde(default = "width")]
    pub width: usize,
    /// The stem, which outputs the image at the base resolution.
    #[serde(default)]
    pub stem: Stem,
    /// Kernel size.
    #[serde(default = "kernel")]
    pub kernel: usize,
    /// The activation after each hidden layer's norm.
    #[serde(default = "relu")]
    pub activation: Activation,
    /// The upsampling method.
    #[serde(default, skip_serializing_if = "is_default")]
    pub upsample: UpsampleMethod,
    /// Normalization of the hidden layers.
    #[serde(default, skip_serializing_if = "is_default")]
    pub norm: NormKind,
    /// Whether the last layer is normalized, too (Radford et al. 2016 found that it makes training
    /// unstable).
    #[serde(default, skip_serializing_if = "is_default")]
    pub norm_everywhere: bool,
    /// Weight parametrization of linear layers and convolutions.
    #[serde(default, skip_serializing_if = "is_default")]
    pub parametrization: Parametrization,
    /// Whether linear layers and convolutions have a bias.
    #[serde(default, skip_serializing_if = "is_default")]
    pub bias: bool,
    /// Dropout probability after a hidden activation, in [0, 1).
    #[serde(default, skip_serializing_if = "is_default")]
    pub dropout: f64,
    /// Self-attention after the hidden layer whose smaller side has this many pixels; 0 for none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub attention: usize,
    /// Size of the reference batch of virtual batch norm.
    #[serde(default = "reference", skip_serializing_if = "is_reference")]
    pub reference: usize,
    /// The list of layers, which replaces those derived from the keys from `width` to `attention`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub layers: Vec<LayerConfig>,
}

/// The discriminator's architecture.
///
/// Layers halve the image to the base resolution, and a head computes one logit from it; or the
/// layers are listed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiscriminatorConfig {
    /// Channels at the first hidden resolution (half the image); each halving doubles them.
    #[serde(default = "width")]
    pub width: usize,
    /// Kernel size.
    #[serde(default = "kernel")]
    pub kernel: usize,
    /// Negative slope of the leaky ReLU; 0 makes it a plain ReLU.
    #[serde(default = "slope")]
    pub slope: f64,
    /// The head, which computes the logit.
    #[serde(default)]
    pub head: Head,
    /// The downsampling method.
    #[serde(default, skip_serializing_if = "is_default")]
    pub downsample: DownsampleMethod,
    /// Normalization of the hidden layers except the first.
    #[serde(default, skip_serializing_if = "is_default")]
    pub norm: NormKind,
    /// Whether the first layer is normalized, too (Radford et al. 2016 found that it makes training
    /// unstable).
    #[serde(default, skip_serializing_if = "is_default")]
    pub norm_everywhere: bool,
    /// Weight parametrization of linear layers and convolutions.
    #[serde(default, skip_serializing_if = "is_default")]
    pub parametrization: Parametrization,
    /// Whether linear layers and convolutions have a bias.
    #[serde(default, skip_serializing_if = "is_default")]
    pub bias: bool,
    /// Dropout probability after a hidden activation, in [0, 1).
    #[serde(default, skip_serializing_if = "is_default")]
    pub dropout: f64,
    /// Standard deviation of the Gaussian noise added after each hidden activation.
    #[serde(default, skip_serializing_if = "is_default")]
    pub noise: f64,
    /// Self-attention after the hidden layer whose smaller side has this many pixels; 0 for none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub attention: usize,
    /// Minibatch standard deviation before the head: the standard deviation within groups of this
    /// many samples as one more channel (Karras et al. 2018); 0 for none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub minibatch_stddev: usize,
    /// Minibatch discrimination before the head (Salimans et al. 2016).
    #[serde(default, skip_serializing_if = "is_default")]
    pub minibatch_discrimination: Option<MinibatchDiscriminationConfig>,
    /// The list of layers, which replaces those derived from the other keys.
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

/// The distribution of latent vectors.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LatentDistribution {
    /// N(0, 1).
    Normal,
    /// U(−1, 1).
    Uniform,
}

/// The generator's stem, which outputs the image at the base resolution.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stem {
    /// A transposed convolution of a 1×1 image, with batch norm per channel.
    #[default]
    Conv,
    /// A linear layer, with batch norm per unit, as in the paper's code.
    Linear,
}

/// The discriminator's head.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Head {
    /// A convolution over the whole image at the base resolution.
    #[default]
    Conv,
    /// Flattening and a linear layer.
    Linear,
    /// Global average pooling and a linear layer (which Radford et al. 2016 found to converge more
    /// slowly).
    GlobalAverage,
}

/// The generator's upsampling method.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpsampleMethod {
    /// Transposed convolutions of stride 2.
    #[default]
    Transposed,
    /// Nearest-neighbor upsampling by 2, then a convolution of stride 1.
    Nearest,
}

/// The discriminator's downsampling method.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DownsampleMethod {
    /// Convolutions of stride 2.
    #[default]
    Strided,
    /// Convolutions of stride 1, then 2×2 max pooling.
    MaxPool,
    /// Convolutions of stride 1, then 2×2 average pooling.
    AveragePool,
}

/// Normalization of hidden layers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NormKind {
    /// No normalization.
    None,
    /// Batch norm (Ioffe & Szegedy 2015).
    #[default]
    Batch,
    /// Instance norm (Ulyanov et al. 2016): each channel of each sample on its own.
    Instance,
    /// Layer norm (Ba et al. 2016): each sample as a whole.
    Layer,
    /// Virtual batch norm (Salimans et al. 2016): statistics of a fixed reference batch and the
    /// sample itself. For generators only.
    VirtualBatch,
}
