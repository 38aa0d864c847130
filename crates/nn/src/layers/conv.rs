//! The convolution and the transposed convolution.

use super::{Entry, finish, scaled_bias, weight_and_bias};
use crate::layout::Layout;
use crate::param::Param;
use tensor::{Activation, ConvGeom, Tensor, WeightCache};

/// Kernel, stride and padding of a convolution or transposed convolution.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// Steps down and across.
    pub stride: [usize; 2],
    /// Zeros around the larger image: `[[top, bottom], [left, right]]`.
    pub pad: [[usize; 2]; 2],
}

impl Window {
    /// The geometry of a convolution of `input` pixels.
    pub(crate) fn geometry(&self, input: [usize; 2]) -> ConvGeom {
        ConvGeom { input, kernel: self.kernel, stride: self.stride, pad: self.pad }
    }

    fn weight_shape(&self, a: usize, b: usize) -> [usize; 4] {
        [self.kernel[0], self.kernel[1], a, b]
    }
}

/// A convolution: `[N, H, W, in]` to `[N, OH, OW, out]`. The weight is `[kh, kw, in, out]`; in a state dict `[out, in, kh, kw]`.
pub struct Conv2d {
    weight: Param,
    bias: Option<Param>,
    window: Window,
}

impl Conv2d {
    /// A layer of zeros from `inputs` to `outputs` channels.
    pub fn new(inputs: usize, outputs: usize, window: Window, bias: bool) -> Self {
        let weight = Param::new(Tensor::zeros(window.weight_shape(inputs, outputs)));
        Self { weight, bias: bias.then(|| Param::new(Tensor::zeros([outputs]))), window }
    }

    /// The weight, `[kh, kw, in, out]`.
    pub fn weight(&self) -> &Param {
        &self.weight
    }

    #[track_caller]
    pub(super) fn forward(&self, x: &Tensor, track: bool, activation: Activation) -> Tensor {
        assert_eq!(x.shape().rank(), 4, "Conv2d: shape {:?} is not [N, H, W, C]", x.shape());
        let geom = self.window.geometry([x.shape()[1], x.shape()[2]]);
        finish(tensor::conv2d(x, &self.weight.leaf(track), &geom), self.bias.as_ref(), track, activation)
    }

    /// The layer whose results are this one's, times `scale`, plus `offset` (both `[out]`).
    pub(super) fn scaled(&self, scale: &Tensor, offset: &Tensor) -> Self {
        let weight = Param::new(self.weight.value().mul(scale));
        Self { weight, bias: scaled_bias(self.bias.as_ref(), scale, offset), window: self.window }
    }

    pub(super) fn duplicate(&self) -> Self {
        Self { weight: self.weight.duplicate(), bias: self.bias.as_ref().map(Param::duplicate), window: self.window }
    }

    pub(super) fn entries(&self) -> Vec<Entry<'_>> {
        weight_and_bias(&self.weight, kernel_layout(&self.weight), self.bias.as_ref())
    }
}

/// A transposed convolution: `[N, h, w, in]` to `[N, H, W, out]`. The weight is `[kh, kw, out, in]`; in a state dict `[in, out, kh, kw]`.
pub struct ConvTranspose2d {
    weight: Param,
    bias: Option<Param>,
    window: Window,
    output_padding: [usize; 2],
    /// In a network for drawing alone, whose weights stay the same.
    cache: Option<WeightCache>,
}

impl ConvTranspose2d {
    /// A layer of zeros from `inputs` to `outputs` channels; `output_padding` rows and columns are added at the bottom and right.
    pub fn new(inputs: usize, outputs: usize, window: Window, output_padding: [usize; 2], bias: bool) -> Self {
        let weight = Param::new(Tensor::zeros(window.weight_shape(outputs, inputs)));
        Self { weight, bias: bias.then(|| Param::new(Tensor::zeros([outputs]))), window, output_padding, cache: None }
    }

    /// The weight, `[kh, kw, out, in]`.
    pub fn weight(&self) -> &Param {
        &self.weight
    }

    #[track_caller]
    pub(super) fn forward(&self, x: &Tensor, track: bool, activation: Activation) -> Tensor {
        let (weight, Window { stride, pad, .. }) = (self.weight.leaf(track), self.window);
        let out = match &self.cache {
            Some(cache) => tensor::conv_transpose2d_cached(x, &weight, cache, stride, pad, self.output_padding),
            None => tensor::conv_transpose2d(x, &weight, stride, pad, self.output_padding),
        };
        finish(out, self.bias.as_ref(), track, activation)
    }

    /// The layer whose results are this one's, times `scale`, plus `offset` (both `[out]`).
    pub(super) fn scaled(&self, scale: &Tensor, offset: &Tensor) -> Self {
        let weight = Param::new(self.weight.value().mul(&scale.reshape([scale.len(), 1])));
        Self { weight, bias: scaled_bias(self.bias.as_ref(), scale, offset), cache: Some(WeightCache::default()), ..*self }
    }

    /// Another layer with the same values, for drawing alone.
    pub(super) fn duplicate(&self) -> Self {
        let (weight, bias) = (self.weight.duplicate(), self.bias.as_ref().map(Param::duplicate));
        Self { weight, bias, cache: Some(WeightCache::default()), ..*self }
    }

    pub(super) fn entries(&self) -> Vec<Entry<'_>> {
        weight_and_bias(&self.weight, kernel_layout(&self.weight), self.bias.as_ref())
    }
}

fn kernel_layout(weight: &Param) -> Layout {
    let value = weight.slot().read();
    let s = value.shape();
    Layout::kernel([s[0], s[1], s[2], s[3]])
}
