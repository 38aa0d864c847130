//! Every operation beside PyTorch in float64, on the CPU.

mod common;

use common::golden;
use tensor::Device;

#[test]
fn every_operation_equals_pytorch_in_float64() {
    golden::every_operation_equals_pytorch_in_float64(&Device::Cpu);
}
