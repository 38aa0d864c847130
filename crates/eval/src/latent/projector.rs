//! Latents by gradient descent: several random starts, by Adam (Kingma & Ba 2015), all at once.

use crate::{EvalError, Progress};
use nn::recipe::LatentDistribution;
use tensor::{FiniteCheck, OptimizerKind, ParamUpdate, Tensor, UpdateStep, update};
use train::Sampler;

/// How latents are looked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LatentOptimizer {
    /// Steps, at least 1.
    pub steps: usize,
    /// The learning rate at the start; it falls to 0 along half a cosine.
    pub lr: f64,
    /// Random starts, at least 1; of each condition, where there are several.
    pub starts: usize,
    /// Of the starts.
    pub seed: u64,
    /// Weight of the mean square of a latent beside the loss, where latents are normal. Uniform ones are kept within [−1, 1] instead.
    pub prior: f64,
}

/// The ends of all starts.
pub(super) struct ProjectionResult {
    /// `[starts, latent]`, on the CPU.
    pub latents: Tensor,
    /// What each was told, `[starts, K]`, on the CPU.
    pub told: Option<Tensor>,
    /// The loss of each, without the prior.
    pub losses: Vec<f32>,
    /// The number of the least loss.
    pub best: usize,
}

impl LatentOptimizer {
    /// Makes `loss` (of pictures `[S, H, W, C]` in [−1, 1] and conditions `[S, K]`, `[S]`) small. `conditions` `[M, K]` are candidates: every start is made with each.
    pub(super) fn run(
        &self,
        sampler: &Sampler,
        conditions: Option<&Tensor>,
        loss: impl Fn(&Tensor, Option<&Tensor>) -> Tensor,
        progress: Progress<'_>,
    ) -> Result<ProjectionResult, EvalError> {
        let (recipe, device) = (sampler.recipe(), sampler.device());
        let candidates = conditions.map_or(1, |rows| rows.shape()[0]);
        let count = candidates * self.starts;
        let starts = train::latents(recipe, self.seed, self.starts);
        let mut z = starts
            .index_select(&(0..count).map(|i| i % self.starts).collect::<Vec<_>>())
            .to_device(device);
        let of: Vec<usize> = (0..count).map(|i| i / self.starts).collect();
        let told = conditions.map(|rows| rows.index_select(&of).to_device(device));
        let zeros = || Tensor::full_on(device, *z.shape(), 0.0);
        let mut memory = [zeros(), zeros()];
        let rule = OptimizerKind::Adam { beta1: 0.9, beta2: 0.999, eps: 1e-8, decoupled: false };
        let mut guard = FiniteCheck::new(device);
        let normal = recipe.generator.distribution == LatentDistribution::Normal;
        for step in 0..self.steps {
            let leaf = z.leaf();
            let mut total = loss(&sampler.forward(&leaf, told.as_ref())?, told.as_ref());
            if normal && self.prior > 0.0 {
                total = total.add(&leaf.square().mean(&[1], false).scale(self.prior as f32));
            }
            let mut gradients = total.sum_all().backward();
            let gradient = leaf.id().and_then(|key| gradients.remove(key));
            let Some(grad) = gradient else {
                return Err(EvalError::Mismatch(
                    "the pictures do not depend on the latents".into(),
                ));
            };
            guard.check(&grad, 1.0);
            drop((leaf, total));
            let lr = self.lr
                * 0.5
                * (1.0 + (std::f64::consts::PI * step as f64 / self.steps as f64).cos());
            let constants = UpdateStep { rule, lr, weight_decay: 0.0, step: step as u64 + 1 };
            update(
                &mut [ParamUpdate { value: &mut z, grad: &grad, state: &mut memory }],
                &constants,
                &guard,
            );
            if !normal {
                z = z.clamp(-1.0, 1.0);
            }
            device.check().map_err(EvalError::Gpu)?;
            progress.report("descending", step + 1, self.steps)?;
        }
        if guard.value().item() != 0.0 {
            return Err(EvalError::Mismatch(
                "the gradient of a latent is not finite: give a lower --lr".into(),
            ));
        }
        let losses = loss(&sampler.forward(&z, told.as_ref())?, told.as_ref()).to_vec();
        let best = (0..count).fold(0, |best, i| if losses[i] < losses[best] { i } else { best });
        let cpu = |tensor: &Tensor| tensor.to_device(&tensor::Device::Cpu);
        Ok(ProjectionResult { latents: cpu(&z), told: told.as_ref().map(cpu), losses, best })
    }
}
