//! Pictures from a checkpoint's generator.

use crate::TrainError;
use crate::rng_streams as stream;
use nn::recipe::{ConditionConfig, ConditioningMethod, LatentDistribution};
use nn::{BatchNormStats, ForwardCtx, Layer, Mode, Network, Recipe};
use runs::Checkpoint;
use serde::{Deserialize, Serialize};
use tensor::rng::Philox;
use tensor::{Device, Tensor};

/// Recalibrated statistics are the mean over this many batches of this many latents.
const CALIBRATION_BATCHES: [usize; 2] = [16, 128];

/// Batch norm statistics of a generator that samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum BatchNormMode {
    /// The running statistics of training.
    Running,
    /// The statistics of each batch: an image depends on the others in its batch.
    Batch,
    /// Statistics recomputed over 2048 latents of a fixed seed, for weights without (current)
    /// running statistics.
    Recalibrated,
}

impl BatchNormMode {
    /// What a pass through a generator that was readied for it takes.
    pub fn mode(self) -> Mode {
        if self == Self::Batch { Mode::BATCH } else { Mode::SAMPLE }
    }
}

/// A generator ready to draw.
pub struct Sampler {
    recipe: Recipe,
    generator: Network,
    mode: Mode,
    batch_norm: BatchNormMode,
    device: Device,
}

/// `count` latents under `seed`, `[count, latent]` on the CPU: row `i` is the same whatever the count.
pub fn latents(recipe: &Recipe, seed: u64, count: usize) -> Tensor {
    recipe.sample_z(&mut Philox::new(seed, stream::SAMPLING), count, &Device::Cpu)
}

/// Latents nearer to the middle of their distribution: fewer kinds of pictures, each more typical (Brock et al. 2019). N(0, 1) becomes N(0, 1)
/// between −ψ and ψ, U(−1, 1) becomes U(−ψ, ψ); each number keeps its place in the order, so that a picture stays the same one, tamer. ψ > 0.
pub fn truncate(recipe: &Recipe, latents: &Tensor, psi: f64) -> Tensor {
    let values: Vec<f32> = match recipe.generator.distribution {
        LatentDistribution::Uniform => latents.to_vec().iter().map(|z| z * psi as f32).collect(),
        LatentDistribution::Normal => {
            // P(|Z| < ψ); a normal number's share of it is the same before and after.
            let inside = libm::erf(psi / std::f64::consts::SQRT_2);
            latents.to_vec().iter().map(|&z| truncated(f64::from(z), psi, inside) as f32).collect()
        }
    };
    Tensor::from_slice(&values, *latents.shape())
}

/// The number within ±ψ whose distance from 0 has the share of `inside` below it that |z| has of 1, by bisection.
fn truncated(z: f64, psi: f64, inside: f64) -> f64 {
    let share = libm::erf(z.abs() / std::f64::consts::SQRT_2) * inside;
    let (mut low, mut high) = (0.0, psi);
    for _ in 0..50 {
        let middle = (low + high) / 2.0;
        if libm::erf(middle / std::f64::consts::SQRT_2) < share {
            low = middle
        } else {
            high = middle
        }
    }
    (low + high) / 2.0 * z.signum()
}

impl Sampler {
    /// The generator of a checkpoint, on `device`: its average over training where it holds one. Without `mode`, running statistics; or
    /// recalibrated ones where the weights came without, and for an average of weights, whose statistics are not the average of those on the way.
    ///
    /// # Errors
    /// A recipe this program does not know, or weights that are not its generator's.
    pub fn new(
        checkpoint: &Checkpoint,
        mode: Option<BatchNormMode>,
        device: &Device,
    ) -> Result<Self, TrainError> {
        let (recipe, mut generator, batch_norm) = load_generator(checkpoint, mode, device)?;
        let mode = batch_norm.mode();
        if mode == Mode::SAMPLE {
            generator = generator.folded();
        }
        Ok(Self { recipe, generator, mode, batch_norm, device: device.clone() })
    }

    /// What batch norm normalises by.
    pub fn batch_norm(&self) -> BatchNormMode {
        self.batch_norm
    }

    /// Where it computes.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The pictures of `latents` `[N, latent]` under conditions `[N, K]`, `[N, H, W, C]` in [−1, 1], all on the sampler's device and all at once: gradients flow
    /// to what is tracked of latents and conditions. A picture has the bits that [`sample`](Self::sample) gives it.
    ///
    /// # Errors
    /// As [`sample`](Self::sample), but that a device's failure shows in the numbers.
    pub fn forward(
        &self,
        latents: &Tensor,
        condition: Option<&Tensor>,
    ) -> Result<Tensor, TrainError> {
        self.check_latents(latents)?;
        self.check_condition(condition, latents.shape()[0])?;
        let pass = ForwardCtx::from(self.mode).with_condition(condition);
        Ok(self
            .recipe
            .image
            .range
            .from_network_range(&tensor::batch_invariant(|| self.generator.forward(latents, pass))))
    }

    /// The recipe of the networks.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// `[H, W, C]` of a picture.
    pub fn shape(&self) -> [usize; 3] {
        let [h, w] = self.recipe.image.size;
        [h, w, self.recipe.image.channels]
    }

    /// The pictures of `latents` `[N, latent]`, `[N, H, W, C]` in [−1, 1], both on the CPU, `batch` at a time (the pictures depend on it only under
    /// [`BatchNormMode::Batch`]; parts are then of nearly equal length). `progress` hears the number drawn so far.
    ///
    /// # Errors
    /// Latents of another width than the recipe's, a batch of 0, or a part of one picture under [`BatchNormMode::Batch`], whose statistics
    /// would be of a single value. [`TrainError::Gpu`] when the device fails.
    pub fn sample(
        &self,
        latents: &Tensor,
        condition: Option<&Tensor>,
        batch: usize,
        mut progress: impl FnMut(usize),
    ) -> Result<Tensor, TrainError> {
        self.check_latents(latents)?;
        if batch == 0 {
            return Err(TrainError::Setting("--batch is 0: it must be at least 1".into()));
        }
        let count = latents.shape()[0];
        self.check_condition(condition, count)?;
        let split = count.div_ceil(batch);
        if matches!(self.mode.statistics, BatchNormStats::Batch { .. })
            && count > 0
            && count / split < 2
        {
            return Err(TrainError::Setting(format!(
                "--bn batch takes its statistics from pictures drawn together, at least 2: {count} pictures, {batch} at a time, leave 1 alone"
            )));
        }
        let mut parts = Vec::new();
        for i in 0..split {
            let (start, end) = (count * i / split, count * (i + 1) / split);
            let part = latents.narrow(0, start, end - start).to_device(&self.device);
            let told =
                condition.map(|rows| rows.narrow(0, start, end - start).to_device(&self.device));
            parts.push(self.forward(&part, told.as_ref())?.to_device(&Device::Cpu));
            self.device.check()?;
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
        let (width, shape) = (self.recipe.generator.latent, latents.shape());
        if shape.rank() == 2 && shape[1] == width {
            return Ok(());
        }
        Err(TrainError::Mismatch(format!(
            "the latents have shape {shape:?}: this generator takes [N, {width}]"
        )))
    }

    fn check_condition(&self, condition: Option<&Tensor>, count: usize) -> Result<(), TrainError> {
        let bad = |text: String| Err(TrainError::Mismatch(text));
        match (generator_condition(&self.recipe), condition) {
            (None, None) => Ok(()),
            (None, Some(_)) => {
                bad("this generator takes no condition: it was trained without".into())
            }
            (Some(c), None) => bad(format!(
                "this generator wants a condition of {} numbers for each picture",
                c.size
            )),
            (Some(c), Some(rows)) if rows.shape()[..] != [count, c.size] => bad(format!(
                "the conditions have shape {:?}: {count} pictures of this generator take [{count}, {}]",
                rows.shape(),
                c.size
            )),
            _ => Ok(()),
        }
    }
}

/// The condition that the generator of `recipe` is told, if it is told one.
pub fn generator_condition(recipe: &Recipe) -> Option<&ConditionConfig> {
    recipe.condition.as_ref().filter(|c| c.generator != ConditioningMethod::None)
}

/// The generator that [`Sampler::new`] draws with, before anything is folded, and how.
///
/// # Errors
/// A recipe this program does not know, or weights that are not its generator's.
pub fn load_generator(
    checkpoint: &Checkpoint,
    mode: Option<BatchNormMode>,
    device: &Device,
) -> Result<(Recipe, Network, BatchNormMode), TrainError> {
    let recipe = Recipe::from_toml(&checkpoint.meta.recipe)?;
    let (generator, _) = recipe.build(&mut Philox::new(0, 0))?;
    let averaged = checkpoint.section("ema.");
    let normalises =
        generator.layers().iter().any(|(_, layer)| matches!(layer, Layer::BatchNorm(_)));
    let sound = !normalises || averaged.is_empty() && has_statistics(checkpoint, "g.");
    generator.load_state_dict(&if averaged.is_empty() {
        checkpoint.section("g.")
    } else {
        averaged
    })?;
    generator.to_device(device);
    let default = if sound { BatchNormMode::Running } else { BatchNormMode::Recalibrated };
    let mode = mode.unwrap_or(default);
    if mode == BatchNormMode::Recalibrated {
        let mut rng = Philox::new(0, stream::CALIBRATION);
        let [batches, size] = CALIBRATION_BATCHES;
        let condition =
            generator_condition(&recipe).map(|_| recipe.example_conditions(size).to_device(device));
        generator.recalibrate_bn_with_condition(
            (0..batches).map(|_| (recipe.sample_z(&mut rng, size, device), condition.clone())),
        );
    }
    Ok((recipe, generator, mode))
}

/// The discriminator of a checkpoint, and whether its batch norm, if it has any, has running statistics that were ever moved; none where the
/// checkpoint holds a generator alone.
///
/// # Errors
/// A recipe this program does not know, or weights that are not its discriminator's.
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
    Ok(Some((recipe, discriminator, has_statistics(checkpoint, "d."))))
}

/// Whether a network has no running statistics, or some that have ever been moved.
fn has_statistics(checkpoint: &Checkpoint, prefix: &str) -> bool {
    let counts = || {
        checkpoint
            .tensors
            .iter()
            .filter(|(name, _)| name.starts_with(prefix) && name.ends_with("num_batches_tracked"))
    };
    counts().next().is_none()
        || counts().any(|(_, array)| array.as_i64().is_some_and(|n| n.iter().any(|&n| n > 0)))
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
