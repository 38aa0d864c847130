//! Losses on logits.

use crate::Tensor;

impl Tensor {
    /// The mean binary cross-entropy of logits x against targets t in [0, 1]: softplus(x) − t·x, which never overflows (the
    /// loss of Goodfellow et al. 2014, equation 1, in logits). A scalar.
    ///
    /// # Panics
    /// When the shapes do not broadcast.
    #[track_caller]
    pub fn bce_with_logits(&self, targets: &Tensor) -> Tensor {
        self.softplus().sub(&self.mul(targets)).mean_all()
    }
}
