//! Batch normalization (Ioffe & Szegedy 2015) with running statistics as PyTorch keeps them.

use super::config::{LayerInput, LayerPlan, LayerSpec, default, num_elements};
use super::module::{Layer, Module, NamedTensor, TensorRole, affine_tensors};
use crate::error::NnError;
use crate::export::Form;
use crate::export::onnx::{Attribute, Graph, Value};
use crate::export::pytorch::Code;
use crate::inference_layer::InferenceLayer;
use crate::layout::Layout;
use crate::mode::{BatchNormStats, ForwardCtx};
use crate::param::{Param, SharedTensor};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::atomic::{AtomicI64, Ordering};
use tensor::{Activation, EmaUpdate, Tensor};

/// Batch norm: γ · (x − mean) / √(variance + eps) + β for each position of the last axis, over all
/// others: `[N, F]` or `[N, H, W, C]`.
pub struct BatchNorm {
    gamma: Param,
    beta: Param,
    running_mean: SharedTensor,
    running_var: SharedTensor,
    batches: AtomicI64,
    eps: f32,
    momentum: f32,
    /// Whether γ and β are trained.
    affine: bool,
    layout: Layout,
}

impl BatchNorm {
    fn with_layout(features: usize, eps: f32, momentum: f32, layout: Layout) -> Self {
        Self {
            gamma: Param::new(Tensor::ones([features])),
            beta: Param::new(Tensor::zeros([features])),
            running_mean: SharedTensor::new(Tensor::zeros([features])),
            running_var: SharedTensor::new(Tensor::ones([features])),
            batches: AtomicI64::new(0),
            eps,
            momentum,
            affine: true,
            layout,
        }
    }

    /// γ = 1, β = 0 and running statistics 0 and 1. With update, running ← (1 − momentum) ·
    /// running + momentum · batch, the variance unbiased.
    pub fn new(features: usize, eps: f32, momentum: f32) -> Self {
        Self::with_layout(features, eps, momentum, Layout::plain(&[features]))
    }

    /// [`new`](Self::new) for each unit of a flattened `[H, W, C]` image; in a state dict the units
    /// are in PyTorch's order C, H, W.
    pub fn per_unit(image: [usize; 3], eps: f32, momentum: f32) -> Self {
        Self::with_layout(image.iter().product(), eps, momentum, Layout::units(image))
    }

    /// The layer without γ and β: they stay 1 and 0, and are not among its parameters (PyTorch's
    /// `affine=False`).
    pub fn without_affine(self) -> Self {
        Self { affine: false, ..self }
    }

    /// γ, `[F]`.
    pub fn gamma(&self) -> &Param {
        &self.gamma
    }

    /// Under running statistics the layer is x · scale + offset, both `[F]`.
    pub(crate) fn affine(&self) -> (Tensor, Tensor) {
        self.affine_of(&self.gamma.value(), &self.beta.value())
    }

    fn affine_of(&self, gamma: &Tensor, beta: &Tensor) -> (Tensor, Tensor) {
        let scale = self.running_var.get().add_scalar(self.eps).sqrt().recip().mul(gamma);
        let offset = beta.sub(&self.running_mean.get().mul(&scale));
        (scale, offset)
    }

    /// # Panics
    /// Panics with a single row, whose unbiased variance does not exist
    /// ([`Recipe::validate`](crate::Recipe::validate) refuses such batches).
    #[track_caller]
    fn update_running_stats(&self, mean: &Tensor, variance: &Tensor, rows: usize, momentum: f32) {
        assert!(
            rows > 1,
            "BatchNorm: running statistics need more than a single value per channel"
        );
        let unbiased = (rows as f64 / (rows - 1) as f64) as f32;
        let keep = 1.0 - momentum;
        tensor::lerp(&mut [
            EmaUpdate { average: &mut self.running_mean.write(), value: mean, keep, factor: 1.0 },
            EmaUpdate {
                average: &mut self.running_var.write(),
                value: variance,
                keep,
                factor: unbiased,
            },
        ]);
        self.batches.fetch_add(1, Ordering::Relaxed);
    }

    /// Running statistics as before the first batch.
    pub(crate) fn reset_statistics(&self) {
        let shape = *self.gamma.shared().read().shape();
        self.running_mean.set(Tensor::zeros(shape));
        self.running_var.set(Tensor::ones(shape));
        self.batches.store(0, Ordering::Relaxed);
    }
}

impl Module for BatchNorm {
    #[track_caller]
    fn forward(&self, x: &Tensor, ctx: ForwardCtx<'_>, activation: Activation) -> Tensor {
        let track = ctx.mode.track && self.affine;
        let (gamma, beta) = (self.gamma.leaf(track), self.beta.leaf(track));
        match ctx.mode.statistics {
            BatchNormStats::Batch { update } => {
                let group = ctx.group();
                let result = x.sync_batch_norm(&gamma, &beta, self.eps, activation, &group);
                if update {
                    let samples = x.shape().first().copied().unwrap_or(1).max(1);
                    let per_sample = x.len() / samples / gamma.len().max(1);
                    let rows = ctx.batch_len(samples) * per_sample;
                    self.update_running_stats(
                        &result.mean,
                        &result.variance,
                        rows,
                        ctx.momentum.unwrap_or(self.momentum),
                    );
                }
                result.output
            }
            BatchNormStats::Running => {
                let (scale, offset) = self.affine_of(&gamma, &beta);
                x.scale_shift(&scale, &offset, activation)
            }
        }
    }

    fn inference_layer(&self) -> Option<InferenceLayer> {
        let (scale, shift) = self.affine();
        let operation = InferenceLayer::new("scale-shift", json!({}));
        Some(operation.with("scale", scale).with("shift", shift))
    }

    fn deep_clone(&self) -> Layer {
        Self {
            gamma: self.gamma.deep_clone(),
            beta: self.beta.deep_clone(),
            running_mean: SharedTensor::new(self.running_mean.get()),
            running_var: SharedTensor::new(self.running_var.get()),
            batches: AtomicI64::new(self.batches.load(Ordering::Relaxed)),
            layout: self.layout.clone(),
            ..*self
        }
        .into()
    }

    fn to_onnx(&self, x: Value, graph: &mut Graph) -> Result<Value, NnError> {
        let x = graph.order_units(x, self.layout.units_image());
        let values = [
            ("weight", self.gamma.value()),
            ("bias", self.beta.value()),
            ("running_mean", self.running_mean.get()),
            ("running_var", self.running_var.get()),
        ];
        let [scale, bias, mean, variance] = values.map(|(name, value)| {
            graph.vector(name, self.layout.outer(), &self.layout.export(&value))
        });
        let inputs = [&*x.name, &*scale, &*bias, &*mean, &*variance];
        let eps = [("epsilon", Attribute::Float(self.eps))];
        Ok(Value::new(graph.node("BatchNormalization", &inputs, &eps), x.form))
    }

    fn to_pytorch(&self, form: Form, code: &mut Code) -> Result<Form, NnError> {
        let form = code.order_units(form, self.layout.units_image());
        let axes = if form.image().is_some() { 2 } else { 1 };
        let Self { eps, momentum, .. } = self;
        let affine = if self.affine { "" } else { ", affine=False" };
        let features = form.channels();
        code.call(format!(
            "nn.BatchNorm{axes}d({features}, eps={eps:e}, momentum={momentum}{affine})"
        ));
        Ok(form)
    }

    fn named_tensors(&self) -> Vec<NamedTensor<'_>> {
        let mut tensors = Vec::new();
        if self.affine {
            tensors.extend(affine_tensors(&self.gamma, &self.beta, &self.layout));
        }
        let tensor = |name, role| NamedTensor::new(name, self.layout.clone(), role);
        tensors.extend([
            tensor("running_mean", TensorRole::Buffer(&self.running_mean)),
            tensor("running_var", TensorRole::Buffer(&self.running_var)),
            tensor("num_batches_tracked", TensorRole::Count(&self.batches)),
        ]);
        tensors
    }

    fn gamma(&self) -> Option<&Param> {
        self.affine.then_some(&self.gamma)
    }

    // γ and β that are not trained are on the network's device like all other tensors.
    fn constants(&self) -> Vec<&SharedTensor> {
        if self.affine { Vec::new() } else { vec![self.gamma.shared(), self.beta.shared()] }
    }

    fn batch_dependence(&self) -> Option<&'static str> {
        Some("BatchNorm")
    }
}

/// Batch norm in a recipe, with the constants of section `batch_norm`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchNormLayerConfig {
    /// Whether γ and β are trained, or stay 1 and 0.
    #[serde(default = "default::yes", skip_serializing_if = "default::is_yes")]
    pub affine: bool,
}

impl LayerSpec for BatchNormLayerConfig {
    fn plan(&self, input: &LayerInput<'_>) -> Result<LayerPlan, String> {
        let (affine, features) = (self.affine, input.channels());
        let (eps, momentum) = (input.env.eps, input.env.momentum);
        // A vector that becomes an image is normalized per unit of that image.
        let units = match input.shape {
            [_, _, _] => None,
            _ => input.reshaped.filter(|image| num_elements(image) == features),
        };
        let summary = if units.is_some() { "BatchNorm per unit" } else { "BatchNorm" };
        let build = move || {
            let norm = match units {
                Some(image) => BatchNorm::per_unit(image, eps, momentum),
                None => BatchNorm::new(features, eps, momentum),
            };
            if affine { norm } else { norm.without_affine() }.into()
        };
        Ok(LayerPlan {
            parameters: 2 * u128::from(affine) * features as u128,
            batch_norm_features: Some(features),
            ..input.plan(input.shape, summary, build)
        })
    }

    fn keeps_units(&self) -> bool {
        true
    }
}
