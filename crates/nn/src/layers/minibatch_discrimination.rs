//! Minibatch discrimination.

use super::config::{LayerInput, LayerPlan, LayerSpec, check_count, default, product};
use super::module::{Layer, Module, NamedTensor};
use super::weight::Weight;
use crate::error::NnError;
use crate::export::Form;
use crate::export::onnx::{Graph, Value};
use crate::export::pytorch::Code;
use crate::layout::Layout;
use crate::mode::{ForwardCtx, Mode};
use crate::param::Param;
use serde::{Deserialize, Serialize};
use tensor::{Activation, Device, HostTensor, Tensor, concat};

/// The largest B and C.
const MAX_KERNELS: usize = 65_536;

/// The forms of minibatch discrimination.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MinibatchForm {
    /// The paper's: T as it is, no bias.
    #[default]
    Paper,
    /// The paper's, divided by N − 1: similarity between 0 and 1 whatever the batch. A sum over a
    /// large batch is so much larger than the other features that Adam's steps on its weights
    /// change the output abruptly.
    Mean,
    /// The form of the authors' code (openai/improved-gan): each column of T has length e^s, with s
    /// trained, and a bias that starts at −1.
    Code,
}

/// Minibatch discrimination (Salimans et al. 2016, section 3.2): with M = x · T, `[N, B, C]`, each
/// sample gets the B values Σ_{j≠i} exp(−‖M_ib − M_jb‖₁) appended, `[N, A]` to `[N, A + B]`. T is
/// `[A, B, C]`.
pub struct MinibatchDiscrimination {
    kernels: usize,
    dims: usize,
    form: MinibatchForm,
    weight: Weight,
    /// Log-scale `[B · C]` and bias `[B]`.
    code: Option<(Param, Param)>,
}

impl MinibatchDiscrimination {
    /// A layer of `inputs` features with T = 0, to be initialized; `kernels` is B and `dims` C.
    pub fn new(inputs: usize, kernels: usize, dims: usize, form: MinibatchForm) -> Self {
        let columns = kernels * dims;
        let layout = Layout::plain(&[inputs, columns]).with_outer_shape(&[inputs, kernels, dims]);
        let weight =
            Weight::new(layout, Layout::plain(&[inputs]), Layout::plain(&[columns]), false);
        let code =
            || (Param::new(Tensor::zeros([columns])), Param::new(Tensor::full([kernels], -1.0)));
        Self { kernels, dims, form, weight, code: (form == MinibatchForm::Code).then(code) }
    }

    /// T as one matrix `[A, B · C]`, with the lengths of the code's form.
    fn effective_weight(&self, ctx: ForwardCtx<'_>) -> Tensor {
        let theta = self.weight.leaf(ctx);
        match &self.code {
            Some((scale, _)) => {
                let lengths = theta.square().sum(&[0], true).sqrt();
                theta.mul(&scale.leaf(ctx.mode.track).exp().div(&lengths))
            }
            None => theta,
        }
    }

    /// ‖M_ib − M_jb‖₁, `[N, N, B]`.
    #[track_caller]
    fn distances(&self, x: &Tensor, ctx: ForwardCtx<'_>) -> Tensor {
        assert_eq!(
            x.shape().rank(),
            2,
            "MinibatchDiscrimination: shape {:?} is not [N, A]",
            x.shape()
        );
        x.matmul(&self.effective_weight(ctx), false, false)
            .reshape([x.shape()[0], self.kernels, self.dims])
            .pairwise_l1()
    }

    /// The features that are appended, `[N, B]`, where `x` is the whole batch.
    #[track_caller]
    fn nearness(&self, x: &Tensor, ctx: ForwardCtx<'_>) -> Tensor {
        // Without the sample itself: its e⁰, subtracted from the sum, would take the digits of a
        // sample far from all others with it.
        let n = x.shape()[0];
        let other = |at| f32::from(u8::from(at / n != at % n));
        let others: Vec<f32> = (0..n * n).map(other).collect();
        let others = Tensor::from_slice(&others, [n, n, 1]).to_device(&x.device());
        let near = self.distances(x, ctx).neg().exp().mul(&others).sum(&[1], false);
        match &self.code {
            Some((_, bias)) => near.add(&bias.leaf(ctx.mode.track)),
            None if self.form == MinibatchForm::Mean => near.scale(1.0 / (n.max(2) - 1) as f32),
            None => near,
        }
    }
}

impl Module for MinibatchDiscrimination {
    #[track_caller]
    fn forward(&self, x: &Tensor, ctx: ForwardCtx<'_>, activation: Activation) -> Tensor {
        let near = ctx.over_batch(x, |x| self.nearness(x, ctx));
        activation.apply(&concat(&[x, &near], 1))
    }

    fn deep_clone(&self) -> Layer {
        let code = self.code.as_ref().map(|(scale, bias)| (scale.deep_clone(), bias.deep_clone()));
        Self { weight: self.weight.deep_clone(), code, ..*self }.into()
    }

    fn to_onnx(&self, x: Value, graph: &mut Graph) -> Result<Value, NnError> {
        let x = graph.order_units(x, None);
        let t = self.effective_weight(Mode::SAMPLE.into());
        let t = HostTensor::f32(t.shape().to_vec(), t.to_device(&Device::Cpu).to_vec());
        let t = graph.weight("T", &t)?;
        let m = graph.node("MatMul", &[&x.name, &t], &[]);
        // [N, 1, B, C] less [N, B, C], which is [1, N, B, C].
        let [rows, columns] = [&[1, self.kernels, self.dims][..], &[self.kernels, self.dims]]
            .map(|axes| graph.reshape(&m, axes));
        let difference = graph.node("Sub", &[&rows, &columns], &[]);
        let absolute = graph.unary("Abs", &difference);
        let distances = graph.sum(&absolute, &[3], false);
        let negative = graph.unary("Neg", &distances);
        let near = graph.unary("Exp", &negative);
        // All samples but each one itself.
        let count = graph.batch_len(&x.name);
        let indices = graph.indices(&count);
        let [down, across] = [1, 0].map(|axis| {
            let axis = graph.ints(&[axis]);
            graph.node("Unsqueeze", &[&indices, &axis], &[])
        });
        let own = graph.node("Equal", &[&down, &across], &[]);
        let other = graph.unary("Not", &own);
        let other = graph.cast_to_float(&other);
        let last = graph.ints(&[2]);
        let other = graph.node("Unsqueeze", &[&other, &last], &[]);
        let others = graph.node("Mul", &[&near, &other], &[]);
        let mut sums = graph.sum(&others, &[1], false);
        if let Some((_, bias)) = &self.code {
            let bias = graph.vector("b", &[self.kernels], &bias.value().to_vec());
            sums = graph.node("Add", &[&sums, &bias], &[]);
        } else if self.form == MinibatchForm::Mean {
            let count = graph.cast_to_float(&count);
            let count = graph.with_number("Max", &count, 2.0);
            let count = graph.with_number("Sub", &count, 1.0);
            sums = graph.node("Div", &[&sums, &count], &[]);
        }
        Ok(graph.append(x, &sums, self.kernels))
    }

    fn to_pytorch(&self, form: Form, code: &mut Code) -> Result<Form, NnError> {
        let form = code.order_units(form, None);
        let (features, Self { kernels, dims, .. }) = (form.channels(), self);
        let (class, name, mean) = match self.form {
            MinibatchForm::Paper => (PAPER, "MinibatchDiscrimination", ", mean=False"),
            MinibatchForm::Mean => (PAPER, "MinibatchDiscrimination", ", mean=True"),
            MinibatchForm::Code => (CODE, "MinibatchDiscriminationCode", ""),
        };
        code.helper(NEARNESS);
        code.helper(class);
        code.call(format!("{name}({features}, {kernels}, {dims}{mean})"));
        Ok(form.with_channels(features + kernels))
    }

    /// `T`, or `theta`, `log_weight_scale` and `b` as in the code.
    fn named_tensors(&self) -> Vec<NamedTensor<'_>> {
        let Some((scale, bias)) = &self.code else { return self.weight.named_tensors("T") };
        let scales =
            Layout::plain(&[self.kernels * self.dims]).with_outer_shape(&[self.kernels, self.dims]);
        let mut tensors = self.weight.named_tensors("theta");
        tensors.push(NamedTensor::param("log_weight_scale", scales, scale));
        tensors.push(NamedTensor::param("b", Layout::plain(&[self.kernels]), bias));
        tensors
    }

    fn weights(&self) -> Vec<&Weight> {
        vec![&self.weight]
    }

    /// The initialization of the authors' code: the log-scale makes the nearest neighbor in this
    /// batch 2 away on average, the bias brings the mean of the new features to 0. The paper's form
    /// has none.
    ///
    /// # Panics
    /// Panics with fewer than two samples.
    #[track_caller]
    fn data_dependent_init(&self, x: &Tensor, ctx: ForwardCtx<'_>) {
        let Some((scale, bias)) = &self.code else { return };
        let (n, kernels) = (x.shape()[0], self.kernels);
        assert!(n > 1, "MinibatchDiscrimination: {n} samples have no neighbors to start from");
        let distances = self.distances(x, ctx).to_vec();
        let others = |i: usize, b: usize| {
            let row = &distances[i * n * kernels..];
            (0..n).filter(move |&j| j != i).map(move |j| f64::from(row[j * kernels + b]))
        };
        let mean = |f: &dyn Fn(usize) -> f64| (0..n).map(f).sum::<f64>() / n as f64;
        let (mut scales, mut biases) = (scale.value().to_vec(), Vec::with_capacity(kernels));
        for b in 0..kernels {
            // Samples that are all the same stay finite.
            let near = (0.5 * mean(&|i| others(i, b).fold(f64::INFINITY, f64::min))).max(1e-6);
            scales[b * self.dims..][..self.dims].iter_mut().for_each(|s| *s -= near.ln() as f32);
            biases.push(-mean(&|i| others(i, b).map(|d| (-d / near).exp()).sum()) as f32);
        }
        scale.set(Tensor::from_slice(&scales, [scales.len()]));
        bias.set(Tensor::from_slice(&biases, [kernels]));
    }

    fn batch_dependence(&self) -> Option<&'static str> {
        Some("MinibatchDiscrimination")
    }
}

const PAPER: &str = "\
class MinibatchDiscrimination(nn.Module):
    def __init__(self, features, kernels, dims, mean):
        super().__init__()
        self.T, self.mean = nn.Parameter(torch.zeros(features, kernels, dims)), mean

    def forward(self, x):
        near = nearness(x, self.T)
        return torch.cat([x, near / max(len(x) - 1, 1) if self.mean else near], 1)
";

const CODE: &str = "\
class MinibatchDiscriminationCode(nn.Module):
    def __init__(self, features, kernels, dims):
        super().__init__()
        self.theta = nn.Parameter(torch.zeros(features, kernels, dims))
        self.log_weight_scale = nn.Parameter(torch.zeros(kernels, dims))
        self.b = nn.Parameter(torch.full([kernels], -1.0))

    def forward(self, x):
        t = self.theta * (self.log_weight_scale.exp() / self.theta.square().sum(0).sqrt())
        return torch.cat([x, nearness(x, t) + self.b], 1)
";

const NEARNESS: &str = "\
def nearness(x, t):
    \"\"\"Sums of exp(-L1) over the batch's other samples: Salimans et al. 2016, section 3.2.\"\"\"
    m = (x @ t.flatten(1)).unflatten(1, t.shape[1:])
    near = torch.exp(-(m[:, None] - m[None]).abs().sum(3))
    return (near * (1 - torch.eye(len(x), device=x.device))[:, :, None]).sum(1)
";

/// Minibatch discrimination in a recipe: it lets D distinguish a batch of equal images from a batch
/// of different ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MinibatchDiscriminationConfig {
    /// Number of features added, B.
    pub kernels: usize,
    /// Length of the vectors compared, C.
    pub dims: usize,
    /// Which of its published forms.
    #[serde(default, skip_serializing_if = "default::is_default")]
    pub form: MinibatchForm,
}

impl LayerSpec for MinibatchDiscriminationConfig {
    fn plan(&self, input: &LayerInput<'_>) -> Result<LayerPlan, String> {
        let inputs = input.vector()?;
        let Self { kernels, dims, form } = *self;
        check_count("kernels", kernels, MAX_KERNELS)?;
        check_count("dims", dims, MAX_KERNELS)?;
        let weights = product(&[inputs, kernels, dims]);
        let of_code = match form {
            MinibatchForm::Code => product(&[kernels, dims]) + kernels as u128,
            MinibatchForm::Paper | MinibatchForm::Mean => 0,
        };
        Ok(LayerPlan {
            parameters: weights + of_code,
            multiplications: weights as f64,
            flattened: None,
            ..input.plan(
                [inputs + kernels],
                format!("MinibatchDiscrimination {kernels}x{dims}"),
                move || MinibatchDiscrimination::new(inputs, kernels, dims, form).into(),
            )
        })
    }
}
