//! The layers of the GAN literature on a GPU.

#[path = "../../../tensor/tests/common/adapter.rs"]
mod adapter;
#[path = "../common/mod.rs"]
mod common;
#[path = "../common/stabilisers.rs"]
mod table;

fn main() {
    adapter::run(&[("layers_match_pytorch", table::layers_match_pytorch)], &[]);
}
