//! Virtual batch normalization (Salimans et al. 2016, section 3.5).

use super::config::{LayerInput, LayerPlan, LayerSpec};
use super::module::{Layer, Module, NamedTensor, affine_tensors};
use crate::error::NnError;
use crate::export::Form;
use crate::export::onnx::{Graph, Value};
use crate::export::pytorch::Code;
use crate::inference_layer::InferenceLayer;
use crate::layout::Layout;
use crate::mode::ForwardCtx;
use crate::param::{Param, SharedTensor};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tensor::{Activation, Tensor, concat};

/// Virtual batch normalization: γ · (x − mean) / √(variance + eps) + β over the last axis,
/// `[N, F]` or `[N, H, W, C]`, with the statistics of a fixed reference batch of n rows and of each
/// sample itself, as in openai/improved-gan: mean = n/(n+1) · the reference's + 1/(n+1) · the
/// sample's, and the mean of squares likewise. The reference itself is normalized by its own
/// statistics. The [`Network`](crate::Network) holds it, and runs it at the head of each batch:
/// gradients flow through both.
pub struct VirtualBatchNorm {
    gamma: Param,
    beta: Param,
    eps: f32,
    /// The statistics of the reference in a network for sampling only, which runs no reference.
    known: Option<KnownMoments>,
}

/// Mean and variance of each channel, `[1, …, 1, C]`, over this many rows.
struct Moments {
    mean: Tensor,
    variance: Tensor,
    rows: usize,
}

/// [`Moments`] that move with the network to another device.
struct KnownMoments {
    mean: SharedTensor,
    variance: SharedTensor,
    rows: usize,
}

impl KnownMoments {
    fn new(moments: Moments) -> Self {
        let Moments { mean, variance, rows } = moments;
        Self { mean: SharedTensor::new(mean), variance: SharedTensor::new(variance), rows }
    }

    fn get(&self) -> Moments {
        Moments { mean: self.mean.get(), variance: self.variance.get(), rows: self.rows }
    }
}

impl VirtualBatchNorm {
    /// γ = 1 and β = 0, `[C]` each.
    pub fn new(channels: usize, eps: f32) -> Self {
        let (gamma, beta) =
            (Param::new(Tensor::ones([channels])), Param::new(Tensor::zeros([channels])));
        Self { gamma, beta, eps, known: None }
    }

    /// Whether the layer needs a reference at the head of the batch.
    pub(crate) fn needs_reference(&self) -> bool {
        self.known.is_none()
    }

    /// The layer with fixed statistics, those of this reference, for sampling only.
    pub(crate) fn with_reference_stats(&self, reference: &Tensor) -> Self {
        let (means, variances) = moments_of_rows(reference);
        let known = Some(KnownMoments::new(over(&means, &variances)));
        Self { known, ..self.copy() }
    }

    fn copy(&self) -> Self {
        let known = self.known.as_ref().map(|known| KnownMoments::new(known.get()));
        let (gamma, beta) = (self.gamma.deep_clone(), self.beta.deep_clone());
        Self { gamma, beta, eps: self.eps, known }
    }
}

impl Module for VirtualBatchNorm {
    #[track_caller]
    fn forward(&self, x: &Tensor, ctx: ForwardCtx<'_>, activation: Activation) -> Tensor {
        let (gamma, beta) = (self.gamma.leaf(ctx.mode.track), self.beta.leaf(ctx.mode.track));
        let (means, variances) = moments_of_rows(x);
        let head = if self.known.is_some() { 0 } else { ctx.reference };
        let reference = match &self.known {
            Some(known) => known.get(),
            None => over(&means.narrow(0, 0, head), &variances.narrow(0, 0, head)),
        };
        // Only the samples behind the reference blend its statistics with their own.
        let live = |t: &Tensor| t.narrow(0, head, t.shape()[0] - head);
        let (mean, variance) = reference.blended(&live(&means), &live(&variances));
        let all = |of_reference: &Tensor, of_live: &Tensor| {
            let mut shape = of_reference.shape().to_vec();
            shape[0] = head;
            if head == 0 {
                of_live.clone()
            } else {
                concat(&[&of_reference.broadcast_to(&shape[..]), of_live], 0)
            }
        };
        let (mean, variance) = (all(&reference.mean, &mean), all(&reference.variance, &variance));
        let scale = variance.add_scalar(self.eps).sqrt().recip().mul(&gamma);
        // The difference comes first: x · scale − mean · scale would cancel where |mean| ≫ std.
        x.sub(&mean).mul(&scale).bias_activation(&beta, activation)
    }

    fn inference_layer(&self) -> Option<InferenceLayer> {
        // Its statistics are known in a folded network.
        let known = self.known.as_ref()?.get();
        let settings = json!({ "eps": self.eps, "rows": known.rows });
        let operation = InferenceLayer::new("virtual-batch-norm", settings)
            .with("scale", self.gamma.value())
            .with("shift", self.beta.value());
        Some(operation.with("mean", known.mean).with("variance", known.variance))
    }

    fn deep_clone(&self) -> Layer {
        self.copy().into()
    }

    fn to_onnx(&self, x: Value, graph: &mut Graph) -> Result<Value, NnError> {
        let Some(known) = self.known.as_ref().map(|known| known.get()) else {
            return Err(graph.refuse("VirtualBatchNorm"));
        };
        let x = graph.order_units(x, None);
        let is_image = x.form.image().is_some();
        let shape = &[x.form.channels(), 1, 1][..if is_image { 3 } else { 1 }];
        // The blend of `Moments::blended`.
        let n = known.rows as f32;
        let (old, new) = (n / (n + 1.0), 1.0 / (n + 1.0));
        let mut vector = |name: &str, value: &Tensor| graph.vector(name, shape, &value.to_vec());
        let gamma = vector("weight", &self.gamma.value());
        let beta = vector("bias", &self.beta.value());
        let reference = vector("reference_mean", &known.mean);
        let old_mean = vector("reference_mean_share", &known.mean.scale(old));
        let old_variance = vector("reference_var_share", &known.variance.scale(old));
        let own_mean = if is_image { graph.mean(&x.name, &[2, 3], true) } else { x.name.clone() };
        let between = graph.node("Sub", &[&own_mean, &reference], &[]);
        let between = graph.node("Mul", &[&between, &between], &[]);
        let between = graph.with_number("Mul", &between, old * new);
        let new_mean = graph.with_number("Mul", &own_mean, new);
        let mean = graph.node("Add", &[&old_mean, &new_mean], &[]);
        let mut variance = graph.node("Add", &[&old_variance, &between], &[]);
        if is_image {
            let centered = graph.node("Sub", &[&x.name, &own_mean], &[]);
            let squares = graph.node("Mul", &[&centered, &centered], &[]);
            let own = graph.mean(&squares, &[2, 3], true);
            let own = graph.with_number("Mul", &own, new);
            variance = graph.node("Add", &[&variance, &own], &[]);
        }
        let variance = graph.with_number("Add", &variance, self.eps);
        let deviation = graph.unary("Sqrt", &variance);
        let scale = graph.node("Div", &[&gamma, &deviation], &[]);
        let centered = graph.node("Sub", &[&x.name, &mean], &[]);
        let scaled = graph.node("Mul", &[&centered, &scale], &[]);
        Ok(Value::new(graph.node("Add", &[&scaled, &beta], &[]), x.form))
    }

    fn to_pytorch(&self, form: Form, code: &mut Code) -> Result<Form, NnError> {
        if code.reference == 0 {
            return Err(code.refuse("VirtualBatchNorm"));
        }
        let form = code.order_units(form, None);
        code.helper(VIRTUAL);
        let (channels, rows, eps) = (form.channels(), code.reference, self.eps);
        code.call(format!("VirtualBatchNorm({channels}, {rows}, eps={eps:e})"));
        Ok(form)
    }

    fn named_tensors(&self) -> Vec<NamedTensor<'_>> {
        let layout = Layout::plain(self.gamma.shared().read().shape());
        affine_tensors(&self.gamma, &self.beta, &layout)
    }

    fn constants(&self) -> Vec<&SharedTensor> {
        self.known.as_ref().map_or(Vec::new(), |known| vec![&known.mean, &known.variance])
    }

    fn gamma(&self) -> Option<&Param> {
        Some(&self.gamma)
    }
}

impl Moments {
    /// Means and variances of samples with these of their own. The variance is n/(n+1) · the
    /// reference's + 1/(n+1) · its own + n/(n+1)² · (difference of the means)²: the mean of squares
    /// less the square of the mean, without their cancellation.
    fn blended(&self, means: &Tensor, variances: &Tensor) -> (Tensor, Tensor) {
        let n = self.rows as f32;
        let (old, new) = (n / (n + 1.0), 1.0 / (n + 1.0));
        let between = means.sub(&self.mean).square().scale(old * new);
        let blend = |reference: &Tensor, own: &Tensor| reference.scale(old).add(&own.scale(new));
        (blend(&self.mean, means), blend(&self.variance, variances).add(&between))
    }
}

/// Mean and variance of each channel of each sample, `[N, 1, 1, C]` or `[N, F]`.
#[track_caller]
fn moments_of_rows(x: &Tensor) -> (Tensor, Tensor) {
    match x.shape().rank() {
        // One value per channel is its own mean.
        2 => (x.clone(), x.scale(0.0)),
        4 => {
            let mean = x.mean(&[1, 2], true);
            let variance = x.sub(&mean).square().mean(&[1, 2], true);
            (mean, variance)
        }
        _ => panic!("VirtualBatchNorm: shape {:?} is neither [N, F] nor [N, H, W, C]", x.shape()),
    }
}

/// The moments over all samples, from each one's own.
fn over(means: &Tensor, variances: &Tensor) -> Moments {
    let mean = means.mean(&[0], true);
    let between = means.sub(&mean).square().mean(&[0], true);
    Moments { variance: variances.mean(&[0], true).add(&between), mean, rows: means.shape()[0] }
}

const VIRTUAL: &str = "\
class VirtualBatchNorm(nn.Module):
    \"\"\"The first rows of x are the reference batch: Salimans et al. 2016, section 3.5.\"\"\"

    def __init__(self, channels, rows, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.rows, self.eps = rows, eps

    def forward(self, x):
        n = self.rows
        pixels = x.flatten(2) if x.dim() == 4 else x[:, :, None]
        mean, var = pixels.mean(2), pixels.var(2, correction=0)
        first = mean[:n].mean(0)
        first_var = var[:n].mean(0) + (mean[:n] - first).square().mean(0)
        between = n / (n + 1) ** 2 * (mean[n:] - first).square()
        mean = torch.cat([first.expand(n, -1), (n * first + mean[n:]) / (n + 1)])
        var = torch.cat([first_var.expand(n, -1), (n * first_var + var[n:]) / (n + 1) + between])
        pixel = (...,) + (None,) * (x.dim() - 2)
        scale = self.weight / (var + self.eps).sqrt()
        return (x - mean[pixel]) * scale[pixel] + self.bias[pixel]
";

/// Virtual batch norm in a recipe. For generators.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VirtualBatchNormConfig {}

impl LayerSpec for VirtualBatchNormConfig {
    fn plan(&self, input: &LayerInput<'_>) -> Result<LayerPlan, String> {
        let (channels, eps) = (input.channels(), input.env.eps);
        Ok(LayerPlan {
            parameters: 2 * channels as u128,
            ..input.plan(input.shape, "VirtualBatchNorm", move || {
                VirtualBatchNorm::new(channels, eps).into()
            })
        })
    }

    fn keeps_units(&self) -> bool {
        true
    }
}
