//! Test programs take the instruction set and the convolution algorithm from `DCGAN_SIMD` and
//! `DCGAN_CONV`, as the `dcgan` command does, before any test runs.

use super::{set_conv_algorithm, set_isa};

/// Runs before `main`: tests of one program share the choice, and any of them may be the first.
#[cfg(target_os = "linux")]
#[used]
// SAFETY: the section lists functions of this type, which the loader calls once, on one thread;
// `init` needs only the environment.
#[unsafe(link_section = ".init_array")]
static INIT: extern "C" fn() = init;

#[cfg(target_os = "linux")]
extern "C" fn init() {
    // A panic must not leave an `extern "C"` function, so a bad value is reported and ends the
    // program.
    if let Err(message) = apply() {
        eprintln!("{message}");
        std::process::exit(1);
    }
}

/// Applies the two variables.
pub fn apply() -> Result<(), String> {
    if let Ok(name) = std::env::var("DCGAN_SIMD") {
        name.parse().and_then(set_isa).map_err(|e| format!("DCGAN_SIMD: {e}"))?;
    }
    if let Ok(name) = std::env::var("DCGAN_CONV") {
        name.parse().and_then(set_conv_algorithm).map_err(|e| format!("DCGAN_CONV: {e}"))?;
    }
    Ok(())
}
