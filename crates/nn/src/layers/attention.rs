//! Self-attention between the positions of an image (SAGAN: Zhang et al. 2019).

use super::config::{LayerInput, LayerPlan, LayerSpec};
use super::conv::{Conv2d, Window};
use super::module::{Layer, Module, NamedTensor, with_prefix};
use super::weight::{Parametrization, Weight};
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

/// Self-attention: x + γ · o, `[N, H, W, C]` to the same, with o_j = Σ_i β_ji h(x_i), where β_j is
/// the softmax over i of ⟨f(x_i), g(x_j)⟩ (equations 1 and 2). In the form of the paper's first
/// version: f and g are 1×1 convolutions to C/8 channels (at least one), h to C, none has a bias,
/// and no other follows. γ starts at 0, so that the layer starts as the identity. In a state dict:
/// `f.weight`, `g.weight`, `h.weight`, `gamma` `[1]`.
pub struct SelfAttention {
    /// The 1×1 convolutions f, g and h.
    convs: Box<[Conv2d; 3]>,
    gamma: Param,
}

impl SelfAttention {
    /// A layer with convolutions of zeros.
    pub fn new(channels: usize) -> Self {
        let narrow = (channels / 8).max(1);
        let pointwise = |outputs| {
            let window = Window { kernel: [1, 1], stride: [1, 1], pad: [[0, 0], [0, 0]] };
            Conv2d::new(channels, outputs, window, false)
        };
        Self {
            convs: Box::new([narrow, narrow, channels].map(pointwise)),
            gamma: Param::new(Tensor::zeros([1])),
        }
    }

    /// The layer with spectral norm in its three convolutions, as in the paper.
    ///
    /// # Panics
    /// Panics if they have it already.
    #[track_caller]
    pub fn with_spectral_norm(self) -> Self {
        Self { convs: Box::new(self.convs.map(Conv2d::with_spectral_norm)), ..self }
    }
}

impl Module for SelfAttention {
    #[track_caller]
    fn forward(&self, x: &Tensor, ctx: ForwardCtx<'_>, activation: Activation) -> Tensor {
        let s = *x.shape();
        assert_eq!(s.rank(), 4, "SelfAttention: shape {s:?} is not [N, H, W, C]");
        let [f, g, h] = self.convs.each_ref().map(|conv| {
            let y = conv.forward(x, ctx, Activation::None);
            y.reshape([s[0], s[1] * s[2], y.shape()[3]])
        });
        // Row j of the product has ⟨f(x_i), g(x_j)⟩ for all i, so the last axis sums to one.
        let attention = g.matmul(&f, false, true).softmax(2);
        let gamma = self.gamma.leaf(ctx.mode.track);
        activation.apply(&attention.matmul(&h, false, false).reshape(s).mul(&gamma).add(x))
    }

    fn inference_layer(&self) -> Option<InferenceLayer> {
        let convs = ["f", "g", "h"].into_iter().zip(&*self.convs);
        let operation =
            convs.fold(InferenceLayer::new("attention", json!({})), |all, (name, conv)| {
                let weight = conv.inner_weight().value();
                let [_, _, inputs, outputs] = weight.shape()[..] else { return all };
                all.with(name, weight.reshape([inputs, outputs]))
            });
        Some(operation.with("gamma", self.gamma.value()))
    }

    fn deep_clone(&self) -> Layer {
        let convs = Box::new(self.convs.each_ref().map(Conv2d::copy));
        Self { convs, gamma: self.gamma.deep_clone() }.into()
    }

    fn to_onnx(&self, x: Value, graph: &mut Graph) -> Result<Value, NnError> {
        let Some([h, w, c]) = x.form.image() else { return Err(graph.refuse("SelfAttention")) };
        let mut maps = Vec::new();
        for (name, conv) in ["f.", "g.", "h."].into_iter().zip(&*self.convs) {
            let (y, form) = conv.add_to_graph(name, &x, graph)?;
            maps.push(graph.reshape(&y, &[form.channels(), h * w]));
        }
        let swapped = [("perm", Attribute::Ints(&[0, 2, 1]))];
        let g = graph.node("Transpose", &[&maps[1]], &swapped);
        let products = graph.node("MatMul", &[&g, &maps[0]], &[]);
        let attention = graph.node("Softmax", &[&products], &[("axis", Attribute::Int(2))]);
        let attention = graph.node("Transpose", &[&attention], &swapped);
        let attended = graph.node("MatMul", &[&maps[2], &attention], &[]);
        let attended = graph.reshape(&attended, &[c, h, w]);
        let gamma = graph.vector("gamma", &[1], &self.gamma.value().to_vec());
        let scaled = graph.node("Mul", &[&attended, &gamma], &[]);
        Ok(Value::new(graph.node("Add", &[&scaled, &x.name], &[]), x.form))
    }

    fn to_pytorch(&self, form: Form, code: &mut Code) -> Result<Form, NnError> {
        code.helper(ATTENTION);
        let convs = self.convs.each_ref().map(|conv| conv.constructor(code).0);
        code.call(format!("SelfAttention({})", convs.join(", ")));
        Ok(form)
    }

    fn named_tensors(&self) -> Vec<NamedTensor<'_>> {
        let convs = ["f", "g", "h"].into_iter().zip(&*self.convs);
        let mut tensors: Vec<_> =
            convs.flat_map(|(name, conv)| with_prefix(name, conv.named_tensors())).collect();
        tensors.push(NamedTensor::param("gamma", Layout::plain(&[1]), &self.gamma));
        tensors
    }

    fn weights(&self) -> Vec<&Weight> {
        self.convs.iter().map(Conv2d::inner_weight).collect()
    }
}

const ATTENTION: &str = "\
class SelfAttention(nn.Module):
    def __init__(self, f, g, h):
        super().__init__()
        self.f, self.g, self.h, self.gamma = f, g, h, nn.Parameter(torch.zeros(1))

    def forward(self, x):
        f, g, h = (conv(x).flatten(2) for conv in (self.f, self.g, self.h))
        attention = (g.transpose(1, 2) @ f).softmax(2)
        return self.gamma * (h @ attention.transpose(1, 2)).reshape(x.shape) + x
";

/// Self-attention in a recipe.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttentionConfig {}

impl LayerSpec for AttentionConfig {
    fn plan(&self, input: &LayerInput<'_>) -> Result<LayerPlan, String> {
        let [h, w, channels] = input.image()?;
        if channels < 8 {
            return Err(format!("needs at least 8 channels, and there are {channels}"));
        }
        let narrow = (channels / 8).max(1);
        let (c, p) = (channels as f64, (h * w) as f64);
        let parametrization = input.env.parametrization;
        let build = move || match parametrization {
            Parametrization::SpectralNorm => {
                SelfAttention::new(channels).with_spectral_norm().into()
            }
            _ => SelfAttention::new(channels).into(),
        };
        Ok(LayerPlan {
            parameters: (channels * (2 * narrow + channels) + 1) as u128,
            multiplications: p * c * (c + c / 4.0) + p * p * (c + c / 8.0),
            ..input.plan(input.shape, "SelfAttention", build)
        })
    }
}
