//! What a forward pass is for.

/// How a forward pass treats batch statistics and the graph.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mode {
    /// What batch norm normalises by.
    pub statistics: Statistics,
    /// Whether parameters join the graph. When not they are plain constants: gradients can still flow through the network to a
    /// tracked input, but none is computed for its parameters.
    pub track: bool,
}

/// What batch norm normalises by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Statistics {
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
    pub const TRAIN: Self = Self { statistics: Statistics::Batch { update: true }, track: true };
    /// Sampling: running statistics, no graph.
    pub const SAMPLE: Self = Self { statistics: Statistics::Running, track: false };
    /// Sampling by the statistics of the batch itself, no graph, nothing updated.
    pub const BATCH: Self = Self { statistics: Statistics::Batch { update: false }, track: false };
}

/// A mode, and how fast the running statistics follow.
#[derive(Clone, Copy)]
pub(crate) struct Pass {
    pub mode: Mode,
    /// In place of each layer's own momentum.
    pub momentum: Option<f32>,
}
