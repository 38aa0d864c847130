//! Nearest-neighbor upsampling.

use super::config::{LayerInput, LayerPlan, LayerSpec, check_count};
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

/// Nearest-neighbor upsampling: every pixel repeated this many times down and across,
/// `[N, H, W, C]` to `[N, H · a, W · b, C]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Upsample(pub [usize; 2]);

impl Upsample {
    /// The form of images after the layer.
    fn output_form(&self, form: &Form) -> Option<Form> {
        let ([h, w, c], [down, across]) = (form.image()?, self.0);
        Some(Form::new(&[h * down, w * across, c]))
    }
}

impl Module for Upsample {
    #[track_caller]
    fn forward(&self, x: &Tensor, _: ForwardCtx<'_>, activation: Activation) -> Tensor {
        activation.apply(&x.upsample_nearest2d(self.0))
    }

    fn inference_layer(&self) -> Option<InferenceLayer> {
        Some(InferenceLayer::new("upsample", json!({ "scale": self.0 })))
    }

    fn deep_clone(&self) -> Layer {
        (*self).into()
    }

    fn to_onnx(&self, x: Value, graph: &mut Graph) -> Result<Value, NnError> {
        let form = self.output_form(&x.form).ok_or_else(|| graph.refuse("Upsample"))?;
        let [down, across] = self.0;
        let scales = [1.0, 1.0, down as f32, across as f32];
        let scales = graph.vector("scales", &[4], &scales);
        let attributes = [
            ("mode", Attribute::Text("nearest")),
            ("coordinate_transformation_mode", Attribute::Text("asymmetric")),
            ("nearest_mode", Attribute::Text("floor")),
        ];
        let name = graph.node("Resize", &[&x.name, "", &scales], &attributes);
        Ok(Value::new(name, form))
    }

    fn to_pytorch(&self, form: Form, code: &mut Code) -> Result<Form, NnError> {
        let [down, across] = self.0;
        code.line(format!("x = F.interpolate(x, scale_factor=({down}, {across}))"));
        self.output_form(&form).ok_or_else(|| code.refuse("Upsample"))
    }
}

/// Nearest-neighbor upsampling in a recipe.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpsampleConfig {
    /// Times down and across.
    pub scale: usize,
}

impl LayerSpec for UpsampleConfig {
    fn plan(&self, input: &LayerInput<'_>) -> Result<LayerPlan, String> {
        let [h, w, c] = input.image()?;
        let scale = self.scale;
        check_count("scale", scale, 64)?;
        let summary = format!("Upsample {scale}x, nearest");
        Ok(input.plan([h * scale, w * scale, c], summary, move || Upsample([scale; 2]).into()))
    }
}
