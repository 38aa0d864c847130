//! Pooling: maximum and mean of windows, sum and mean of whole images.

use super::config::{LayerInput, LayerPlan, LayerSpec, MAX_KERNEL, check_count};
use super::module::{Layer, Module};
use crate::error::NnError;
use crate::export::Form;
use crate::export::onnx::{Attribute, Graph, Value};
use crate::export::pytorch::{Code, pair};
use crate::inference_layer::InferenceLayer;
use crate::mode::ForwardCtx;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tensor::{Activation, ConvGeom, Tensor};

/// Which value stands for a window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PoolKind {
    /// The largest value of a window.
    Max,
    /// The mean of a window.
    Average,
}

/// Max or average pooling of `[N, H, W, C]` without padding; windows that do not fit are left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pool2d {
    /// Which value stands for a window.
    pub kind: PoolKind,
    /// Height and width of a window.
    pub kernel: [usize; 2],
    /// Steps down and across.
    pub stride: [usize; 2],
}

impl Pool2d {
    /// The form of images after the layer.
    fn output_form(&self, form: &Form) -> Option<Form> {
        let [h, w, c] = form.image()?;
        let Self { kernel, stride, .. } = *self;
        let geometry = ConvGeom { input: [h, w], kernel, stride, pad: [[0; 2]; 2] };
        let [oh, ow] = geometry.try_output()?;
        Some(Form::new(&[oh, ow, c]))
    }
}

impl Module for Pool2d {
    #[track_caller]
    fn forward(&self, x: &Tensor, _: ForwardCtx<'_>, activation: Activation) -> Tensor {
        activation.apply(&match self.kind {
            PoolKind::Max => x.max_pool2d(self.kernel, self.stride),
            PoolKind::Average => x.avg_pool2d(self.kernel, self.stride),
        })
    }

    fn inference_layer(&self) -> Option<InferenceLayer> {
        let op = match self.kind {
            PoolKind::Max => "max-pool",
            PoolKind::Average => "average-pool",
        };
        let settings = json!({ "size": self.kernel, "stride": self.stride });
        Some(InferenceLayer::new(op, settings))
    }

    fn deep_clone(&self) -> Layer {
        (*self).into()
    }

    fn to_onnx(&self, x: Value, graph: &mut Graph) -> Result<Value, NnError> {
        let form = self.output_form(&x.form).ok_or_else(|| graph.refuse("Pool2d"))?;
        let operator = match self.kind {
            PoolKind::Max => "MaxPool",
            PoolKind::Average => "AveragePool",
        };
        let [kernel, stride] = [self.kernel, self.stride].map(|sides| sides.map(|n| n as i64));
        let attributes =
            [("kernel_shape", Attribute::Ints(&kernel)), ("strides", Attribute::Ints(&stride))];
        Ok(Value::new(graph.node(operator, &[&x.name], &attributes), form))
    }

    fn to_pytorch(&self, form: Form, code: &mut Code) -> Result<Form, NnError> {
        let form = self.output_form(&form).ok_or_else(|| code.refuse("Pool2d"))?;
        let kind = match self.kind {
            PoolKind::Max => "max",
            PoolKind::Average => "avg",
        };
        let (kernel, stride) = (pair(self.kernel), pair(self.stride));
        code.line(format!("x = F.{kind}_pool2d(x, {kernel}, {stride})"));
        Ok(form)
    }
}

/// Global pooling, one value per channel for all pixels: `[N, H, W, C]` to `[N, C]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GlobalPool {
    /// The sum over all pixels.
    Sum,
    /// The mean over all pixels.
    Average,
}

impl Module for GlobalPool {
    #[track_caller]
    fn forward(&self, x: &Tensor, _: ForwardCtx<'_>, activation: Activation) -> Tensor {
        assert_eq!(x.shape().rank(), 4, "GlobalPool: shape {:?} is not [N, H, W, C]", x.shape());
        activation.apply(&match self {
            Self::Sum => x.sum(&[1, 2], false),
            Self::Average => x.mean(&[1, 2], false),
        })
    }

    fn inference_layer(&self) -> Option<InferenceLayer> {
        let op = match self {
            Self::Sum => "global-sum",
            Self::Average => "global-average",
        };
        Some(InferenceLayer::new(op, json!({})))
    }

    fn deep_clone(&self) -> Layer {
        (*self).into()
    }

    fn to_onnx(&self, x: Value, graph: &mut Graph) -> Result<Value, NnError> {
        let name = match self {
            Self::Sum => graph.sum(&x.name, &[2, 3], false),
            Self::Average => graph.mean(&x.name, &[2, 3], false),
        };
        Ok(Value::new(name, Form::new(&[x.form.channels()])))
    }

    fn to_pytorch(&self, form: Form, code: &mut Code) -> Result<Form, NnError> {
        code.line(match self {
            Self::Sum => "x = x.sum((2, 3))",
            Self::Average => "x = x.mean((2, 3))",
        });
        Ok(Form::new(&[form.channels()]))
    }
}

/// Max pooling in a recipe: the largest of each window; windows do not overlap.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaxPoolConfig {
    /// Side of a window.
    pub size: usize,
}

/// Average pooling in a recipe: the mean of each window; windows do not overlap.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AveragePoolConfig {
    /// Side of a window.
    pub size: usize,
}

/// The mean of each channel: `[H, W, C]` to `[C]`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GlobalAverageConfig {}

/// The sum of each channel: `[H, W, C]` to `[C]`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GlobalSumConfig {}

impl LayerSpec for MaxPoolConfig {
    fn plan(&self, input: &LayerInput<'_>) -> Result<LayerPlan, String> {
        plan_windows(PoolKind::Max, self.size, input)
    }
}

impl LayerSpec for AveragePoolConfig {
    fn plan(&self, input: &LayerInput<'_>) -> Result<LayerPlan, String> {
        plan_windows(PoolKind::Average, self.size, input)
    }
}

fn plan_windows(kind: PoolKind, size: usize, input: &LayerInput<'_>) -> Result<LayerPlan, String> {
    let [h, w, c] = input.image()?;
    check_count("size", size, MAX_KERNEL)?;
    if size > h.min(w) {
        return Err(format!("the window does not fit an image of {h}x{w} pixels"));
    }
    let output = [h / size, w / size, c];
    let pool = Pool2d { kind, kernel: [size; 2], stride: [size; 2] };
    let summary = format!("{kind:?}Pool {size}x{size}");
    Ok(input.plan(output, summary, move || pool.into()))
}

impl LayerSpec for GlobalAverageConfig {
    fn plan(&self, input: &LayerInput<'_>) -> Result<LayerPlan, String> {
        let [_, _, c] = input.image()?;
        Ok(input.plan([c], "Mean of each channel", || GlobalPool::Average.into()))
    }
}

impl LayerSpec for GlobalSumConfig {
    fn plan(&self, input: &LayerInput<'_>) -> Result<LayerPlan, String> {
        let [_, _, c] = input.image()?;
        Ok(input.plan([c], "Sum of each channel", || GlobalPool::Sum.into()))
    }
}
