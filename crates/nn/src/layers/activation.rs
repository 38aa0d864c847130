//! Activations: ReLU, leaky ReLU, tanh, sigmoid. Fused with a bias or normalization before them.

use super::config::{LayerInput, LayerPlan, LayerSpec};
use super::module::{Layer, Module};
use crate::mode::ForwardCtx;
use serde::{Deserialize, Serialize};
use tensor::{Activation, Tensor};

impl Module for Activation {
    fn forward(&self, x: &Tensor, ctx: ForwardCtx<'_>, activation: Activation) -> Tensor {
        activation.apply(&if ctx.guided { self.guided(x) } else { self.apply(x) })
    }

    fn deep_clone(&self) -> Layer {
        (*self).into()
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
