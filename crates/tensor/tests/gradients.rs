//! The gradient of every operation, on the CPU.

mod common;

use common::{OPERATIONS, gradients};
use std::collections::BTreeSet;
use tensor::Device;
use tensor::op_table::UNARY_OPS;

#[test]
fn every_gradient_is_right() {
    gradients::every_gradient_is_right(&Device::Cpu);
}

/// Their backward pass is not the derivative, on purpose; golden vectors check it.
const NO_DERIVATIVE: [&str; 1] = ["guided_leaky_relu"];

#[test]
fn every_operation_has_a_gradient_case() {
    let unary = UNARY_OPS.iter().map(|op| op.name);
    let known: BTreeSet<&str> = OPERATIONS.iter().copied().chain(unary).collect();
    assert!(known.len() > 45, "{known:?}");
    let checked: BTreeSet<&str> =
        gradients::operations().into_iter().chain(NO_DERIVATIVE).collect();
    assert_eq!(known, checked);
}

#[test]
fn a_wrong_gradient_is_noticed() {
    assert!(gradients::a_wrong_gradient_is_noticed());
}
