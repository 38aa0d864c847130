//! The metrics of a training step: computed on the device, read back later.

use crate::TrainError;
use nn::Recipe;
use nn::loss::GanLoss;
use tensor::autograd::Gradients;
use tensor::distributed::{BatchShard, ProcessGroup};
use tensor::{Device, PendingRead, Tensor, read_async};

/// Factor before the clamp to [0, 1] that turns a logit's sign into 0 or 1.
const SIGN_SCALE: f32 = 1e6;

/// Losses and other metrics of one step, on the host.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepMetrics {
    /// D's loss, the sum of its means on real and on generated images; with cross-entropy
    /// −log D(x) − log(1 − D(G(z))).
    pub d_loss: f32,
    /// G's loss after D's update; with the non-saturating loss −log D(G(z)).
    pub g_loss: f32,
    /// Mean of D(x) before D's update, in [0, 1].
    pub d_real: f32,
    /// Mean of D(G(z)) before D's update, in [0, 1].
    pub d_fake: f32,
    /// D's accuracy before its update: the share of real and generated images that it classifies
    /// correctly, in [0, 1].
    pub d_accuracy: f32,
    /// The norm of G's gradient, in steps that are logged.
    pub g_grad_norm: Option<f32>,
}

/// Which loss or gradient was the first of a step to be NaN or infinite: the error codes of the
/// check that runs on the device. The optimizers skip all updates from there on.
pub(super) mod non_finite_source {
    pub const D_LOSS: f32 = 1.0;
    pub const D_GRADIENT: f32 = 2.0;
    pub const G_LOSS: f32 = 3.0;
    pub const G_GRADIENT: f32 = 4.0;

    pub fn name(code: f32) -> &'static str {
        match code {
            D_LOSS => "the discriminator's loss",
            D_GRADIENT => "the discriminator's gradient",
            G_LOSS => "the generator's loss",
            _ => "the generator's gradient",
        }
    }
}

/// The metrics of a step that the device may not have finished: a GPU computes the next step
/// meanwhile.
#[must_use = "NaN and infinity of a step are only reported by `wait`"]
pub struct PendingMetrics {
    step: u64,
    device: Device,
    group: ProcessGroup,
    reading: PendingRead,
}

/// The first metrics that are read are summed over the processes; the others are equal in all.
const SUMMED: usize = 3;

impl PendingMetrics {
    /// Starts to read the metrics of the finished step number `step`; `non_finite` is the device's
    /// error code.
    pub(super) fn read(
        step: u64,
        (device, group): (&Device, &ProcessGroup),
        d: &DStepMetrics,
        g: &GStepMetrics,
        non_finite: &Tensor,
    ) -> Self {
        let DStepMetrics { loss_real, loss_fake, d_real, d_fake, accuracy } = d;
        let mut values = vec![d_real, d_fake, accuracy, loss_real, loss_fake, &g.loss, non_finite];
        values.extend(&g.grad_norm);
        let (device, group) = (device.clone(), group.clone());
        Self { step, device, group, reading: read_async(&values) }
    }

    /// The number of the step, counted from 1.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// Waits for the device and returns the metrics.
    ///
    /// # Errors
    /// Returns [`TrainError::NonFinite`] if a loss or gradient of this step or of an earlier one is
    /// NaN or infinite; no weight was updated with it, nor since. Returns [`TrainError::Gpu`] if
    /// the device has failed.
    pub fn wait(self) -> Result<StepMetrics, TrainError> {
        let mut values = self.reading.wait();
        self.device.check()?;
        self.group.all_reduce(&mut values[..SUMMED]);
        let [d_real, d_fake, d_accuracy, loss_real, loss_fake, g_loss, non_finite, ref norm @ ..] =
            values[..]
        else {
            unreachable!("a step has 7 metrics, {} were read", values.len());
        };
        if non_finite != 0.0 {
            let what = non_finite_source::name(non_finite).into();
            return Err(TrainError::NonFinite { step: self.step, what });
        }
        Ok(StepMetrics {
            d_loss: loss_real + loss_fake,
            g_loss,
            d_real,
            d_fake,
            d_accuracy,
            g_grad_norm: norm.first().copied(),
        })
    }
}

/// Metrics of an update of D, scalars on the device.
#[derive(Clone)]
pub(super) struct DStepMetrics {
    pub loss_real: Tensor,
    pub loss_fake: Tensor,
    d_real: Tensor,
    d_fake: Tensor,
    accuracy: Tensor,
}

impl DStepMetrics {
    /// Metrics of D's losses and of its logits `[N]` on real and on generated images, of rows
    /// `shard`: each is a summand of that of the global batch.
    pub fn new(
        recipe: &Recipe,
        [loss_real, loss_fake]: [&Tensor; 2],
        [real, fake]: [&Tensor; 2],
        shard: &BatchShard,
    ) -> Self {
        let [real, fake] = [real.detach(), fake.detach()];
        let [d_real, d_fake] =
            [&real, &fake].map(|logits| shard.weighted(&logits.sigmoid().mean_all()));
        let relativistic = recipe.objective.relativistic;
        // A relativistic D outputs a logit's distance from the mean of the other kind.
        let [real, fake] = if relativistic {
            [real.sub(&shard.mean_all(&fake)), fake.sub(&shard.mean_all(&real))]
        } else {
            [real, fake]
        };
        // With swapped labels the correct output for generated images is that for real ones.
        let [real, fake] = if recipe.labels.swap { [fake, real] } else { [real, fake] };
        let accuracy = accuracy(recipe.objective.loss, relativistic, &real, &fake);
        let accuracy = shard.weighted(&accuracy);
        let [loss_real, loss_fake] = [loss_real.detach(), loss_fake.detach()];
        Self { loss_real, loss_fake, d_real, d_fake, accuracy }
    }

    /// The sum with the metrics of other rows.
    pub fn add(&self, other: &Self) -> Self {
        Self {
            loss_real: self.loss_real.add(&other.loss_real),
            loss_fake: self.loss_fake.add(&other.loss_fake),
            d_real: self.d_real.add(&other.d_real),
            d_fake: self.d_fake.add(&other.d_fake),
            accuracy: self.accuracy.add(&other.accuracy),
        }
    }
}

/// Metrics of an update of G, scalars on the device.
pub(super) struct GStepMetrics {
    pub loss: Tensor,
    /// The norm of its gradient, in steps that are logged.
    pub grad_norm: Option<Tensor>,
}

/// D's accuracy, a scalar in [0, 1]: the share of real logits above the loss's decision boundary
/// and of generated ones below it.
fn accuracy(loss: GanLoss, relativistic: bool, real: &Tensor, fake: &Tensor) -> Tensor {
    let boundary = loss.decision_boundary(relativistic);
    let share = |logits: &Tensor, sign: f32| {
        logits.detach().add_scalar(-boundary).scale(sign * SIGN_SCALE).clamp(0.0, 1.0).mean_all()
    };
    share(real, 1.0).add(&share(fake, -1.0)).scale(0.5)
}

/// The L2 norm of all gradients taken together, a scalar; `None` without gradients.
pub(super) fn gradient_norm(gradients: &Gradients) -> Option<Tensor> {
    let squares = gradients.iter().map(|(_, gradient)| gradient.detach().square().sum_all());
    Some(squares.reduce(|a, b| a.add(&b))?.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accuracy_counts_logits_on_the_right_side_of_the_boundary() {
        let logits = |values: &[f32]| Tensor::from_slice(values, [values.len(), 1]);
        let (real, fake) = (logits(&[3.0, 0.7, -0.2, 1e30]), logits(&[-1e-3, 0.2, 0.6, -1e30]));
        let accuracy = |loss, relativistic| accuracy(loss, relativistic, &real, &fake).item();
        assert_eq!(accuracy(GanLoss::NonSaturating, false), 5.0 / 8.0);
        assert_eq!(accuracy(GanLoss::LeastSquares, false), 6.0 / 8.0);
        // Relativistic least squares has targets of 1 and −1.
        assert_eq!(accuracy(GanLoss::LeastSquares, true), 5.0 / 8.0);
        assert_eq!(accuracy(GanLoss::NonSaturating, true), 5.0 / 8.0);
    }

    #[test]
    fn the_gradient_norm_is_that_of_all_gradients() {
        let a = Tensor::from_slice(&[1.0, 2.0], [2]).leaf();
        let b = Tensor::from_slice(&[2.0], [1]).leaf();
        let gradients = a.square().sum_all().add(&b.sum_all().scale(4.0)).backward();
        assert_eq!(gradient_norm(&gradients).map(|norm| norm.item()), Some(6.0));
    }
}
