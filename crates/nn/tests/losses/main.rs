//! Losses, optimisers and augmentation beside PyTorch in float64 (xtask/golden/losses.py), on the CPU.

mod cases;
#[path = "../common/mod.rs"]
mod common;

use tensor::Device;

#[test]
fn objectives() {
    cases::objectives(&Device::Cpu);
}

#[test]
fn penalties() {
    cases::penalties(&Device::Cpu);
}

#[test]
fn features_and_classes() {
    cases::features_and_classes(&Device::Cpu);
}

#[test]
fn optimisers() {
    cases::optimisers(&Device::Cpu);
}

#[test]
fn clipping() {
    cases::clipping(&Device::Cpu);
}

#[test]
fn histories() {
    cases::histories(&Device::Cpu);
}

#[test]
fn augmentation() {
    cases::augmentation(&Device::Cpu);
}
