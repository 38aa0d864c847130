//! Latent projection: gradient descent (Adam; Kingma & Ba 2015) on latents from several random
//! starts at once.

use crate::{EvalError, Progress};
use nn::recipe::LatentDistribution;
use tensor::{Device, FiniteCheck, OptimizerKind, ParamUpdate, Tensor, UpdateStep, update};
use train::Sampler;

/// Options of latent projection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LatentOptimizer {
    /// Adam steps, at least 1.
    pub steps: usize,
    /// The initial learning rate; it falls to 0 along half a cosine.
    pub lr: f64,
    /// Random starts, at least 1; of each condition, if there are several.
    pub starts: usize,
    /// Seed of the starts.
    pub seed: u64,
    /// Weight of the mean square of a latent added to the loss, for normal latents. Uniform ones
    /// are clamped to [−1, 1] instead.
    pub latent_l2: f64,
}

/// The latents at which all starts ended.
pub(super) struct ProjectionResult {
    /// `[starts, latent]`, on the CPU.
    pub latents: Tensor,
    /// The condition of each, `[starts, K]`, on the CPU.
    pub conditions: Option<Tensor>,
    /// The loss of each, without the L2 term.
    pub losses: Vec<f32>,
    /// The index of the smallest loss.
    pub best: usize,
}

impl LatentOptimizer {
    /// Minimizes `loss`, a function of images `[S, H, W, C]` in [−1, 1] and conditions `[S, K]`
    /// with values `[S]`. `conditions` `[M, K]` are candidates: every start is made with each.
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
        let of_start: Vec<usize> = (0..count).map(|i| i % self.starts).collect();
        let of_candidate: Vec<usize> = (0..count).map(|i| i / self.starts).collect();
        let mut z = starts.index_select(&of_start).to_device(device);
        let conditions = conditions.map(|rows| rows.index_select(&of_candidate).to_device(device));
        let zeros = || Tensor::full_on(device, *z.shape(), 0.0);
        let mut state = [zeros(), zeros()];
        let rule = OptimizerKind::Adam { beta1: 0.9, beta2: 0.999, eps: 1e-8, decoupled: false };
        let mut guard = FiniteCheck::new(device);
        let normal = recipe.generator.distribution == LatentDistribution::Normal;
        for step in 0..self.steps {
            let leaf = z.leaf();
            let images = sampler.forward(&leaf, conditions.as_ref())?;
            let mut total = loss(&images, conditions.as_ref());
            if normal && self.latent_l2 > 0.0 {
                let l2 = leaf.square().mean(&[1], false);
                total = total.add(&l2.scale(self.latent_l2 as f32));
            }
            // The starts share no parameters: the gradient of the sum is that of each alone.
            let mut gradients = total.sum_all().backward();
            let gradient = leaf.id().and_then(|key| gradients.remove(key));
            let Some(grad) = gradient else { return Err(EvalError::NoLatentGradient) };
            guard.check(&grad, 1.0);
            drop((leaf, images, total));
            let lr = self.lr
                * 0.5
                * (1.0 + (std::f64::consts::PI * step as f64 / self.steps as f64).cos());
            let constants = UpdateStep { rule, lr, weight_decay: 0.0, step: step as u64 + 1 };
            let mut slot = [ParamUpdate { value: &mut z, grad: &grad, state: &mut state }];
            update(&mut slot, &constants, &guard);
            if !normal {
                z = z.clamp(-1.0, 1.0);
            }
            device.check()?;
            progress.report("optimizing latents", step + 1, self.steps)?;
        }
        if guard.value().item() != 0.0 {
            return Err(EvalError::NonFiniteLatentGradient { lr: self.lr });
        }
        let images = sampler.forward(&z, conditions.as_ref())?;
        let losses = loss(&images, conditions.as_ref()).to_vec();
        let best = (0..count).fold(0, |best, i| if losses[i] < losses[best] { i } else { best });
        let cpu = |tensor: &Tensor| tensor.to_device(&Device::Cpu);
        Ok(ProjectionResult {
            latents: cpu(&z),
            conditions: conditions.as_ref().map(cpu),
            losses,
            best,
        })
    }
}
