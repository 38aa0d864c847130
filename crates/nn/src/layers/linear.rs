//! The fully connected layer.

use super::config::{
    ActivationMemory, LayerInput, LayerPlan, LayerSpec, MAX_UNITS, check_count, default,
    num_elements, product,
};
use super::module::{
    Layer, Module, NamedTensor, add_bias_and_activate, fold_bias, weight_and_bias,
};
use super::weight::{Parametrization, Weight};
use crate::layout::Layout;
use crate::mode::ForwardCtx;
use crate::param::Param;
use serde::{Deserialize, Serialize};
use tensor::{Activation, Tensor};

/// Fully connected layer: y = x · W + b, `[N, in]` to `[N, out]`. In a state dict the weight is
/// `[out, in]`.
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

    /// A layer of zeros, without bias, whose inputs are the pixels of a flattened `[H, W, C]`
    /// image; in a state dict they are in PyTorch's order C, H, W.
    pub fn from_image(image: [usize; 3], outputs: usize) -> Self {
        let layout = Layout::matrix_from_image(image, outputs);
        Self {
            weight: Weight::new(layout, Layout::units(image), Layout::plain(&[outputs]), false),
            bias: None,
        }
    }

    /// A layer of zeros, without bias, whose outputs are to be reshaped to an `[H, W, C]` image; in
    /// a state dict they are in PyTorch's order C, H, W.
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

    /// The layer with spectral norm: its weight divided by its largest singular value (Miyato et
    /// al. 2018), which one power iteration per training forward pass tracks. Names and values as
    /// in `torch.nn.utils.spectral_norm`. A weight of zeros gives NaN.
    ///
    /// # Panics
    /// Panics if the weight is reparametrized already.
    #[track_caller]
    pub fn with_spectral_norm(self) -> Self {
        self.with_parametrization(Parametrization::SpectralNorm)
    }

    /// The layer with weight norm: the vector of each output is a length times a direction
    /// (Salimans & Kingma 2016). Names and values as in `torch.nn.utils.weight_norm`. A weight of
    /// zeros gives NaN. See
    /// [`Network::data_dependent_init`](crate::Network::data_dependent_init).
    ///
    /// # Panics
    /// Panics if the weight is reparametrized already.
    #[track_caller]
    pub fn with_weight_norm(self) -> Self {
        self.with_parametrization(Parametrization::WeightNorm)
    }

    #[track_caller]
    pub(super) fn with_parametrization(self, parametrization: Parametrization) -> Self {
        Self { weight: self.weight.with_parametrization(parametrization), ..self }
    }

    /// The trained tensor of the weight, `[in, out]`.
    pub fn weight(&self) -> &Param {
        self.weight.param()
    }

    pub(super) fn inner_weight(&self) -> &Weight {
        &self.weight
    }

    /// A copy of the values, for sampling only.
    pub(super) fn copy(&self) -> Self {
        Self { weight: self.weight.deep_clone(), bias: self.bias.as_ref().map(Param::deep_clone) }
    }
}

impl Module for Linear {
    #[track_caller]
    fn forward(&self, x: &Tensor, ctx: ForwardCtx<'_>, activation: Activation) -> Tensor {
        let product = x.matmul(&self.weight.leaf(ctx), false, false);
        add_bias_and_activate(product, self.bias.as_ref(), ctx, activation)
    }

    fn deep_clone(&self) -> Layer {
        self.copy().into()
    }

    fn named_tensors(&self) -> Vec<NamedTensor<'_>> {
        weight_and_bias(&self.weight, self.bias.as_ref())
    }

    fn weights(&self) -> Vec<&Weight> {
        vec![&self.weight]
    }

    #[track_caller]
    fn data_dependent_init(&self, x: &Tensor, ctx: ForwardCtx<'_>) {
        let output = || self.forward(x, ctx, Activation::None);
        self.weight.data_dependent_init(self.bias.as_ref(), output);
    }

    fn is_affine_map(&self) -> bool {
        true
    }

    fn fold_affine(&self, scale: &Tensor, offset: &Tensor) -> Option<Layer> {
        let bias = fold_bias(self.bias.as_ref(), scale, offset);
        Some(Self { weight: self.weight.scale_outputs(scale), bias }.into())
    }
}

/// A fully connected layer in a recipe: `[F]` to `[units]`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinearConfig {
    /// Number of outputs.
    pub units: usize,
    /// Whether a bias is added.
    #[serde(default = "default::yes", skip_serializing_if = "default::is_yes")]
    pub bias: bool,
}

impl LayerSpec for LinearConfig {
    fn plan(&self, input: &LayerInput<'_>) -> Result<LayerPlan, String> {
        let inputs = input.vector()?;
        let Self { units, bias } = *self;
        check_count("units", units, MAX_UNITS)?;
        let parametrization = input.env.parametrization;
        let from = input.flattened;
        let to = input.reshaped.filter(|image| num_elements(image) == units);
        let build = move || {
            let linear = match (from, to) {
                (Some(image), _) => Linear::from_image(image, units),
                (None, Some(image)) => Linear::to_image(inputs, image),
                (None, None) => Linear::new(inputs, units, false),
            };
            let linear = if bias { linear.with_bias() } else { linear };
            linear.with_parametrization(parametrization).into()
        };
        let summary = format!("Linear {inputs} -> {units}{}", parametrization.suffix());
        Ok(LayerPlan {
            parameters: product(&[inputs, units])
                + parametrization.parameters_per_output(bias) * units as u128,
            multiplications: (inputs * units) as f64,
            memory: ActivationMemory::weighted(&[units], bias),
            flattened: None,
            ..input.plan([units], summary, build)
        })
    }
}
