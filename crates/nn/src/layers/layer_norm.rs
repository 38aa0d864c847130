//! Layer normalization (Ba et al. 2016).

use super::config::{LayerInput, LayerPlan, LayerSpec, product};
use super::module::{Layer, Module, NamedTensor, affine_tensors};
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

/// Layer norm: γ · (x − mean) / √(variance + eps) + β with the statistics of each whole sample, and
/// γ and β of its shape, `[N, F]` or `[N, H, W, C]`, as `nn.LayerNorm([F])` or
/// `nn.LayerNorm([C, H, W])`.
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
    /// Panics if the shape has neither one nor three axes.
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
}

impl Module for LayerNorm {
    #[track_caller]
    fn forward(&self, x: &Tensor, ctx: ForwardCtx<'_>, activation: Activation) -> Tensor {
        let (s, shape) = (*x.shape(), self.layout.inner());
        assert!(s.rank() > 0 && s[1..] == *shape, "LayerNorm: samples of {s:?} are not {shape:?}");
        let (gamma, beta) = (self.gamma.leaf(ctx.mode.track), self.beta.leaf(ctx.mode.track));
        let centered = x.sub(&mean(x));
        let scaled = centered.mul(&mean(&centered.square()).add_scalar(self.eps).sqrt().recip());
        activation.apply(&scaled.mul(&gamma).add(&beta))
    }

    fn inference_layer(&self) -> Option<InferenceLayer> {
        let operation = InferenceLayer::new("layer-norm", json!({ "eps": self.eps }));
        Some(operation.with("scale", self.gamma.value()).with("shift", self.beta.value()))
    }

    fn deep_clone(&self) -> Layer {
        let (gamma, beta) = (self.gamma.deep_clone(), self.beta.deep_clone());
        Self { gamma, beta, eps: self.eps, layout: self.layout.clone() }.into()
    }

    fn to_onnx(&self, x: Value, graph: &mut Graph) -> Result<Value, NnError> {
        let x = graph.order_units(x, None);
        let [scale, bias] = [("weight", &self.gamma), ("bias", &self.beta)].map(|(name, param)| {
            graph.vector(name, self.layout.outer(), &self.layout.export(&param.value()))
        });
        let attributes = [("axis", Attribute::Int(1)), ("epsilon", Attribute::Float(self.eps))];
        let name = graph.node("LayerNormalization", &[&x.name, &scale, &bias], &attributes);
        Ok(Value::new(name, x.form))
    }

    fn to_pytorch(&self, form: Form, code: &mut Code) -> Result<Form, NnError> {
        let form = code.order_units(form, None);
        code.call(format!("nn.LayerNorm({:?}, eps={:e})", self.layout.outer(), self.eps));
        Ok(form)
    }

    fn named_tensors(&self) -> Vec<NamedTensor<'_>> {
        affine_tensors(&self.gamma, &self.beta, &self.layout)
    }

    fn gamma(&self) -> Option<&Param> {
        Some(&self.gamma)
    }
}

/// The mean of each sample. Pixels are reduced before channels: one sum over all would be split
/// according to the batch, and bits would depend on it.
fn mean(x: &Tensor) -> Tensor {
    match x.shape().rank() {
        4 => x.mean(&[1, 2], true).mean(&[3], true),
        _ => x.mean(&[1], true),
    }
}

/// Layer norm in a recipe.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerNormConfig {}

impl LayerSpec for LayerNormConfig {
    fn plan(&self, input: &LayerInput<'_>) -> Result<LayerPlan, String> {
        let (shape, eps) = (input.shape.to_vec(), input.env.eps);
        Ok(LayerPlan {
            parameters: 2 * product(&shape),
            ..input
                .plan(input.shape, "LayerNorm", move || LayerNorm::new(shape.clone(), eps).into())
        })
    }

    fn keeps_units(&self) -> bool {
        true
    }
}
