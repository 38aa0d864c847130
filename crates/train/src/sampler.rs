//! Sampling images from the generator of a checkpoint.

use crate::TrainError;
use crate::condition_error::ConditionError;
use crate::rng_streams as stream;
use nn::layers::BatchNorm;
use nn::recipe::{ConditionConfig, LatentDistribution};
use nn::{BatchNormStats, ForwardCtx, Mode, Network, Recipe};
use runs::Checkpoint;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use tensor::rng::Philox;
use tensor::{Device, Tensor, TensorData};

/// Recalibrated statistics are the mean over this many batches of this many latents.
const CALIBRATION_BATCHES: [usize; 2] = [16, 128];

/// Which statistics batch norm uses when sampling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum BatchNormMode {
    /// The running statistics of training.
    Running,
    /// The statistics of the batch: an image depends on the others of its batch.
    Batch,
    /// Statistics averaged over a fixed set of latents (seed 0), for weights without running
    /// statistics or that these lag behind.
    Recalibrated,
}

impl BatchNormMode {
    /// The forward mode of a generator that was loaded with these statistics.
    pub fn mode(self) -> Mode {
        if self == Self::Batch { Mode::BATCH } else { Mode::SAMPLE }
    }
}

/// A generator ready to sample.
///
/// ```
/// use tensor::Device;
/// use train::{Sampler, latents};
///
/// let emoji = &runs::builtin_models::MODELS[1];
/// let sampler = Sampler::new(&emoji.checkpoint()?, None, &Device::Cpu)?;
/// let z = latents(sampler.recipe(), 7, 2);
/// let images = sampler.sample(&z, None, 2, |_| ())?;
/// assert_eq!(images.shape()[..], [2, 64, 64, 3]);
/// // An image does not depend on the others of its batch.
/// let first = sampler.sample(&z.narrow(0, 0, 1), None, 1, |_| ())?;
/// assert_eq!(first.to_vec(), images.narrow(0, 0, 1).to_vec());
/// # Ok::<(), train::TrainError>(())
/// ```
pub struct Sampler {
    recipe: Recipe,
    generator: Network,
    batch_norm: BatchNormMode,
    device: Device,
}

/// `count` latents z under `seed`, `[count, latent]` on the CPU: row `i` is the same whatever the
/// count.
pub fn latents(recipe: &Recipe, seed: u64, count: usize) -> Tensor {
    recipe.sample_z(&mut Philox::new(seed, stream::SAMPLING), count, &Device::Cpu)
}

/// The truncation trick (Brock et al. 2019) for ψ > 0: latents nearer to the center of their
/// distribution give fewer kinds of images, each more typical. N(0, 1) becomes N(0, 1) truncated to
/// [−ψ, ψ], and U(−1, 1) becomes U(−ψ, ψ); each value keeps its quantile, so that an image keeps
/// its content.
pub fn truncate(recipe: &Recipe, latents: &Tensor, psi: f64) -> Tensor {
    let values = latents.to_vec();
    let values: Vec<f32> = match recipe.generator.distribution {
        LatentDistribution::Uniform => values.iter().map(|z| z * psi as f32).collect(),
        LatentDistribution::Normal => {
            // P(|Z| < ψ), the share of the normal distribution that is left.
            let inside = libm::erf(psi / std::f64::consts::SQRT_2);
            values.iter().map(|&z| truncated(f64::from(z), psi, inside) as f32).collect()
        }
    };
    Tensor::from_slice(&values, *latents.shape())
}

/// The value in [−ψ, ψ] that has the same quantile in the truncated distribution as `z` in the
/// normal one, by bisection.
fn truncated(z: f64, psi: f64, inside: f64) -> f64 {
    let quantile = libm::erf(z.abs() / std::f64::consts::SQRT_2) * inside;
    let (mut low, mut high) = (0.0, psi);
    for _ in 0..50 {
        let middle = (low + high) / 2.0;
        if libm::erf(middle / std::f64::consts::SQRT_2) < quantile {
            low = middle
        } else {
            high = middle
        }
    }
    (low + high) / 2.0 * z.signum()
}

impl Sampler {
    /// The generator of a checkpoint on `device`: its EMA where the checkpoint holds one. Without
    /// `mode`, batch norm uses running statistics; or recalibrated ones for weights that have none,
    /// and for an EMA, whose statistics are not the average of those on the way.
    ///
    /// # Errors
    /// Returns an error if this program does not know the recipe, or if the weights are not those
    /// of its generator.
    pub fn new(
        checkpoint: &Checkpoint,
        mode: Option<BatchNormMode>,
        device: &Device,
    ) -> Result<Self, TrainError> {
        let (recipe, mut generator, batch_norm) = load_generator(checkpoint, mode, device)?;
        if batch_norm.mode() == Mode::SAMPLE {
            generator = generator.folded();
        }
        Ok(Self { recipe, generator, batch_norm, device: device.clone() })
    }

    /// The statistics that batch norm uses.
    pub fn batch_norm(&self) -> BatchNormMode {
        self.batch_norm
    }

    /// The device that the generator is on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The recipe of the networks.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// `[H, W, C]` of an image.
    pub fn shape(&self) -> [usize; 3] {
        let [h, w] = self.recipe.image.size;
        [h, w, self.recipe.image.channels]
    }

    /// The images of `latents` `[N, latent]` under conditions `[N, K]`, `[N, H, W, C]` in [−1, 1],
    /// all on the sampler's device and all in one batch. Gradients flow to the latents and
    /// conditions that are tracked. An image has the bits that [`sample`](Self::sample) gives it
    /// (batch-invariant kernels).
    ///
    /// # Errors
    /// Returns an error if latents or conditions do not have the generator's shapes. A failure of
    /// the device shows as NaN.
    pub fn forward(
        &self,
        latents: &Tensor,
        condition: Option<&Tensor>,
    ) -> Result<Tensor, TrainError> {
        self.check_latents(latents)?;
        self.check_condition(condition, latents.shape()[0])?;
        let ctx = ForwardCtx::from(self.batch_norm.mode()).with_condition(condition);
        let images = tensor::batch_invariant(|| self.generator.forward(latents, ctx));
        Ok(self.recipe.image.range.from_network_range(&images))
    }

    /// The images of `latents` `[N, latent]` under conditions `[N, K]`, `[N, H, W, C]` in [−1, 1],
    /// all on the CPU, `batch` at a time. Images depend on the batch only under
    /// [`BatchNormMode::Batch`]; batches are then of nearly equal size. `progress` is called with
    /// the number of images so far.
    ///
    /// # Errors
    /// Returns an error if latents or conditions do not have the generator's shapes, for a batch of
    /// 0, or for a batch of one image under [`BatchNormMode::Batch`], whose statistics would be of
    /// a single value. Returns [`TrainError::NonFiniteImages`] if an image holds NaN or infinity,
    /// and [`TrainError::Gpu`] if the device fails.
    pub fn sample(
        &self,
        latents: &Tensor,
        condition: Option<&Tensor>,
        batch: usize,
        mut progress: impl FnMut(usize),
    ) -> Result<Tensor, TrainError> {
        self.check_latents(latents)?;
        if batch == 0 {
            return Err(TrainError::Zero { setting: "batch" });
        }
        let count = latents.shape()[0];
        self.check_condition(condition, count)?;
        let uses_batch = matches!(self.batch_norm.mode().statistics, BatchNormStats::Batch { .. });
        if uses_batch && batches(count, batch).any(|rows| rows.len() < 2) {
            return Err(TrainError::BatchStatistics { count, batch });
        }
        let mut parts = Vec::new();
        for Range { start, end } in batches(count, batch) {
            let rows = |all: &Tensor| all.narrow(0, start, end - start).to_device(&self.device);
            let images = self.forward(&rows(latents), condition.map(rows).as_ref())?;
            let images = images.to_device(&Device::Cpu);
            self.device.check()?;
            if !images.all_finite() {
                return Err(TrainError::NonFiniteImages { start, end });
            }
            parts.push(images);
            progress(end);
        }
        match parts.len() {
            0 => {
                let [h, w, c] = self.shape();
                Ok(Tensor::zeros([0, h, w, c]))
            }
            1 => Ok(parts.swap_remove(0)),
            _ => Ok(tensor::concat(&parts.iter().collect::<Vec<_>>(), 0)),
        }
    }

    fn check_latents(&self, latents: &Tensor) -> Result<(), TrainError> {
        let (latent, shape) = (self.recipe.generator.latent, latents.shape());
        if shape.rank() == 2 && shape[1] == latent {
            return Ok(());
        }
        Err(TrainError::LatentShape { shape: shape.to_vec(), latent })
    }

    fn check_condition(
        &self,
        condition: Option<&Tensor>,
        count: usize,
    ) -> Result<(), ConditionError> {
        match (generator_condition(&self.recipe), condition) {
            (None, None) => Ok(()),
            (None, Some(_)) => Err(ConditionError::Unconditional),
            (Some(c), None) => Err(ConditionError::Missing { size: c.size }),
            (Some(c), Some(rows)) if rows.shape()[..] != [count, c.size] => {
                let shape = rows.shape().to_vec();
                Err(ConditionError::Shape { shape, count, size: c.size })
            }
            _ => Ok(()),
        }
    }
}

/// `count` images in the fewest batches of at most `batch`, of nearly equal size.
///
/// # Panics
/// Panics if `batch` is 0.
pub fn batches(count: usize, batch: usize) -> impl Iterator<Item = Range<usize>> {
    let batches = count.div_ceil(batch);
    (0..batches).map(move |i| count * i / batches..count * (i + 1) / batches)
}

/// The condition of a recipe whose generator is conditional.
pub fn generator_condition(recipe: &Recipe) -> Option<&ConditionConfig> {
    recipe.condition.as_ref().filter(|_| recipe.g_conditional())
}

/// The generator that [`Sampler::new`] samples from, before batch norm is folded, and the
/// statistics that its batch norm uses.
///
/// # Errors
/// Returns the errors of [`Sampler::new`].
pub fn load_generator(
    checkpoint: &Checkpoint,
    mode: Option<BatchNormMode>,
    device: &Device,
) -> Result<(Recipe, Network, BatchNormMode), TrainError> {
    let recipe = Recipe::from_toml(&checkpoint.meta.recipe)?;
    let (generator, _) = recipe.build(&mut Philox::new(0, 0))?;
    let ema = checkpoint.section("ema.");
    let has_batch_norm = generator.layers().iter().any(|(_, layer)| layer.is::<BatchNorm>());
    let is_valid = !has_batch_norm || ema.is_empty() && has_running_statistics(checkpoint, "g.");
    let weights = if ema.is_empty() { checkpoint.section("g.") } else { ema };
    generator.load_state_dict(&weights)?;
    generator.to_device(device);
    let default = if is_valid { BatchNormMode::Running } else { BatchNormMode::Recalibrated };
    let mode = mode.unwrap_or(default);
    if mode == BatchNormMode::Recalibrated {
        let mut rng = Philox::new(0, stream::CALIBRATION);
        let [batches, size] = CALIBRATION_BATCHES;
        let condition =
            recipe.g_conditional().then(|| recipe.example_conditions(size).to_device(device));
        generator.recalibrate_bn_with_condition(
            (0..batches).map(|_| (recipe.sample_z(&mut rng, size, device), condition.clone())),
        );
    }
    Ok((recipe, generator, mode))
}

/// The discriminator of a checkpoint, and whether it has running statistics that training updated
/// (or no batch norm); `None` if the checkpoint holds a generator alone.
///
/// # Errors
/// Returns an error if this program does not know the recipe, or if the weights are not those of
/// its discriminator.
pub fn load_discriminator(
    checkpoint: &Checkpoint,
    device: &Device,
) -> Result<Option<(Recipe, Network, bool)>, TrainError> {
    let state = checkpoint.section("d.");
    if state.is_empty() {
        return Ok(None);
    }
    let recipe = Recipe::from_toml(&checkpoint.meta.recipe)?;
    let (_, discriminator) = recipe.build(&mut Philox::new(0, 0))?;
    discriminator.load_state_dict(&state)?;
    discriminator.to_device(device);
    Ok(Some((recipe, discriminator, has_running_statistics(checkpoint, "d."))))
}

/// Whether a network has running statistics that training updated, or no batch norm. Weights that
/// came without a count of batches have it from the statistics themselves.
fn has_running_statistics(checkpoint: &Checkpoint, prefix: &str) -> bool {
    let own = || checkpoint.tensors.iter().filter(|(name, _)| name.starts_with(prefix));
    let any = |suffix: &str, initial: f32| {
        own().filter(|(name, _)| name.ends_with(suffix)).any(|(_, tensor)| match &tensor.data {
            TensorData::F32(values) => values.iter().any(|&value| value != initial),
            TensorData::I64(values) => values.iter().any(|&count| count > 0),
        })
    };
    !own().any(|(name, _)| name.ends_with("num_batches_tracked"))
        || any("num_batches_tracked", 0.0)
        || any("running_mean", 0.0)
        || any("running_var", 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncated_latents_keep_their_order_and_their_distribution() {
        let recipe = Recipe::preset("torch").unwrap();
        let z = latents(&recipe, 3, 200);
        let near = truncate(&recipe, &z, 0.5);
        let (z, near) = (z.to_vec(), near.to_vec());
        assert!(near.iter().all(|v| v.abs() <= 0.5));
        let mut order: Vec<usize> = (0..z.len()).collect();
        order.sort_by(|&a, &b| z[a].total_cmp(&z[b]));
        assert!(order.windows(2).all(|pair| near[pair[0]] <= near[pair[1]]));
        // The variance of a normal number within ±ψ is 1 − 2ψ φ(ψ) / P(|Z| < ψ).
        let phi = (-0.125f64).exp() / (2.0 * std::f64::consts::PI).sqrt();
        let expected = 1.0 - phi / libm::erf(0.5 / std::f64::consts::SQRT_2);
        let variance = near.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / near.len() as f64;
        assert!((variance / expected - 1.0).abs() < 0.05, "{variance} {expected}");
        let wide = truncate(&recipe, &Tensor::from_slice(&z, [200, 100]), 50.0).to_vec();
        assert!(z.iter().zip(&wide).all(|(a, b)| (a - b).abs() < 1e-5));
    }
}
