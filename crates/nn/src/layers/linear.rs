//! The fully connected layer.

use super::{NamedTensor, add_bias_and_activate, bias_tensor, fold_bias};
use crate::layers::weight::Weight;
use crate::layout::Layout;
use crate::mode::ForwardCtx;
use crate::param::Param;
use tensor::{Activation, Tensor};

/// y = x · W + b: `[N, in]` to `[N, out]`. In a state dict the weight is `[out, in]`.
pub struct Linear {
    weight: Weight,
    bias: Option<Param>,
}

impl Linear {
    /// A layer of zeros.
    pub fn new(inputs: usize, outputs: usize, bias: bool) -> Self {
        let layout = Layout::matrix(inputs, outputs);
        let weight =
            Weight::new(layout, Layout::plain(&[inputs]), Layout::plain(&[outputs]), false);
        let layer = Self { weight, bias: None };
        if bias { layer.with_bias() } else { layer }
    }

    /// A layer of zeros, without bias, whose inputs are the pixels of a flattened `[H, W, C]` image; in a state dict they are
    /// in PyTorch's order C, H, W.
    pub fn from_image(image: [usize; 3], outputs: usize) -> Self {
        let layout = Layout::matrix_from_image(image, outputs);
        Self {
            weight: Weight::new(layout, Layout::units(image), Layout::plain(&[outputs]), false),
            bias: None,
        }
    }

    /// A layer of zeros, without bias, whose outputs are to be reshaped to an `[H, W, C]` image; in a state dict they are in
    /// PyTorch's order C, H, W.
    pub fn to_image(inputs: usize, image: [usize; 3]) -> Self {
        let layout = Layout::matrix_to_image(inputs, image);
        Self {
            weight: Weight::new(layout, Layout::plain(&[inputs]), Layout::units(image), false),
            bias: None,
        }
    }

    /// The layer with a bias of zeros; in a state dict it is in the order of the outputs there.
    pub fn with_bias(self) -> Self {
        let bias = Some(Param::new(Tensor::zeros(self.weight.outputs().inner())));
        Self { bias, ..self }
    }

    /// The layer with its weight divided by its largest singular value (Miyato et al. 2018), which one power iteration before
    /// each pass that moves running statistics keeps up with; names and numbers as in `torch.nn.utils.spectral_norm`. A weight of
    /// zeros gives NaN.
    ///
    /// # Panics
    /// When the weight is reparametrised already.
    #[track_caller]
    pub fn with_spectral_norm(self) -> Self {
        Self { weight: self.weight.with_spectral_norm(), ..self }
    }

    /// The layer with the vector of each output split into length and direction (Salimans & Kingma 2016); names and numbers as in
    /// `torch.nn.utils.weight_norm`. A weight of zeros gives NaN. See
    /// [`Network::data_dependent_init`](crate::Network::initialise_from_data).
    ///
    /// # Panics
    /// When the weight is reparametrised already.
    #[track_caller]
    pub fn with_weight_norm(self) -> Self {
        Self { weight: self.weight.with_weight_norm(), ..self }
    }

    /// What is trained of the weight, `[in, out]`.
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
        add_bias_and_activate(
            x.matmul(&self.weight.leaf(pass), false, false),
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
        }
    }

    pub(super) fn duplicate(&self) -> Self {
        Self { weight: self.weight.deep_clone(), bias: self.bias.as_ref().map(Param::deep_clone) }
    }

    pub(super) fn entries(&self) -> Vec<NamedTensor<'_>> {
        let mut entries = self.weight.named_tensors("weight");
        entries.extend(bias_tensor(self.bias.as_ref(), self.weight.outputs()));
        entries
    }
}
