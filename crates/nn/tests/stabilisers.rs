//! The layers of the GAN literature on the CPU: beside PyTorch, and what they promise.

mod common;

#[path = "common/stabilisers.rs"]
mod table;

use tensor::Device;

#[test]
fn layers_match_pytorch() {
    table::layers_match_pytorch(&Device::Cpu);
}
