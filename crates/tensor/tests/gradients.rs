//! The gradient of every operation, on the CPU.

mod common;

use common::gradients;
use std::collections::BTreeSet;
use tensor::Device;

#[test]
fn every_gradient_of_the_table() {
    gradients::every_gradient_of_the_table(&Device::Cpu);
}

#[test]
fn the_table_holds_every_operation() {
    let source = include_str!("common/mod.rs");
    let body = source.split("pub fn run(").nth(1).unwrap().split("\n}\n").next().unwrap();
    let known: BTreeSet<&str> =
        body.lines().filter_map(|l| l.trim().strip_prefix('"')?.split_once("\" =>")).map(|(n, _)| n).collect();
    assert!(known.len() > 45, "{known:?}");
    assert_eq!(known, gradients::operations());
}

#[test]
fn a_wrong_gradient_is_noticed() {
    assert!(gradients::a_wrong_gradient_is_noticed());
}
