//! Bounds on gradients and weights.

use crate::network::Network;
use tensor::Tensor;
use tensor::autograd::Gradients;

/// Scales all gradients by one factor, so that the norm of them all taken together is at most `max_norm` (Pascanu et al. 2013), as
/// `torch.nn.utils.clip_grad_norm_`: the factor is min(1, max_norm / (norm + 1e-6)). Returns the norm before, a scalar on their device; no
/// number is read back.
///
/// # Panics
/// Without gradients, or when they are on different devices.
#[track_caller]
pub fn clip_gradients(grads: &mut Gradients, max_norm: f64) -> Tensor {
    let squares = grads.iter().map(|(_, gradient)| gradient.square().sum_all());
    let sum = squares
        .reduce(|a, b| a.add(&b))
        .unwrap_or_else(|| panic!("clip_gradients: there are no gradients"));
    let norm = sum.sqrt();
    let one = Tensor::full_on(&norm.device(), [], 1.0);
    let factor = norm.add_scalar(1e-6).recip().scale(max_norm as f32).minimum(&one);
    *grads = grads.iter().map(|(key, gradient)| (key, gradient.mul(&factor))).collect();
    norm
}

/// Cuts every parameter of `net` to [−bound, bound], after each of the critic's steps (Arjovsky et al. 2017, algorithm 1; 0.01 there).
pub fn clip_weights(net: &Network, bound: f64) {
    let bound = bound as f32;
    for (_, param) in net.params() {
        param.set(param.value().clamp(-bound, bound));
    }
}
