//! Gradient penalties on D's input gradient: WGAN-GP and R1. They need second-order gradients,
//! which all layers of this crate support.

use crate::network::Network;
use tensor::Tensor;
use tensor::autograd::{Gradients, grad};

/// Added under the square root of a norm, so that its derivative is finite where the gradient is 0.
const NORM_EPS: f32 = 1e-12;

/// The WGAN-GP gradient penalty (Gulrajani et al. 2017, equation 3, two-sided): the mean of
/// (‖∇D(x̂)‖₂ − 1)² at x̂ = ε·x + (1 − ε)·G(z). The caller applies the weight λ, 10 in the paper.
///
/// `real` and `fake` are images `[N, …]`. `mix` is ε, uniform in [0, 1], `[N, 1, …]` of the same
/// rank: one value per pair. The critic maps images to one logit each; the logits must not depend
/// on other images of the batch, so the critic has no batch norm (section 4 of the paper).
///
/// The graph also holds x̂, whose gradient is not needed: take only the critic's with
/// [`gradients`].
///
/// # Panics
/// Panics if the shapes do not match.
#[track_caller]
pub fn gradient_penalty(
    critic: &dyn Fn(&Tensor) -> Tensor,
    real: &Tensor,
    fake: &Tensor,
    mix: &Tensor,
) -> Tensor {
    assert_eq!(real.shape(), fake.shape(), "gradient_penalty: real and generated images");
    let (real, fake, mix) = (real.detach(), fake.detach(), mix.detach());
    let between = fake.add(&mix.mul(&real.sub(&fake)));
    assert_eq!(
        between.shape(),
        real.shape(),
        "gradient_penalty: mix {:?} for images {:?}",
        mix.shape(),
        real.shape()
    );
    let norms = squared_norms(critic, &between).add_scalar(NORM_EPS).sqrt();
    norms.add_scalar(-1.0).square().mean_all()
}

/// The R1 penalty (Mescheder et al. 2018, equation 9): the mean of ‖∇D(x)‖² on real images `[N,
/// …]`. The caller applies the weight γ/2; γ = 10 in the paper.
///
/// The graph also holds the images: see [`gradient_penalty`].
#[track_caller]
pub fn r1(critic: &dyn Fn(&Tensor) -> Tensor, real: &Tensor) -> Tensor {
    squared_norms(critic, real).mean_all()
}

/// The squared input gradient norm ‖∇D(x)‖² of each image, `[N]`, differentiable with respect to
/// D's parameters.
#[track_caller]
fn squared_norms(critic: &dyn Fn(&Tensor) -> Tensor, images: &Tensor) -> Tensor {
    let x = images.detach().leaf();
    let logits = critic(&x);
    let count = x.shape()[0];
    assert_eq!(
        logits.len(),
        count,
        "the critic made logits {:?} of images {:?}",
        logits.shape(),
        x.shape()
    );
    // A logit depends on its own image alone, so one gradient, of the sum of all logits, holds the
    // gradient of each logit by its image.
    let ones = Tensor::full_on(&logits.device(), *logits.shape(), 1.0);
    let found = x.id().and_then(|key| grad(&[(&logits, &ones)], &[key], true).pop().flatten());
    match found {
        Some(g) => g.reshape([count, x.len() / count.max(1)]).square().sum(&[1], false),
        // The critic's output does not depend on its input.
        None => Tensor::full_on(&logits.device(), [count], 0.0),
    }
}

/// Returns the gradients of a scalar loss with respect to the parameters of `net` only. Consumes
/// the graph.
///
/// # Panics
/// Panics if the loss has more than one element, or if its graph was already consumed.
#[track_caller]
pub fn gradients(loss: &Tensor, net: &Network) -> Gradients {
    assert_eq!(
        loss.len(),
        1,
        "gradients: the loss must have one element, not shape {:?}",
        loss.shape()
    );
    let keys = net.param_ids();
    let one = Tensor::full_on(&loss.device(), *loss.shape(), 1.0);
    let found = grad(&[(loss, &one)], &keys, false);
    keys.into_iter().zip(found).filter_map(|(key, gradient)| Some((key, gradient?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tensor::Device;

    #[test]
    fn a_critic_that_is_flat_has_a_finite_penalty() {
        let w = Tensor::from_slice(&[0.0, 0.0], [2, 1]).leaf();
        let critic = |x: &Tensor| x.matmul(&w, false, false);
        let x = Tensor::ones([3, 2]);
        let loss = gradient_penalty(&critic, &x, &x, &Tensor::zeros([3, 1]));
        assert!((loss.item() - 1.0).abs() < 1e-5);
        let gradients = loss.backward();
        let gradient = gradients.of(&w).map(Tensor::to_vec).unwrap_or_default();
        assert!(gradient.len() == 2 && gradient.iter().all(|g| g.is_finite()), "{gradient:?}");
        let blind = |x: &Tensor| Tensor::full_on(&Device::Cpu, [x.shape()[0]], 3.0);
        assert_eq!(r1(&blind, &x).item(), 0.0);
    }
}
