//! The dcgan command.
fn main() {}
