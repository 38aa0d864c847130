//! Ten full training steps compared with PyTorch, on the CPU: of the default recipe, and of others.

#[path = "../../tensor/tests/common/numerics_env.rs"]
mod numerics_env;
#[path = "common/objectives.rs"]
mod objectives;
#[path = "common/settings.rs"]
mod settings;
#[path = "common/trajectory.rs"]
mod trajectory;

use objectives::Setup;
use tensor::{set_conv_algorithm, set_isa};

#[test]
fn ten_steps_follow_pytorch() {
    trajectory::ten_steps_follow_pytorch(&Setup::single(&tensor::Device::Cpu));
}

#[test]
fn losses_follow_pytorch() {
    objectives::losses_follow_pytorch(&Setup::single(&tensor::Device::Cpu));
}
