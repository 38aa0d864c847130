//! What ends a command, and the exit code it ends with.

use data::{DataError, FetchError};
use eval::EvalError;
use nn::NnError;
use runs::ArtifactError;
use std::process::ExitCode;
use train::TrainError;

/// The exit code after Ctrl-C: 128 + SIGINT, as shells have it.
pub const INTERRUPTED: u8 = 130;

/// The exit code of a run that the watchdog ended.
pub const WATCHED: u8 = 3;

/// An error of a command, in one line.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// A flag's value, or flags together, that make no sense: exit code 2.
    #[error("{0}")]
    Usage(String),
    /// Anything else found out here: exit code 1.
    #[error("{0}")]
    Failed(String),
    /// From the run or its files.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// From the data.
    #[error(transparent)]
    Data(#[from] DataError),
    /// From fetching data.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// From a recipe or weights.
    #[error(transparent)]
    Nn(#[from] NnError),
    /// From the files of a run.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// From a metric or an experiment.
    #[error(transparent)]
    Eval(#[from] EvalError),
}

impl CliError {
    /// 2 for usage, 3 for training that has diverged, 130 for what the user stopped, 1 otherwise.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) => ExitCode::from(2),
            Self::Train(TrainError::NonFinite { .. } | TrainError::Diverged { .. }) => {
                ExitCode::from(WATCHED)
            }
            Self::Eval(EvalError::Stopped) => ExitCode::from(INTERRUPTED),
            _ => ExitCode::FAILURE,
        }
    }
}
