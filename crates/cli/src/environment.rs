//! The environment variables that choose kernels and the datasets folder. Libraries read none; they
//! are handed the values.

use crate::error::CliError;
use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;
use tensor::{ConvAlgorithm, ConvAlgorithmError, Isa, IsaError, set_conv_algorithm, set_isa};

/// Hands `DCGAN_SIMD` (instruction set of the CPU kernels) and `DCGAN_CONV` (convolution
/// algorithm) to the kernels before the first one runs.
pub fn configure_kernels() -> Result<(), CliError> {
    let available = |error: &IsaError| match error {
        IsaError::Unavailable { available, .. } => join(available),
        IsaError::InUse { used } => used.to_string(),
    };
    configure::<Isa, _>("DCGAN_SIMD", set_isa, available)?;
    let algorithms = |_: &ConvAlgorithmError| join(&ConvAlgorithm::ALL);
    configure("DCGAN_CONV", set_conv_algorithm, algorithms)
}

/// The environment variable that names the folder in which datasets are searched first.
pub const DATASETS_VARIABLE: &str = "DCGAN_DATASETS";

/// The folder that [`DATASETS_VARIABLE`] names.
pub fn datasets_folder() -> Option<PathBuf> {
    std::env::var_os(DATASETS_VARIABLE).filter(|folder| !folder.is_empty()).map(PathBuf::from)
}

/// The environment variable with a token for datasets on Hugging Face's hub.
pub const TOKEN_VARIABLE: &str = "HF_TOKEN";

/// The token that [`TOKEN_VARIABLE`] has. It is a secret: nothing prints it.
pub fn hub_token() -> Option<String> {
    // What is not UTF-8 is no token; the server says that it wants one.
    std::env::var(TOKEN_VARIABLE).ok().filter(|token| !token.is_empty())
}

/// Whether a program that is started here has a screen to open a window on (X11 or Wayland).
pub fn has_display() -> bool {
    ["DISPLAY", "WAYLAND_DISPLAY"]
        .iter()
        .any(|variable| std::env::var_os(variable).is_some_and(|display| !display.is_empty()))
}

/// Parses a variable, if it is set, and hands it to `set`; an error lists the values that `values`
/// returns.
fn configure<T: FromStr<Err = E>, E: Display>(
    variable: &str,
    set: fn(T) -> Result<(), E>,
    values: impl Fn(&E) -> String,
) -> Result<(), CliError> {
    let Ok(value) = std::env::var(variable) else { return Ok(()) };
    value.parse().and_then(set).map_err(|error| {
        let values = values(&error);
        failure!("{variable}={value}: {error}: use one of {values}, or unset it")
    })
}

fn join<T: ToString>(values: &[T]) -> String {
    values.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}
