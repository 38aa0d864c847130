//! A layer before it has numbers.

use crate::layers::{
    BatchNorm, Conv2d, ConvTranspose2d, Dropout, Embed, GaussianNoise, GlobalPool, InstanceNorm,
    Layer, LayerNorm, Linear, Maxout, MinibatchDiscrimination, MinibatchForm, MinibatchStdDev,
    Pool2d, ProjectionHead, SelfAttention, VirtualBatchNorm, Window,
};
use crate::recipe::Parametrization;
use tensor::{Activation, ConvGeom};

/// A layer before it has numbers.
pub(crate) enum Spec {
    /// A matrix product. `from` is the image that was flattened into its inputs, `to` the one its outputs will be reshaped to.
    Linear {
        inputs: usize,
        outputs: usize,
        from: Option<[usize; 3]>,
        to: Option<[usize; 3]>,
        bias: bool,
    },
    Conv2d {
        inputs: usize,
        outputs: usize,
        window: Window,
        bias: bool,
    },
    ConvTranspose2d {
        inputs: usize,
        outputs: usize,
        window: Window,
        output_padding: [usize; 2],
        bias: bool,
    },
    /// With `units`, each pixel of that flattened image on its own.
    BatchNorm {
        features: usize,
        units: Option<[usize; 3]>,
        eps: f32,
        momentum: f32,
        affine: bool,
    },
    InstanceNorm {
        channels: usize,
        eps: f32,
    },
    LayerNorm {
        shape: Vec<usize>,
        eps: f32,
    },
    VirtualBatchNorm {
        channels: usize,
        eps: f32,
    },
    Activation(Activation),
    Reshape(Vec<usize>),
    Maxout {
        pieces: usize,
    },
    Dropout {
        p: f32,
    },
    Noise {
        std: f32,
    },
    Pool(Pool2d),
    GlobalPool(GlobalPool),
    Upsample {
        scale: usize,
    },
    Attention {
        channels: usize,
    },
    MinibatchStddev {
        group: usize,
    },
    MinibatchDiscrimination {
        inputs: usize,
        kernels: usize,
        dims: usize,
        form: MinibatchForm,
    },
    /// `size` numbers appended as they are.
    Condition {
        size: usize,
    },
    /// `size` numbers appended as `features` others.
    Embed {
        size: usize,
        features: usize,
    },
    Projection {
        inputs: usize,
        size: usize,
    },
}

impl Spec {
    /// The layer, with weights 0 and γ 1.
    pub(crate) fn layer(&self, weights: Parametrization) -> Layer {
        let spectral = weights == Parametrization::SpectralNorm;
        match *self {
            Self::Linear { inputs, outputs, from, to, bias } => {
                let linear = match (from, to) {
                    (Some(image), _) => Linear::from_image(image, outputs),
                    (None, Some(image)) => Linear::to_image(inputs, image),
                    (None, None) => Linear::new(inputs, outputs, false),
                };
                let linear = if bias { linear.with_bias() } else { linear };
                Layer::Linear(match weights {
                    Parametrization::Plain => linear,
                    Parametrization::SpectralNorm => linear.with_spectral_norm(),
                    Parametrization::WeightNorm => linear.with_weight_norm(),
                })
            }
            Self::Conv2d { inputs, outputs, window, bias } => {
                let conv = Conv2d::new(inputs, outputs, window, bias);
                Layer::Conv2d(match weights {
                    Parametrization::Plain => conv,
                    Parametrization::SpectralNorm => conv.with_spectral_norm(),
                    Parametrization::WeightNorm => conv.with_weight_norm(),
                })
            }
            Self::ConvTranspose2d { inputs, outputs, window, output_padding, bias } => {
                let conv = ConvTranspose2d::new(inputs, outputs, window, output_padding, bias);
                Layer::ConvTranspose2d(match weights {
                    Parametrization::Plain => conv,
                    Parametrization::SpectralNorm => conv.with_spectral_norm(),
                    Parametrization::WeightNorm => conv.with_weight_norm(),
                })
            }
            Self::BatchNorm { features, units, eps, momentum, affine } => {
                let norm = match units {
                    Some(image) => BatchNorm::per_unit(image, eps, momentum),
                    None => BatchNorm::new(features, eps, momentum),
                };
                Layer::BatchNorm(if affine { norm } else { norm.without_affine() })
            }
            Self::InstanceNorm { channels, eps } => {
                Layer::InstanceNorm(InstanceNorm::new(channels, eps))
            }
            Self::LayerNorm { ref shape, eps } => {
                Layer::LayerNorm(LayerNorm::new(shape.clone(), eps))
            }
            Self::VirtualBatchNorm { channels, eps } => {
                Layer::VirtualBatchNorm(VirtualBatchNorm::new(channels, eps))
            }
            Self::Activation(activation) => Layer::Activation(activation),
            Self::Reshape(ref axes) => Layer::Reshape(axes.clone()),
            Self::Maxout { pieces } => Layer::Maxout(Maxout::new(pieces)),
            Self::Dropout { p } => Layer::Dropout(Dropout::new(p)),
            Self::Noise { std } => Layer::GaussianNoise(GaussianNoise::new(std)),
            Self::Pool(pool) => Layer::Pool2d(pool),
            Self::GlobalPool(kind) => Layer::GlobalPool(kind),
            Self::Upsample { scale } => Layer::Upsample([scale; 2]),
            Self::Attention { channels } => {
                let attention = SelfAttention::new(channels);
                Layer::SelfAttention(if spectral {
                    attention.with_spectral_norm()
                } else {
                    attention
                })
            }
            Self::MinibatchStddev { group } => Layer::MinibatchStdDev(MinibatchStdDev::new(group)),
            Self::MinibatchDiscrimination { inputs, kernels, dims, form } => {
                Layer::MinibatchDiscrimination(MinibatchDiscrimination::new(
                    inputs, kernels, dims, form,
                ))
            }
            Self::Condition { .. } => Layer::ConcatCondition,
            Self::Embed { size, features } => {
                let embed = Embed::new(size, features);
                Layer::Embed(if spectral { embed.with_spectral_norm() } else { embed })
            }
            Self::Projection { inputs, size } => {
                let head = ProjectionHead::new(inputs, size);
                Layer::ProjectionHead(if spectral { head.with_spectral_norm() } else { head })
            }
        }
    }

    /// The number of trainable numbers; 128 bits, since a recipe that is too large is refused by this number.
    pub(crate) fn parameters(&self, weights: Parametrization) -> u128 {
        let product = |axes: &[usize]| axes.iter().map(|&n| n as u128).product::<u128>();
        // Weight norm has a length for each output beside the direction.
        let each = |outputs: usize, bias: bool| {
            (u128::from(bias) + u128::from(weights == Parametrization::WeightNorm))
                * outputs as u128
        };
        match self {
            Self::Linear { inputs, outputs, bias, .. } => {
                product(&[*inputs, *outputs]) + each(*outputs, *bias)
            }
            Self::Conv2d { inputs, outputs, window, bias }
            | Self::ConvTranspose2d { inputs, outputs, window, bias, .. } => {
                product(&window.kernel) * product(&[*inputs, *outputs]) + each(*outputs, *bias)
            }
            Self::BatchNorm { features, affine, .. } => 2 * u128::from(*affine) * *features as u128,
            Self::InstanceNorm { channels, .. } | Self::VirtualBatchNorm { channels, .. } => {
                2 * *channels as u128
            }
            Self::LayerNorm { shape, .. } => 2 * product(shape),
            Self::Attention { channels } => SelfAttention::parameters(*channels) as u128,
            Self::MinibatchDiscrimination { inputs, kernels, dims, form } => {
                let more = if *form == MinibatchForm::Code {
                    product(&[*kernels, *dims]) + *kernels as u128
                } else {
                    0
                };
                product(&[*inputs, *kernels, *dims]) + more
            }
            Self::Embed { size, features } => product(&[*size, *features]),
            Self::Projection { inputs, size } => *inputs as u128 + 1 + product(&[*inputs, *size]),
            Self::Activation(_)
            | Self::Reshape(_)
            | Self::Maxout { .. }
            | Self::Dropout { .. }
            | Self::Noise { .. }
            | Self::Pool(_)
            | Self::GlobalPool(_)
            | Self::Upsample { .. }
            | Self::MinibatchStddev { .. }
            | Self::Condition { .. } => 0,
        }
    }

    /// Multiply-adds for one sample, whose shape before and after is given.
    pub(crate) fn multiplications(&self, input: &[usize], output: &[usize]) -> f64 {
        let numbers = |shape: &[usize]| shape.iter().map(|&n| n as f64).product::<f64>();
        let positions = |shape: &[usize]| shape.iter().take(2).map(|&n| n as f64).product::<f64>();
        let kernel = |window: &Window, inputs: usize, outputs: usize| {
            numbers(&window.kernel) * (inputs * outputs) as f64
        };
        match self {
            Self::Linear { inputs, outputs, .. } => (inputs * outputs) as f64,
            Self::Conv2d { inputs, outputs, window, .. } => {
                kernel(window, *inputs, *outputs) * positions(output)
            }
            Self::ConvTranspose2d { inputs, outputs, window, .. } => {
                kernel(window, *inputs, *outputs) * positions(input)
            }
            Self::Attention { channels } => {
                let (c, p) = (*channels as f64, positions(input));
                p * c * (c + c / 4.0) + p * p * (c + c / 8.0)
            }
            Self::MinibatchDiscrimination { inputs, kernels, dims, .. } => {
                (inputs * kernels * dims) as f64
            }
            Self::Embed { size, features } => (size * features) as f64,
            Self::Projection { inputs, size } => (inputs * (size + 1)) as f64,
            _ => 0.0,
        }
    }
}

/// The pixels of a convolution's result, or 0 where the kernel does not fit.
pub(super) fn convolved(window: &Window, input: [usize; 2]) -> [usize; 2] {
    window.geometry(input).try_output().unwrap_or([0, 0])
}

/// The pixels of a transposed convolution's result, or 0 where there are none.
pub(super) fn transposed(w: &Window, input: [usize; 2], output_padding: [usize; 2]) -> [usize; 2] {
    ConvGeom::transposed(input, w.kernel, w.stride, w.pad, output_padding)
        .map_or([0, 0], |g| g.input)
}
