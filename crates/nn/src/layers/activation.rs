//! Activations: ReLU, leaky ReLU, tanh, sigmoid. Fused with a bias or normalization before them.

use super::config::{LayerInput, LayerPlan, LayerSpec};
use super::module::{Layer, Module};
use crate::error::NnError;
use crate::export::Form;
use crate::export::onnx::{Attribute, Graph, Value};
use crate::export::pytorch::Code;
use crate::inference_layer::InferenceLayer;
use crate::mode::ForwardCtx;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tensor::{Activation, Tensor};

impl Module for Activation {
    fn forward(&self, x: &Tensor, ctx: ForwardCtx<'_>, activation: Activation) -> Tensor {
        activation.apply(&if ctx.guided { self.guided(x) } else { self.apply(x) })
    }

    fn inference_layer(&self) -> Option<InferenceLayer> {
        let settings = match self {
            Self::None => return Some(InferenceLayer::new("identity", json!({}))),
            Self::Relu => json!({ "name": "relu" }),
            Self::LeakyRelu(slope) => json!({ "name": "leaky-relu", "slope": slope }),
            Self::Tanh => json!({ "name": "tanh" }),
            Self::Sigmoid => json!({ "name": "sigmoid" }),
        };
        Some(InferenceLayer::new("activation", settings))
    }

    fn deep_clone(&self) -> Layer {
        (*self).into()
    }

    fn to_onnx(&self, x: Value, graph: &mut Graph) -> Result<Value, NnError> {
        let name = match *self {
            Self::None => x.name,
            Self::Relu => graph.unary("Relu", &x.name),
            Self::LeakyRelu(slope) => {
                graph.node("LeakyRelu", &[&x.name], &[("alpha", Attribute::Float(slope))])
            }
            Self::Tanh => graph.unary("Tanh", &x.name),
            Self::Sigmoid => graph.unary("Sigmoid", &x.name),
        };
        Ok(Value::new(name, x.form))
    }

    fn to_pytorch(&self, form: Form, code: &mut Code) -> Result<Form, NnError> {
        match *self {
            Self::None => {}
            Self::Relu => code.line("x = F.relu(x)"),
            Self::LeakyRelu(slope) => code.line(format!("x = F.leaky_relu(x, {slope})")),
            Self::Tanh => code.line("x = torch.tanh(x)"),
            Self::Sigmoid => code.line("x = torch.sigmoid(x)"),
        }
        Ok(form)
    }

    fn as_activation(&self) -> Option<Activation> {
        Some(*self)
    }
}

/// ReLU: max(x, 0).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReluConfig {}

/// Leaky ReLU: x if it is positive, else slope · x.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeakyReluConfig {
    /// The negative slope, in [0, 1].
    pub slope: f64,
}

/// Hyperbolic tangent.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TanhConfig {}

/// Sigmoid: 1 / (1 + e⁻ˣ).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SigmoidConfig {}

fn plan(activation: Activation, input: &LayerInput<'_>) -> Result<LayerPlan, String> {
    let summary = match activation {
        Activation::None => "Identity".into(),
        Activation::Relu => "ReLU".into(),
        Activation::LeakyRelu(slope) => format!("LeakyReLU {slope}"),
        Activation::Tanh => "Tanh".into(),
        Activation::Sigmoid => "Sigmoid".into(),
    };
    let plan = input.plan(input.shape, summary, move || activation.into());
    Ok(LayerPlan { is_activation: true, ..plan })
}

impl LayerSpec for ReluConfig {
    fn plan(&self, input: &LayerInput<'_>) -> Result<LayerPlan, String> {
        plan(Activation::Relu, input)
    }

    fn keeps_units(&self) -> bool {
        true
    }
}

impl LayerSpec for LeakyReluConfig {
    fn plan(&self, input: &LayerInput<'_>) -> Result<LayerPlan, String> {
        if !(0.0..=1.0).contains(&self.slope) {
            return Err("slope must be from 0 to 1".into());
        }
        plan(Activation::LeakyRelu(self.slope as f32), input)
    }

    fn keeps_units(&self) -> bool {
        true
    }
}

impl LayerSpec for TanhConfig {
    fn plan(&self, input: &LayerInput<'_>) -> Result<LayerPlan, String> {
        plan(Activation::Tanh, input)
    }

    fn keeps_units(&self) -> bool {
        true
    }
}

impl LayerSpec for SigmoidConfig {
    fn plan(&self, input: &LayerInput<'_>) -> Result<LayerPlan, String> {
        plan(Activation::Sigmoid, input)
    }

    fn keeps_units(&self) -> bool {
        true
    }
}
