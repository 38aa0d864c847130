//! What a step adds to its losses for the watch, on its own device: nothing is read back, and nothing of the run depends on it.

use nn::loss::GanLoss;
use tensor::Tensor;
use tensor::autograd::Gradients;

/// Logits this far from the boundary count as sure.
const SHARP: f32 = 1e6;

/// The share of pictures about which D is right, a scalar in [0, 1]: its logits of real ones lie above the objective's boundary, those of
/// generated ones below. That is 0, and ½ for least squares, whose targets are 0 and 1 unless its logits are `relative`: then they are −1 and 1.
pub fn accuracy(objective: GanLoss, relative: bool, real: &Tensor, fake: &Tensor) -> Tensor {
    let boundary = if objective == GanLoss::LeastSquares && !relative { 0.5 } else { 0.0 };
    let share = |logits: &Tensor, sign: f32| {
        logits.detach().add_scalar(-boundary).scale(sign * SHARP).clamp(0.0, 1.0).mean_all()
    };
    share(real, 1.0).add(&share(fake, -1.0)).scale(0.5)
}

/// The norm of all gradients taken together, a scalar; `None` without gradients.
pub fn gradient_norm(gradients: &Gradients) -> Option<Tensor> {
    let squares = gradients.iter().map(|(_, gradient)| gradient.detach().square().sum_all());
    Some(squares.reduce(|a, b| a.add(&b))?.sqrt())
}
