//! The sections of a recipe that say how the networks are trained.

use super::is_default;
use crate::augment::AugmentPolicy;
use crate::loss::{FeatureNorm, GanLoss as Loss};
use crate::optim::Schedule;
use serde::{Deserialize, Serialize};

/// What the two networks play for.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ObjectiveConfig {
    /// Which loss.
    pub loss: Loss,
    /// Whether each logit is taken relative to the mean of the other kind (Jolicoeur-Martineau 2019).
    pub relativistic: bool,
    /// Weight of the gradient penalty between real and generated images (Gulrajani et al. 2017); 10 is usual, 0 is none.
    pub gradient_penalty: f64,
    /// γ of the gradient penalty on real images, R1 (Mescheder et al. 2018); 0 is none.
    pub r1: f64,
    /// R1 in every so many steps only, times as strong (Karras et al. 2020).
    pub r1_every: u64,
    /// Bound of D's weights, clipped after each of its steps (Arjovsky et al. 2017); .01 is usual, 0 is none.
    pub weight_clip: f64,
    /// Weight of feature matching (Salimans et al. 2016), in place of G's adversarial loss; 0 is none.
    pub feature_matching: f64,
    /// The layers of D whose features are matched, by the names in its plan; none means the last activation.
    pub feature_layers: Vec<String>,
    /// How features are compared.
    pub feature_norm: FeatureNorm,
    /// Weight of historical averaging in both players' costs (Salimans et al. 2016); 0 is none.
    pub historical_averaging: f64,
    /// Whether D also learns the labels: K classes, generated images the (K+1)th (Salimans et al. 2016).
    pub semi_supervised: bool,
    /// Of how many real images a semi-supervised D learns the labels, as many of each class as can be; 0 is all.
    pub num_labels: usize,
}

impl Default for ObjectiveConfig {
    fn default() -> Self {
        Self {
            loss: Loss::NonSaturating,
            relativistic: false,
            gradient_penalty: 0.0,
            r1: 0.0,
            r1_every: 1,
            weight_clip: 0.0,
            feature_matching: 0.0,
            feature_layers: Vec::new(),
            feature_norm: FeatureNorm::L2,
            historical_averaging: 0.0,
            semi_supervised: false,
            num_labels: 0,
        }
    }
}

/// What the networks are told beside images and latents.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConditionConfig {
    /// Where it comes from.
    pub kind: ConditionKind,
    /// Its length: classes, attributes, or numbers of a vector.
    #[serde(default, skip_serializing_if = "is_default")]
    pub size: usize,
    /// What each number is called: names of classes or attributes. A recipe that is not yet met with its data may choose attributes here: each name is a
    /// number's, or a column's, which stands for all its words (`gender` for `gender=female` and `gender=male`).
    #[serde(default, skip_serializing_if = "is_default")]
    pub names: Vec<String>,
    /// Where the generator sees it.
    #[serde(default = "ConditioningMethod::input")]
    pub generator: ConditioningMethod,
    /// Where the discriminator sees it.
    #[serde(default = "ConditioningMethod::input")]
    pub discriminator: ConditioningMethod,
    /// Length of a learned embedding that stands for it where it is appended; 0 appends it as it is.
    #[serde(default, skip_serializing_if = "is_default")]
    pub embedding: usize,
    /// Weight of the auxiliary classifier's loss in both players' costs, where the discriminator is one.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub auxiliary_weight: f64,
}

fn one() -> f64 {
    1.0
}

fn is_one(value: &f64) -> bool {
    *value == 1.0
}

/// Where conditions come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConditionKind {
    /// The label, as a vector of zeros and a one.
    Class,
    /// The attributes, zeros and ones.
    Attributes,
    /// A vector for each image, from a file.
    Vector,
}

/// How a network sees the condition.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum ConditioningMethod {
    /// Not at all.
    None,
    /// Appended to its input (to an image: as channels that are the same everywhere; Mirza & Osindero 2014).
    Input,
    /// Appended to the input of every convolution and linear layer, as in the DCGAN authors' MNIST code.
    EveryLayer,
    /// In the discriminator: as the product of features and embedding, added to the logit (Miyato & Koyama 2018).
    Projection,
    /// In the discriminator: as what it has to tell beside real or generated (Odena et al. 2017).
    Auxiliary,
}

impl ConditioningMethod {
    fn input() -> Self {
        Self::Input
    }
}

/// Noise on what the discriminator sees.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NoiseConfig {
    /// Standard deviation of Gaussian noise added to its images, real and generated (Sønderby et al. 2017).
    pub input: f64,
    /// Steps after which this noise and that on its layers has fallen linearly to 0; 0 keeps it.
    pub decay_steps: u64,
}

/// What is done at random to every image that D sees, real or generated (Zhao et al. 2020).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AugmentConfig {
    /// Which changes.
    pub policy: Vec<AugmentOp>,
    /// Whether augmentation and `image.flip` are accepted. A recipe that reproduces a source without
    /// either says no.
    pub allow: bool,
}

impl Default for AugmentConfig {
    fn default() -> Self {
        Self { policy: Vec::new(), allow: true }
    }
}

/// A random change to images.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AugmentOp {
    /// Brightness, saturation and contrast.
    #[serde(alias = "colour")]
    Color,
    /// A shift of up to an eighth of the sides.
    Translation,
    /// A grey rectangle of half the sides.
    Cutout,
    /// Left and right exchanged, in every second image.
    Flip,
}

impl AugmentConfig {
    /// The changes with the ratios of the paper.
    pub fn policy(&self) -> AugmentPolicy {
        let has = |change| self.policy.contains(&change);
        let ratio = |change, of_paper: f64| if has(change) { of_paper } else { 0.0 };
        AugmentPolicy {
            color: has(AugmentOp::Color),
            translation: ratio(AugmentOp::Translation, AugmentPolicy::ALL.translation),
            cutout: ratio(AugmentOp::Cutout, AugmentPolicy::ALL.cutout),
            flip: has(AugmentOp::Flip),
        }
    }
}

/// Initial weights.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InitConfig {
    /// Where weights come from.
    #[serde(default, skip_serializing_if = "is_default")]
    pub scheme: WeightInit,
    /// Standard deviation of weights, around 0, under schemes `normal` and `truncated-convolutions`.
    pub std: f64,
    /// Standard deviation of batch norm's γ, around 1.
    pub gamma_std: f64,
}

/// Where weights come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WeightInit {
    /// N(0, std²), as in the paper.
    #[default]
    Normal,
    /// N(0, std²), of which convolutions (transposed ones not) draw what lies beyond 2·std anew, as in carpedm20/DCGAN-tensorflow.
    TruncatedConvolutions,
    /// Orthogonal matrices (Saxe et al. 2014).
    Orthogonal,
    /// U(−a, a) with a = √(6 / (inputs + outputs)) (Glorot & Bengio 2010), the default of Keras.
    Glorot,
}

/// The optimisers, one for each network.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizerConfig {
    /// Which one.
    #[serde(rename = "type", default, skip_serializing_if = "is_default")]
    pub kind: OptimizerType,
    /// Learning rate.
    pub lr: f64,
    /// D's learning rate, where it is not that of G (Heusel et al. 2017).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lr_discriminator: Option<f64>,
    /// Adam: decay of the first moment.
    pub beta1: f64,
    /// Adam: decay of the second moment. RMSProp: of the mean square.
    pub beta2: f64,
    /// Adam and RMSProp: added to the root of the second moment.
    pub eps: f64,
    /// L2 penalty, added to the gradients (by `adamw`: taken off the weights).
    pub weight_decay: f64,
    /// SGD and RMSProp: share of the last step that is taken again.
    #[serde(default, skip_serializing_if = "is_default")]
    pub momentum: f64,
    /// What momentum has become by the end of the run, in a straight line over its steps, where it does not stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub momentum_end: Option<f64>,
    /// SGD: Nesterov's momentum.
    #[serde(default, skip_serializing_if = "is_default")]
    pub nesterov: bool,
    /// Largest norm of each network's gradient, scaled down to it; 0 for any.
    #[serde(default, skip_serializing_if = "is_default")]
    pub clip_gradient: f64,
    /// How the learning rates change over the run.
    #[serde(default, skip_serializing_if = "is_default")]
    pub schedule: Schedule,
}

impl OptimizerConfig {
    /// The momentum of the step that follows `step` finished ones in a run of `steps`; beyond the end that of the end.
    pub fn momentum_at(&self, step: u64, steps: u64) -> f64 {
        let done = (step as f64 / steps.max(1) as f64).min(1.0);
        self.momentum + (self.momentum_end.unwrap_or(self.momentum) - self.momentum) * done
    }
}

/// Which optimiser.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerType {
    /// Adam (Kingma & Ba 2015).
    #[default]
    Adam,
    /// Adam with decoupled weight decay (Loshchilov & Hutter 2019).
    AdamW,
    /// Gradient descent, with momentum where `momentum` is not 0.
    Sgd,
    /// RMSProp (Tieleman & Hinton 2012).
    RmsProp,
}

/// The schedule.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
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
    /// Updates of D in a step, each on images of its own.
    #[serde(default = "once", skip_serializing_if = "is_once")]
    pub d_steps: usize,
    /// Updates of G in a step.
    #[serde(default = "once", skip_serializing_if = "is_once")]
    pub g_steps: usize,
    /// Which network is updated first in a step.
    #[serde(default, skip_serializing_if = "is_default")]
    pub update_order: UpdateOrder,
    /// Whether every update draws latent vectors of its own, or all of a step share theirs.
    #[serde(default, skip_serializing_if = "is_default")]
    pub resample_z: bool,
    /// Whether every update has images of its own, those of G, too, as in sources that train one network on each batch in turn: then a step takes
    /// `d_steps + g_steps` batches, where it else takes `d_steps`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub separate_batches: bool,
}

impl TrainConfig {
    /// Batches of real images in a step.
    pub fn batches_per_step(&self) -> usize {
        self.d_steps + if self.separate_batches { self.g_steps } else { 0 }
    }
}

fn once() -> usize {
    1
}

fn is_once(count: &usize) -> bool {
    *count == 1
}

/// Which network is updated first in a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpdateOrder {
    /// The discriminator, as in Goodfellow et al. 2014.
    #[default]
    DFirst,
    /// The generator, as in the DCGAN authors' code.
    GFirst,
}

/// One of the two networks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "snake_case")]
pub enum NetworkRole {
    /// D.
    #[default]
    Discriminator,
    /// G.
    Generator,
}

impl NetworkRole {
    /// The section of a recipe that describes the network.
    pub(crate) fn section(self) -> &'static str {
        match self {
            Self::Generator => "generator",
            Self::Discriminator => "discriminator",
        }
    }
}
