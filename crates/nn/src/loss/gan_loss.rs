//! GAN losses: minimax, non-saturating, least squares, hinge, Wasserstein and their relativistic
//! average forms.

use serde::{Deserialize, Serialize};
use tensor::Tensor;
use tensor::distributed::BatchShard;

/// A GAN loss for discriminator D and generator G as a function of D's logits x (the output of its
/// last layer without a sigmoid), of any shape. Each loss is a scalar, a mean over the batch; D
/// minimizes [`real`](Self::real) + [`fake`](Self::fake).
///
/// Targets t are the desired outputs of D for each image, in [0, 1], in the shape of the logits or
/// broadcastable to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GanLoss {
    /// Minimax GAN loss (Goodfellow et al. 2014, equation 1): D minimizes −t·log σ(x) − (1 −
    /// t)·log(1 − σ(x)); G minimizes the mean of log(1 − σ(x)), whose gradient vanishes where D is
    /// confident.
    Minimax,
    /// Non-saturating GAN loss: D's loss is that of minimax; G minimizes the mean of −log σ(x) (the
    /// second form of section 3 of that paper).
    NonSaturating,
    /// Least squares GAN loss (LSGAN, Mao et al. 2017, equation 2, with a = 0 and b = c = 1): D
    /// minimizes ½(x − t)², G minimizes ½(x − 1)².
    LeastSquares,
    /// Hinge loss (Lim & Ye 2017; Miyato et al. 2018, equations 16 and 17): D minimizes max(0, 1 −
    /// x) on real and max(0, 1 + x) on generated images; G minimizes −x.
    Hinge,
    /// Wasserstein loss (WGAN, Arjovsky et al. 2017, equation 2): D, called the critic, minimizes
    /// −x on real and x on generated images; G minimizes −x. D must be kept Lipschitz, by weight
    /// clipping or by a gradient penalty.
    Wasserstein,
}

impl GanLoss {
    /// Returns whether D's losses take targets: cross-entropies and squares do, hinge and
    /// Wasserstein losses do not.
    pub fn takes_targets(self) -> bool {
        matches!(self, Self::Minimax | Self::NonSaturating | Self::LeastSquares)
    }

    /// Whether D's loss and accuracy can show that D dominates: a Wasserstein critic's loss has no
    /// lower bound, and the sign of its output means nothing.
    pub fn d_can_win(self) -> bool {
        self != Self::Wasserstein
    }

    /// The logit above which D classifies an image as real: 0, but ½ for least squares, whose
    /// targets are 0 and 1; relativistic least squares has −1 and 1.
    pub fn decision_boundary(self, relativistic: bool) -> f32 {
        if self == Self::LeastSquares && !relativistic { 0.5 } else { 0.0 }
    }

    /// How far from the [decision boundary](Self::decision_boundary) a logit is decided, for color
    /// scales of plots; `None` for a loss that only compares logits.
    pub fn decided_distance(self) -> Option<f64> {
        match self {
            Self::Minimax | Self::NonSaturating => Some(4.0),
            Self::LeastSquares => Some(0.5),
            Self::Hinge => Some(1.5),
            Self::Wasserstein => None,
        }
    }

    /// D's loss on real images. Without targets, all targets are 1.
    ///
    /// # Panics
    /// Panics if there are targets and this loss does not [take](Self::takes_targets) them, or if
    /// they do not broadcast to the logits.
    #[track_caller]
    pub fn real(self, logits: &Tensor, target: Option<&Tensor>) -> Tensor {
        self.discriminator(logits, 1.0, target, 0.0)
    }

    /// D's loss on generated images. Without targets, all targets are 0.
    ///
    /// # Panics
    /// Panics under the same conditions as [`real`](Self::real).
    #[track_caller]
    pub fn fake(self, logits: &Tensor, target: Option<&Tensor>) -> Tensor {
        self.discriminator(logits, 0.0, target, 0.0)
    }

    /// G's loss on D's logits of generated images.
    pub fn generator(self, fake_logits: &Tensor) -> Tensor {
        match self {
            Self::Minimax => self.fake(fake_logits, None).neg(),
            Self::NonSaturating | Self::LeastSquares => self.real(fake_logits, None),
            Self::Hinge | Self::Wasserstein => fake_logits.mean_all().neg(),
        }
    }

    /// G's loss with swapped labels, where D is trained to output 1 for generated images and 0 for
    /// real ones.
    ///
    /// # Panics
    /// Panics if this loss does not [take](Self::takes_targets) targets, because there is then
    /// nothing to swap.
    #[track_caller]
    pub fn swapped_generator(self, fake_logits: &Tensor) -> Tensor {
        assert!(self.takes_targets(), "swapped_generator: {self:?} has no targets to swap");
        match self {
            Self::Minimax => self.real(fake_logits, None).neg(),
            _ => self.fake(fake_logits, None),
        }
    }

    /// D's losses on real and on generated images in the relativistic average form (RaGAN,
    /// Jolicoeur-Martineau 2019, algorithm 2): the mean logit of the other kind is first subtracted
    /// from each logit. Least squares then has the targets 1 and −1, as in the paper's appendix (a
    /// target t becomes 2t − 1), with the factor ½ of [`LeastSquares`](Self::LeastSquares).
    /// Wasserstein is already relativistic: this form doubles it. Means are those of the batch of
    /// which `shard` has these rows.
    ///
    /// # Panics
    /// Panics under the same conditions as [`real`](Self::real).
    #[track_caller]
    pub fn relativistic_discriminator(
        self,
        real: &Tensor,
        fake: &Tensor,
        targets: (Option<&Tensor>, Option<&Tensor>),
        shard: &BatchShard,
    ) -> (Tensor, Tensor) {
        let (real, fake) = relative(real, fake, shard);
        (
            self.discriminator(&real, 1.0, targets.0, -1.0),
            self.discriminator(&fake, 0.0, targets.1, -1.0),
        )
    }

    /// G's loss in the relativistic average form: D's loss with real and generated images
    /// exchanged, or for [`Minimax`](Self::Minimax) D's loss negated. The logits of real images
    /// carry no gradient of their own to G, but the mean of the generated logits that is subtracted
    /// from them does.
    pub fn relativistic_generator(
        self,
        real: &Tensor,
        fake: &Tensor,
        shard: &BatchShard,
    ) -> Tensor {
        let (real, fake) = relative(real, fake, shard);
        match self {
            Self::Minimax => self
                .discriminator(&real, 1.0, None, -1.0)
                .add(&self.discriminator(&fake, 0.0, None, -1.0))
                .neg(),
            _ => self
                .discriminator(&fake, 1.0, None, -1.0)
                .add(&self.discriminator(&real, 0.0, None, -1.0)),
        }
    }

    /// D's loss on real (`label` 1) or generated (`label` 0) images; `label` is the target if none
    /// are given. The target of least squares is `low` + (1 − `low`)·t.
    #[track_caller]
    fn discriminator(
        self,
        logits: &Tensor,
        label: f32,
        target: Option<&Tensor>,
        low: f32,
    ) -> Tensor {
        if let Some(t) = target {
            assert!(self.takes_targets(), "{self:?} takes no targets");
            let (x, t) = (logits.shape(), t.shape());
            assert_eq!(
                x.broadcast(t),
                Some(*x),
                "{self:?}: targets {t:?} do not broadcast to the logits {x:?}"
            );
        }
        let sign = 1.0 - 2.0 * label;
        match (self, target) {
            (Self::Minimax | Self::NonSaturating, Some(t)) => logits.bce_with_logits(t),
            (Self::Minimax | Self::NonSaturating, None) => {
                logits.bce_with_logits(&Tensor::full_on(&logits.device(), [], label))
            }
            (Self::LeastSquares, target) => {
                let off = match target {
                    Some(t) => logits.sub(&t.scale(1.0 - low).add_scalar(low)),
                    None => logits.add_scalar(-(low + (1.0 - low) * label)),
                };
                off.square().mean_all().scale(0.5)
            }
            (Self::Hinge, _) => logits.scale(sign).add_scalar(1.0).relu().mean_all(),
            (Self::Wasserstein, _) => logits.mean_all().scale(sign),
        }
    }
}

/// Subtracts from each logit the mean of the other kind, of all ranks.
#[track_caller]
fn relative(real: &Tensor, fake: &Tensor, shard: &BatchShard) -> (Tensor, Tensor) {
    (real.sub(&shard.mean_all(fake)), fake.sub(&shard.mean_all(real)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cross_entropies_do_not_overflow() {
        let loss = GanLoss::NonSaturating;
        let logits = Tensor::from_slice(&[-2.0, 0.0, 3.0, 200.0], [4]).leaf();
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let softplus = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
        let xs = [-2.0, 0.0, 3.0, 200.0];
        for (loss, sign) in [
            (loss.real(&logits, None), -1.0),
            (loss.fake(&logits, None), 1.0),
            (loss.generator(&logits), -1.0),
        ] {
            let expected = xs.iter().map(|x| softplus(sign * x)).sum::<f64>() / 4.0;
            assert!(
                (f64::from(loss.item()) - expected).abs() < 1e-5 * expected,
                "{} {expected}",
                loss.item()
            );
            let gradients = loss.backward();
            let gradient = gradients.of(&logits).map(Tensor::to_vec).unwrap_or_default();
            assert_eq!(gradient.len(), 4);
            for (g, x) in gradient.iter().zip(xs) {
                let expected = sign * sigmoid(sign * x) / 4.0;
                assert!((f64::from(*g) - expected).abs() < 1e-6, "{g} {expected}");
            }
        }
    }

    #[test]
    #[should_panic(expected = "Hinge takes no targets")]
    fn margins_have_no_targets() {
        let x = Tensor::zeros([2]);
        let _ = GanLoss::Hinge.real(&x, Some(&x));
    }

    #[test]
    #[should_panic(expected = "targets [2] do not broadcast to the logits [2, 1]")]
    fn targets_do_not_widen_the_logits() {
        let _ = GanLoss::LeastSquares.real(&Tensor::zeros([2, 1]), Some(&Tensor::zeros([2])));
    }
}
