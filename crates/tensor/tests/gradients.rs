//! The gradient of every operation, on the CPU.

mod common;

use common::gradients;
use std::collections::BTreeSet;
use tensor::Device;

#[test]
fn every_gradient_of_the_table() {
    gradients::every_gradient_of_the_table(&Device::Cpu);
}

/// What goes back through these is no derivative, on purpose; the golden vectors hold it.
const NO_DERIVATIVE: [&str; 1] = ["guided_leaky_relu"];

#[test]
fn the_table_holds_every_operation() {
    let source = include_str!("common/mod.rs");
    let body = source.split("pub fn run(").nth(1).unwrap().split("\n}\n").next().unwrap();
    let known: BTreeSet<&str> = body
        .lines()
        .filter_map(|l| l.trim().strip_prefix('"')?.split_once("\" =>"))
        .map(|(n, _)| n)
        .collect();
    assert!(known.len() > 45, "{known:?}");
    let checked: BTreeSet<&str> =
        gradients::operations().into_iter().chain(NO_DERIVATIVE).collect();
    assert_eq!(known, checked);
}

#[test]
fn a_wrong_gradient_is_noticed() {
    assert!(gradients::a_wrong_gradient_is_noticed());
}
