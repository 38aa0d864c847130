//! Gradient clipping by global norm and weight clipping.

use crate::network::Network;
use tensor::Tensor;
use tensor::autograd::Gradients;

/// Gradient clipping: scales all gradients by one factor, so that their joint norm is at most
/// `max_norm` (Pascanu et al. 2013), as `torch.nn.utils.clip_grad_norm_` does. The factor is min(1,
/// max_norm / (norm + 1e-6)). Returns the norm before clipping, a scalar on the gradients' device;
/// no value is read back to the host.
///
/// # Panics
/// Panics without gradients, or if they are on different devices.
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

/// WGAN weight clipping: clamps every parameter of `net` to [−bound, bound], to be called after
/// each of the critic's steps (Arjovsky et al. 2017, algorithm 1, where the bound is 0.01).
pub fn clip_weights(net: &Network, bound: f64) {
    let bound = bound as f32;
    for (_, param) in net.params() {
        param.set(param.value().clamp(-bound, bound));
    }
}
