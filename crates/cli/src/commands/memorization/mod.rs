//! `dcgan dedup` and `dcgan nearest`: what is in a set twice, and what a generator may have learned by heart.

pub mod dedup;
pub mod nearest;
