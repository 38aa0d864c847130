//! Recipes: all settings that decide what is trained and how.
//!
//! ```
//! use nn::{NnError, Recipe};
//!
//! let recipe = Recipe::from_toml("base = \"torch\"\n[optimizer]\nlr = 0.0001")?;
//! assert_eq!((recipe.optimizer.lr, recipe.image.size), (1e-4, [64, 64]));
//! // Keys that make no sense, alone or together, are refused by name.
//! let error = recipe.with(&[("optimizer.momentum".into(), "0.9".into())]).unwrap_err();
//! assert!(matches!(error, NnError::BadValue { key, .. } if key == "optimizer.momentum"));
//! # Ok::<(), nn::NnError>(())
//! ```

mod architecture;
mod derive_layers;
mod detect;
mod field_names;
mod image;
mod migrate;
mod network_config;
mod parse;
mod preset;
mod size;
mod summary;
mod train_config;
mod validate;
mod validate_combinations;

pub use crate::layers::Parametrization;
pub use detect::TensorShapes;
pub use field_names::variant_names;
pub use image::{ImageConfig, Range, parse_color};
pub use imaging::{Fit, ResizeFilter};
pub use network_config::{
    DiscriminatorConfig, DownsampleMethod, GeneratorConfig, Head, LatentDistribution, NormKind,
    Stem, UpsampleMethod,
};
pub use preset::DEFAULT;
pub use size::{halvings, nearest_sizes};
pub use summary::{LayerSummary, ModelSummary};
pub use train_config::{
    AugmentConfig, AugmentOp, ConditionConfig, ConditionKind, ConditioningMethod, InitConfig,
    NetworkRole, NoiseConfig, ObjectiveConfig, OptimizerConfig, OptimizerType, TrainConfig,
    UpdateOrder, WeightInit,
};

use crate::error::{NnError, ValueProblem};
use crate::layers::{LayerConfig, LayerPlan, MinibatchForm};
use crate::loss::Labels;
use crate::network::Network;
use crate::optim::{OptimizerKind, OptimizerOptions};
use architecture::Architecture;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt::Display;
use tensor::rng::Philox;
use tensor::{Device, Tensor, rng};

/// A complete description of a training run: the architecture of both networks, initial weights,
/// optimizer and schedule.
///
/// It is written as TOML; the presets are files of this crate. After changing fields, call
/// [`validate`](Self::validate).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct Recipe {
    /// A short name.
    pub name: String,
    /// One sentence on its source and purpose.
    pub description: String,
    /// The size, channels and preprocessing of images.
    pub image: ImageConfig,
    /// The generator.
    pub generator: GeneratorConfig,
    /// The discriminator.
    pub discriminator: DiscriminatorConfig,
    /// Batch normalization, in both networks.
    pub batch_norm: BatchNormConfig,
    /// Initial weights, in both networks.
    pub init: InitConfig,
    /// The losses and regularizers.
    #[serde(default, skip_serializing_if = "is_default")]
    pub objective: ObjectiveConfig,
    /// The labels of real and generated images in D's own step.
    #[serde(default, skip_serializing_if = "is_default")]
    pub labels: Labels,
    /// Noise on D's input.
    #[serde(default, skip_serializing_if = "is_default")]
    pub noise: NoiseConfig,
    /// Random augmentation of D's input.
    #[serde(default, skip_serializing_if = "is_default")]
    pub augment: AugmentConfig,
    /// The condition of the networks, in addition to images and latents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<ConditionConfig>,
    /// The optimizers.
    pub optimizer: OptimizerConfig,
    /// The training loop: length, batches, order of updates, EMA.
    pub train: TrainConfig,
}

impl Serialize for Recipe {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Recipe {
    /// Reads recipes of this and of earlier versions.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut table = toml::Table::deserialize(deserializer)?;
        migrate::migrate(&mut table);
        // This calls the derived function, which reads current keys only, not this one.
        Self::deserialize(table).map_err(D::Error::custom)
    }
}

/// Whether a key may be left out.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Batch normalization.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchNormConfig {
    /// Epsilon, added to the variance.
    pub eps: f64,
    /// Momentum: the weight of each batch in the running statistics, in (0, 1].
    pub momentum: f64,
}

/// Philox stream of example conditions, with seed 0.
const EXAMPLES: u64 = 0x636f_6e64;

impl Recipe {
    /// The names of the presets.
    pub fn names() -> impl Iterator<Item = &'static str> {
        preset::PRESETS.iter().map(|(name, _)| *name)
    }

    /// The preset of this name.
    ///
    /// # Errors
    /// Returns an error for any other name.
    pub fn preset(name: &str) -> Result<Self, NnError> {
        preset::preset(name)
    }

    /// Reads a recipe from TOML. With `base = "preset"` at the top it needs only the keys that
    /// differ from that preset.
    ///
    /// # Errors
    /// Returns an error if the text is not TOML, a key is unknown or missing, a value has the wrong
    /// type, or [`validate`](Self::validate) refuses it.
    pub fn from_toml(text: &str) -> Result<Self, NnError> {
        let recipe = parse::parse(text)?;
        recipe.validate()?;
        Ok(recipe)
    }

    /// The recipe with other values for some keys, given as `section.key` with the TOML of the
    /// value, such as `("objective.loss", "\"hinge\"")`.
    ///
    /// # Errors
    /// Returns the same errors as [`from_toml`](Self::from_toml).
    pub fn with(&self, changes: &[(String, String)]) -> Result<Self, NnError> {
        let recipe = parse::with(self, changes)?;
        recipe.validate()?;
        Ok(recipe)
    }

    /// The complete recipe as TOML, which [`from_toml`](Self::from_toml) reads back to an equal
    /// one.
    ///
    /// # Panics
    /// Panics if an integer needs more than TOML's 63 bits, which [`validate`](Self::validate)
    /// refuses.
    pub fn to_toml(&self) -> String {
        toml::to_string(&parse::to_table(self))
            .unwrap_or_else(|error| panic!("to_toml: not a valid recipe: {error}"))
    }

    /// Checks every value.
    ///
    /// # Errors
    /// Returns an error for the first key that is out of range, with the valid range; for the image
    /// size, with the nearest valid sizes.
    pub fn validate(&self) -> Result<(), NnError> {
        validate::validate(self)
    }

    /// How often the image is halved down to the [base resolution](Self::base_size); 0 for an
    /// invalid size.
    pub fn levels(&self) -> usize {
        halvings(self.image.size).unwrap_or(0)
    }

    /// The base resolution: height and width of the smallest image inside the networks.
    pub fn base_size(&self) -> [usize; 2] {
        self.image.size.map(|side| side >> self.levels())
    }

    /// The summary of both networks: shapes, parameters and floating-point operations.
    ///
    /// # Errors
    /// Returns the same errors as [`validate`](Self::validate).
    pub fn summary(&self) -> Result<ModelSummary, NnError> {
        self.validate()?;
        ModelSummary::new(self)
    }

    /// The generator and the discriminator with fresh weights.
    ///
    /// The generator maps `[N, latent]` to images `[N, H, W, C]` in [`Range`]. The discriminator
    /// maps images to logits `[N]`, or to [several outputs](Self::num_d_outputs), `[N, …]`.
    ///
    /// # Errors
    /// Returns the same errors as [`validate`](Self::validate).
    pub fn build(&self, rng: &mut Philox) -> Result<(Network, Network), NnError> {
        self.validate()?;
        // The order of these draws gives every seed its networks, so it cannot change. The
        // reference batch is last: without virtual batch norm the weights are the same.
        let mut generator = self.network(NetworkRole::Generator, rng)?;
        let discriminator = self.network(NetworkRole::Discriminator, rng)?;
        if generator.needs_reference() {
            let reference = self.sample_z(rng, self.generator.reference, &Device::Cpu);
            let condition =
                self.g_conditional().then(|| self.example_conditions(self.generator.reference));
            generator.set_reference(reference, condition);
        }
        Ok((generator, discriminator))
    }

    fn network(&self, role: NetworkRole, rng: &mut Philox) -> Result<Network, NnError> {
        let layers = Architecture::new(self, role)?.layers;
        let build = |(name, plan): (String, LayerPlan)| (name, (plan.build)());
        let net = Network::new(layers.into_iter().map(build).collect());
        let InitConfig { scheme, std, gamma_std } = self.init;
        match scheme {
            WeightInit::Normal => net.init_normal(std as f32, gamma_std as f32, rng),
            WeightInit::TruncatedConvolutions => {
                net.init_truncated_normal(std as f32, gamma_std as f32, rng)
            }
            WeightInit::Orthogonal => net.init_orthogonal(1.0, rng),
            WeightInit::Glorot => net.init_glorot(rng),
        }
        Ok(net)
    }

    /// Example conditions, `[count, K]`, for samples of a conditional generator: classes or
    /// attributes in turn, or vectors drawn from N(0, 1).
    ///
    /// # Panics
    /// Panics if the recipe has no condition.
    pub fn example_conditions(&self, count: usize) -> Tensor {
        let c = self
            .condition
            .as_ref()
            .unwrap_or_else(|| panic!("example_conditions: the recipe has none"));
        match c.kind {
            ConditionKind::Class | ConditionKind::Attributes => {
                let one = |i: usize| (0..c.size).map(move |k| f32::from(u8::from(k == i % c.size)));
                Tensor::from_slice(&(0..count).flat_map(one).collect::<Vec<_>>(), [count, c.size])
            }
            ConditionKind::Vector => Philox::new(0, EXAMPLES).normal([count, c.size], 0.0, 1.0),
        }
    }

    /// Whether D has minibatch discrimination in the form of its authors' code, which has
    /// data-dependent initialization.
    pub fn uses_minibatch_code_form(&self) -> bool {
        let code = |layer: &LayerConfig| match layer {
            LayerConfig::MinibatchDiscrimination(d) => d.form == MinibatchForm::Code,
            _ => false,
        };
        architecture::layer_configs(self, NetworkRole::Discriminator).iter().any(code)
    }

    /// The layers of D for feature matching: those named, or the last activation.
    pub fn feature_layers(&self) -> Vec<String> {
        if !self.objective.feature_layers.is_empty() {
            return self.objective.feature_layers.clone();
        }
        let layers = Architecture::new(self, NetworkRole::Discriminator)
            .map_or_else(|_| Vec::new(), |net| net.layers);
        let last = layers.into_iter().rfind(|(_, plan)| plan.is_activation);
        last.into_iter().map(|(name, _)| name).collect()
    }

    /// Latent vectors, `[count, latent]`, on `device`.
    pub fn sample_z(&self, rng: &mut Philox, count: usize, device: &Device) -> Tensor {
        let distribution = match self.generator.distribution {
            LatentDistribution::Normal => rng::Distribution::Normal { mean: 0.0, std: 1.0 },
            LatentDistribution::Uniform => rng::Distribution::Uniform { low: -1.0, high: 1.0 },
        };
        rng.draw(device, [count, self.generator.latent], distribution)
    }

    /// The options of the generator's or the discriminator's optimizer.
    pub fn optimizer(&self, role: NetworkRole) -> OptimizerOptions {
        let OptimizerConfig {
            kind,
            lr,
            lr_discriminator,
            beta1,
            beta2,
            eps,
            weight_decay,
            momentum,
            nesterov,
            ..
        } = self.optimizer;
        let rule = match kind {
            OptimizerType::Adam => OptimizerKind::Adam { beta1, beta2, eps, decoupled: false },
            OptimizerType::AdamW => OptimizerKind::Adam { beta1, beta2, eps, decoupled: true },
            OptimizerType::Sgd => OptimizerKind::Sgd { momentum, nesterov },
            // One key for the decay of squared gradients, whatever the rule calls it.
            OptimizerType::RmsProp => OptimizerKind::RmsProp { alpha: beta2, eps, momentum },
        };
        let lr = match role {
            NetworkRole::Generator => lr,
            NetworkRole::Discriminator => lr_discriminator.unwrap_or(lr),
        };
        OptimizerOptions { rule, lr, weight_decay }
    }

    /// Whether G takes a condition as an input.
    pub fn g_conditional(&self) -> bool {
        self.condition.as_ref().is_some_and(|c| c.generator != ConditioningMethod::None)
    }

    /// Whether D takes a condition as an input. An auxiliary classifier outputs classes and takes
    /// none.
    pub fn d_conditional(&self) -> bool {
        self.condition.as_ref().is_some_and(|c| {
            !matches!(c.discriminator, ConditioningMethod::None | ConditioningMethod::Auxiliary)
        })
    }

    /// Length of the condition as the networks take it; 0 if there is none.
    pub fn condition_size(&self) -> usize {
        self.condition.as_ref().map_or(0, |c| c.size)
    }

    /// Number of elements that are appended at each conditioned layer.
    pub(crate) fn condition_width(&self) -> usize {
        match &self.condition {
            Some(c) if c.embedding > 0 => c.embedding,
            Some(c) => c.size,
            None => 0,
        }
    }

    /// Number of D's outputs per image: one logit; a logit and then the classes for an auxiliary
    /// classifier; or classes alone for a semi-supervised D, whose logit is their log-sum-exp.
    pub fn num_d_outputs(&self) -> usize {
        match &self.condition {
            Some(c) if self.objective.semi_supervised => c.size,
            Some(c) if c.discriminator == ConditioningMethod::Auxiliary => 1 + c.size,
            _ => 1,
        }
    }
}

/// The error of a key whose value is refused.
fn bad(key: &str, value: impl Display, problem: ValueProblem) -> NnError {
    NnError::BadValue { key: key.into(), value: value.to_string(), problem }
}

/// The problem that a value does not go together with that of the key or section `other`.
fn combination(other: &str, reason: impl Into<String>) -> ValueProblem {
    ValueProblem::Combination { other: other.into(), reason: reason.into() }
}
