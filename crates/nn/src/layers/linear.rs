//! The fully connected layer.

use super::{Entry, finish, scaled_bias, weight_and_bias};
use crate::layout::Layout;
use crate::param::Param;
use tensor::{Activation, Tensor};

/// y = x · W + b: `[N, in]` to `[N, out]`. In a state dict the weight is `[out, in]`.
pub struct Linear {
    weight: Param,
    bias: Option<Param>,
    layout: Layout,
}

impl Linear {
    fn with_layout(inputs: usize, outputs: usize, bias: bool, layout: Layout) -> Self {
        let bias = bias.then(|| Param::new(Tensor::zeros([outputs])));
        Self { weight: Param::new(Tensor::zeros([inputs, outputs])), bias, layout }
    }

    /// A layer of zeros.
    pub fn new(inputs: usize, outputs: usize, bias: bool) -> Self {
        Self::with_layout(inputs, outputs, bias, Layout::matrix(inputs, outputs))
    }

    /// A layer of zeros, without bias, whose inputs are the pixels of a flattened `[H, W, C]` image; in a state dict they are
    /// in PyTorch's order C, H, W.
    pub fn from_image(image: [usize; 3], outputs: usize) -> Self {
        Self::with_layout(image.iter().product(), outputs, false, Layout::matrix_from_image(image, outputs))
    }

    /// A layer of zeros, without bias, whose outputs are to be reshaped to an `[H, W, C]` image; in a state dict they are in
    /// PyTorch's order C, H, W.
    pub fn to_image(inputs: usize, image: [usize; 3]) -> Self {
        Self::with_layout(inputs, image.iter().product(), false, Layout::matrix_to_image(inputs, image))
    }

    /// The weight, `[in, out]`.
    pub fn weight(&self) -> &Param {
        &self.weight
    }

    #[track_caller]
    pub(super) fn forward(&self, x: &Tensor, track: bool, activation: Activation) -> Tensor {
        finish(x.matmul(&self.weight.leaf(track), false, false), self.bias.as_ref(), track, activation)
    }

    /// The layer whose results are this one's, times `scale`, plus `offset` (both `[out]`).
    pub(super) fn scaled(&self, scale: &Tensor, offset: &Tensor) -> Self {
        let weight = Param::new(self.weight.value().mul(scale));
        Self { weight, bias: scaled_bias(self.bias.as_ref(), scale, offset), layout: self.layout.clone() }
    }

    pub(super) fn duplicate(&self) -> Self {
        let bias = self.bias.as_ref().map(Param::duplicate);
        Self { weight: self.weight.duplicate(), bias, layout: self.layout.clone() }
    }

    pub(super) fn entries(&self) -> Vec<Entry<'_>> {
        weight_and_bias(&self.weight, self.layout.clone(), self.bias.as_ref())
    }
}
