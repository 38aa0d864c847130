//! Layers listed one by one, for networks that no rule of doubling and halving makes.

use super::is_default;
use super::network_config::MinibatchDiscriminationConfig;
use crate::layers::MinibatchForm;
use serde::{Deserialize, Serialize};

/// One layer of a list, such as `{ layer = "conv", channels = 64, kernel = 5, stride = 2, pad = "same" }`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "layer", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Listed {
    /// A matrix product: `[F]` to `[units]`.
    Linear {
        /// Numbers after it.
        units: usize,
        /// Whether a bias is added.
        #[serde(default = "yes", skip_serializing_if = "is_yes")]
        bias: bool,
    },
    /// Another shape, `[H, W, C]`, of as many numbers.
    Reshape {
        /// Height, width, channels.
        shape: [usize; 3],
    },
    /// An image as a vector.
    Flatten {},
    /// A convolution.
    Conv {
        /// Channels after it; 0 stands for the image's.
        channels: usize,
        /// The kernel's side, or height and width.
        kernel: HeightWidth,
        /// Steps down and across.
        #[serde(default = "one", skip_serializing_if = "is_one")]
        stride: usize,
        /// Zeros around the image.
        #[serde(default, skip_serializing_if = "is_default")]
        pad: Pad,
        /// Whether a bias is added.
        #[serde(default = "yes", skip_serializing_if = "is_yes")]
        bias: bool,
    },
    /// A transposed convolution.
    ConvTranspose {
        /// Channels after it; 0 stands for the image's.
        channels: usize,
        /// The kernel's side, or height and width.
        kernel: HeightWidth,
        /// Steps down and across.
        #[serde(default = "one", skip_serializing_if = "is_one")]
        stride: usize,
        /// What is cut off around the result.
        #[serde(default, skip_serializing_if = "is_default")]
        pad: Pad,
        /// Rows and columns added at the bottom and right, less than the stride.
        #[serde(default, skip_serializing_if = "is_default")]
        output_padding: usize,
        /// Whether a bias is added.
        #[serde(default = "yes", skip_serializing_if = "is_yes")]
        bias: bool,
    },
    /// Batch norm, with the constants of section `batch_norm`.
    BatchNorm {
        /// Whether γ and β are learned, or 1 and 0.
        #[serde(default = "yes", skip_serializing_if = "is_yes")]
        affine: bool,
    },
    /// Instance norm of an image.
    InstanceNorm {},
    /// Layer norm.
    LayerNorm {},
    /// Virtual batch norm.
    VirtualBatchNorm {},
    /// max(x, 0).
    Relu {},
    /// x where it is positive, else slope · x.
    LeakyRelu {
        /// In [0, 1].
        slope: f64,
    },
    /// Hyperbolic tangent.
    Tanh {},
    /// 1 / (1 + e⁻ˣ).
    Sigmoid {},
    /// The largest of each group of consecutive channels (Goodfellow et al. 2013).
    Maxout {
        /// Channels in a group.
        pieces: usize,
    },
    /// Drops numbers and scales up the others, while training.
    Dropout {
        /// Probability, in [0, 1).
        p: f64,
    },
    /// Adds Gaussian noise, while training.
    Noise {
        /// Its standard deviation.
        std: f64,
    },
    /// The largest of each window, windows side by side.
    MaxPool {
        /// Side of a window.
        size: usize,
    },
    /// The mean of each window, windows side by side.
    AveragePool {
        /// Side of a window.
        size: usize,
    },
    /// The mean of each channel: `[H, W, C]` to `[C]`.
    GlobalAverage {},
    /// The sum of each channel: `[H, W, C]` to `[C]`.
    GlobalSum {},
    /// Every pixel repeated.
    Upsample {
        /// Times down and across.
        scale: usize,
    },
    /// Self-attention (Zhang et al. 2019).
    Attention {},
    /// Minibatch standard deviation (Karras et al. 2018).
    MinibatchStddev {
        /// Samples in a group.
        group: usize,
    },
    /// Minibatch discrimination (Salimans et al. 2016).
    MinibatchDiscrimination {
        /// Numbers added, B.
        kernels: usize,
        /// Length of the vectors compared, C.
        dims: usize,
        /// Which form.
        #[serde(default, skip_serializing_if = "is_default")]
        form: MinibatchForm,
    },
    /// Appends the condition: to a vector, or to every pixel as channels.
    Condition {},
    /// A logit from features `[F]` that also is their product with the condition's embedding (Miyato & Koyama 2018). For discriminators.
    Projection {},
}

impl Listed {
    /// The keys of minibatch discrimination as a network section has them.
    pub(crate) fn discrimination(d: MinibatchDiscriminationConfig) -> Self {
        Self::MinibatchDiscrimination { kernels: d.kernels, dims: d.dims, form: d.form }
    }
}

/// A square's side, or height and width.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum HeightWidth {
    /// Both.
    Square(usize),
    /// Height and width.
    Both([usize; 2]),
}

impl HeightWidth {
    /// Height and width.
    pub fn get(self) -> [usize; 2] {
        match self {
            Self::Square(side) => [side; 2],
            Self::Both(sides) => sides,
        }
    }
}

/// Zeros around an image.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Pad {
    /// As many on every side.
    All(usize),
    /// By name.
    Named(PaddingMode),
    /// `[[top, bottom], [left, right]]`.
    Sides([[usize; 2]; 2]),
}

/// The paddings of TensorFlow and Keras.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PaddingMode {
    /// None.
    Valid,
    /// So many that ⌈side / stride⌉ pixels remain (a transposed convolution: side · stride); the odd one at the bottom and right.
    Same,
}

impl Default for Pad {
    fn default() -> Self {
        Self::All(0)
    }
}

fn yes() -> bool {
    true
}

fn is_yes(value: &bool) -> bool {
    *value
}

fn one() -> usize {
    1
}

fn is_one(value: &usize) -> bool {
    *value == 1
}
