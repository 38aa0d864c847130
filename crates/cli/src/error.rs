//! Errors of commands, and their exit codes.

use crate::hints;
use data::{DataError, FetchError};
use eval::EvalError;
use nn::NnError;
use runs::ArtifactError;
use std::fmt::Display;
use tensor::OutOfMemory;
use tensor::gpu::GpuError;
use train::TrainError;

/// [`CliError::Usage`] with a formatted message.
macro_rules! usage {
    ($($message:tt)+) => { $crate::error::CliError::Usage(format!($($message)+)) };
}

/// [`CliError::Failed`] with a formatted message.
macro_rules! failure {
    ($($message:tt)+) => { $crate::error::CliError::Failed(format!($($message)+)) };
}

/// The exit code after Ctrl-C: 128 + SIGINT, as shells report it.
pub const EXIT_INTERRUPTED: u8 = 130;

/// The exit code of a run that the training monitor stopped.
pub const EXIT_STOPPED_BY_MONITOR: u8 = 3;

/// An error of a command. It is displayed in one line: `message: hint`.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// A flag's value, or a combination of flags, is invalid: exit code 2.
    #[error("{0}")]
    Usage(String),
    /// Any other failure found by the command itself: exit code 1.
    #[error("{0}")]
    Failed(String),
    /// Training or sampling.
    #[error("{}", hints::compose(.0, hints::train(.0)))]
    Train(#[from] TrainError),
    /// A dataset could not be read.
    #[error("{}", hints::compose(.0, hints::data(.0)))]
    Data(#[from] DataError),
    /// A download failed.
    #[error("{}", hints::compose(.0, hints::fetch(.0)))]
    Fetch(#[from] FetchError),
    /// A recipe or a state dict.
    #[error("{}", hints::compose(.0, hints::nn(.0)))]
    Nn(#[from] NnError),
    /// A file of a run.
    #[error("{}", hints::compose(.0, hints::artifact(.0)))]
    Artifact(#[from] ArtifactError),
    /// A device could not be opened, or failed.
    #[error("{}", hints::compose(.0, hints::gpu(.0)))]
    Gpu(#[from] GpuError),
    /// The memory of the computer, or what its limits leave, does not suffice.
    #[error("{}", hints::compose(.0, Some(hints::OUT_OF_MEMORY.to_owned())))]
    OutOfMemory(OutOfMemory),
    /// The first error of a group of ranks, which all end with its code: without a message on the
    /// ranks that do not print it.
    #[error("{}", .message.as_deref().unwrap_or_default())]
    Agreed { code: u8, message: Option<String> },
    /// A metric or an experiment.
    #[error("{}", hints::compose(.0, hints::eval(.0)))]
    Eval(#[from] EvalError),
}

impl CliError {
    /// `context: message: hint`, such as the flag or file in which the error occurred.
    pub fn in_context(context: impl Display, error: impl Into<Self>) -> Self {
        Self::Failed(format!("{context}: {}", error.into()))
    }

    /// The same message and hint with exit code 2, for a library's error that a flag's value
    /// caused.
    pub fn usage(error: impl Into<Self>) -> Self {
        Self::Usage(error.into().to_string())
    }

    /// 2 for invalid usage, 3 for training that diverged, 130 after Ctrl-C, 1 otherwise.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Agreed { code, .. } => *code,
            Self::Train(
                TrainError::NonFinite { .. }
                | TrainError::NonFiniteStart { .. }
                | TrainError::Diverged { .. },
            ) => EXIT_STOPPED_BY_MONITOR,
            Self::Eval(EvalError::Stopped) => EXIT_INTERRUPTED,
            _ => 1,
        }
    }
}
