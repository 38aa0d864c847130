//! Every operation compared with PyTorch in float64, on the CPU.

mod common;

use common::golden;
use tensor::Device;
use tensor::op_table::UNARY_OPS;

#[test]
fn every_operation_equals_pytorch_in_float64() {
    golden::every_operation_equals_pytorch_in_float64(&Device::Cpu);
}

/// Operations without a golden case: one multiplication or addition each, which the others'
/// gradients use.
const NO_GOLDEN: [&str; 2] = ["scale", "add_scalar"];

#[test]
fn every_elementwise_operation_has_a_golden_case() {
    let cases = golden::operations();
    let missing: Vec<&str> =
        UNARY_OPS.iter().map(|op| op.name).filter(|name| !cases.contains(*name)).collect();
    assert_eq!(missing, NO_GOLDEN);
}
