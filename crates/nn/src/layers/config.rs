//! Layers as a recipe lists them, and what is computed about each before it has values.

use super::LayerConfig;
use super::module::Layer;
use super::weight::Parametrization;

/// The largest number of channels or units of a layer: a larger one is a typing mistake.
pub(super) const MAX_UNITS: usize = 1 << 31;
/// The largest side of a kernel or pooling window.
pub(super) const MAX_KERNEL: usize = 8192;

/// Declares [`LayerConfig`] from the list of all layers. See [`super`].
macro_rules! layer_configs {
    ($($variant:ident($config:ty),)*) => {
        /// One layer of a recipe's list, such as
        /// `{ layer = "conv", channels = 64, kernel = 5, stride = 2, pad = "same" }`.
        ///
        /// ```
        /// use nn::layers::{LayerConfig, LeakyReluConfig};
        ///
        /// let layer: LayerConfig = toml::from_str("layer = \"leaky-relu\"\nslope = 0.2").unwrap();
        /// assert_eq!(layer, LeakyReluConfig { slope: 0.2 }.into());
        /// ```
        #[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
        #[serde(tag = "layer", rename_all = "kebab-case")]
        pub enum LayerConfig {
            $(#[allow(missing_docs, reason = "the type documents it")]
            $variant($config),)*
        }

        $(impl From<$config> for LayerConfig {
            fn from(config: $config) -> Self {
                Self::$variant(config)
            }
        })*

        impl LayerConfig {
            fn spec(&self) -> &dyn config::LayerSpec {
                match self {
                    $(Self::$variant(config) => config,)*
                }
            }
        }
    };
}

pub(super) use layer_configs;

impl LayerConfig {
    /// The layer for samples of shape `[H, W, C]` or `[F]` by itself, without a recipe: its weights
    /// are plain zeros, and there is no condition.
    ///
    /// # Errors
    /// Returns an error if it does not take such samples.
    pub fn build(&self, sample: &[usize]) -> Result<Layer, String> {
        let env = LayerEnv {
            image_channels: sample.last().copied().unwrap_or(1),
            eps: 1e-5,
            momentum: 0.1,
            parametrization: Parametrization::Plain,
            condition_size: 0,
            embedding: 0,
            is_discriminator: true,
        };
        let input = LayerInput { shape: sample, flattened: None, reshaped: None, env: &env };
        Ok((self.plan(&input)?.build)())
    }

    /// The layer's plan behind layers that make `input`, or what is wrong with it there.
    pub(crate) fn plan(&self, input: &LayerInput<'_>) -> Result<LayerPlan, String> {
        self.spec().plan(input)
    }

    /// The image that the layer reshapes vectors to, if it is a reshape to one.
    pub(crate) fn reshape_target(&self) -> Option<[usize; 3]> {
        match self {
            Self::Reshape(reshape) => reshape.image(),
            _ => None,
        }
    }

    /// Whether each unit of the layer's output depends on the same unit of its input alone, or on
    /// statistics: the units keep their order.
    pub(crate) fn keeps_units(&self) -> bool {
        self.spec().keeps_units()
    }

    /// Whether the layer reads the condition.
    pub(crate) fn reads_condition(&self) -> bool {
        self.spec().reads_condition()
    }
}

/// A layer of a recipe: shape inference, refusals, cost, summary line and construction.
pub(super) trait LayerSpec {
    /// The layer's plan for this input, or the end of a sentence on what is wrong.
    fn plan(&self, input: &LayerInput<'_>) -> Result<LayerPlan, String>;

    /// See [`LayerConfig::keeps_units`].
    fn keeps_units(&self) -> bool {
        false
    }

    /// See [`LayerConfig::reads_condition`].
    fn reads_condition(&self) -> bool {
        false
    }
}

/// The settings of a recipe that layers depend on.
pub(crate) struct LayerEnv {
    /// Channels of the recipe's images.
    pub image_channels: usize,
    /// Added to variances.
    pub eps: f32,
    /// How far a batch moves the running statistics, in (0, 1].
    pub momentum: f32,
    /// How weights are parametrized.
    pub parametrization: Parametrization,
    /// Length of the condition; 0 without one.
    pub condition_size: usize,
    /// Length of its learned embedding; 0 without one.
    pub embedding: usize,
    /// Whether the network is a discriminator.
    pub is_discriminator: bool,
}

/// The input of a layer of a list: what the layers before it and the recipe determine.
pub(crate) struct LayerInput<'a> {
    /// The shape of one sample: `[H, W, C]` or `[F]`.
    pub shape: &'a [usize],
    /// The image that was flattened into the vector, if the vector is one.
    pub flattened: Option<[usize; 3]>,
    /// The image that the vector is reshaped to by a later layer, if nothing before that changes
    /// the order of its units.
    pub reshaped: Option<[usize; 3]>,
    /// The recipe's settings.
    pub env: &'a LayerEnv,
}

impl LayerInput<'_> {
    /// Height, width and channels, or a refusal of vectors.
    pub fn image(&self) -> Result<[usize; 3], String> {
        match *self.shape {
            [h, w, c] => Ok([h, w, c]),
            _ => Err(format!(
                "needs an image, [height, width, channels], and its input is a vector {:?}; put a \
                 reshape before it",
                self.shape
            )),
        }
    }

    /// The length of the vector, or a refusal of images.
    pub fn vector(&self) -> Result<usize, String> {
        match *self.shape {
            [_, _, _] => Err(format!(
                "needs a vector, and its input is an image {:?}; put flatten or global-average \
                 before it",
                self.shape
            )),
            _ => Ok(num_elements(self.shape)),
        }
    }

    /// The channels of an image, or the length of a vector.
    pub fn channels(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// The shape with another number of channels.
    pub fn with_channels(&self, channels: usize) -> Vec<usize> {
        let mut shape = self.shape.to_vec();
        if let Some(last) = shape.last_mut() {
            *last = channels;
        }
        shape
    }

    /// The number of elements of a sample.
    pub fn len(&self) -> usize {
        num_elements(self.shape)
    }

    /// The plan of a matrix product or convolution with as many `weights`, each of which is
    /// multiplied at `[down, across]` positions; the last axis of `output` has the bias.
    pub fn affine_plan<const N: usize>(
        &self,
        output: [usize; N],
        weights: u128,
        [down, across]: [usize; 2],
        bias: bool,
        summary: String,
        build: impl Fn() -> Layer + 'static,
    ) -> LayerPlan {
        let parametrization = self.env.parametrization;
        let outputs = output.last().map_or(0, |&outputs| outputs as u128);
        LayerPlan {
            parameters: weights + parametrization.parameters_per_output(bias) * outputs,
            multiplications: weights as f64 * (down as f64 * across as f64),
            ..self.plan(output, summary + parametrization.suffix(), build)
        }
    }

    /// A plan without parameters and arithmetic, to be completed.
    pub fn plan(
        &self,
        output: impl Into<Vec<usize>>,
        summary: impl Into<String>,
        build: impl Fn() -> Layer + 'static,
    ) -> LayerPlan {
        LayerPlan {
            output: output.into(),
            summary: summary.into(),
            parameters: 0,
            multiplications: 0.0,
            flattened: self.flattened,
            unnumbered: None,
            is_activation: false,
            batch_norm_features: None,
            build: Box::new(build),
        }
    }
}

/// The plan of a layer before it has values: all that is known about it at its index in a list.
pub(crate) struct LayerPlan {
    /// The shape of one sample after it.
    pub output: Vec<usize>,
    /// The layer's line in a [`ModelSummary`](crate::ModelSummary).
    pub summary: String,
    /// The number of trained values; 128 bits, since a recipe that is too large is refused by it.
    pub parameters: u128,
    /// Multiply-adds per sample of a forward pass.
    pub multiplications: f64,
    /// The image whose flattened units are the output, if it is a vector of such.
    pub flattened: Option<[usize; 3]>,
    /// The name of a layer that does not count in `main.0`, `main.1`, ….
    pub unnumbered: Option<&'static str>,
    /// Whether the layer is an activation.
    pub is_activation: bool,
    /// The number of statistics of a batch norm.
    pub batch_norm_features: Option<usize>,
    /// Makes the layer, with weights 0 and γ 1.
    pub build: Box<dyn Fn() -> Layer>,
}

/// The number of elements of a shape; shapes that are far too large saturate.
pub(crate) fn num_elements(shape: &[usize]) -> usize {
    shape.iter().fold(1, |product, &n| product.saturating_mul(n))
}

/// The product of axes in 128 bits.
pub(super) fn product(axes: &[usize]) -> u128 {
    axes.iter().map(|&n| n as u128).product()
}

/// Refuses `value` outside 1 to `max`.
pub(super) fn check_count(what: &str, value: usize, max: usize) -> Result<(), String> {
    if (1..=max).contains(&value) { Ok(()) } else { Err(format!("{what} must be from 1 to {max}")) }
}

/// Refuses a value that is not a probability below 1.
pub(super) fn check_probability(what: &str, p: f64) -> Result<(), String> {
    if (0.0..1.0).contains(&p) {
        Ok(())
    } else {
        Err(format!("{what} must be at least 0 and less than 1"))
    }
}

/// Serde helpers of keys with a default.
pub(super) mod default {
    pub fn yes() -> bool {
        true
    }

    pub fn is_yes(value: &bool) -> bool {
        *value
    }

    pub fn one() -> usize {
        1
    }

    pub fn is_one(value: &usize) -> bool {
        *value == 1
    }

    pub fn is_default<T: Default + PartialEq>(value: &T) -> bool {
        *value == T::default()
    }
}
