//! What can go wrong in a run.

use data::DataError;
use nn::NnError;
use runs::ArtifactError;
use tensor::gpu::GpuError;

/// An error of training or sampling: one line that names the thing, the value and the way out.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// Files of a run.
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
    /// A number that is NaN or infinite, after which weights are worthless.
    #[error(
        "step {step}: {what} is not finite: training has diverged; the checkpoints before it are sound, go on from one with a lower --lr"
    )]
    NonFinite {
        /// The step that failed.
        step: u64,
        /// The loss, gradient or tensor, by name.
        what: String,
    },
    /// The same, once too often.
    #[error(
        "step {step}: {what} is not finite, after {rollbacks} returns to a sound checkpoint, each with half the learning rate: training diverges at \
         {lr:e}, too; the checkpoints are sound, go on from an earlier one with a far lower --lr, or use another recipe"
    )]
    Diverged {
        /// The step that failed.
        step: u64,
        /// The loss, gradient or tensor, by name.
        what: String,
        /// How often the run went back.
        rollbacks: usize,
        /// The learning rate of the last try.
        lr: f64,
    },
    /// A checkpoint without a training state: an imported one.
    #[error("the checkpoint holds no training state: it was imported")]
    NoTrainingState,
    /// The training state of another version of this program.
    #[error("the checkpoint's training state is of another version: {0}")]
    StateVersion(serde_json::Error),
    /// A checkpoint that does not belong to what is asked.
    #[error("{0}")]
    Mismatch(String),
    /// A setting outside its range.
    #[error("{0}")]
    Setting(String),
}
