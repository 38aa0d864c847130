//! Discriminators that know classes.
//!
//! The semi-supervised one of Salimans et al. 2016, section 5, has K + 1 classes, the last of which is "generated"; its logit is fixed at 0,
//! which loses nothing, so the network makes K logits l `[N, K]` and D(x) = Z / (Z + 1) with Z = Σ eˡ.

use serde::{Deserialize, Serialize};
use tensor::Tensor;

/// L_lab = E[LSE(l) − l_y]: the cross-entropy of the classes of labelled real images, `one_hot` being `[N, K]`.
///
/// # Panics
/// When the shapes differ.
#[track_caller]
pub fn supervised_class_loss(logits: &Tensor, one_hot: &Tensor) -> Tensor {
    auxiliary_classifier(logits, one_hot, ClassTargets::OneHot)
}

/// [`labelled`] where only `known` of the images have a label: the mean over them; the rows of the others are zeros. 0 where none has.
///
/// # Panics
/// When the shapes differ.
#[track_caller]
pub fn supervised_class_loss_of_labeled(logits: &Tensor, one_hot: &Tensor, known: usize) -> Tensor {
    let (x, t) = (logits.shape(), one_hot.shape());
    assert!(x == t && x.rank() == 2, "class logits {x:?} and targets {t:?} are not both [N, K]");
    let own = logits.mul(one_hot).sum(&[1], false);
    real_logit(logits)
        .mul(&one_hot.sum(&[1], false))
        .sub(&own)
        .sum_all()
        .scale(1.0 / known.max(1) as f32)
}

/// L_unl = −½E[LSE l] + ½E[softplus(LSE l)] + ½E[softplus(LSE l')] over the logits l `[N, K]` of unlabelled real images and l' of generated
/// ones. The first two terms are computed as ½E[softplus(−LSE l)], which does not cancel.
#[track_caller]
pub fn unlabelled(real_logits: &Tensor, fake_logits: &Tensor) -> Tensor {
    let real = real_logit(real_logits).neg().softplus().mean_all();
    real.add(&real_logit(fake_logits).softplus().mean_all()).scale(0.5)
}

/// The logit of D(x), "this image is real": LSE(l) = ln Σ eˡ, `[N]`, of class logits `[N, K]`.
///
/// # Panics
/// When the logits are not a matrix.
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

/// What the class targets of a picture are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClassTargets {
    /// Exactly one of K classes: rows of zeros with a one.
    OneHot,
    /// Any of K attributes, each in [0, 1].
    Attributes,
}

/// The classifier's loss of Odena et al. 2017 (ACGAN, L_C of equation 3) on class logits `[N, K]`, to be added to D's and to G's loss: the
/// softmax cross-entropy of one-hot targets, or the mean binary cross-entropy of attributes.
///
/// # Panics
/// When the shapes differ or are not `[N, K]`.
#[track_caller]
pub fn auxiliary_classifier(logits: &Tensor, targets: &Tensor, kind: ClassTargets) -> Tensor {
    let (x, t) = (logits.shape(), targets.shape());
    assert!(x == t && x.rank() == 2, "class logits {x:?} and targets {t:?} are not both [N, K]");
    match kind {
        ClassTargets::OneHot => {
            real_logit(logits).sub(&logits.mul(targets).sum(&[1], false)).mean_all()
        }
        ClassTargets::Attributes => logits.bce_with_logits(targets),
    }
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
        let (some, alone) = (
            supervised_class_loss_of_labeled(&logits, &one_hot, 2),
            supervised_class_loss(&known(&logits), &known(&one_hot)),
        );
        assert!((some.item() - alone.item()).abs() < 1e-6, "{} {}", some.item(), alone.item());
        let gradients = some.backward();
        let gradient = gradients.of(&logits).map(Tensor::to_vec).unwrap_or_default();
        assert!(
            gradient[3..6].iter().all(|&g| g == 0.0) && gradient[0] > 0.0 && gradient[1] < 0.0,
            "{gradient:?}"
        );
        assert_eq!(
            supervised_class_loss_of_labeled(&logits, &Tensor::zeros([3, 3]), 0).item(),
            0.0
        );
    }
}
