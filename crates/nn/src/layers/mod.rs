//! The layers, a closed set.

mod attention;
mod batch_norm;
mod condition;
mod conv;
mod instance_norm;
mod layer_norm;
mod linear;
mod maxout;
mod minibatch;
mod noise;
mod orthogonal;
mod pool;
mod virtual_batch_norm;
mod weight;

pub use attention::SelfAttention;
pub use batch_norm::BatchNorm;
pub use condition::{Embed, ProjectionHead};
pub use conv::{Conv2d, ConvTranspose2d, Window};
pub use instance_norm::InstanceNorm;
pub use layer_norm::LayerNorm;
pub use linear::Linear;
pub use maxout::Maxout;
pub use minibatch::{MinibatchDiscrimination, MinibatchForm, MinibatchStdDev};
pub use noise::{Dropout, GaussianNoise};
pub use pool::{GlobalPool, Pool2d, PoolKind};
pub use virtual_batch_norm::VirtualBatchNorm;

use crate::layout::Layout;
use crate::mode::ForwardCtx;
use crate::param::{Param, SharedTensor};
use std::sync::atomic::AtomicI64;
use tensor::{Activation, Tensor};
use weight::Weight;

/// One layer of a [`Network`](crate::Network).
pub enum Layer {
    /// A matrix product: `[N, in]` to `[N, out]`.
    Linear(Linear),
    /// A convolution.
    Conv2d(Conv2d),
    /// A transposed convolution.
    ConvTranspose2d(ConvTranspose2d),
    /// Batch normalisation over the last axis.
    BatchNorm(BatchNorm),
    /// Normalisation of each channel of each picture.
    InstanceNorm(InstanceNorm),
    /// Normalisation of each sample.
    LayerNorm(LayerNorm),
    /// Normalisation by a reference batch, which the network then needs.
    VirtualBatchNorm(VirtualBatchNorm),
    /// An elementwise function; fused with a batch norm or a bias before it.
    Activation(Activation),
    /// The largest of each group of units.
    Maxout(Maxout),
    /// Another shape for each sample: `[N, …]` to `[N, these axes]`, row-major. No axes make `[N]`.
    Reshape(Vec<usize>),
    /// Max or average pooling.
    Pool2d(Pool2d),
    /// Sum or mean of all pixels.
    GlobalPool(GlobalPool),
    /// Every pixel repeated this many times down and across.
    Upsample([usize; 2]),
    /// Numbers dropped at random.
    Dropout(Dropout),
    /// Normal noise added.
    GaussianNoise(GaussianNoise),
    /// The spread of the batch as one more channel.
    MinibatchStdDev(MinibatchStdDev),
    /// Nearness to the other samples as more features.
    MinibatchDiscrimination(MinibatchDiscrimination),
    /// Attention between positions.
    SelfAttention(SelfAttention),
    /// The condition appended: `[N, F]` to `[N, F + K]`, or `[N, H, W, C]` to `[N, H, W, C + K]` with the same at every pixel.
    ConcatCondition,
    /// A linear map of the condition appended.
    Embed(Embed),
    /// The logit of a projection discriminator.
    ProjectionHead(ProjectionHead),
}

/// A tensor that a layer owns: its name within the layer, its layout in a state dict, and where it lies.
pub(crate) struct NamedTensor<'a> {
    pub name: String,
    pub layout: Layout,
    pub role: TensorRole<'a>,
}

/// Where a layer's numbers are.
#[derive(Clone, Copy)]
pub(crate) enum TensorRole<'a> {
    Param(&'a Param),
    /// A running average; an average of networks averages it too.
    Buffer(&'a SharedTensor),
    /// What an average of networks takes as it is: a vector of spectral norm, a reference batch.
    Copied(&'a SharedTensor),
    Count(&'a AtomicI64),
}

impl Layer {
    /// The layer applied to `x`, then `activation`.
    #[track_caller]
    pub(crate) fn forward(
        &self,
        x: &Tensor,
        pass: ForwardCtx<'_>,
        activation: Activation,
    ) -> Tensor {
        // The fused kernels know only derivatives.
        if pass.guided && activation != Activation::None {
            return activation.guided(&self.forward(x, pass, Activation::None));
        }
        let out = match self {
            Self::Linear(l) => return l.forward(x, pass, activation),
            Self::Conv2d(l) => return l.forward(x, pass, activation),
            Self::ConvTranspose2d(l) => return l.forward(x, pass, activation),
            Self::BatchNorm(l) => return l.forward(x, pass, activation),
            Self::InstanceNorm(l) => return l.forward(x, pass, activation),
            Self::LayerNorm(l) => return l.forward(x, pass, activation),
            Self::VirtualBatchNorm(l) => return l.forward(x, pass, activation),
            Self::Activation(own) if pass.guided => own.guided(x),
            Self::Activation(own) => own.apply(x),
            Self::Maxout(l) => l.forward(x),
            Self::Reshape(axes) => {
                let shape: Vec<usize> =
                    x.shape().iter().copied().take(1).chain(axes.iter().copied()).collect();
                x.reshape(&shape[..])
            }
            Self::Pool2d(l) => l.forward(x),
            Self::GlobalPool(l) => l.forward(x),
            Self::Upsample(scale) => x.upsample_nearest2d(*scale),
            Self::Dropout(l) => l.forward(x, pass),
            Self::GaussianNoise(l) => l.forward(x, pass),
            Self::MinibatchStdDev(l) => l.forward(x),
            Self::MinibatchDiscrimination(l) => l.forward(x, pass),
            Self::SelfAttention(l) => l.forward(x, pass),
            Self::ConcatCondition => condition::concat_condition("ConcatCondition", x, pass),
            Self::Embed(l) => l.forward(x, pass),
            Self::ProjectionHead(l) => l.forward(x, pass),
        };
        activation.apply(&out)
    }

    /// The layer whose results are this one's, times `scale`, plus `offset` (both `[features]`); `None` where it has no weights
    /// to scale.
    pub(crate) fn fold_affine(&self, scale: &Tensor, offset: &Tensor) -> Option<Self> {
        Some(match self {
            Self::Linear(l) => Self::Linear(l.scaled(scale, offset)),
            Self::Conv2d(l) => Self::Conv2d(l.scaled(scale, offset)),
            Self::ConvTranspose2d(l) => Self::ConvTranspose2d(l.scaled(scale, offset)),
            _ => return None,
        })
    }

    /// Another layer with the same values, for drawing alone.
    pub(crate) fn deep_clone(&self) -> Self {
        match self {
            Self::Linear(l) => Self::Linear(l.duplicate()),
            Self::Conv2d(l) => Self::Conv2d(l.duplicate()),
            Self::ConvTranspose2d(l) => Self::ConvTranspose2d(l.duplicate()),
            Self::BatchNorm(l) => Self::BatchNorm(l.duplicate()),
            Self::InstanceNorm(l) => Self::InstanceNorm(l.duplicate()),
            Self::LayerNorm(l) => Self::LayerNorm(l.duplicate()),
            Self::VirtualBatchNorm(l) => Self::VirtualBatchNorm(l.duplicate()),
            Self::Activation(activation) => Self::Activation(*activation),
            Self::Maxout(l) => Self::Maxout(*l),
            Self::Reshape(axes) => Self::Reshape(axes.clone()),
            Self::Pool2d(l) => Self::Pool2d(*l),
            Self::GlobalPool(l) => Self::GlobalPool(*l),
            Self::Upsample(scale) => Self::Upsample(*scale),
            Self::Dropout(l) => Self::Dropout(*l),
            Self::GaussianNoise(l) => Self::GaussianNoise(*l),
            Self::MinibatchStdDev(l) => Self::MinibatchStdDev(*l),
            Self::MinibatchDiscrimination(l) => Self::MinibatchDiscrimination(l.duplicate()),
            Self::SelfAttention(l) => Self::SelfAttention(l.duplicate()),
            Self::ConcatCondition => Self::ConcatCondition,
            Self::Embed(l) => Self::Embed(l.duplicate()),
            Self::ProjectionHead(l) => Self::ProjectionHead(l.duplicate()),
        }
    }

    /// What the layer owns, in PyTorch's order.
    pub(crate) fn named_tensors(&self) -> Vec<NamedTensor<'_>> {
        match self {
            Self::Linear(l) => l.entries(),
            Self::Conv2d(l) => l.entries(),
            Self::ConvTranspose2d(l) => l.entries(),
            Self::BatchNorm(l) => l.entries(),
            Self::InstanceNorm(l) => l.entries(),
            Self::LayerNorm(l) => l.entries(),
            Self::VirtualBatchNorm(l) => l.entries(),
            Self::MinibatchDiscrimination(l) => l.entries(),
            Self::SelfAttention(l) => l.entries(),
            Self::Embed(l) => l.entries(),
            Self::ProjectionHead(l) => l.entries(),
            Self::Activation(_)
            | Self::Maxout(_)
            | Self::Reshape(_)
            | Self::Pool2d(_)
            | Self::GlobalPool(_) => Vec::new(),
            Self::Upsample(_)
            | Self::Dropout(_)
            | Self::GaussianNoise(_)
            | Self::MinibatchStdDev(_) => Vec::new(),
            Self::ConcatCondition => Vec::new(),
        }
    }

    /// The weights that an initialiser draws.
    pub(crate) fn weights(&self) -> Vec<&Weight> {
        match self {
            Self::Linear(l) => vec![l.inner_weight()],
            Self::Conv2d(l) => vec![l.inner_weight()],
            Self::ConvTranspose2d(l) => vec![l.inner_weight()],
            Self::MinibatchDiscrimination(l) => vec![l.inner_weight()],
            Self::SelfAttention(l) => l.weights(),
            Self::Embed(l) => vec![l.inner_weight()],
            Self::ProjectionHead(l) => l.weights(),
            _ => Vec::new(),
        }
    }

    /// γ of a normalisation.
    pub(crate) fn gamma(&self) -> Option<&Param> {
        match self {
            Self::BatchNorm(l) => l.trained_gamma(),
            Self::InstanceNorm(l) => Some(l.gamma()),
            Self::LayerNorm(l) => Some(l.gamma()),
            Self::VirtualBatchNorm(l) => Some(l.gamma()),
            _ => None,
        }
    }

    /// Numbers that are neither trained nor saved.
    pub(crate) fn constants(&self) -> Vec<&SharedTensor> {
        match self {
            Self::BatchNorm(l) => l.constants(),
            _ => Vec::new(),
        }
    }

    /// The data-dependent start of the layers that have one.
    #[track_caller]
    pub(crate) fn data_dependent_init(&self, x: &Tensor, pass: ForwardCtx<'_>) {
        match self {
            Self::Linear(l) => l.adapt(x, pass),
            Self::Conv2d(l) => l.adapt(x, pass),
            Self::ConvTranspose2d(l) => l.adapt(x, pass),
            Self::MinibatchDiscrimination(l) => l.adapt(x, pass),
            _ => {}
        }
    }

    /// The name of a layer in which samples of one batch see each other.
    pub(crate) fn batch_dependence(&self) -> Option<&'static str> {
        match self {
            Self::BatchNorm(_) => Some("BatchNorm"),
            Self::MinibatchStdDev(_) => Some("MinibatchStdDev"),
            Self::MinibatchDiscrimination(_) => Some("MinibatchDiscrimination"),
            _ => None,
        }
    }
}

/// `x`, plus the bias where there is one, then the activation.
#[track_caller]
fn add_bias_and_activate(
    x: Tensor,
    bias: Option<&Param>,
    pass: ForwardCtx<'_>,
    activation: Activation,
) -> Tensor {
    match bias {
        Some(bias) => x.bias_activation(&bias.leaf(pass.mode.track), activation),
        None => activation.apply(&x),
    }
}

/// The bias of a layer whose results are multiplied by `scale` and have `offset` added.
fn fold_bias(bias: Option<&Param>, scale: &Tensor, offset: &Tensor) -> Option<Param> {
    Some(Param::new(match bias {
        Some(bias) => bias.value().mul(scale).add(offset),
        None => offset.clone(),
    }))
}

fn bias_tensor<'a>(bias: Option<&'a Param>, outputs: &Layout) -> Option<NamedTensor<'a>> {
    bias.map(|bias| NamedTensor {
        name: "bias".into(),
        layout: outputs.clone(),
        role: TensorRole::Param(bias),
    })
}

fn affine_tensors<'a>(gamma: &'a Param, beta: &'a Param, layout: &Layout) -> Vec<NamedTensor<'a>> {
    let entry = |name: &str, param| NamedTensor {
        name: name.into(),
        layout: layout.clone(),
        role: TensorRole::Param(param),
    };
    vec![entry("weight", gamma), entry("bias", beta)]
}

/// The entries of a part of a layer.
fn with_prefix<'a>(part: &str, entries: Vec<NamedTensor<'a>>) -> Vec<NamedTensor<'a>> {
    entries
        .into_iter()
        .map(|entry| NamedTensor { name: format!("{part}.{}", entry.name), ..entry })
        .collect()
}
