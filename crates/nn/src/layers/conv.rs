//! The convolution and the transposed convolution.

use super::{NamedTensor, add_bias_and_activate, bias_tensor, fold_bias};
use crate::layers::weight::Weight;
use crate::layout::Layout;
use crate::mode::ForwardCtx;
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

    /// A kernel of zeros from `inputs` to `outputs` channels.
    fn weight(&self, inputs: usize, outputs: usize, transposed: bool) -> Weight {
        let [kh, kw] = self.kernel;
        let [a, b] = if transposed { [outputs, inputs] } else { [inputs, outputs] };
        let summed = Layout::units([kh, kw, inputs]);
        Weight::new(Layout::kernel([kh, kw, a, b]), summed, Layout::plain(&[outputs]), transposed)
    }
}

/// A convolution: `[N, H, W, in]` to `[N, OH, OW, out]`. The weight is `[kh, kw, in, out]`; in a state dict `[out, in, kh, kw]`.
pub struct Conv2d {
    weight: Weight,
    bias: Option<Param>,
    window: Window,
}

impl Conv2d {
    /// A layer of zeros from `inputs` to `outputs` channels.
    pub fn new(inputs: usize, outputs: usize, window: Window, bias: bool) -> Self {
        let weight = window.weight(inputs, outputs, false);
        Self { weight, bias: bias.then(|| Param::new(Tensor::zeros([outputs]))), window }
    }

    /// The layer with spectral norm, as [`Linear::with_spectral_norm`](super::Linear::with_spectral_norm).
    ///
    /// # Panics
    /// When the weight is reparametrised already.
    #[track_caller]
    pub fn with_spectral_norm(self) -> Self {
        Self { weight: self.weight.with_spectral_norm(), ..self }
    }

    /// The layer with weight norm, as [`Linear::with_weight_norm`](super::Linear::with_weight_norm).
    ///
    /// # Panics
    /// When the weight is reparametrised already.
    #[track_caller]
    pub fn with_weight_norm(self) -> Self {
        Self { weight: self.weight.with_weight_norm(), ..self }
    }

    /// What is trained of the weight, `[kh, kw, in, out]`.
    pub fn weight(&self) -> &Param {
        self.weight.param()
    }

    pub(super) fn inner_weight(&self) -> &Weight {
        &self.weight
    }

    #[track_caller]
    pub(super) fn forward(
        &self,
        x: &Tensor,
        pass: ForwardCtx<'_>,
        activation: Activation,
    ) -> Tensor {
        assert_eq!(x.shape().rank(), 4, "Conv2d: shape {:?} is not [N, H, W, C]", x.shape());
        let geom = self.window.geometry([x.shape()[1], x.shape()[2]]);
        add_bias_and_activate(
            tensor::conv2d(x, &self.weight.leaf(pass), &geom),
            self.bias.as_ref(),
            pass,
            activation,
        )
    }

    #[track_caller]
    pub(super) fn adapt(&self, x: &Tensor, pass: ForwardCtx<'_>) {
        self.weight
            .data_dependent_init(self.bias.as_ref(), || self.forward(x, pass, Activation::None));
    }

    /// The layer whose results are this one's, times `scale`, plus `offset` (both `[out]`).
    pub(super) fn scaled(&self, scale: &Tensor, offset: &Tensor) -> Self {
        Self {
            weight: self.weight.scale_outputs(scale),
            bias: fold_bias(self.bias.as_ref(), scale, offset),
            window: self.window,
        }
    }

    pub(super) fn duplicate(&self) -> Self {
        Self {
            weight: self.weight.deep_clone(),
            bias: self.bias.as_ref().map(Param::deep_clone),
            window: self.window,
        }
    }

    pub(super) fn entries(&self) -> Vec<NamedTensor<'_>> {
        let mut entries = self.weight.named_tensors("weight");
        entries.extend(bias_tensor(self.bias.as_ref(), self.weight.outputs()));
        entries
    }
}

/// A transposed convolution: `[N, h, w, in]` to `[N, H, W, out]`. The weight is `[kh, kw, out, in]`; in a state dict `[in, out,
/// kh, kw]`.
pub struct ConvTranspose2d {
    weight: Weight,
    bias: Option<Param>,
    window: Window,
    output_padding: [usize; 2],
    /// In a network for drawing alone, whose weights stay the same.
    cache: Option<WeightCache>,
}

impl ConvTranspose2d {
    /// A layer of zeros from `inputs` to `outputs` channels; `output_padding` rows and columns are added at the bottom and right.
    pub fn new(
        inputs: usize,
        outputs: usize,
        window: Window,
        output_padding: [usize; 2],
        bias: bool,
    ) -> Self {
        let weight = window.weight(inputs, outputs, true);
        Self {
            weight,
            bias: bias.then(|| Param::new(Tensor::zeros([outputs]))),
            window,
            output_padding,
            cache: None,
        }
    }

    /// The layer with spectral norm, as [`Linear::with_spectral_norm`](super::Linear::with_spectral_norm).
    ///
    /// # Panics
    /// When the weight is reparametrised already.
    #[track_caller]
    pub fn with_spectral_norm(self) -> Self {
        Self { weight: self.weight.with_spectral_norm(), ..self }
    }

    /// The layer with weight norm, as [`Linear::with_weight_norm`](super::Linear::with_weight_norm).
    ///
    /// # Panics
    /// When the weight is reparametrised already.
    #[track_caller]
    pub fn with_weight_norm(self) -> Self {
        Self { weight: self.weight.with_weight_norm(), ..self }
    }

    /// What is trained of the weight, `[kh, kw, out, in]`.
    pub fn weight(&self) -> &Param {
        self.weight.param()
    }

    pub(super) fn inner_weight(&self) -> &Weight {
        &self.weight
    }

    #[track_caller]
    pub(super) fn forward(
        &self,
        x: &Tensor,
        pass: ForwardCtx<'_>,
        activation: Activation,
    ) -> Tensor {
        let (weight, Window { stride, pad, .. }) = (self.weight.leaf(pass), self.window);
        let out = match &self.cache {
            Some(cache) => {
                tensor::conv_transpose2d_cached(x, &weight, cache, stride, pad, self.output_padding)
            }
            None => tensor::conv_transpose2d(x, &weight, stride, pad, self.output_padding),
        };
        add_bias_and_activate(out, self.bias.as_ref(), pass, activation)
    }

    #[track_caller]
    pub(super) fn adapt(&self, x: &Tensor, pass: ForwardCtx<'_>) {
        self.weight
            .data_dependent_init(self.bias.as_ref(), || self.forward(x, pass, Activation::None));
    }

    /// The layer whose results are this one's, times `scale`, plus `offset` (both `[out]`).
    pub(super) fn scaled(&self, scale: &Tensor, offset: &Tensor) -> Self {
        let (weight, bias) =
            (self.weight.scale_outputs(scale), fold_bias(self.bias.as_ref(), scale, offset));
        Self { weight, bias, cache: Some(WeightCache::default()), ..*self }
    }

    /// Another layer with the same values, for drawing alone.
    pub(super) fn duplicate(&self) -> Self {
        let (weight, bias) = (self.weight.deep_clone(), self.bias.as_ref().map(Param::deep_clone));
        Self { weight, bias, cache: Some(WeightCache::default()), ..*self }
    }

    pub(super) fn entries(&self) -> Vec<NamedTensor<'_>> {
        let mut entries = self.weight.named_tensors("weight");
        entries.extend(bias_tensor(self.bias.as_ref(), self.weight.outputs()));
        entries
    }
}
