//! Ten full training steps beside PyTorch, on the CPU.

#[path = "common/trajectory.rs"]
mod trajectory;

#[test]
fn ten_steps_follow_pytorch() {
    trajectory::ten_steps_follow_pytorch(&tensor::Device::Cpu);
}
