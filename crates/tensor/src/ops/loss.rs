//! Losses on logits.

use super::elementwise::binary;
use crate::descriptors::Binary;
use crate::tensor::Tensor;
use crate::tensor::autograd::{SavedTensor, record};
use smallvec::smallvec;

impl Tensor {
    /// The mean binary cross-entropy of logits x against targets t in [0, 1] (the loss of
    /// Goodfellow et al. 2014, equation 1, in logits), as t·softplus(−x) + (1 −
    /// t)·softplus(x): it never overflows, and keeps its relative accuracy where a classifier is
    /// sure. A scalar.
    ///
    /// # Panics
    /// Panics if the shapes do not broadcast.
    #[track_caller]
    pub fn bce_with_logits(&self, targets: &Tensor) -> Tensor {
        let each = record(
            binary("bce_with_logits", self, targets, Binary::Bce),
            "bce_with_logits",
            &[self, targets],
            |_| smallvec![SavedTensor::input(self), SavedTensor::input(targets)],
            |ctx, g| {
                let (x, t) = (ctx.saved(0), ctx.saved(1));
                ctx.pair(
                    || g.mul(&x.bce_with_logits_grad(t)).sum_to(x.shape()),
                    // softplus(−x) − softplus(x) is −x.
                    || g.mul(x).neg().sum_to(t.shape()),
                )
            },
        );
        each.mean_all()
    }

    /// (1 − t)·σ(x) − t·σ(−x): the derivative of each term by its logit, without the
    /// cancellation of σ(x) − t.
    #[track_caller]
    fn bce_with_logits_grad(&self, targets: &Tensor) -> Tensor {
        record(
            binary("bce_with_logits", self, targets, Binary::BceGrad),
            "bce_with_logits_grad",
            &[self, targets],
            |_| smallvec![SavedTensor::input(self), SavedTensor::input(targets)],
            |ctx, g| {
                let (x, t) = (ctx.saved(0), ctx.saved(1));
                // σ' is the same at x and −x, and σ(x) + σ(−x) is 1.
                let curve = || x.sigmoid().mul(&x.neg().sigmoid());
                ctx.pair(|| g.mul(&curve()).sum_to(x.shape()), || g.neg().sum_to(t.shape()))
            },
        )
    }
}
