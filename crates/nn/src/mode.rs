//! What a forward pass is for, and what it is given.

use std::sync::{Mutex, PoisonError};
use tensor::Tensor;
use tensor::rng::{Distribution, Philox};

/// How a forward pass treats batch statistics and the graph.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mode {
    /// What batch norm normalises by.
    pub statistics: BatchNormStats,
    /// Whether parameters join the graph. When not they are plain constants: gradients can still flow through the network to a
    /// tracked input, but none is computed for its parameters.
    pub track: bool,
}

/// What batch norm normalises by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BatchNormStats {
    /// The mean and variance of this batch.
    Batch {
        /// Whether they also move the running ones.
        update: bool,
    },
    /// The running mean and variance.
    Running,
}

impl Mode {
    /// Training: batch statistics, which move the running ones; parameters join the graph.
    pub const TRAIN: Self =
        Self { statistics: BatchNormStats::Batch { update: true }, track: true };
    /// Sampling: running statistics, no graph.
    pub const SAMPLE: Self = Self { statistics: BatchNormStats::Running, track: false };
    /// Sampling by the statistics of the batch itself, no graph, nothing updated.
    pub const BATCH: Self =
        Self { statistics: BatchNormStats::Batch { update: false }, track: false };
}

/// What a forward pass is given beside its input. A [`Mode`] alone is one without condition and noise.
#[derive(Clone, Copy)]
pub struct ForwardCtx<'a> {
    /// How it treats batch statistics and the graph.
    pub mode: Mode,
    /// What the pictures are conditioned on, `[N, K]`.
    pub condition: Option<&'a Tensor>,
    /// Randomness of dropout and noise layers; without it they do nothing, as in sampling.
    pub rng: Option<&'a NoiseRng>,
    /// Whether gradients go back through rectifiers by the rule of guided backpropagation
    /// ([`Tensor::guided_leaky_relu`]): for pictures of what a feature sees, not for training.
    pub guided: bool,
    /// How fast running statistics follow, in place of each layer's own momentum.
    pub(crate) momentum: Option<f32>,
    /// How many rows at the head of the batch are the network's reference.
    pub(crate) reference: usize,
}

impl From<Mode> for ForwardCtx<'_> {
    fn from(mode: Mode) -> Self {
        Self { mode, condition: None, rng: None, guided: false, momentum: None, reference: 0 }
    }
}

impl<'a> ForwardCtx<'a> {
    /// This pass in another mode.
    pub fn with_mode(self, mode: Mode) -> Self {
        Self { mode, ..self }
    }

    /// This pass under a condition, or under none.
    pub fn with_condition(self, condition: impl Into<Option<&'a Tensor>>) -> Self {
        Self { condition: condition.into(), ..self }
    }

    /// This pass with randomness, or without.
    pub fn with_rng(self, rng: impl Into<Option<&'a NoiseRng>>) -> Self {
        Self { rng: rng.into(), ..self }
    }

    /// This pass with guided backpropagation.
    pub fn with_guidance(self) -> Self {
        Self { guided: true, ..self }
    }

    /// Whether the running numbers of layers move with this pass: those of a training step, not those of a recalibration.
    pub(crate) fn trains(&self) -> bool {
        self.momentum.is_none()
            && matches!(self.mode.statistics, BatchNormStats::Batch { update: true })
    }
}

/// A random stream that dropout and noise layers draw from, pass after pass.
pub struct NoiseRng {
    rng: Mutex<Philox>,
    scale: f32,
}

impl NoiseRng {
    /// Randomness from `rng`. `scale` multiplies the standard deviation of Gaussian noise layers, so that it can decay over
    /// training; dropout keeps its rate.
    pub fn new(rng: Philox, scale: f32) -> Self {
        Self { rng: Mutex::new(rng), scale }
    }

    /// Where the stream stands: what a checkpoint saves.
    pub fn state(&self) -> Philox {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What multiplies the standard deviation of Gaussian noise layers.
    pub fn scale(&self) -> f32 {
        self.scale
    }

    pub(crate) fn draw(&self, like: &Tensor, distribution: Distribution) -> Tensor {
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        rng.draw(&like.device(), *like.shape(), distribution)
    }
}
