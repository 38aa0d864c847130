//! The layers, a closed set.

mod batch_norm;
mod conv;
mod linear;
mod pool;

pub use batch_norm::BatchNorm;
pub use conv::{Conv2d, ConvTranspose2d, Window};
pub use linear::Linear;
pub use pool::{Pool2d, PoolKind};

use crate::layout::Layout;
use crate::mode::Pass;
use crate::param::{Param, Slot};
use std::sync::atomic::AtomicI64;
use tensor::{Activation, Tensor};

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
    /// An elementwise function; fused with a batch norm or a bias before it.
    Activation(Activation),
    /// Another shape for each sample: `[N, …]` to `[N, these axes]`, row-major. No axes make `[N]`.
    Reshape(Vec<usize>),
    /// Max or average pooling.
    Pool2d(Pool2d),
    /// Every pixel repeated this many times down and across.
    Upsample([usize; 2]),
}

/// A tensor that a layer owns: its name within the layer, its layout in a state dict, and where it lies.
pub(crate) struct Entry<'a> {
    pub name: &'static str,
    pub layout: Layout,
    pub place: Place<'a>,
}

/// Where a layer's numbers are.
#[derive(Clone, Copy)]
pub(crate) enum Place<'a> {
    Param(&'a Param),
    Buffer(&'a Slot),
    Count(&'a AtomicI64),
}

impl Layer {
    /// The layer applied to `x`, then `activation`.
    #[track_caller]
    pub(crate) fn forward(&self, x: &Tensor, pass: Pass<'_>, activation: Activation) -> Tensor {
        let track = pass.mode.track;
        match self {
            Self::Linear(l) => l.forward(x, track, activation),
            Self::Conv2d(l) => l.forward(x, track, activation),
            Self::ConvTranspose2d(l) => l.forward(x, track, activation),
            Self::BatchNorm(l) => l.forward(x, pass, activation),
            Self::Activation(own) => activation.apply(&own.apply(x)),
            Self::Reshape(axes) => {
                let shape: Vec<usize> = x.shape().iter().copied().take(1).chain(axes.iter().copied()).collect();
                activation.apply(&x.reshape(&shape[..]))
            }
            Self::Pool2d(l) => activation.apply(&l.forward(x)),
            Self::Upsample(scale) => activation.apply(&x.upsample_nearest2d(*scale)),
        }
    }

    /// The layer whose results are this one's, times `scale`, plus `offset` (both `[features]`); `None` where it has no weights to scale.
    pub(crate) fn scaled(&self, scale: &Tensor, offset: &Tensor) -> Option<Self> {
        Some(match self {
            Self::Linear(l) => Self::Linear(l.scaled(scale, offset)),
            Self::Conv2d(l) => Self::Conv2d(l.scaled(scale, offset)),
            Self::ConvTranspose2d(l) => Self::ConvTranspose2d(l.scaled(scale, offset)),
            Self::BatchNorm(_) | Self::Activation(_) | Self::Reshape(_) | Self::Pool2d(_) | Self::Upsample(_) => return None,
        })
    }

    /// Another layer with the same values.
    pub(crate) fn duplicate(&self) -> Self {
        match self {
            Self::Linear(l) => Self::Linear(l.duplicate()),
            Self::Conv2d(l) => Self::Conv2d(l.duplicate()),
            Self::ConvTranspose2d(l) => Self::ConvTranspose2d(l.duplicate()),
            Self::BatchNorm(l) => Self::BatchNorm(l.duplicate()),
            Self::Activation(activation) => Self::Activation(*activation),
            Self::Reshape(axes) => Self::Reshape(axes.clone()),
            Self::Pool2d(l) => Self::Pool2d(*l),
            Self::Upsample(scale) => Self::Upsample(*scale),
        }
    }

    /// What the layer owns, in PyTorch's order.
    pub(crate) fn entries(&self) -> Vec<Entry<'_>> {
        match self {
            Self::Linear(l) => l.entries(),
            Self::Conv2d(l) => l.entries(),
            Self::ConvTranspose2d(l) => l.entries(),
            Self::BatchNorm(l) => l.entries(),
            Self::Activation(_) | Self::Reshape(_) | Self::Pool2d(_) | Self::Upsample(_) => Vec::new(),
        }
    }
}

/// `x`, plus the bias where there is one, then the activation.
#[track_caller]
fn finish(x: Tensor, bias: Option<&Param>, track: bool, activation: Activation) -> Tensor {
    match bias {
        Some(bias) => x.bias_activation(&bias.leaf(track), activation),
        None => activation.apply(&x),
    }
}

/// The bias of a layer whose results are multiplied by `scale` and have `offset` added.
fn scaled_bias(bias: Option<&Param>, scale: &Tensor, offset: &Tensor) -> Option<Param> {
    Some(Param::new(match bias {
        Some(bias) => bias.value().mul(scale).add(offset),
        None => offset.clone(),
    }))
}

fn weight_and_bias<'a>(weight: &'a Param, layout: Layout, bias: Option<&'a Param>) -> Vec<Entry<'a>> {
    let mut entries = vec![Entry { name: "weight", layout, place: Place::Param(weight) }];
    if let Some(bias) = bias {
        entries.push(Entry { name: "bias", layout: Layout::plain(bias.slot().read().shape()), place: Place::Param(bias) });
    }
    entries
}
