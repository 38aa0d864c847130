//! Errors of training and sampling.

use crate::condition_error::ConditionError;
use data::DataError;
use nn::NnError;
use runs::ArtifactError;
use std::io;
use std::path::PathBuf;
use tensor::gpu::GpuError;

/// An error of training or sampling: a kind and its values. The message names no command; what the
/// user can do about it is the caller's knowledge.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages show what the fields are")]
pub enum TrainError {
    /// Files of a run.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// A dataset could not be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Recipe or weights.
    #[error(transparent)]
    Nn(#[from] NnError),
    /// The device failed.
    #[error(transparent)]
    Gpu(#[from] GpuError),
    /// Conditions that the data or the user gives.
    #[error(transparent)]
    Condition(#[from] ConditionError),
    /// NaN or infinity, after which the weights are worthless.
    #[error("step {step}: {what} is NaN or infinite: training has diverged")]
    NonFinite { step: u64, what: String },
    /// NaN or infinity in the state that a run begins with.
    #[error("{what} is NaN or infinite before the first step: there is nothing to train from")]
    NonFiniteStart { what: String },
    /// NaN or infinity in generated images.
    #[error("images {start} to {end} hold NaN or infinity: the generator's weights are not usable")]
    NonFiniteImages { start: usize, end: usize },
    /// NaN or infinity after as many roll-backs as a run may have.
    #[error(
        "step {step}: {what} is NaN or infinite after {rollbacks} roll-backs to a valid \
         checkpoint, each with half the learning rate: training diverges at {lr:e}, too"
    )]
    Diverged { step: u64, what: String, rollbacks: usize, lr: f64 },
    /// A checkpoint without a training state: an imported one.
    #[error("the checkpoint holds no training state: it was imported")]
    NoTrainingState,
    /// A checkpoint without a discriminator, where one is needed.
    #[error("the checkpoint holds a generator alone")]
    GeneratorAlone,
    /// A discriminator whose batch norm never updated its running statistics.
    #[error("the discriminator's batch norm has no running statistics: it was not trained")]
    NoRunningStatistics,
    /// A training state that this version does not understand, or cannot write.
    #[error("the checkpoint's training state is of another version: {0}")]
    StateVersion(serde_json::Error),
    /// Weights that do not fit, from a file.
    #[error("{}: {source}", .path.display())]
    Weights { path: PathBuf, source: Box<NnError> },
    /// A weight beyond the largest number of half precision.
    #[error("{tensor} holds {value}, which half precision cannot")]
    HalfPrecision { tensor: String, value: f32 },
    /// A file that would be overwritten.
    #[error("{path:?} exists already")]
    FileExists { path: PathBuf },
    /// A folder that cannot be created.
    #[error("cannot create {}: {source}", .path.display())]
    CreateFolder { path: PathBuf, source: io::Error },
    /// A setting that is 0.
    #[error("{setting} is 0: it must be at least 1")]
    Zero { setting: &'static str },
    /// Settings that TOML cannot hold.
    #[error("cannot write the settings as TOML: {0}")]
    Toml(#[from] toml::ser::Error),
    /// Latents of another length than the recipe's.
    #[error("the latents have shape {shape:?}: this generator takes [N, {latent}]")]
    LatentShape { shape: Vec<usize>, latent: usize },
    /// Batch statistics of a single image.
    #[error(
        "batch statistics need at least 2 images that are generated together: {count} images in \
         batches of {batch} leave 1 alone"
    )]
    BatchStatistics { count: usize, batch: usize },
    /// An error of the caller's evaluation of a checkpoint.
    #[error("cannot evaluate the generator: {0}")]
    Eval(Box<dyn std::error::Error + Send + Sync>),
    /// A batch of toy points that packs of `pack` points do not divide.
    #[error("a batch of {batch} points cannot be divided into packs of {pack}")]
    Pack { pack: usize, batch: usize },
    /// Processes of a group whose runs are not the same.
    #[error("step {step}: {} of rank {} differ from those of rank 0", .what, join(.ranks))]
    RanksDiffer { what: &'static str, ranks: Vec<usize>, step: u64 },
    /// More processes than a batch can be divided among.
    #[error("a batch of {batch} images in {parts} parts cannot be divided among {ranks} processes")]
    TooManyRanks { ranks: usize, batch: usize, parts: usize },
    /// A setting of the saddle that is out of range.
    #[error("{setting} must be {range}")]
    Saddle { setting: &'static str, range: &'static str },
}

impl TrainError {
    /// NaN or infinity in `what`, a part of the state after `step` steps.
    pub(crate) fn non_finite_state(step: u64, what: String) -> Self {
        match step {
            0 => Self::NonFiniteStart { what },
            _ => Self::NonFinite { step, what },
        }
    }
}

/// Numbers, separated by commas.
fn join(numbers: &[usize]) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
