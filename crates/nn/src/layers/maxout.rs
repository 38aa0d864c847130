//! Maxout (Goodfellow et al. 2013).

use super::config::{LayerInput, LayerPlan, LayerSpec, MAX_UNITS, check_count};
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

/// Maxout: the largest of each group of consecutive units, `[N, F · pieces]` to `[N, F]`, or
/// `[N, H, W, C · pieces]` to `[N, H, W, C]`. The linear layer before it is a layer of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Maxout {
    pieces: usize,
}

impl Maxout {
    /// Groups of this many units.
    ///
    /// # Panics
    /// Panics if `pieces` is 0.
    #[track_caller]
    pub fn new(pieces: usize) -> Self {
        assert!(pieces > 0, "Maxout: groups of no units");
        Self { pieces }
    }
}

impl Module for Maxout {
    #[track_caller]
    fn forward(&self, x: &Tensor, _: ForwardCtx<'_>, activation: Activation) -> Tensor {
        let mut axes = x.shape().to_vec();
        let units = axes.last().copied().unwrap_or(0);
        assert!(
            units > 0 && units.is_multiple_of(self.pieces),
            "Maxout: {units} units of shape {axes:?} in groups of {}",
            self.pieces
        );
        axes.pop();
        axes.extend([units / self.pieces, self.pieces]);
        activation.apply(&x.reshape(&axes[..]).max(axes.len() - 1, false))
    }

    fn inference_layer(&self) -> Option<InferenceLayer> {
        Some(InferenceLayer::new("maxout", json!({ "pieces": self.pieces })))
    }

    fn deep_clone(&self) -> Layer {
        (*self).into()
    }

    fn to_onnx(&self, x: Value, graph: &mut Graph) -> Result<Value, NnError> {
        let x = graph.order_units(x, None);
        let form = x.form.with_channels(x.form.channels() / self.pieces);
        let pixels = x.form.image().map(|[h, w, _]| [h, w]);
        let axes = [form.channels(), self.pieces].into_iter().chain(pixels.into_iter().flatten());
        let pieces = graph.reshape(&x.name, &axes.collect::<Vec<_>>());
        let axis = [("axes", Attribute::Ints(&[2])), ("keepdims", Attribute::Int(0))];
        Ok(Value::new(graph.node("ReduceMax", &[&pieces], &axis), form))
    }

    fn to_pytorch(&self, form: Form, code: &mut Code) -> Result<Form, NnError> {
        let form = code.order_units(form, None);
        code.line(format!("x = x.unflatten(1, (-1, {})).amax(2)", self.pieces));
        Ok(form.with_channels(form.channels() / self.pieces))
    }
}

/// Maxout in a recipe.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaxoutConfig {
    /// Channels in a group.
    pub pieces: usize,
}

impl LayerSpec for MaxoutConfig {
    fn plan(&self, input: &LayerInput<'_>) -> Result<LayerPlan, String> {
        let (pieces, channels) = (self.pieces, input.channels());
        check_count("pieces", pieces, MAX_UNITS)?;
        if channels % pieces != 0 {
            return Err(format!("{channels} channels cannot be cut into groups of {pieces}"));
        }
        let output = input.with_channels(channels / pieces);
        let plan =
            input.plan(output, format!("Maxout of {pieces}"), move || Maxout::new(pieces).into());
        Ok(LayerPlan { flattened: None, ..plan })
    }
}
