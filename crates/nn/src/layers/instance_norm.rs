//! Instance normalization (Ulyanov et al. 2016).

use super::config::{LayerInput, LayerPlan, LayerSpec};
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

/// Instance norm: γ · (x − mean) / √(variance + eps) + β with the statistics of each channel of
/// each image, `[N, H, W, C]`, as `nn.InstanceNorm2d(C, affine=True)`. In composed operations, so
/// that the bits of an image do not depend on the rest of its batch.
pub struct InstanceNorm {
    gamma: Param,
    beta: Param,
    eps: f32,
}

impl InstanceNorm {
    /// γ = 1 and β = 0, `[C]` each.
    pub fn new(channels: usize, eps: f32) -> Self {
        Self {
            gamma: Param::new(Tensor::ones([channels])),
            beta: Param::new(Tensor::zeros([channels])),
            eps,
        }
    }
}

impl Module for InstanceNorm {
    #[track_caller]
    fn forward(&self, x: &Tensor, ctx: ForwardCtx<'_>, activation: Activation) -> Tensor {
        let s = *x.shape();
        assert!(
            s.rank() == 4 && s[1] * s[2] > 1,
            "InstanceNorm: shape {s:?} is not [N, H, W, C] with more than one pixel"
        );
        let (gamma, beta) = (self.gamma.leaf(ctx.mode.track), self.beta.leaf(ctx.mode.track));
        // Not the mean of squares less the square of the mean, which cancel where |mean| ≫ std.
        let centered = x.sub(&x.mean(&[1, 2], true));
        let variance = centered.square().mean(&[1, 2], true);
        let scale = variance.add_scalar(self.eps).sqrt().recip().mul(&gamma);
        centered.mul(&scale).bias_activation(&beta, activation)
    }

    fn inference_layer(&self) -> Option<InferenceLayer> {
        let operation = InferenceLayer::new("instance-norm", json!({ "eps": self.eps }));
        Some(operation.with("scale", self.gamma.value()).with("shift", self.beta.value()))
    }

    fn deep_clone(&self) -> Layer {
        let (gamma, beta) = (self.gamma.deep_clone(), self.beta.deep_clone());
        Self { gamma, beta, eps: self.eps }.into()
    }

    fn to_onnx(&self, x: Value, graph: &mut Graph) -> Result<Value, NnError> {
        let channels = [x.form.channels()];
        let scale = graph.vector("weight", &channels, &self.gamma.value().to_vec());
        let bias = graph.vector("bias", &channels, &self.beta.value().to_vec());
        let eps = [("epsilon", Attribute::Float(self.eps))];
        let name = graph.node("InstanceNormalization", &[&x.name, &scale, &bias], &eps);
        Ok(Value::new(name, x.form))
    }

    fn to_pytorch(&self, form: Form, code: &mut Code) -> Result<Form, NnError> {
        let (channels, eps) = (form.channels(), self.eps);
        code.call(format!("nn.InstanceNorm2d({channels}, eps={eps:e}, affine=True)"));
        Ok(form)
    }

    fn named_tensors(&self) -> Vec<NamedTensor<'_>> {
        let layout = Layout::plain(self.gamma.shared().read().shape());
        affine_tensors(&self.gamma, &self.beta, &layout)
    }

    fn gamma(&self) -> Option<&Param> {
        Some(&self.gamma)
    }
}

/// Instance norm in a recipe.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstanceNormConfig {}

impl LayerSpec for InstanceNormConfig {
    fn plan(&self, input: &LayerInput<'_>) -> Result<LayerPlan, String> {
        let [h, w, channels] = input.image()?;
        if h * w == 1 {
            return Err("one pixel is its own mean: instance norm would leave nothing".into());
        }
        let eps = input.env.eps;
        Ok(LayerPlan {
            parameters: 2 * channels as u128,
            ..input
                .plan(input.shape, "InstanceNorm", move || InstanceNorm::new(channels, eps).into())
        })
    }
}
