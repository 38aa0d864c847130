//! Batch normalisation, fused with the activation that follows in both directions, and bias, fused in the forward one.

use crate::Tensor;
use crate::autograd::Save;
use crate::autograd::record;
use crate::cpu::{Buffer, norm as kernel};
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

/// An elementwise function that a normalisation or a bias applies on the way out.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// x.
    None,
    /// max(x, 0).
    Relu,
    /// x for x > 0, else slope · x.
    LeakyRelu(f32),
    /// Hyperbolic tangent.
    Tanh,
    /// 1 / (1 + e⁻ˣ).
    Sigmoid,
}

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
}

/// The result of [`Tensor::batch_norm`].
pub struct BatchNorm {
    /// The normalised and activated tensor, of the input's shape.
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
        assert_eq!(t.shape()[..], [channels], "{name}: {what} has shape {:?} beside x {:?}", t.shape(), x.shape());
    }
    channels
}

impl Tensor {
    /// activation(γ · (x − mean) / √(variance + eps) + β) with the statistics of this batch over all axes but the last (Ioffe & Szegedy 2015).
    ///
    /// # Panics
    /// When γ or β is not `[C]`, or there is no row.
    #[track_caller]
    pub fn batch_norm(&self, gamma: &Tensor, beta: &Tensor, eps: f32, activation: Activation) -> BatchNorm {
        let channels = check("batch_norm", self, &[("gamma", gamma), ("beta", beta)]);
        assert!(!self.is_empty(), "batch_norm: shape {:?} has no rows", self.shape());
        let (mean, variance) = kernel::statistics(self.data(), channels);
        let rstd: Vec<f32> = variance.iter().map(|v| (1.0 / (f64::from(*v) + f64::from(eps)).sqrt()) as f32).collect();
        let constants = kernel::Constants { mean: &mean, rstd: &rstd, gamma: gamma.data(), beta: beta.data() };
        let (scale, offset) = constants.affine();
        let mut out = Buffer::uninit(self.len());
        kernel::scale_shift(self.data(), &scale, &offset, activation, &mut out);
        let result = Tensor::from_buffer(out, *self.shape());
        let (mean_t, variance_t) = (Tensor::from_slice(&mean, [channels]), Tensor::from_slice(&variance, [channels]));
        let save = |_: &Tensor| smallvec![Save::input(self), Save::input(gamma), Save::input(beta)];
        let output = record(result, "batch_norm", &[self, gamma, beta], save, move |saved, dy| {
            let (x, gamma, beta) = (saved.get(0), saved.get(1), saved.get(2));
            if saved.create_graph() {
                return composite_grads(x, gamma, beta, eps, activation, dy);
            }
            let constants = kernel::Constants { mean: &mean, rstd: &rstd, gamma: gamma.data(), beta: beta.data() };
            let mut dx = saved.needs(0).then(|| Buffer::uninit(x.len()));
            let (dgamma, dbeta) = kernel::backward(x.data(), dy.data(), &constants, activation, dx.as_deref_mut());
            smallvec![
                dx.map(|dx| Tensor::from_buffer(dx, *x.shape())),
                saved.when(1, || Tensor::from_slice(&dgamma, [channels])),
                saved.when(2, || Tensor::from_slice(&dbeta, [channels])),
            ]
        });
        BatchNorm { output, mean: mean_t, variance: variance_t }
    }

    /// activation(x · scale + offset), `scale` and `offset` `[C]` over the last axis: batch norm with known statistics.
    ///
    /// # Panics
    /// When scale or offset is not `[C]`.
    #[track_caller]
    pub fn scale_shift(&self, scale: &Tensor, offset: &Tensor, activation: Activation) -> Tensor {
        check("scale_shift", self, &[("scale", scale), ("offset", offset)]);
        if self.is_tracked() || scale.is_tracked() || offset.is_tracked() {
            return activation.apply(&self.mul(scale).add(offset));
        }
        let mut out = Buffer::uninit(self.len());
        if !self.is_empty() {
            kernel::scale_shift(self.data(), scale.data(), offset.data(), activation, &mut out);
        }
        Tensor::from_buffer(out, *self.shape())
    }

    /// activation(x + bias), `bias` `[C]` over the last axis.
    ///
    /// # Panics
    /// When the bias is not `[C]`.
    #[track_caller]
    pub fn bias_activation(&self, bias: &Tensor, activation: Activation) -> Tensor {
        let channels = check("bias_activation", self, &[("bias", bias)]);
        let mut out = Buffer::uninit(self.len());
        if !self.is_empty() {
            kernel::scale_shift(self.data(), &vec![1.0; channels], bias.data(), activation, &mut out);
        }
        let out = Tensor::from_buffer(out, *self.shape());
        let save = |_: &Tensor| smallvec![Save::input(self), Save::input(bias)];
        record(out, "bias_activation", &[self, bias], save, move |saved, dy| {
            let g = activation_grad(&saved.get(0).add(saved.get(1)), activation, dy);
            let axes: Vec<usize> = (0..g.shape().rank() - 1).collect();
            smallvec![saved.when(0, || g.clone()), saved.when(1, || g.sum(&axes, false))]
        })
    }
}

/// The gradients of batch norm in differentiable operations. Mean and variance are recomputed from x, so that the second
/// order sees that they depend on it.
fn composite_grads(
    x: &Tensor,
    gamma: &Tensor,
    beta: &Tensor,
    eps: f32,
    activation: Activation,
    dy: &Tensor,
) -> crate::autograd::ParentGrads {
    let axes: Vec<usize> = (0..x.shape().rank() - 1).collect();
    let centred = x.sub(&x.mean(&axes, true));
    let rstd = centred.square().mean(&axes, true).add_scalar(eps).sqrt().recip();
    let normal = centred.mul(&rstd);
    let before = normal.mul(gamma).add(beta);
    let g = activation_grad(&before, activation, dy);
    let gn = g.mul(&normal);
    let inner = g.sub(&g.mean(&axes, true)).sub(&normal.mul(&gn.mean(&axes, true)));
    let dx = inner.mul(&rstd).mul(gamma);
    smallvec![Some(dx), Some(gn.sum(&axes, false)), Some(g.sum(&axes, false))]
}

/// dy times the activation's derivative at its argument, in differentiable operations.
fn activation_grad(before: &Tensor, activation: Activation, dy: &Tensor) -> Tensor {
    match activation {
        Activation::None => dy.clone(),
        Activation::Relu => dy.mul(&step(before, 0.0)),
        Activation::LeakyRelu(slope) => dy.mul(&step(before, slope)),
        Activation::Tanh => dy.sub(&dy.mul(&before.tanh().square())),
        Activation::Sigmoid => {
            let s = before.sigmoid();
            dy.mul(&s.sub(&s.square()))
        }
    }
}

/// The slope of a leaky rectifier at `x`: piecewise constant, so no gradient flows through it.
fn step(x: &Tensor, slope: f32) -> Tensor {
    let x = x.detach();
    x.relu().div(&x.relu().maximum(&Tensor::scalar(f32::MIN_POSITIVE))).scale(1.0 - slope).add_scalar(slope)
}
