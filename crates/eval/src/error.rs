//! What can go wrong while measuring.

use data::DataError;
use nn::NnError;
use runs::ArtifactError;
use tensor::gpu::GpuError;
use train::TrainError;

/// An error of a metric or an experiment: one line that names the thing, the value and the way out.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// A checkpoint, its networks, or drawing with them.
    #[error(transparent)]
    Train(Box<TrainError>),
    /// Files that are read or written.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// The data.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Recipe or weights.
    #[error(transparent)]
    Nn(#[from] NnError),
    /// The device.
    #[error(transparent)]
    Gpu(#[from] GpuError),
    /// What was asked does not fit the networks or the data.
    #[error("{0}")]
    Mismatch(String),
    /// A setting outside its range.
    #[error("{0}")]
    Setting(String),
    /// The user stopped it.
    #[error("stopped")]
    Stopped,
}

impl From<TrainError> for EvalError {
    fn from(error: TrainError) -> Self {
        Self::Train(Box::new(error))
    }
}
