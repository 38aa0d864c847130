//! Losses on logits.

use crate::Tensor;

impl Tensor {
    /// The mean binary cross-entropy of logits x against targets t in [0, 1] (the loss of Goodfellow et al. 2014, equation 1, in logits), as
    /// t·softplus(−x) + (1 − t)·softplus(x): it never overflows, and keeps its relative accuracy where a classifier is sure. A scalar.
    ///
    /// # Panics
    /// When the shapes do not broadcast.
    #[track_caller]
    pub fn bce_with_logits(&self, targets: &Tensor) -> Tensor {
        let others = targets.neg().add_scalar(1.0);
        self.neg().softplus().mul(targets).add(&self.softplus().mul(&others)).mean_all()
    }
}
