//! Recipes: everything that decides what is trained and how.

mod check;
mod parse;
mod preset;
mod size;

pub use preset::DEFAULT;
pub use size::{halvings, nearest_sizes};

use crate::architecture;
use crate::error::NnError;
use crate::network::Network;
use crate::optim::{OptimizerOptions, Rule};
use crate::plan::Plan;
use serde::{Deserialize, Serialize};
use tensor::rng::Philox;
use tensor::{Activation, Device, Tensor, rng};

/// A complete description of a training run: the shape of both networks, initial weights, optimiser and schedule. It is written as
/// TOML; the presets are files of this crate. After changing fields, call [`validate`](Self::validate).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// A short name.
    pub name: String,
    /// One sentence on where it comes from and what it is for.
    pub description: String,
    /// The images.
    pub image: Image,
    /// The generator.
    pub generator: Generator,
    /// The discriminator.
    pub discriminator: Discriminator,
    /// Batch normalisation, in both networks.
    pub batch_norm: Norm,
    /// Initial weights, in both networks.
    pub init: Init,
    /// Adam, for each network.
    pub optimizer: Optimizer,
    /// The schedule.
    pub train: Train,
}

/// The images.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// Height and width in pixels: each a seed (the smaller of 4 to 15 pixels), doubled the same number of times.
    pub size: [usize; 2],
    /// 1 (grey), 3 (RGB) or 4 (RGBA).
    pub channels: usize,
    /// Whether every second image, by chance, is mirrored left to right when it is learned from.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub flip: bool,
}

/// The generator: a stem makes a seed image from the latent vector, transposed convolutions of stride 2 double it to the full size.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generator {
    /// Length of the latent vector.
    pub latent: usize,
    /// What the latent vector is drawn from.
    pub distribution: Distribution,
    /// Channels at the last hidden resolution (half the image); each halving doubles them.
    pub width: usize,
    /// How the seed is made.
    pub stem: Stem,
    /// Side of the kernels.
    pub kernel: usize,
    /// After each batch norm.
    pub activation: Activation,
    /// After the last layer.
    pub output: Output,
}

/// Where latent vectors come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Distribution {
    /// N(0, 1).
    Normal,
    /// U(−1, 1).
    Uniform,
}

/// How the generator makes its seed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stem {
    /// A transposed convolution of a 1×1 image, with batch norm per channel.
    Conv,
    /// A matrix product without bias, with batch norm per unit, as in the paper's code.
    Linear,
}

/// How the generator ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    /// Pixels in (−1, 1).
    Tanh,
}

/// The discriminator: convolutions of stride 2 halve the image to the seed, a head makes one logit of it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Discriminator {
    /// Channels at the first hidden resolution (half the image); each halving doubles them.
    pub width: usize,
    /// Side of the kernels.
    pub kernel: usize,
    /// Slope of the leaky rectifier below 0.
    pub slope: f64,
    /// How the logit is made.
    pub head: Head,
}

/// How the discriminator ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Head {
    /// A convolution over the whole seed.
    Conv,
    /// Flattening and a matrix product without bias.
    Linear,
}

/// Batch normalisation.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Norm {
    /// Added to the variance.
    pub eps: f64,
    /// How far each batch moves the running statistics, in (0, 1].
    pub momentum: f64,
}

/// Initial weights.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Init {
    /// Standard deviation of weights, around 0.
    pub std: f64,
    /// Standard deviation of batch norm's γ, around 1.
    pub gamma_std: f64,
}

/// Adam's constants.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Optimizer {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// L2 penalty, added to the gradients.
    pub weight_decay: f64,
}

/// The schedule.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Train {
    /// Images per step.
    pub batch: usize,
    /// Length in passes over the data; exactly one of this and `steps`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epochs: Option<u64>,
    /// Length in steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// Decay of the average of the generator's weights; 0 keeps none.
    pub ema: f64,
}

impl Recipe {
    /// The names of the presets.
    pub fn names() -> impl Iterator<Item = &'static str> {
        preset::PRESETS.iter().map(|(name, _)| *name)
    }

    /// The preset of this name.
    ///
    /// # Errors
    /// For any other name, with the nearest.
    pub fn preset(name: &str) -> Result<Self, NnError> {
        preset::preset(name)
    }

    /// Reads a recipe. With `base = "preset"` at the top it needs only the keys that differ from that preset.
    ///
    /// # Errors
    /// When the text is not TOML, a key is unknown (the nearest is named) or missing, a value has the wrong type, or
    /// [`validate`](Self::validate) refuses it.
    pub fn from_toml(text: &str) -> Result<Self, NnError> {
        let recipe = parse::parse(text)?;
        recipe.validate()?;
        Ok(recipe)
    }

    /// The complete recipe as TOML, which [`from_toml`](Self::from_toml) reads back to an equal one.
    ///
    /// # Panics
    /// When a number needs more than TOML's 63 bits, which [`validate`](Self::validate) refuses.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).unwrap_or_else(|error| panic!("to_toml: not a valid recipe: {error}"))
    }

    /// Checks every value.
    ///
    /// # Errors
    /// The first key that is out of range, with what would be right; for the image size, with the nearest valid sizes.
    pub fn validate(&self) -> Result<(), NnError> {
        check::validate(self)
    }

    /// How often the image is halved down to the [seed](Self::seed); 0 for a size that cannot be made.
    pub fn levels(&self) -> usize {
        halvings(self.image.size).unwrap_or(0)
    }

    /// Height and width of the smallest image inside the networks.
    pub fn seed(&self) -> [usize; 2] {
        self.image.size.map(|side| side >> self.levels())
    }

    /// The shapes, parameters, memory and arithmetic of both networks.
    ///
    /// # Errors
    /// As [`validate`](Self::validate).
    pub fn plan(&self) -> Result<Plan, NnError> {
        self.validate()?;
        Ok(Plan::new(self))
    }

    /// Generator and discriminator with fresh weights. The generator maps `[N, latent]` to images `[N, H, W, C]` in (−1, 1), the
    /// discriminator images to logits `[N]`.
    ///
    /// # Errors
    /// As [`validate`](Self::validate).
    pub fn build(&self, rng: &mut Philox) -> Result<(Network, Network), NnError> {
        self.validate()?;
        let networks = [architecture::generator(self), architecture::discriminator(self)].map(|made| {
            let net = Network::new(made.layers.into_iter().map(|(name, spec)| (name, spec.layer())).collect());
            net.initialise(self.init.std as f32, self.init.gamma_std as f32, rng);
            net
        });
        let [generator, discriminator] = networks;
        Ok((generator, discriminator))
    }

    /// `count` latent vectors, `[count, latent]`, on `device`.
    pub fn latents(&self, rng: &mut Philox, count: usize, device: &Device) -> Tensor {
        let distribution = match self.generator.distribution {
            Distribution::Normal => rng::Distribution::Normal { mean: 0.0, std: 1.0 },
            Distribution::Uniform => rng::Distribution::Uniform { low: -1.0, high: 1.0 },
        };
        rng.draw(device, [count, self.generator.latent], distribution)
    }

    /// The optimiser's constants.
    pub fn optimizer(&self) -> OptimizerOptions {
        let Optimizer { lr, beta1, beta2, eps, weight_decay } = self.optimizer;
        OptimizerOptions { rule: Rule::Adam { beta1, beta2, eps, decoupled: false }, lr, weight_decay }
    }
}
