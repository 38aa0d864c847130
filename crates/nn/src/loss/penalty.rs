//! Penalties on the discriminator's gradient by its input. They are gradients of gradients: any critic made of this crate's layers will do.

use crate::network::Network;
use tensor::Tensor;
use tensor::autograd::{Gradients, grad};

/// Under the root of a norm, so that its derivative is finite where the gradient is 0.
const TINY: f32 = 1e-12;

/// The gradient penalty of Gulrajani et al. 2017 (equation 3, two-sided, λ left to the caller; 10 there): the mean of (‖∇D(x̂)‖₂ − 1)² at
/// x̂ = ε·x + (1 − ε)·G(z).
///
/// `real` and `fake` are images `[N, …]`, `mix` is ε, uniform in [0, 1], `[N, 1, …]` of the same rank: one number for each pair. The
/// critic maps images to one logit each; they must not depend on one another, hence no batch norm in it (section 4 there).
///
/// The graph also holds x̂, of which no gradient is wanted: take those of the critic by [`gradients`].
///
/// # Panics
/// When the shapes do not fit.
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
    let norms = squared_norms(critic, &between).add_scalar(TINY).sqrt();
    norms.add_scalar(-1.0).square().mean_all()
}

/// R1 (Mescheder et al. 2018, equation 9, γ/2 left to the caller; γ = 10 there): the mean of ‖∇D(x)‖² on real images `[N, …]`.
///
/// The graph also holds the images: see [`gradient_penalty`].
#[track_caller]
pub fn r1(critic: &dyn Fn(&Tensor) -> Tensor, real: &Tensor) -> Tensor {
    squared_norms(critic, real).mean_all()
}

/// ‖∇D(x)‖² of each image, `[N]`, differentiable by the parameters of D.
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
    let ones = Tensor::full_on(&logits.device(), *logits.shape(), 1.0);
    let found = x.id().and_then(|key| grad(&[(&logits, &ones)], &[key], true).pop().flatten());
    match found {
        Some(g) => g.reshape([count, x.len() / count.max(1)]).square().sum(&[1], false),
        // A critic that does not look at its input.
        None => Tensor::full_on(&logits.device(), [count], 0.0),
    }
}

/// The gradients of a scalar loss with respect to the parameters of `net`, and of nothing else. Consumes the graph.
///
/// # Panics
/// When the loss has more than one element, or its graph was consumed before.
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
