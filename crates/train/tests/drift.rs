//! How far training drifts from float64, compared with PyTorch's float32. No test asserts it: one
//! run's drift depends on which activations come near their kink.

#[path = "../../tensor/tests/common/numerics_env.rs"]
mod numerics_env;
#[path = "common/objectives.rs"]
mod objectives;
#[path = "common/settings.rs"]
mod settings;

use tensor::{set_conv_algorithm, set_isa};

/// Prints the drift in the games that `xtask/golden/drift.py` wrote into the folder `DCGAN_DRIFT`;
/// with `DCGAN_CONV=direct` that without Winograd.
#[test]
#[ignore = "minutes, and needs runs of PyTorch"]
fn drift_compared_with_pytorch() {
    let folder = std::env::var_os("DCGAN_DRIFT").expect("DCGAN_DRIFT: a folder");
    objectives::print_drift(folder.as_ref());
}
