//! What can go wrong in a run.

use crate::artefacts::ArtefactError;
use data::DataError;
use nn::NnError;

/// An error of training or sampling: one line that names the thing, the value and the way out.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// Files of a run.
    #[error(transparent)]
    Artefact(#[from] ArtefactError),
    /// The data.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Recipe or weights.
    #[error(transparent)]
    Nn(#[from] NnError),
    /// A loss that is NaN or infinite; weights after it are worthless.
    #[error(
        "step {step}: the {network} loss is {value}: training has diverged; the last checkpoint is untouched, resume it with a lower --lr"
    )]
    NonFinite {
        /// The step that failed.
        step: u64,
        /// `discriminator` or `generator`.
        network: &'static str,
        /// The loss.
        value: f32,
    },
    /// A checkpoint that does not belong to what is asked.
    #[error("{0}")]
    Mismatch(String),
    /// A setting outside its range.
    #[error("{0}")]
    Setting(String),
}
