//! Self-attention between the positions of an image (SAGAN: Zhang et al. 2019).

use super::weight::Weight;
use super::{Conv2d, NamedTensor, TensorRole, Window, with_prefix};
use crate::layout::Layout;
use crate::mode::ForwardCtx;
use crate::param::Param;
use tensor::{Activation, Tensor};

/// x + γ · o, `[N, H, W, C]` to the same: o_j = Σ_i β_ji h(x_i), where β_j is the softmax over i of ⟨f(x_i), g(x_j)⟩ (equations 1
/// and 2). In the form of the paper's first version: f and g are 1×1 convolutions to C/8 channels (at least one), h to C, none
/// has a bias, and no other follows. γ starts at 0: the layer is learnt in. In a state dict: `f.weight`, `g.weight`, `h.weight`,
/// `gamma` `[1]`.
pub struct SelfAttention {
    /// f, g and h.
    convs: Box<[Conv2d; 3]>,
    gamma: Param,
}

impl SelfAttention {
    /// A layer with convolutions of zeros.
    pub fn new(channels: usize) -> Self {
        let narrow = (channels / 8).max(1);
        let pointwise = |outputs| {
            let window = Window { kernel: [1, 1], stride: [1, 1], pad: [[0, 0], [0, 0]] };
            Conv2d::new(channels, outputs, window, false)
        };
        Self {
            convs: Box::new([narrow, narrow, channels].map(pointwise)),
            gamma: Param::new(Tensor::zeros([1])),
        }
    }

    /// The layer with spectral norm in its three convolutions, as in the paper.
    ///
    /// # Panics
    /// When they have it already.
    #[track_caller]
    pub fn with_spectral_norm(self) -> Self {
        Self { convs: Box::new(self.convs.map(Conv2d::with_spectral_norm)), ..self }
    }

    /// # Panics
    /// When `x` is not `[N, H, W, C]`.
    #[track_caller]
    pub(super) fn forward(&self, x: &Tensor, pass: ForwardCtx<'_>) -> Tensor {
        let s = *x.shape();
        assert_eq!(s.rank(), 4, "SelfAttention: shape {s:?} is not [N, H, W, C]");
        let [f, g, h] = self.convs.each_ref().map(|conv| {
            let y = conv.forward(x, pass, Activation::None);
            y.reshape([s[0], s[1] * s[2], y.shape()[3]])
        });
        let attention = g.matmul(&f, false, true).softmax(2);
        attention.matmul(&h, false, false).reshape(s).mul(&self.gamma.leaf(pass.mode.track)).add(x)
    }

    /// The number of trainable numbers of a layer of this many channels.
    pub(crate) fn parameters(channels: usize) -> usize {
        channels * (2 * (channels / 8).max(1) + channels) + 1
    }

    pub(super) fn weights(&self) -> Vec<&Weight> {
        self.convs.iter().map(Conv2d::inner_weight).collect()
    }

    pub(super) fn duplicate(&self) -> Self {
        Self {
            convs: Box::new(self.convs.each_ref().map(Conv2d::duplicate)),
            gamma: self.gamma.deep_clone(),
        }
    }

    pub(super) fn entries(&self) -> Vec<NamedTensor<'_>> {
        let convs = ["f", "g", "h"].into_iter().zip(&*self.convs);
        let mut entries: Vec<_> =
            convs.flat_map(|(name, conv)| with_prefix(name, conv.entries())).collect();
        entries.push(NamedTensor {
            name: "gamma".into(),
            layout: Layout::plain(&[1]),
            role: TensorRole::Param(&self.gamma),
        });
        entries
    }
}
