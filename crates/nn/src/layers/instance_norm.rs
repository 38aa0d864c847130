//! Instance normalisation (Ulyanov et al. 2016).

use super::{NamedTensor, affine_tensors};
use crate::layout::Layout;
use crate::mode::ForwardCtx;
use crate::param::Param;
use tensor::{Activation, Tensor};

/// γ · (x − mean) / √(variance + eps) + β with the statistics of each channel of each picture: `[N, H, W, C]`, as
/// `nn.InstanceNorm2d(C, affine=True)`. In composed operations, so that no picture's bits depend on another's.
pub struct InstanceNorm {
    gamma: Param,
    beta: Param,
    eps: f32,
}

impl InstanceNorm {
    /// γ = 1 and β = 0, `[C]` each.
    pub fn new(channels: usize, eps: f32) -> Self {
        Self {
            gamma: Param::new(Tensor::ones([channels])),
            beta: Param::new(Tensor::zeros([channels])),
            eps,
        }
    }

    /// # Panics
    /// When `x` is not `[N, H, W, C]` with more than one pixel: a single one has no variance.
    #[track_caller]
    pub(super) fn forward(
        &self,
        x: &Tensor,
        pass: ForwardCtx<'_>,
        activation: Activation,
    ) -> Tensor {
        let s = *x.shape();
        assert!(
            s.rank() == 4 && s[1] * s[2] > 1,
            "InstanceNorm: shape {s:?} is not [N, H, W, C] with more than one pixel"
        );
        let (gamma, beta) = (self.gamma.leaf(pass.mode.track), self.beta.leaf(pass.mode.track));
        let centred = x.sub(&x.mean(&[1, 2], true));
        let variance = centred.square().mean(&[1, 2], true);
        let scale = variance.add_scalar(self.eps).sqrt().recip().mul(&gamma);
        centred.mul(&scale).bias_activation(&beta, activation)
    }

    pub(super) fn gamma(&self) -> &Param {
        &self.gamma
    }

    pub(super) fn duplicate(&self) -> Self {
        Self { gamma: self.gamma.deep_clone(), beta: self.beta.deep_clone(), eps: self.eps }
    }

    pub(super) fn entries(&self) -> Vec<NamedTensor<'_>> {
        affine_tensors(&self.gamma, &self.beta, &Layout::plain(self.gamma.shared().read().shape()))
    }
}
