//! The training state of a toy run, and what is measured of it.

use super::{Coverage, Landscape, Mixture, NUM_SAMPLES, ToySettings};
use crate::TrainError;
use crate::step::{DeviceBatch, PendingMetrics, TrainState};
use nn::{Ema, Mode, Network, NnError};
use std::sync::Arc;
use tensor::rng::Philox;
use tensor::{Device, Tensor, TensorData};

/// Philox streams of a run, under its seed.
mod stream {
    pub const GENERATOR: u64 = 1;
    pub const DISCRIMINATOR: u64 = 2;
    pub const LATENTS: u64 = 3;
    pub const REAL: u64 = 4;
    pub const STEP: u64 = 5;
    pub const FIXED_LATENTS: u64 = 6;
}

/// The state of a toy run at one step, to be drawn.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Finished steps.
    pub step: u64,
    /// G's points of the fixed latents: x, y, x, y, …
    pub samples: Vec<f32>,
    /// D's logits over the plane.
    pub landscape: Landscape,
    /// The samples' coverage.
    pub coverage: Coverage,
}

/// A GAN on points of the plane: the training step of images, on samples of a mixture.
pub struct ToyTrainer {
    settings: ToySettings,
    mixture: Mixture,
    state: TrainState,
    real_rng: Philox,
    fixed_latents: Tensor,
    device: Device,
}

impl ToyTrainer {
    /// A new run on `device`.
    ///
    /// # Errors
    /// Returns an error if the device cannot hold the networks.
    pub fn new(settings: &ToySettings, device: &Device) -> Result<Self, TrainError> {
        let rng = |stream| Philox::new(settings.seed, stream);
        let recipe = Arc::new(settings.recipe.clone());
        let mut state =
            TrainState::new(Arc::clone(&recipe), settings.seed, settings.steps(), device)?;
        for (network, stream) in
            [(&state.g.network, stream::GENERATOR), (&state.d.network, stream::DISCRIMINATOR)]
        {
            initialize(network, recipe.init.std as f32, &mut rng(stream))?;
            network.to_device(device);
        }
        let decay = recipe.train.ema as f32;
        state.ema = (decay > 0.0).then(|| Ema::new(&state.g.network, decay));
        state.latent_rng = rng(stream::LATENTS);
        state.step_rng = rng(stream::STEP);
        let packs = NUM_SAMPLES.div_ceil(settings.pack);
        let fixed_latents = recipe.sample_z(&mut rng(stream::FIXED_LATENTS), packs, device);
        device.check()?;
        Ok(Self {
            mixture: settings.dataset.mixture(),
            settings: settings.clone(),
            state,
            real_rng: rng(stream::REAL),
            fixed_latents,
            device: device.clone(),
        })
    }

    /// Finished steps.
    pub fn steps_done(&self) -> u64 {
        self.state.step
    }

    /// One training step on new real points.
    pub fn train_step(&mut self) -> PendingMetrics {
        let recipe = &self.settings.recipe;
        let (packs, pack) = (recipe.train.batch, self.settings.pack);
        let batches: Vec<DeviceBatch> = (0..recipe.train.batches_per_step())
            .map(|_| {
                let points = self.mixture.sample(&mut self.real_rng, packs * pack);
                let points = points.reshape([packs, pack, 2, 1]).to_device(&self.device);
                DeviceBatch::new(points, None)
            })
            .collect();
        self.state.train_step(&batches, false)
    }

    /// G's points of [`NUM_SAMPLES`] fixed latents, x, y, x, y, …, by the EMA of its weights if
    /// there is one.
    pub fn samples(&mut self) -> Vec<f32> {
        let TrainState { ema, g, .. } = &mut self.state;
        if let Some(ema) = ema {
            ema.swap(&g.network);
        }
        let mut points = g.network.forward(&self.fixed_latents, Mode::SAMPLE).to_vec();
        if let Some(ema) = ema {
            ema.swap(&g.network);
        }
        points.truncate(2 * NUM_SAMPLES);
        points
    }

    /// The coverage of the current samples.
    pub fn coverage(&mut self) -> Coverage {
        let samples = self.samples();
        Coverage::of(&self.mixture, &samples)
    }

    /// The current state, to be drawn.
    pub fn frame(&mut self) -> Frame {
        let samples = self.samples();
        let coverage = Coverage::of(&self.mixture, &samples);
        let discriminator = &self.state.d.network;
        let landscape = Landscape::of(
            discriminator,
            &self.settings,
            self.mixture.extent,
            &samples,
            &self.device,
        );
        Frame { step: self.state.step, landscape, samples, coverage }
    }
}

/// Draws weights from N(0, 2 / fan-in) before a ReLU, which keeps the variance (He et al. 2015),
/// and from N(0, 1 / fan-in) in the last layer; biases are 0. The DCGAN's 0.02 would start layers
/// this narrow near 0.
///
/// Minibatch discrimination's T keeps the recipe's standard deviation of 0.1: distances between
/// modes are then of the order of 1, where exp(−d) has a slope.
fn initialize(network: &Network, std: f32, rng: &mut Philox) -> Result<(), NnError> {
    network.init_normal(std, 0.0, rng);
    let mut state = network.state_dict();
    let layer = |name: &str| name.split('.').nth(1).and_then(|index| index.parse::<usize>().ok());
    let is_weight = |name: &str| name.ends_with(".weight") || name.ends_with(".weight_orig");
    let last = state.keys().filter(|name| is_weight(name)).filter_map(|name| layer(name)).max();
    for (name, tensor) in &mut state {
        let [_, inputs @ ..] = &tensor.shape[..] else { continue };
        let TensorData::F32(values) = &mut tensor.data else { continue };
        if is_weight(name) && !inputs.is_empty() {
            let fan_in = inputs.iter().product::<usize>() as f32;
            let gain = if layer(name) == last { 1.0 } else { 2.0 };
            let scale = (gain / fan_in).sqrt() / std;
            values.iter_mut().for_each(|value| *value *= scale);
        }
    }
    network.load_state_dict(&state)
}
