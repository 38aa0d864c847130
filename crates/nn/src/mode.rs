//! Forward pass options: mode, condition, noise, and the share of a process in the batch.

use std::sync::{Mutex, PoisonError};
use tensor::distributed::{BatchShard, ProcessGroup};
use tensor::rng::{Distribution, Philox};
use tensor::{Tensor, concat};

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
    /// The rows of a global batch that the input is, where it is a part of one: layers that mix the
    /// samples of a batch then mix those of all ranks, and noise is that of these rows.
    pub shard: Option<&'a BatchShard>,
    /// The momentum of running statistics, overriding each layer's own.
    pub(crate) momentum: Option<f32>,
    /// The number of rows at the start of the batch that are the network's reference batch.
    pub(crate) reference: usize,
}

impl From<Mode> for ForwardCtx<'_> {
    fn from(mode: Mode) -> Self {
        Self {
            mode,
            condition: None,
            rng: None,
            guided: false,
            shard: None,
            momentum: None,
            reference: 0,
        }
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

    /// Returns this pass on a part of a global batch.
    pub fn with_shard(self, shard: &'a BatchShard) -> Self {
        Self { shard: Some(shard), ..self }
    }

    /// Returns this pass with guided backpropagation.
    pub fn with_guidance(self) -> Self {
        Self { guided: true, ..self }
    }

    /// The group over whose samples batch statistics are taken.
    pub(crate) fn group(&self) -> ProcessGroup {
        self.shard.map(|shard| shard.group().clone()).unwrap_or_default()
    }

    /// Returns the number of samples of all ranks in a pass on `own` samples here.
    pub(crate) fn batch_len(&self, own: usize) -> usize {
        self.shard.map_or(own, BatchShard::part_len)
    }

    /// Calls `f` with the samples of all ranks, `[N, …]`, and returns this rank's rows of its
    /// result, whose first axis is the same.
    pub(crate) fn over_batch(&self, x: &Tensor, f: impl FnOnce(&Tensor) -> Tensor) -> Tensor {
        match self.shard {
            Some(shard) => shard.own_rows(&f(&shard.all_gather(x))),
            None => f(x),
        }
    }

    /// Draws noise of the shape of `x` for the samples of this pass, which may be some rows of a
    /// global batch.
    pub(crate) fn draw(&self, rng: &NoiseRng, x: &Tensor, distribution: Distribution) -> Tensor {
        let mut rng = rng.rng.lock().unwrap_or_else(PoisonError::into_inner);
        let (device, mut shape) = (x.device(), x.shape().to_vec());
        let Some(shard) = self.shard.filter(|shard| !shard.is_whole()) else {
            return rng.draw(&device, &shape[..], distribution);
        };
        // The reference batch is at the head of every rank's samples.
        let (head, rows) = (self.reference, shard.rows());
        shape[0] = head + shard.batch();
        let at_head =
            (head > 0).then(|| rng.clone().draw_rows(&device, &shape[..], 0..head, distribution));
        let rows = head + rows.start..head + rows.end;
        let own = rng.draw_rows(&device, &shape[..], rows, distribution);
        at_head.map_or(own.clone(), |at_head| concat(&[&at_head, &own], 0))
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
}
