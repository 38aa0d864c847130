//! The sections of a recipe that define how the networks are trained.

use super::is_default;
use crate::augment::AugmentPolicy;
use crate::loss::{FeatureNorm, GanLoss as Loss};
use crate::optim::Schedule;
use serde::{Deserialize, Serialize};

/// The losses and regularizers of the two networks.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ObjectiveConfig {
    /// The loss function.
    pub loss: Loss,
    /// Relativistic average loss: whether each logit is taken relative to the mean of the other
    /// kind (Jolicoeur-Martineau 2019).
    pub relativistic: bool,
    /// Weight of the gradient penalty between real and generated images (WGAN-GP, Gulrajani et al.
    /// 2017); 10 is usual, 0 is none.
    pub gradient_penalty: f64,
    /// γ of the gradient penalty on real images, R1 (Mescheder et al. 2018); 0 is none.
    pub r1: f64,
    /// Interval of lazy R1 in steps, with the penalty scaled by the interval (Karras et al. 2020).
    pub r1_every: u64,
    /// Weight clipping: bound of D's weights after each of its steps (Arjovsky et al. 2017); .01 is
    /// usual, 0 is none.
    pub weight_clip: f64,
    /// Weight of feature matching (Salimans et al. 2016), which replaces G's adversarial loss; 0 is
    /// none.
    pub feature_matching: f64,
    /// The layers of D for feature matching, by their names in its plan; none means the last
    /// activation.
    pub feature_layers: Vec<String>,
    /// How features are compared.
    pub feature_norm: FeatureNorm,
    /// Weight of historical averaging in both networks' losses (Salimans et al. 2016); 0 is none.
    pub historical_averaging: f64,
    /// Semi-supervised learning: whether D also learns the labels, K classes, with generated images
    /// as the (K+1)th (Salimans et al. 2016).
    pub semi_supervised: bool,
    /// Number of labeled real images for a semi-supervised D, balanced over the classes as far as
    /// possible; 0 is all.
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

/// The condition of the networks, in addition to images and latents.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConditionConfig {
    /// The source of the condition.
    pub kind: ConditionKind,
    /// The length of the condition: the number of classes, attributes, or elements of a vector.
    #[serde(default, skip_serializing_if = "is_default")]
    pub size: usize,
    /// Names of the classes, attributes or elements.
    ///
    /// A recipe that is not yet combined with its data may choose attributes here: each name is
    /// that of one element, or that of a column, which stands for all its values (`gender` for
    /// `gender=female` and `gender=male`).
    #[serde(default, skip_serializing_if = "is_default")]
    pub names: Vec<String>,
    /// How the generator is conditioned.
    #[serde(default = "ConditioningMethod::input")]
    pub generator: ConditioningMethod,
    /// How the discriminator is conditioned.
    #[serde(default = "ConditioningMethod::input")]
    pub discriminator: ConditioningMethod,
    /// Length of a learned embedding of the condition where it is appended; 0 appends the condition
    /// itself.
    #[serde(default, skip_serializing_if = "is_default")]
    pub embedding: usize,
    /// Weight of the auxiliary classifier's loss in both networks' losses, if the discriminator is
    /// one.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub auxiliary_weight: f64,
}

fn one() -> f64 {
    1.0
}

fn is_one(value: &f64) -> bool {
    *value == 1.0
}

/// The source of conditions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConditionKind {
    /// The label as a one-hot vector.
    Class,
    /// The attributes, as zeros and ones.
    Attributes,
    /// A vector for each image, from a file.
    Vector,
}

/// How a network is conditioned.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum ConditioningMethod {
    /// The network is not conditioned.
    None,
    /// Appended to the network's input (to an image: as constant channels; Mirza & Osindero 2014).
    Input,
    /// Appended to the input of every convolution and linear layer, as in the DCGAN authors' MNIST
    /// code.
    EveryLayer,
    /// Projection discriminator: the product of features and embedding is added to the logit
    /// (Miyato & Koyama 2018).
    Projection,
    /// Auxiliary classifier: the discriminator predicts the condition in addition to real or
    /// generated (AC-GAN, Odena et al. 2017).
    Auxiliary,
}

impl ConditioningMethod {
    fn input() -> Self {
        Self::Input
    }
}

/// Noise on D's input.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NoiseConfig {
    /// Standard deviation of the Gaussian noise added to D's images, real and generated (Sønderby
    /// et al. 2017).
    pub input: f64,
    /// Steps after which this noise and that on D's layers have decayed linearly to 0; 0 keeps it
    /// constant.
    pub decay_steps: u64,
}

/// Random augmentation of every image in D's input, real or generated (Zhao et al. 2020).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AugmentConfig {
    /// The augmentations.
    pub policy: Vec<AugmentOp>,
    /// Whether augmentation and `image.flip` are accepted. It is false in a recipe that reproduces
    /// a source without either.
    pub allow: bool,
}

impl Default for AugmentConfig {
    fn default() -> Self {
        Self { policy: Vec::new(), allow: true }
    }
}

/// A random augmentation of images.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AugmentOp {
    /// Brightness, saturation and contrast.
    #[serde(alias = "colour")]
    Color,
    /// Translation by up to an eighth of the sides.
    Translation,
    /// Cutout: a gray rectangle of half the sides.
    Cutout,
    /// Horizontal flip, with probability 1/2.
    Flip,
}

impl AugmentConfig {
    /// The augmentations with the ratios of the paper.
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
    /// The initialization scheme.
    #[serde(default, skip_serializing_if = "is_default")]
    pub scheme: WeightInit,
    /// Standard deviation of weights, around 0, under schemes `normal` and
    /// `truncated-convolutions`.
    pub std: f64,
    /// Standard deviation of batch norm's γ, around 1.
    pub gamma_std: f64,
}

/// The initialization scheme of weights.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WeightInit {
    /// N(0, std²), as in the paper.
    #[default]
    Normal,
    /// N(0, std²), where convolutions (but not transposed ones) redraw values beyond 2·std, as in
    /// carpedm20/DCGAN-tensorflow.
    TruncatedConvolutions,
    /// Orthogonal matrices (Saxe et al. 2014).
    Orthogonal,
    /// Glorot uniform: U(−a, a) with a = √(6 / (inputs + outputs)) (Glorot & Bengio 2010), the
    /// default of Keras.
    Glorot,
}

/// The optimizers, one for each network.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizerConfig {
    /// The optimizer.
    #[serde(rename = "type", default, skip_serializing_if = "is_default")]
    pub kind: OptimizerType,
    /// Learning rate.
    pub lr: f64,
    /// D's learning rate, if it differs from G's (Heusel et al. 2017).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lr_discriminator: Option<f64>,
    /// Adam: β₁, decay of the first moment.
    pub beta1: f64,
    /// Adam: β₂, decay of the second moment. RMSProp: decay of the mean square.
    pub beta2: f64,
    /// Adam and RMSProp: epsilon, added to the root of the second moment.
    pub eps: f64,
    /// Weight decay: an L2 penalty added to the gradients (with `adamw`: subtracted from the
    /// weights).
    pub weight_decay: f64,
    /// SGD and RMSProp: momentum, the fraction of the last update that is applied again.
    #[serde(default, skip_serializing_if = "is_default")]
    pub momentum: f64,
    /// Momentum at the end of the run, reached linearly over its steps, if it is not constant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub momentum_end: Option<f64>,
    /// SGD: whether to use Nesterov momentum.
    #[serde(default, skip_serializing_if = "is_default")]
    pub nesterov: bool,
    /// Gradient clipping: maximum norm of each network's gradient, which is scaled down to it; 0 is
    /// no limit.
    #[serde(default, skip_serializing_if = "is_default")]
    pub clip_gradient: f64,
    /// The learning rate schedule.
    #[serde(default, skip_serializing_if = "is_default")]
    pub schedule: Schedule,
}

impl OptimizerConfig {
    /// The momentum of the step after `step` finished ones in a run of `steps`. Beyond the end it
    /// keeps its final value.
    pub fn momentum_at(&self, step: u64, steps: u64) -> f64 {
        let done = (step as f64 / steps.max(1) as f64).min(1.0);
        self.momentum + (self.momentum_end.unwrap_or(self.momentum) - self.momentum) * done
    }
}

/// The optimizer algorithm.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerType {
    /// Adam (Kingma & Ba 2015).
    #[default]
    Adam,
    /// Adam with decoupled weight decay (Loshchilov & Hutter 2019).
    AdamW,
    /// SGD, with momentum if `momentum` is not 0.
    Sgd,
    /// RMSProp (Tieleman & Hinton 2012).
    RmsProp,
}

/// The training schedule.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Batch size: images per step.
    pub batch: usize,
    /// Length in epochs; exactly one of this and `steps` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epochs: Option<u64>,
    /// Length in steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// Decay of the EMA of the generator's weights; 0 keeps none.
    pub ema: f64,
    /// Updates of D per step, each on a batch of its own.
    #[serde(default = "once", skip_serializing_if = "is_once")]
    pub d_steps: usize,
    /// Updates of G per step.
    #[serde(default = "once", skip_serializing_if = "is_once")]
    pub g_steps: usize,
    /// Which network is updated first in a step.
    #[serde(default, skip_serializing_if = "is_default")]
    pub update_order: UpdateOrder,
    /// Whether every update draws its own latent vectors, or all updates of a step share theirs.
    #[serde(default, skip_serializing_if = "is_default")]
    pub resample_z: bool,
    /// Whether every update, including those of G, has its own batch of images, as in sources that
    /// train one network on each batch in turn. A step then takes `d_steps + g_steps` batches
    /// instead of `d_steps`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub separate_batches: bool,
    /// Gradient accumulation: the parts into which a batch is divided, which are computed one after
    /// the other in a fraction of the memory. Statistics of a batch, as batch norm's, are those of
    /// a part.
    #[serde(default = "once", skip_serializing_if = "is_once")]
    pub accumulate: usize,
    /// Whether statistics of a batch are those of all processes that train together, or of each
    /// one's images alone.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub sync_batch_norm: bool,
}

impl TrainConfig {
    /// Batches of real images per step.
    pub fn batches_per_step(&self) -> usize {
        self.d_steps + if self.separate_batches { self.g_steps } else { 0 }
    }
}

fn yes() -> bool {
    true
}

fn is_yes(value: &bool) -> bool {
    *value
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
    /// The discriminator.
    #[default]
    Discriminator,
    /// The generator.
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
