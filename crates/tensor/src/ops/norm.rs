//! Batch normalization, fused with the activation that follows in the forward and backward pass,
//! and bias, fused in the forward pass.

use super::kernel;
use crate::cpu::buffer::Buffer;
use crate::cpu::norm as cpu;
use crate::descriptors::Activation;
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
        let channels = check("batch_norm", self, &[("gamma", gamma), ("beta", beta)]);
        let (gamma_t, beta_t) = (gamma, beta);
        assert!(!self.is_empty(), "batch_norm: shape {:?} has no rows", self.shape());
        let (shape, x) = (*self.shape(), self);
        let save = |_: &Tensor| {
            smallvec![
                SavedTensor::input(self),
                SavedTensor::input(gamma_t),
                SavedTensor::input(beta_t)
            ]
        };
        on_device!("batch_norm"; x, gamma, beta;
            cpu => {
                let statistics = cpu::statistics(x, channels);
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
                    fused_or_composite(ctx, dy, eps, activation, |x, gamma, beta| {
                        let [x, dy, gamma, beta] =
                            [x, dy, gamma, beta].map(|t| t.on_cpu("batch_norm"));
                        let constants =
                            cpu::Constants { statistics: &statistics, rstd: &rstd, gamma, beta };
                        let mut dx = ctx.needs_input_grad(0).then(|| Buffer::uninit(shape.len()));
                        let (dgamma, dbeta) =
                            cpu::backward(x, dy, &constants, activation, dx.as_deref_mut());
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
                    fused_or_composite(ctx, dy, eps, activation, |x, _, _| {
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
    fused: impl FnOnce(&Tensor, &Tensor, &Tensor) -> ParentGrads,
) -> ParentGrads {
    let (x, gamma, beta) = (ctx.saved(0), ctx.saved(1), ctx.saved(2));
    if ctx.create_graph() {
        composite_grads(x, gamma, beta, eps, activation, dy)
    } else {
        fused(x, gamma, beta)
    }
}

/// The gradients of batch norm in differentiable operations. Mean and variance are recomputed from
/// x, so that second-order gradients include their dependence on it.
fn composite_grads(
    x: &Tensor,
    gamma: &Tensor,
    beta: &Tensor,
    eps: f32,
    activation: Activation,
    dy: &Tensor,
) -> ParentGrads {
    let axes: Vec<usize> = (0..x.shape().rank() - 1).collect();
    let centered = x.sub(&x.mean(&axes, true));
    // The mean of these is the rounding error of the mean, which matters where |mean| ≫ std.
    let centered = centered.sub(&centered.mean(&axes, true));
    let rstd = centered.square().mean(&axes, true).add_scalar(eps).sqrt().recip();
    let normal = centered.mul(&rstd);
    let before = normal.mul(gamma).add(beta);
    let g = activation_grad(&before, activation, dy);
    let gn = g.mul(&normal);
    let inner = g.sub(&g.mean(&axes, true)).sub(&normal.mul(&gn.mean(&axes, true)));
    let dx = inner.mul(&rstd).mul(gamma);
    smallvec![Some(dx), Some(gn.sum(&axes, false)), Some(g.sum(&axes, false))]
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
