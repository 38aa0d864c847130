//! The environment variables that choose kernels. Libraries read none; they are handed the values.

use crate::error::CliError;

/// Checks `DCGAN_SIMD` (instruction set of the CPU kernels) and `DCGAN_CONV` (convolution
/// algorithm) before the first kernel runs.
///
/// # Errors
/// Returns an error if a value is unknown or this processor lacks the instruction set.
pub fn configure_kernels() -> Result<(), CliError> {
    tensor::isa_from_env().map_err(CliError::Failed)?;
    tensor::conv_algorithm_from_env().map_err(CliError::Failed)?;
    Ok(())
}
