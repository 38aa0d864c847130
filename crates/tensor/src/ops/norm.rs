//! Batch normalization, fused with the activation that follows in the forward and backward pass,
//! and bias, fused in the forward pass.

use super::kernel;
use crate::cpu::buffer::Buffer;
use crate::cpu::norm as cpu;
use crate::descriptors::Activation;
use crate::device::Device;
use crate::distributed::ProcessGroup;
use crate::gpu::kernels::norm as gpu;
use crate::shape::Shape;
use crate::storage::on_device;
use crate::tensor::Tensor;
use crate::tensor::autograd::{BackwardCtx, ParentGrads, SavedTensor, record};
use smallvec::smallvec;

impl Activation {
    /// The function applied to `x`.
    pub fn apply(self, x: &Tensor) -> Tensor {
        match self {
            Activation::None => x.clone(),
            Activation::Relu => x.relu(),
            Activation::LeakyRelu(slope) => x.leaky_relu(slope),
            Activation::Tanh => x.tanh(),
            Activation::Sigmoid => x.sigmoid(),
        }
    }

    /// The function applied to `x`, rectifiers with the backward pass of [guided
    /// backpropagation](Tensor::guided_leaky_relu).
    pub fn guided(self, x: &Tensor) -> Tensor {
        match self {
            Activation::Relu => x.guided_leaky_relu(0.0),
            Activation::LeakyRelu(slope) => x.guided_leaky_relu(slope),
            Activation::None | Activation::Tanh | Activation::Sigmoid => self.apply(x),
        }
    }
}

/// The result of [`Tensor::batch_norm`].
pub struct BatchNorm {
    /// The normalized and activated tensor, of the input's shape.
    pub output: Tensor,
    /// The batch mean of each channel, `[C]`; no gradient flows through it.
    pub mean: Tensor,
    /// The biased batch variance of each channel, `[C]`; no gradient flows through it.
    pub variance: Tensor,
}

#[track_caller]
fn check(name: &str, x: &Tensor, per_channel: &[(&str, &Tensor)]) -> usize {
    let Some(&channels) = x.shape().last() else { panic!("{name}: a scalar has no channels") };
    for (what, t) in per_channel {
        assert_eq!(
            t.shape()[..],
            [channels],
            "{name}: {what} has shape {:?} for x {:?}",
            t.shape(),
            x.shape()
        );
    }
    channels
}

impl Tensor {
    /// activation(γ · (x − mean) / √(variance + eps) + β) with the statistics of this batch
    /// over all axes but the last (Ioffe & Szegedy 2015).
    ///
    /// # Panics
    /// Panics if γ or β is not `[C]`, or there is no row.
    #[track_caller]
    pub fn batch_norm(
        &self,
        gamma: &Tensor,
        beta: &Tensor,
        eps: f32,
        activation: Activation,
    ) -> BatchNorm {
        self.sync_batch_norm(gamma, beta, eps, activation, &ProcessGroup::default())
    }

    /// [`batch_norm`](Self::batch_norm) with the statistics of the batches of all ranks of `group`
    /// (PyTorch: `SyncBatchNorm`). The gradients of γ and β are those of this rank's loss alone, as
    /// other parameters' are: their sum over all ranks is that of the whole batch.
    ///
    /// # Panics
    /// Panics as [`batch_norm`](Self::batch_norm).
    #[track_caller]
    pub fn sync_batch_norm(
        &self,
        gamma: &Tensor,
        beta: &Tensor,
        eps: f32,
        activation: Activation,
        group: &ProcessGroup,
    ) -> BatchNorm {
        let channels = check("batch_norm", self, &[("gamma", gamma), ("beta", beta)]);
        let (gamma_t, beta_t) = (gamma, beta);
        assert!(!self.is_empty(), "batch_norm: shape {:?} has no rows", self.shape());
        let (shape, x) = (*self.shape(), self);
        // The kernels of a GPU know one batch.
        if !group.is_single() && matches!(x.device(), Device::Gpu(_)) {
            return composite(x, gamma, beta, eps, activation, group);
        }
        let group = group.clone();
        let save = |_: &Tensor| {
            smallvec![
                SavedTensor::input(self),
                SavedTensor::input(gamma_t),
                SavedTensor::input(beta_t)
            ]
        };
        on_device!("batch_norm"; x, gamma, beta;
            cpu => {
                let (statistics, rows) = over_ranks(cpu::statistics(x, channels), x, &group);
                let cpu::Statistics { mean, variance, .. } = &statistics;
                let rstd = |v: &f32| (1.0 / (f64::from(*v) + f64::from(eps)).sqrt()) as f32;
                let rstd: Vec<f32> = variance.iter().map(rstd).collect();
                let constants =
                    cpu::Constants { statistics: &statistics, rstd: &rstd, gamma, beta };
                let (scale, offset) = constants.affine();
                let mut out = Buffer::uninit(shape.len());
                cpu::normalize(x, [mean, &scale, &offset], activation, &mut out);
                let out = Tensor::from_buffer(out, shape);
                let [mean, variance] =
                    [mean, variance].map(|values| Tensor::from_slice(values, [channels]));
                let backward = move |ctx: &BackwardCtx<'_>, dy: &Tensor| {
                    fused_or_composite(ctx, dy, eps, activation, &group, |x, gamma, beta| {
                        let [x, dy, gamma, beta] =
                            [x, dy, gamma, beta].map(|t| t.on_cpu("batch_norm"));
                        let constants =
                            cpu::Constants { statistics: &statistics, rstd: &rstd, gamma, beta };
                        let mut dx = ctx.needs_input_grad(0).then(|| Buffer::uninit(shape.len()));
                        let sum_all = |sums: &mut [f64]| group.all_reduce_f64(sums);
                        let all = cpu::AllRows { count: rows, sum: &sum_all };
                        let dx_slice = dx.as_deref_mut();
                        let (dgamma, dbeta) =
                            cpu::backward(x, dy, &constants, activation, dx_slice, &all);
                        let per_channel = |values: &[f32]| Tensor::from_slice(values, [channels]);
                        smallvec![
                            dx.map(|dx| Tensor::from_buffer(dx, shape)),
                            ctx.needs_input_grad(1).then(|| per_channel(&dgamma)),
                            ctx.needs_input_grad(2).then(|| per_channel(&dbeta)),
                        ]
                    })
                };
                let output = record(out, "batch_norm", &[self, gamma_t, beta_t], save, backward);
                BatchNorm { output, mean, variance }
            },
            gpu => {
                let statistics = gpu::statistics(x, gamma, beta, eps);
                let out = gpu::normalize(x, &statistics, activation);
                let out = Tensor::from_gpu_buffer(out, shape);
                let [mean, variance] = [&statistics.mean, &statistics.variance]
                    .map(|buffer| Tensor::from_shared(buffer, [channels]));
                let backward = move |ctx: &BackwardCtx<'_>, dy: &Tensor| {
                    fused_or_composite(ctx, dy, eps, activation, &group, |x, _, _| {
                        let [x, dy] = [x, dy].map(|t| t.on_gpu("batch_norm"));
                        let wants_dx = ctx.needs_input_grad(0);
                        let (dx, dgamma, dbeta) =
                            gpu::backward(x, dy, &statistics, eps, activation, wants_dx);
                        let per_channel = |b| Tensor::from_gpu_buffer(b, Shape::from([channels]));
                        smallvec![
                            dx.map(|dx| Tensor::from_gpu_buffer(dx, shape)),
                            ctx.needs_input_grad(1).then(|| per_channel(dgamma)),
                            ctx.needs_input_grad(2).then(|| per_channel(dbeta)),
                        ]
                    })
                };
                let output = record(out, "batch_norm", &[self, gamma_t, beta_t], save, backward);
                BatchNorm { output, mean, variance }
            }
        )
    }

    /// activation(x · scale + offset), `scale` and `offset` `[C]` over the last axis: batch norm
    /// with known statistics.
    ///
    /// # Panics
    /// Panics unless scale and offset are `[C]`.
    #[track_caller]
    pub fn scale_shift(&self, scale: &Tensor, offset: &Tensor, activation: Activation) -> Tensor {
        check("scale_shift", self, &[("scale", scale), ("offset", offset)]);
        if self.is_tracked() || scale.is_tracked() || offset.is_tracked() {
            return activation.apply(&self.mul(scale).add(offset));
        }
        if self.is_empty() {
            return self.detach();
        }
        let (x, shape) = (self, *self.shape());
        kernel!("scale_shift", shape; x, scale, offset;
            cpu |out| cpu::scale_shift(x, scale, offset, activation, out),
            gpu gpu::scale_shift(x, scale, offset, activation)
        )
    }

    /// activation(x + bias), `bias` `[C]` over the last axis.
    ///
    /// # Panics
    /// Panics unless the bias is `[C]`.
    #[track_caller]
    pub fn bias_activation(&self, bias: &Tensor, activation: Activation) -> Tensor {
        let channels = check("bias_activation", self, &[("bias", bias)]);
        let (x, shape) = (self, *self.shape());
        let out = kernel!("bias_activation", shape; x, bias;
            cpu |out| if !out.is_empty() {
                cpu::scale_shift(x, &vec![1.0; channels], bias, activation, out)
            },
            gpu gpu::bias(x, bias, activation)
        );
        let save = |_: &Tensor| smallvec![SavedTensor::input(self), SavedTensor::input(bias)];
        record(out, "bias_activation", &[self, bias], save, move |ctx, dy| {
            let g = activation_grad(&ctx.saved(0).add(ctx.saved(1)), activation, dy);
            let axes: Vec<usize> = (0..g.shape().rank() - 1).collect();
            ctx.pair(|| g.clone(), || g.sum(&axes, false))
        })
    }
}

/// The gradients of batch norm: by the fused kernels, or by differentiable operations if they will
/// be differentiated.
fn fused_or_composite(
    ctx: &BackwardCtx<'_>,
    dy: &Tensor,
    eps: f32,
    activation: Activation,
    group: &ProcessGroup,
    fused: impl FnOnce(&Tensor, &Tensor, &Tensor) -> ParentGrads,
) -> ParentGrads {
    let (x, gamma, beta) = (ctx.saved(0), ctx.saved(1), ctx.saved(2));
    if ctx.create_graph() {
        composite_grads(x, gamma, beta, eps, activation, (dy, group))
    } else {
        fused(x, gamma, beta)
    }
}

/// Statistics of the rows of all ranks from each rank's own, and the number of these rows.
fn over_ranks(
    own: cpu::ExactStatistics,
    x: &[f32],
    group: &ProcessGroup,
) -> (cpu::Statistics, usize) {
    let channels = own.mean.len();
    let rows = x.len() / channels;
    if group.is_single() {
        return (own.rounded(), rows);
    }
    let message = [&[rows as f64], &own.mean[..], &own.variance].concat();
    let all = group.all_gather_f64(&message);
    let ranks = || all.chunks_exact(message.len());
    let rows: f64 = ranks().map(|rank| rank[0]).sum();
    let mut statistics =
        cpu::ExactStatistics { mean: vec![0.0; channels], variance: vec![0.0; channels] };
    for c in 0..channels {
        let mean = ranks().map(|rank| rank[0] * rank[1 + c]).sum::<f64>() / rows;
        let squares = |rank: &[f64]| {
            let between = rank[1 + c] - mean;
            rank[0] * (rank[1 + channels + c] + between * between)
        };
        statistics.mean[c] = mean;
        statistics.variance[c] = ranks().map(squares).sum::<f64>() / rows;
    }
    (statistics.rounded(), rows as usize)
}

/// Means over all axes but the last, `[1, …, 1, C]`, of the rows of all ranks; differentiable.
struct BatchMean<'a> {
    axes: Vec<usize>,
    rows: f32,
    group: &'a ProcessGroup,
}

impl<'a> BatchMean<'a> {
    fn new(x: &Tensor, group: &'a ProcessGroup) -> Self {
        let channels = x.shape().last().copied().unwrap_or(1);
        let mut rows = [(x.len() / channels) as f64];
        group.all_reduce_f64(&mut rows);
        Self { axes: (0..x.shape().rank() - 1).collect(), rows: rows[0] as f32, group }
    }

    fn of(&self, x: &Tensor) -> Tensor {
        if self.group.is_single() {
            return x.mean(&self.axes, true);
        }
        x.sum(&self.axes, true).all_reduce(self.group).scale(1.0 / self.rows)
    }

    /// (x − mean) / √(variance + eps) with the statistics of all rows.
    fn normalize(&self, x: &Tensor, eps: f32) -> Normalized {
        let mean = self.of(x);
        let centered = x.sub(&mean);
        // The mean of these is the rounding error of the mean, which matters where |mean| ≫ std.
        let centered = centered.sub(&self.of(&centered));
        let variance = self.of(&centered.square());
        let rstd = variance.add_scalar(eps).sqrt().recip();
        Normalized { values: centered.mul(&rstd), mean, variance, rstd }
    }
}

/// Normalized values, and by what they were normalized, `[1, …, 1, C]`.
struct Normalized {
    values: Tensor,
    mean: Tensor,
    variance: Tensor,
    /// 1 / √(variance + eps)
    rstd: Tensor,
}

/// Batch norm over the ranks of a group in differentiable operations.
fn composite(
    x: &Tensor,
    gamma: &Tensor,
    beta: &Tensor,
    eps: f32,
    activation: Activation,
    group: &ProcessGroup,
) -> BatchNorm {
    let normal = BatchMean::new(x, group).normalize(x, eps);
    let output = activation.apply(&normal.values.mul(gamma).add(beta));
    let [mean, variance] =
        [normal.mean, normal.variance].map(|t| t.detach().reshape([gamma.len()]));
    BatchNorm { output, mean, variance }
}

/// The gradients of batch norm in differentiable operations. Mean and variance are recomputed from
/// x, so that second-order gradients include their dependence on it.
fn composite_grads(
    x: &Tensor,
    gamma: &Tensor,
    beta: &Tensor,
    eps: f32,
    activation: Activation,
    (dy, group): (&Tensor, &ProcessGroup),
) -> ParentGrads {
    let mean = BatchMean::new(x, group);
    let axes = &mean.axes;
    let Normalized { values: normal, rstd, .. } = mean.normalize(x, eps);
    let before = normal.mul(gamma).add(beta);
    let g = activation_grad(&before, activation, dy);
    let gn = g.mul(&normal);
    let inner = g.sub(&mean.of(&g)).sub(&normal.mul(&mean.of(&gn)));
    let dx = inner.mul(&rstd).mul(gamma);
    smallvec![Some(dx), Some(gn.sum(axes, false)), Some(g.sum(axes, false))]
}

/// dy times the derivative of the activation at `before`, in differentiable operations.
fn activation_grad(before: &Tensor, activation: Activation, dy: &Tensor) -> Tensor {
    match activation {
        Activation::None => dy.clone(),
        Activation::Relu => dy.leaky_relu_backward(before, 0.0),
        Activation::LeakyRelu(slope) => dy.leaky_relu_backward(before, slope),
        Activation::Tanh => dy.sub(&dy.mul(&before.tanh().square())),
        Activation::Sigmoid => {
            let s = before.sigmoid();
            dy.mul(&s.sub(&s.square()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distributed::{BatchShard, run_on_threads};
    use crate::rng::Philox;
    use crate::tensor::autograd::grad;

    /// Values of a batch norm and its gradients of first and second order by x, for rows of this
    /// rank, and those by γ and β.
    fn results(x: &Tensor, weights: &Tensor, group: &ProcessGroup) -> [Vec<f32>; 5] {
        let (gamma, beta) = (
            Tensor::from_slice(&[1.5, -0.5, 2.0], [3]).leaf(),
            Tensor::from_slice(&[0.1, 0.2, -0.3], [3]).leaf(),
        );
        let x = x.leaf();
        let forward = || x.sync_batch_norm(&gamma, &beta, 1e-3, Activation::LeakyRelu(0.2), group);
        let y = forward();
        assert_eq!(y.mean.len() + y.variance.len(), 6);
        let loss = y.output.square().mul(weights).sum_all();
        let one = Tensor::scalar(1.0);
        let first = grad(&[(&loss, &one)], &[x.id().unwrap()], true).remove(0).unwrap();
        let second = first.square().sum_all().backward();
        let plain = forward().output.square().mul(weights).sum_all().backward();
        let of = |leaf: &Tensor| plain.of(leaf).map(Tensor::to_vec).unwrap_or_default();
        let second = second.of(&x).map(Tensor::to_vec).unwrap_or_default();
        [y.output.to_vec(), of(&x), second, of(&gamma), of(&beta)]
    }

    #[test]
    fn ranks_normalize_by_the_statistics_of_all_rows() {
        let x = Philox::new(1, 0).normal([7, 2, 2, 3], 100.0, 2.0);
        let weights = Philox::new(2, 0).normal([7, 2, 2, 3], 0.0, 1.0);
        let whole = results(&x, &weights, &ProcessGroup::default());
        let ranks = run_on_threads(3, |group| {
            let rows = BatchShard::new(group.clone(), 7, [0, 1]).rows();
            let own = |t: &Tensor| t.narrow(0, rows.start, rows.len());
            results(&own(&x), &own(&weights), &group)
        });
        for (kind, whole) in whole.iter().enumerate() {
            let parts = ranks.iter().map(|rank| &rank[kind]);
            let found: Vec<f32> = if kind < 3 {
                parts.flatten().copied().collect()
            } else {
                // Gradients of parameters are summed when all are computed.
                (0..3).map(|c| parts.clone().map(|part| part[c]).sum()).collect()
            };
            assert_eq!(found.len(), whole.len());
            let largest = whole.iter().fold(0f32, |a, b| a.max(b.abs()));
            for (a, b) in found.iter().zip(whole) {
                assert!((a - b).abs() < 1e-4 * largest, "{kind}: {a} {b}");
            }
        }
    }
}
