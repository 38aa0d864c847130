//! Ten full training steps beside PyTorch, on the CPU: of the default recipe, and of other games.

#[path = "common/objectives.rs"]
mod objectives;
#[path = "common/trajectory.rs"]
mod trajectory;

#[test]
fn ten_steps_follow_pytorch() {
    trajectory::ten_steps_follow_pytorch(&tensor::Device::Cpu);
}

#[test]
fn games_follow_pytorch() {
    objectives::games_follow_pytorch(&tensor::Device::Cpu);
}
