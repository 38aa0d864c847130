//! Losses of discriminators with class logits: semi-supervised GAN and auxiliary classifier
//! (ACGAN).
//!
//! The semi-supervised D of Salimans et al. 2016, section 5, has K + 1 classes, the last of which
//! is "generated". The logit of that class is fixed at 0 without loss of generality, so the network
//! computes K logits l `[N, K]`, and D(x) = Z / (Z + 1) with Z = Σ eˡ.

use super::GanLoss;
use serde::{Deserialize, Serialize};
use tensor::Tensor;

/// L_lab = E[−log_softmax(l)_y], the class loss of a semi-supervised D: the cross-entropy of the
/// classes of labeled real images, where `one_hot` is `[N, K]`.
///
/// With `num_labels`, only so many of the images have a label: the rows of the others are zeros and
/// the mean is over the labeled ones. It is 0 if no image has a label. For some rows of a batch it
/// is the number of labels in the batch times the share of these rows, so that their losses,
/// weighted by their shares, add up to that of the batch.
///
/// # Panics
/// Panics if the shapes differ.
#[track_caller]
pub fn supervised_class_loss(logits: &Tensor, one_hot: &Tensor, num_labels: Option<f64>) -> Tensor {
    require_class_targets(logits, one_hot);
    let num_labels = num_labels.unwrap_or(logits.shape()[0] as f64);
    let num_labels = if num_labels > 0.0 { num_labels as f32 } else { 1.0 };
    logits.log_softmax(1).mul(one_hot).sum_all().scale(-1.0 / num_labels)
}

/// The loss of a semi-supervised D on real images: L_lab of [`supervised_class_loss`] plus the real
/// half of L_unl, −½E[LSE l] + ½E[softplus(LSE l)]. That half is computed as ½E[softplus(−LSE l)],
/// which has no cancellation.
///
/// `class_logits` and `one_hot` are `[N, K]`; `real_logits` `[N]` is the [`real_logit`] of the
/// former; `num_labels` as in [`supervised_class_loss`].
#[track_caller]
pub fn semi_supervised_real_loss(
    class_logits: &Tensor,
    real_logits: &Tensor,
    one_hot: &Tensor,
    num_labels: Option<f64>,
) -> Tensor {
    let unsupervised = GanLoss::NonSaturating.real(real_logits, None).scale(0.5);
    supervised_class_loss(class_logits, one_hot, num_labels).add(&unsupervised)
}

/// The loss of a semi-supervised D on generated images: the generated half of L_unl,
/// ½E[softplus(LSE l)] of `fake_logits` LSE l, `[N]`.
#[track_caller]
pub fn semi_supervised_fake_loss(fake_logits: &Tensor) -> Tensor {
    GanLoss::NonSaturating.fake(fake_logits, None).scale(0.5)
}

/// The logit of D(x), "this image is real": LSE(l) = ln Σ eˡ, `[N]`, of class logits `[N, K]`.
///
/// # Panics
/// Panics if the logits are not a matrix.
#[track_caller]
pub fn real_logit(class_logits: &Tensor) -> Tensor {
    assert_eq!(
        class_logits.shape().rank(),
        2,
        "real_logit: shape {:?} is not [N, K]",
        class_logits.shape()
    );
    class_logits.log_sum_exp(1, false)
}

/// The kind of class targets: one-hot classes or attributes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClassTargets {
    /// Exactly one of K classes: each row is one-hot.
    OneHot,
    /// Any subset of K attributes, each in [0, 1].
    Attributes,
}

/// The auxiliary classifier loss (ACGAN, Odena et al. 2017, L_C of equation 3) on class logits `[N,
/// K]`, to be added to D's and to G's loss. It is the softmax cross-entropy for one-hot targets, or
/// the mean binary cross-entropy for attributes.
///
/// # Panics
/// Panics if the shapes differ or are not `[N, K]`.
#[track_caller]
pub fn auxiliary_classifier(logits: &Tensor, targets: &Tensor, kind: ClassTargets) -> Tensor {
    match kind {
        ClassTargets::OneHot => supervised_class_loss(logits, targets, None),
        ClassTargets::Attributes => {
            require_class_targets(logits, targets);
            logits.bce_with_logits(targets)
        }
    }
}

#[track_caller]
fn require_class_targets(logits: &Tensor, targets: &Tensor) {
    let (x, t) = (logits.shape(), targets.shape());
    assert!(x == t && x.rank() == 2, "class logits {x:?} and targets {t:?} are not both [N, K]");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_without_a_label_have_no_part() {
        let logits =
            Tensor::from_slice(&[0.3, -1.0, 2.0, 0.5, 0.1, -0.7, 1.5, -0.2, 0.9], [3, 3]).leaf();
        let one_hot = Tensor::from_slice(&[0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0], [3, 3]);
        let known = |t: &Tensor| t.index_select(&[0, 2]);
        let some = supervised_class_loss(&logits, &one_hot, Some(2.0));
        let alone = supervised_class_loss(&known(&logits), &known(&one_hot), None);
        assert!((some.item() - alone.item()).abs() < 1e-6, "{} {}", some.item(), alone.item());
        let gradients = some.backward();
        let gradient = gradients.of(&logits).map(Tensor::to_vec).unwrap_or_default();
        assert!(
            gradient[3..6].iter().all(|&g| g == 0.0) && gradient[0] > 0.0 && gradient[1] < 0.0,
            "{gradient:?}"
        );
        assert_eq!(supervised_class_loss(&logits, &Tensor::zeros([3, 3]), Some(0.0)).item(), 0.0);
    }
}
