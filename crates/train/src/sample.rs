//! Pictures from a checkpoint's generator.

use crate::TrainError;
use crate::artefacts::Checkpoint;
use crate::trainer::section;
use nn::{Mode, Network, Recipe, Statistics};
use tensor::rng::Philox;
use tensor::{Device, Tensor};

/// Philox stream of latents drawn for sampling, and of those that statistics are recalibrated with.
const LATENTS: u64 = 4;
const CALIBRATION: u64 = 5;
/// Recalibrated statistics are the mean over this many batches of this many latents.
const CALIBRATION_BATCHES: [usize; 2] = [16, 128];

/// What batch norm normalises by when sampling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchNormMode {
    /// The running statistics of training.
    Running,
    /// Those of the pictures drawn together: a picture depends on its batch-mates.
    Batch,
    /// Statistics averaged over a fixed set of latents (seed 0): for weights without running ones, or that they lag behind.
    Recalibrated,
}

/// A generator ready to draw.
pub struct Sampler {
    recipe: Recipe,
    generator: Network,
    mode: Mode,
    device: Device,
}

/// `count` latents under `seed`, `[count, latent]` on the CPU: row `i` is the same whatever the count.
pub fn latents(recipe: &Recipe, seed: u64, count: usize) -> Tensor {
    recipe.latents(&mut Philox::new(seed, LATENTS), count, &Device::Cpu)
}

impl Sampler {
    /// The generator of a checkpoint, on `device`: its average over training where it holds one. Without `mode`, running statistics, or
    /// recalibrated ones where the weights came without.
    ///
    /// # Errors
    /// A recipe this program does not know, or weights that are not its generator's.
    pub fn new(checkpoint: &Checkpoint, mode: Option<BatchNormMode>, device: &Device) -> Result<Self, TrainError> {
        let recipe = Recipe::from_toml(&checkpoint.meta.recipe)?;
        let (mut generator, _) = recipe.build(&mut Philox::new(0, 0))?;
        let averaged = section(checkpoint, "ema.");
        generator.load_state_dict(&if averaged.is_empty() { section(checkpoint, "g.") } else { averaged })?;
        generator.to_device(device);
        let default = if has_statistics(checkpoint) { BatchNormMode::Running } else { BatchNormMode::Recalibrated };
        let mode = match mode.unwrap_or(default) {
            BatchNormMode::Running => Mode::SAMPLE,
            BatchNormMode::Batch => Mode::BATCH,
            BatchNormMode::Recalibrated => {
                let mut rng = Philox::new(0, CALIBRATION);
                let [batches, size] = CALIBRATION_BATCHES;
                generator.recalibrate((0..batches).map(|_| recipe.latents(&mut rng, size, device)));
                Mode::SAMPLE
            }
        };
        if mode == Mode::SAMPLE {
            generator = generator.folded();
        }
        Ok(Self { recipe, generator, mode, device: device.clone() })
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
    pub fn draw(&self, latents: &Tensor, batch: usize, mut progress: impl FnMut(usize)) -> Result<Tensor, TrainError> {
        let width = self.recipe.generator.latent;
        if latents.shape().rank() != 2 || latents.shape()[1] != width {
            let shape = latents.shape();
            return Err(TrainError::Mismatch(format!("the latents have shape {shape:?}: this generator takes [N, {width}]")));
        }
        if batch == 0 {
            return Err(TrainError::Setting("--batch is 0: it must be at least 1".into()));
        }
        let count = latents.shape()[0];
        let split = count.div_ceil(batch);
        if matches!(self.mode.statistics, Statistics::Batch { .. }) && count > 0 && count / split < 2 {
            return Err(TrainError::Setting(format!(
                "--bn batch takes its statistics from pictures drawn together, at least 2: {count} pictures, {batch} at a time, leave 1 alone"
            )));
        }
        let mut parts = Vec::new();
        for i in 0..split {
            let (start, end) = (count * i / split, count * (i + 1) / split);
            let part = latents.narrow(0, start, end - start).to_device(&self.device);
            parts.push(tensor::per_image(|| self.generator.forward(&part, self.mode)).to_device(&Device::Cpu));
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
}

/// Whether the generator's running statistics have ever been moved.
fn has_statistics(checkpoint: &Checkpoint) -> bool {
    let counts = || checkpoint.tensors.iter().filter(|(name, _)| name.starts_with("g.") && name.ends_with("num_batches_tracked"));
    counts().next().is_none() || counts().any(|(_, array)| array.as_i64().is_some_and(|n| n.iter().any(|&n| n > 0)))
}
