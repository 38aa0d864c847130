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
pub fn gpu(error: &GpuError) -> Option<String> {
    Some(match error {
        GpuError::None => {
            "install its Vulkan driver (on Linux also libvulkan1), or use --device cpu".into()
        }
        GpuError::OnlySoftware(_) => "add --allow-software to use one, or use --device cpu".into(),
        GpuError::Software(..) => "add --allow-software to use it, or use --device cpu".into(),
        GpuError::NoHalf(_) => "use --precision f32, or another device of `dcgan devices`".into(),
        GpuError::NoSuch { .. } => "`dcgan devices` lists them".into(),
        GpuError::Open { .. } | GpuError::NoCompute(_) => {
            "try another device of `dcgan devices`, or --device cpu".into()
        }
        GpuError::Memory { .. } | GpuError::Exhausted { .. } | GpuError::TooLarge { .. } => {
            "try a smaller batch (--batch) or narrower networks (--width)".into()
        }
        GpuError::Grid { .. } => "try a smaller batch (--batch)".into(),
        GpuError::Shader { .. } => "use --device cpu".into(),
        GpuError::Lost { .. } => "the last checkpoint is valid, resume from it with --resume; \
                                  try a smaller batch if it happens again"
            .into(),
        GpuError::Failed { .. } => {
            "the last checkpoint is valid, resume from it with --resume --device cpu".into()
        }
    })
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
