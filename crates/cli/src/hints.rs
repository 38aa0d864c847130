//! The way out of a library's error, in this program's flags and commands. Libraries name what went
//! wrong and the values; each function here matches an error's variants and returns the text that
//! the user reads after the message: `message: hint`.

use data::{DataError, FetchError};
use eval::EvalError;
use nn::NnError;
use runs::ArtifactError;
use std::fmt::Display;
use tensor::gpu::GpuError;
use train::TrainError;

/// `message: hint`, or the message alone where there is no hint.
pub fn compose(message: impl Display, hint: Option<String>) -> String {
    match hint {
        Some(hint) => format!("{message}: {hint}"),
        None => message.to_string(),
    }
}

/// Hints for devices that cannot be opened, run out of memory or fail.
pub fn gpu(_error: &GpuError) -> Option<String> {
    None
}

/// Hints for recipes and state dicts.
pub fn nn(_error: &NnError) -> Option<String> {
    None
}

/// Hints for datasets.
pub fn data(_error: &DataError) -> Option<String> {
    None
}

/// Hints for downloads.
pub fn fetch(_error: &FetchError) -> Option<String> {
    None
}

/// Hints for the files of a run: checkpoints, metrics, images.
pub fn artifact(_error: &ArtifactError) -> Option<String> {
    None
}

/// Hints for training and sampling.
pub fn train(error: &TrainError) -> Option<String> {
    match error {
        TrainError::Artifact(error) => artifact(error),
        TrainError::Data(error) => data(error),
        TrainError::Nn(error) => nn(error),
        TrainError::Gpu(error) => gpu(error),
        _ => None,
    }
}

/// Hints for metrics and experiments.
pub fn eval(error: &EvalError) -> Option<String> {
    match error {
        EvalError::Train(error) => train(error),
        EvalError::Artifact(error) => artifact(error),
        EvalError::Data(error) => data(error),
        EvalError::Nn(error) => nn(error),
        EvalError::Gpu(error) => gpu(error),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_follows_the_message() {
        assert_eq!(
            compose("no device", Some("use --device cpu".into())),
            "no device: use --device cpu"
        );
        assert_eq!(compose("no device", None), "no device");
    }
}
