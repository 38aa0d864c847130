//! The fully connected layer.

use super::config::{
    LayerInput, LayerPlan, LayerSpec, MAX_UNITS, check_count, default, num_elements, product,
};
use super::module::{
    Layer, Module, NamedTensor, add_bias_and_activate, affine_module, bias_to_onnx, fold_bias,
    weight_and_bias,
};
use super::weight::{Parametrization, Weight, weight_methods};
use crate::error::NnError;
use crate::export::Form;
use crate::export::onnx::{Attribute, Graph, Value};
use crate::export::pytorch::Code;
use crate::inference_layer::InferenceLayer;
use crate::layout::Layout;
use crate::mode::ForwardCtx;
use crate::param::Param;
use serde::{Deserialize, Serialize};
use serde_json::json;
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

    weight_methods!("[in, out]");

    pub(super) fn inner_weight(&self) -> &Weight {
        &self.weight
    }

    /// The number of outputs.
    pub(super) fn outputs(&self) -> usize {
        num_elements(self.weight.outputs().inner())
    }

    /// Adds the layer, with its tensors under `prefix`, to an ONNX graph; its output.
    pub(super) fn add_to_graph(
        &self,
        prefix: &str,
        x: &str,
        graph: &mut Graph,
    ) -> Result<String, NnError> {
        let weight = graph.weight(&format!("{prefix}weight"), &self.weight.to_host())?;
        let bias = bias_to_onnx(prefix, self.bias.as_ref(), self.weight.outputs(), graph);
        let inputs: Vec<&str> = [x, &weight].into_iter().chain(bias.as_deref()).collect();
        Ok(graph.node("Gemm", &inputs, &[("transB", Attribute::Int(1))]))
    }

    /// The PyTorch constructor.
    pub(super) fn constructor(&self, code: &mut Code) -> String {
        let shape = self.weight.layout().outer();
        let bias = if self.bias.is_some() { "" } else { ", bias=False" };
        let layer = format!("nn.Linear({}, {}{bias})", shape[1], shape[0]);
        self.weight.reparametrized(layer, code)
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

    fn inference_layer(&self) -> Option<InferenceLayer> {
        let operation = InferenceLayer::new("linear", json!({}));
        let bias = self.bias.as_ref().map(Param::value);
        Some(operation.with("weight", self.weight.value()).with("bias", bias))
    }

    fn deep_clone(&self) -> Layer {
        self.copy().into()
    }

    fn to_onnx(&self, x: Value, graph: &mut Graph) -> Result<Value, NnError> {
        let x = graph.order_units(x, self.weight.inputs().units_image());
        let name = self.add_to_graph("", &x.name, graph)?;
        let units = self.weight.outputs().units_image();
        Ok(Value::new(name, Form::vector(self.outputs(), units)))
    }

    fn to_pytorch(&self, form: Form, code: &mut Code) -> Result<Form, NnError> {
        code.order_units(form, self.weight.inputs().units_image());
        let layer = self.constructor(code);
        code.call(layer);
        Ok(Form::vector(self.outputs(), self.weight.outputs().units_image()))
    }

    affine_module!();

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
        // PyTorch flattens and reshapes in the order C, H, W: the image decides the order of the
        // weights in a state dict.
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
        let summary = format!("Linear {inputs} -> {units}");
        let weights = product(&[inputs, units]);
        let plan = input.affine_plan([units], weights, [1, 1], bias, summary, build);
        Ok(LayerPlan { flattened: None, ..plan })
    }
}
