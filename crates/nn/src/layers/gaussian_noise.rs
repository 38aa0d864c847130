//! Gaussian noise.

use super::config::{LayerInput, LayerPlan, LayerSpec};
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

/// Gaussian noise: x + N(0, (std · scale)²), with the scale of the [`NoiseRng`](crate::NoiseRng).
/// Any shape. The identity in a forward pass without one.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct GaussianNoise {
    std: f32,
}

impl GaussianNoise {
    /// Noise of standard deviation `std`, 0 or more.
    ///
    /// # Panics
    /// Panics if `std` is negative or not finite.
    #[track_caller]
    pub fn new(std: f32) -> Self {
        assert!(
            std >= 0.0 && std.is_finite(),
            "GaussianNoise: the standard deviation {std} is not 0 or more"
        );
        Self { std }
    }
}

impl Module for GaussianNoise {
    fn forward(&self, x: &Tensor, ctx: ForwardCtx<'_>, activation: Activation) -> Tensor {
        let std = self.std * ctx.rng.map_or(0.0, |rng| rng.scale());
        activation.apply(&match ctx.rng {
            Some(rng) if std != 0.0 => {
                x.add(&ctx.draw(rng, x, Distribution::Normal { mean: 0.0, std }))
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
        code.line(format!("x = x + {} * torch.randn_like(x) if self.training else x", self.std));
        Ok(form)
    }
}

/// Gaussian noise in a recipe, during training.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GaussianNoiseConfig {
    /// The standard deviation.
    pub std: f64,
}

impl LayerSpec for GaussianNoiseConfig {
    fn plan(&self, input: &LayerInput<'_>) -> Result<LayerPlan, String> {
        if !(0.0..=1e6).contains(&self.std) {
            return Err("std must be at least 0".into());
        }
        let std = self.std as f32;
        Ok(input.plan(input.shape, format!("Gaussian noise {std}"), move || {
            GaussianNoise::new(std).into()
        }))
    }

    fn keeps_units(&self) -> bool {
        true
    }
}
