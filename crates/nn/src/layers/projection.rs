//! The head of a projection discriminator.

use super::condition::condition;
use super::config::{LayerInput, LayerPlan, LayerSpec, product};
use super::linear::Linear;
use super::module::{Layer, Module, NamedTensor, with_prefix};
use super::weight::{Parametrization, Weight};
use crate::error::NnError;
use crate::export::Form;
use crate::export::onnx::{Graph, Value};
use crate::export::pytorch::Code;
use crate::mode::ForwardCtx;
use serde::{Deserialize, Serialize};
use tensor::{Activation, Tensor};

/// The head of a projection discriminator (Miyato & Koyama 2018, equation 3): from features φ
/// `[N, F]` the logit ψ(φ) + ⟨E y, φ⟩, `[N, 1]`, with ψ linear with a bias and E linear without. In
/// a state dict: `linear.weight` `[1, F]`, `linear.bias` `[1]`, `embed.weight` `[F, K]`.
pub struct ProjectionHead {
    /// The linear maps ψ and E.
    maps: Box<[Linear; 2]>,
}

impl ProjectionHead {
    /// A head of zeros for this many features and conditions `[N, inputs]`.
    pub fn new(features: usize, inputs: usize) -> Self {
        Self {
            maps: Box::new([Linear::new(features, 1, true), Linear::new(inputs, features, false)]),
        }
    }

    /// The head with spectral norm in both maps, as the authors have it.
    ///
    /// # Panics
    /// Panics if they have it already.
    #[track_caller]
    pub fn with_spectral_norm(self) -> Self {
        Self { maps: Box::new(self.maps.map(Linear::with_spectral_norm)) }
    }
}

impl Module for ProjectionHead {
    #[track_caller]
    fn forward(&self, x: &Tensor, ctx: ForwardCtx<'_>, activation: Activation) -> Tensor {
        let [linear, embed] = &*self.maps;
        let embedded = embed.forward(condition("ProjectionHead", ctx), ctx, Activation::None);
        assert_eq!(
            x.shape(),
            embedded.shape(),
            "ProjectionHead: features and the embedded condition"
        );
        let logit = linear.forward(x, ctx, Activation::None);
        activation.apply(&logit.add(&embedded.mul(x).sum(&[1], true)))
    }

    fn deep_clone(&self) -> Layer {
        Self { maps: Box::new(self.maps.each_ref().map(Linear::copy)) }.into()
    }

    fn to_onnx(&self, x: Value, graph: &mut Graph) -> Result<Value, NnError> {
        let [linear, embed] = &*self.maps;
        let (y, _) = graph.condition("ProjectionHead")?;
        let x = graph.order_units(x, None);
        let logit = linear.add_to_graph("linear.", &x.name, graph)?;
        let embedded = embed.add_to_graph("embed.", &y, graph)?;
        let products = graph.node("Mul", &[&embedded, &x.name], &[]);
        let product = graph.sum(&products, &[1], true);
        Ok(Value::new(graph.node("Add", &[&logit, &product], &[]), Form::new(&[1])))
    }

    fn to_pytorch(&self, form: Form, code: &mut Code) -> Result<Form, NnError> {
        code.condition("ProjectionHead")?;
        code.order_units(form, None);
        let [linear, embed] = self.maps.each_ref().map(|map| map.constructor(code));
        let head =
            code.module(format!("nn.ModuleDict({{\"linear\": {linear}, \"embed\": {embed}}})"));
        code.line(format!(
            "x = {head}[\"linear\"](x) + ({head}[\"embed\"](y) * x).sum(1, keepdim=True)"
        ));
        Ok(Form::new(&[1]))
    }

    fn named_tensors(&self) -> Vec<NamedTensor<'_>> {
        let maps = ["linear", "embed"].into_iter().zip(&*self.maps);
        maps.flat_map(|(name, map)| with_prefix(name, map.named_tensors())).collect()
    }

    fn weights(&self) -> Vec<&Weight> {
        self.maps.iter().map(Linear::inner_weight).collect()
    }
}

/// The head of a projection discriminator in a recipe.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProjectionConfig {}

impl LayerSpec for ProjectionConfig {
    fn plan(&self, input: &LayerInput<'_>) -> Result<LayerPlan, String> {
        let features = input.vector()?;
        let size = input.env.condition_size;
        if size == 0 || !input.env.is_discriminator {
            return Err("belongs at the end of a discriminator, with a section [condition]".into());
        }
        let spectral = input.env.parametrization == Parametrization::SpectralNorm;
        let build = move || {
            let head = ProjectionHead::new(features, size);
            if spectral { head.with_spectral_norm() } else { head }.into()
        };
        Ok(LayerPlan {
            parameters: features as u128 + 1 + product(&[features, size]),
            multiplications: (features * (size + 1)) as f64,
            ..input.plan([1], format!("Projection {features}, condition {size}"), build)
        })
    }

    fn reads_condition(&self) -> bool {
        true
    }
}
