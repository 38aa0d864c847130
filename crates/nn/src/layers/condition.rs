//! The condition appended to vectors and images, as it is or embedded.

use super::config::{LayerInput, LayerPlan, LayerSpec, product};
use super::linear::Linear;
use super::module::{Layer, Module, NamedTensor};
use super::weight::{Parametrization, Weight};
use crate::error::NnError;
use crate::export::Form;
use crate::export::onnx::{Graph, Value};
use crate::export::pytorch::Code;
use crate::inference_layer::InferenceLayer;
use crate::mode::ForwardCtx;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tensor::{Activation, Tensor, concat};

/// The condition of the forward pass, `[N, K]`.
#[track_caller]
pub(super) fn condition<'a>(layer: &str, ctx: ForwardCtx<'a>) -> &'a Tensor {
    ctx.condition.unwrap_or_else(|| {
        panic!("{layer}: the forward pass has no condition (ForwardCtx::with_condition)")
    })
}

/// `x` with `y` `[N, K]` appended: `[N, F + K]`, or `[N, H, W, C + K]` with the same at every
/// pixel.
#[track_caller]
fn append(layer: &str, x: &Tensor, y: &Tensor) -> Tensor {
    let (s, k) = (*x.shape(), *y.shape());
    assert!(
        k.rank() == 2 && s.rank() > 0 && s[0] == k[0],
        "{layer}: a condition {k:?} for an input {s:?}"
    );
    match s.rank() {
        2 => concat(&[x, y], 1),
        4 => concat(&[x, &y.reshape([k[0], 1, 1, k[1]]).broadcast_to([k[0], s[1], s[2], k[1]])], 3),
        _ => panic!("{layer}: shape {s:?} is neither [N, F] nor [N, H, W, C]"),
    }
}

/// The condition appended (Mirza & Osindero 2014): `[N, F]` with `[N, K]` to `[N, F + K]`, or
/// `[N, H, W, C]` to `[N, H, W, C + K]` with the same at every pixel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConcatCondition;

impl Module for ConcatCondition {
    #[track_caller]
    fn forward(&self, x: &Tensor, ctx: ForwardCtx<'_>, activation: Activation) -> Tensor {
        activation.apply(&append("ConcatCondition", x, condition("ConcatCondition", ctx)))
    }

    fn inference_layer(&self) -> Option<InferenceLayer> {
        Some(InferenceLayer::new("condition", json!({})))
    }

    fn deep_clone(&self) -> Layer {
        (*self).into()
    }

    fn to_onnx(&self, x: Value, graph: &mut Graph) -> Result<Value, NnError> {
        let (y, width) = graph.condition("ConcatCondition")?;
        Ok(graph.append(x, &y, width))
    }

    fn to_pytorch(&self, form: Form, code: &mut Code) -> Result<Form, NnError> {
        let width = code.condition("ConcatCondition")?;
        Ok(code.append(form, "y", width))
    }
}

/// A learned embedding of the condition, appended: `[N, F]` to `[N, F + features]`, or
/// `[N, H, W, C]` to `[N, H, W, C + features]` with the same at every pixel. It is a linear map;
/// for a one-hot class a table look-up. In a state dict the weight is `[features, K]`.
pub struct Embed {
    map: Linear,
}

impl Embed {
    /// A map of zeros from `inputs`, the K of the condition, without bias.
    pub fn new(inputs: usize, features: usize) -> Self {
        Self { map: Linear::new(inputs, features, false) }
    }

    /// The layer with spectral norm, as [`Linear::with_spectral_norm`].
    ///
    /// # Panics
    /// Panics if it has it already.
    #[track_caller]
    pub fn with_spectral_norm(self) -> Self {
        Self { map: self.map.with_spectral_norm() }
    }
}

impl Module for Embed {
    #[track_caller]
    fn forward(&self, x: &Tensor, ctx: ForwardCtx<'_>, activation: Activation) -> Tensor {
        let embedded = self.map.forward(condition("Embed", ctx), ctx, Activation::None);
        activation.apply(&append("Embed", x, &embedded))
    }

    fn inference_layer(&self) -> Option<InferenceLayer> {
        let weight = self.map.inner_weight().value();
        Some(InferenceLayer::new("condition", json!({})).with("weight", weight))
    }

    fn deep_clone(&self) -> Layer {
        Self { map: self.map.copy() }.into()
    }

    fn to_onnx(&self, x: Value, graph: &mut Graph) -> Result<Value, NnError> {
        let (y, _) = graph.condition("Embed")?;
        let embedded = self.map.add_to_graph("", &y, graph)?;
        Ok(graph.append(x, &embedded, self.map.outputs()))
    }

    fn to_pytorch(&self, form: Form, code: &mut Code) -> Result<Form, NnError> {
        code.condition("Embed")?;
        let map = self.map.constructor(code);
        let map = code.module(map);
        Ok(code.append(form, &format!("{map}(y)"), self.map.outputs()))
    }

    fn named_tensors(&self) -> Vec<NamedTensor<'_>> {
        self.map.named_tensors()
    }

    fn weights(&self) -> Vec<&Weight> {
        self.map.weights()
    }
}

/// The condition appended in a recipe: [`ConcatCondition`], or [`Embed`] if section `condition` has
/// an embedding.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppendConditionConfig {}

impl LayerSpec for AppendConditionConfig {
    fn plan(&self, input: &LayerInput<'_>) -> Result<LayerPlan, String> {
        let (size, embedding) = (input.env.condition_size, input.env.embedding);
        if size == 0 && embedding == 0 {
            return Err("there is no section [condition] with its size".into());
        }
        let spectral = input.env.parametrization == Parametrization::SpectralNorm;
        let plan = if embedding > 0 {
            let output = input.with_channels(input.channels() + embedding);
            let build = move || {
                let embed = Embed::new(size, embedding);
                if spectral { embed.with_spectral_norm() } else { embed }.into()
            };
            LayerPlan {
                parameters: product(&[size, embedding]),
                multiplications: (size * embedding) as f64,
                ..input.plan(output, format!("Condition, {size} as {embedding} appended"), build)
            }
        } else {
            let output = input.with_channels(input.channels() + size);
            input.plan(output, format!("Condition, {size} appended"), || ConcatCondition.into())
        };
        Ok(LayerPlan { flattened: None, ..plan })
    }

    fn reads_condition(&self) -> bool {
        true
    }
}
