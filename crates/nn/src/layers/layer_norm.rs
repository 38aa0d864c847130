//! Layer normalisation (Ba et al. 2016).

use super::{NamedTensor, affine_tensors};
use crate::layout::Layout;
use crate::mode::ForwardCtx;
use crate::param::Param;
use tensor::{Activation, Tensor};

/// γ · (x − mean) / √(variance + eps) + β with the statistics of each whole sample, and γ and β of its shape: `[N, F]` or
/// `[N, H, W, C]`, as `nn.LayerNorm([F])` or `nn.LayerNorm([C, H, W])`.
pub struct LayerNorm {
    gamma: Param,
    beta: Param,
    eps: f32,
    layout: Layout,
}

impl LayerNorm {
    /// γ = 1 and β = 0 for samples of this shape, `[F]` or `[H, W, C]`.
    ///
    /// # Panics
    /// When the shape has neither one nor three axes.
    #[track_caller]
    pub fn new(shape: Vec<usize>, eps: f32) -> Self {
        let layout = match shape.len() {
            1 => Layout::plain(&shape),
            3 => Layout::image(&shape),
            _ => panic!("LayerNorm: shape {shape:?} of a sample is neither [F] nor [H, W, C]"),
        };
        Self {
            gamma: Param::new(Tensor::ones(&shape[..])),
            beta: Param::new(Tensor::zeros(&shape[..])),
            eps,
            layout,
        }
    }

    /// # Panics
    /// When the samples of `x` have another shape.
    #[track_caller]
    pub(super) fn forward(
        &self,
        x: &Tensor,
        pass: ForwardCtx<'_>,
        activation: Activation,
    ) -> Tensor {
        let (s, shape) = (*x.shape(), self.layout.inner());
        assert!(s.rank() > 0 && s[1..] == *shape, "LayerNorm: samples of {s:?} are not {shape:?}");
        let (gamma, beta) = (self.gamma.leaf(pass.mode.track), self.beta.leaf(pass.mode.track));
        let centred = x.sub(&mean(x));
        let scaled = centred.mul(&mean(&centred.square()).add_scalar(self.eps).sqrt().recip());
        activation.apply(&scaled.mul(&gamma).add(&beta))
    }

    pub(super) fn gamma(&self) -> &Param {
        &self.gamma
    }

    pub(super) fn duplicate(&self) -> Self {
        let (gamma, beta) = (self.gamma.deep_clone(), self.beta.deep_clone());
        Self { gamma, beta, eps: self.eps, layout: self.layout.clone() }
    }

    pub(super) fn entries(&self) -> Vec<NamedTensor<'_>> {
        affine_tensors(&self.gamma, &self.beta, &self.layout)
    }
}

/// The mean of each sample. An image's pixels come before its channels: a sum of the whole line would be cut according to the
/// batch.
fn mean(x: &Tensor) -> Tensor {
    match x.shape().rank() {
        4 => x.mean(&[1, 2], true).mean(&[3], true),
        _ => x.mean(&[1], true),
    }
}
