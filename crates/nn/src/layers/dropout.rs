//! Dropout (Srivastava et al. 2014).

use super::config::{LayerInput, LayerPlan, LayerSpec, check_probability};
use super::module::{Layer, Module};
use crate::error::NnError;
use crate::export::Form;
use crate::export::onnx::{Graph, Value};
use crate::export::pytorch::Code;
use crate::inference_layer::InferenceLayer;
use crate::mode::ForwardCtx;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tensor::rng::Distribution;
use tensor::{Activation, Tensor};

/// Dropout in the inverted form: each element is set to 0 with probability p, and divided by 1 − p
/// otherwise. Any shape. The identity in a forward pass without a [`NoiseRng`](crate::NoiseRng).
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Dropout {
    p: f32,
}

impl Dropout {
    /// Dropout with probability `p` in [0, 1).
    ///
    /// # Panics
    /// Panics if `p` is outside.
    #[track_caller]
    pub fn new(p: f32) -> Self {
        assert!((0.0..1.0).contains(&p), "Dropout: the probability {p} is not in [0, 1)");
        Self { p }
    }
}

impl Module for Dropout {
    fn forward(&self, x: &Tensor, ctx: ForwardCtx<'_>, activation: Activation) -> Tensor {
        let keep = 1.0 - self.p;
        activation.apply(&match ctx.rng {
            Some(rng) if self.p > 0.0 => {
                x.mul(&ctx.draw(rng, x, Distribution::Bernoulli { keep, value: 1.0 / keep }))
            }
            _ => x.clone(),
        })
    }

    fn inference_layer(&self) -> Option<InferenceLayer> {
        Some(InferenceLayer::new("identity", json!({})))
    }

    fn deep_clone(&self) -> Layer {
        (*self).into()
    }

    fn to_onnx(&self, x: Value, _: &mut Graph) -> Result<Value, NnError> {
        Ok(x)
    }

    fn to_pytorch(&self, form: Form, code: &mut Code) -> Result<Form, NnError> {
        code.line(format!("x = F.dropout(x, {}, self.training)", self.p));
        Ok(form)
    }
}

/// Dropout in a recipe.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DropoutConfig {
    /// Probability, in [0, 1).
    pub p: f64,
}

impl LayerSpec for DropoutConfig {
    fn plan(&self, input: &LayerInput<'_>) -> Result<LayerPlan, String> {
        check_probability("p", self.p)?;
        let p = self.p as f32;
        Ok(input.plan(input.shape, format!("Dropout {p}"), move || Dropout::new(p).into()))
    }

    fn keeps_units(&self) -> bool {
        true
    }
}
