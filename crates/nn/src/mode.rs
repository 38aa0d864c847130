//! Forward pass options: mode, condition and noise.

use std::sync::{Mutex, PoisonError};
use tensor::Tensor;
use tensor::rng::{Distribution, Philox};

/// How a forward pass treats batch statistics and the graph.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mode {
    /// The statistics used by batch norm.
    pub statistics: BatchNormStats,
    /// Whether parameters join the graph. If not, they are plain constants: gradients can still
    /// flow through the network to a tracked input, but none is computed for its parameters.
    pub track: bool,
}

/// The statistics used by batch norm: batch or running.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BatchNormStats {
    /// The mean and variance of this batch.
    Batch {
        /// Whether they also update the running statistics.
        update: bool,
    },
    /// The running mean and variance.
    Running,
}

impl Mode {
    /// Training: batch statistics, which update the running ones; parameters join the graph.
    pub const TRAIN: Self =
        Self { statistics: BatchNormStats::Batch { update: true }, track: true };
    /// Sampling: running statistics, no graph.
    pub const SAMPLE: Self = Self { statistics: BatchNormStats::Running, track: false };
    /// Sampling with the statistics of the batch itself, no graph, nothing updated.
    pub const BATCH: Self =
        Self { statistics: BatchNormStats::Batch { update: false }, track: false };
}

/// The options of a forward pass in addition to its input. A [`Mode`] alone converts to a pass
/// without condition and noise.
#[derive(Clone, Copy)]
pub struct ForwardCtx<'a> {
    /// The treatment of batch statistics and the graph.
    pub mode: Mode,
    /// The condition of the images, `[N, K]`.
    pub condition: Option<&'a Tensor>,
    /// The random stream of dropout and noise layers; without it they do nothing, as in sampling.
    pub rng: Option<&'a NoiseRng>,
    /// Whether gradients pass through rectifiers by the rule of guided backpropagation
    /// ([`Tensor::guided_leaky_relu`]): for visualizing features, not for training.
    pub guided: bool,
    /// The momentum of running statistics, overriding each layer's own.
    pub(crate) momentum: Option<f32>,
    /// The number of rows at the start of the batch that are the network's reference batch.
    pub(crate) reference: usize,
}

impl From<Mode> for ForwardCtx<'_> {
    fn from(mode: Mode) -> Self {
        Self { mode, condition: None, rng: None, guided: false, momentum: None, reference: 0 }
    }
}

impl<'a> ForwardCtx<'a> {
    /// Returns this pass with a condition, or without one.
    pub fn with_condition(self, condition: impl Into<Option<&'a Tensor>>) -> Self {
        Self { condition: condition.into(), ..self }
    }

    /// Returns this pass with a random stream, or without one.
    pub fn with_rng(self, rng: impl Into<Option<&'a NoiseRng>>) -> Self {
        Self { rng: rng.into(), ..self }
    }

    /// Returns this pass with guided backpropagation.
    pub fn with_guidance(self) -> Self {
        Self { guided: true, ..self }
    }

    /// Returns whether this pass updates the running values of layers: a training step does, a
    /// recalibration does not.
    pub(crate) fn trains(&self) -> bool {
        self.momentum.is_none()
            && matches!(self.mode.statistics, BatchNormStats::Batch { update: true })
    }
}

/// The random stream that dropout and noise layers draw from across forward passes.
pub struct NoiseRng {
    rng: Mutex<Philox>,
    scale: f32,
}

impl NoiseRng {
    /// Creates a random stream from `rng`. `scale` multiplies the standard deviation of Gaussian
    /// noise layers, so that the noise can decay over training; dropout keeps its rate.
    pub fn new(rng: Philox, scale: f32) -> Self {
        Self { rng: Mutex::new(rng), scale }
    }

    /// The state of the random stream, which a checkpoint saves.
    pub fn state(&self) -> Philox {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The factor on the standard deviation of Gaussian noise layers.
    pub fn scale(&self) -> f32 {
        self.scale
    }

    pub(crate) fn draw(&self, like: &Tensor, distribution: Distribution) -> Tensor {
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        rng.draw(&like.device(), *like.shape(), distribution)
    }
}
