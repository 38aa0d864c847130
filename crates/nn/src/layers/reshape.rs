//! Reshape and flatten.

use super::config::{LayerInput, LayerPlan, LayerSpec, MAX_UNITS, check_count, num_elements};
use super::module::{Layer, Module};
use crate::error::NnError;
use crate::export::Form;
use crate::export::onnx::{Graph, Value};
use crate::export::pytorch::Code;
use crate::inference_layer::InferenceLayer;
use crate::mode::ForwardCtx;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tensor::{Activation, Tensor};

/// Another shape for each sample, row-major: `[N, …]` to `[N, these axes]`. No axes make `[N]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reshape(pub Vec<usize>);

impl Module for Reshape {
    #[track_caller]
    fn forward(&self, x: &Tensor, _: ForwardCtx<'_>, activation: Activation) -> Tensor {
        let samples = x.shape().iter().copied().take(1);
        let shape: Vec<usize> = samples.chain(self.0.iter().copied()).collect();
        activation.apply(&x.reshape(&shape[..]))
    }

    fn inference_layer(&self) -> Option<InferenceLayer> {
        Some(InferenceLayer::new("reshape", json!({ "shape": self.0 })))
    }

    fn deep_clone(&self) -> Layer {
        self.clone().into()
    }

    fn to_onnx(&self, mut x: Value, graph: &mut Graph) -> Result<Value, NnError> {
        let steps = x.form.reshape(&self.0).ok_or_else(|| graph.refuse("Reshape"))?;
        Ok(Value { name: graph.apply_steps(&x.name, steps), ..x })
    }

    fn to_pytorch(&self, mut form: Form, code: &mut Code) -> Result<Form, NnError> {
        let steps = form.reshape(&self.0).ok_or_else(|| code.refuse("Reshape"))?;
        code.apply_steps(steps);
        Ok(form)
    }
}

impl Reshape {
    /// The plan of a reshape to `shape`.
    pub(crate) fn plan(shape: Vec<usize>, input: &LayerInput<'_>) -> LayerPlan {
        let output = shape.clone();
        let plan = input.plan(shape, "Reshape", move || Self(output.clone()).into());
        LayerPlan { flattened: None, ..plan }
    }
}

/// Another shape, `[H, W, C]`, of as many elements.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReshapeConfig {
    /// Height, width, channels.
    pub shape: [usize; 3],
}

impl ReshapeConfig {
    /// The image, unless it is one pixel: PyTorch's generators take latent vectors as such.
    pub(super) fn image(&self) -> Option<[usize; 3]> {
        (self.shape[..2] != [1, 1]).then_some(self.shape)
    }
}

impl LayerSpec for ReshapeConfig {
    fn plan(&self, input: &LayerInput<'_>) -> Result<LayerPlan, String> {
        self.shape.iter().try_for_each(|&n| check_count("each of shape", n, MAX_UNITS))?;
        let (old, new) = (input.len(), num_elements(&self.shape));
        if new != old {
            return Err(format!("has {new} elements where there are {old}"));
        }
        let unnumbered = if self.image().is_none() { Some("input") } else { None };
        Ok(LayerPlan { unnumbered, ..Reshape::plan(self.shape.to_vec(), input) })
    }
}

/// An image as a vector.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlattenConfig {}

impl LayerSpec for FlattenConfig {
    fn plan(&self, input: &LayerInput<'_>) -> Result<LayerPlan, String> {
        let image = input.image()?;
        Ok(LayerPlan { flattened: Some(image), ..Reshape::plan(vec![input.len()], input) })
    }
}
