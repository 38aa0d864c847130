//! Memorization: near-duplicates in a dataset (`dcgan dedup`), and the training images nearest to
//! generated ones (`dcgan nearest`).

pub mod dedup;
pub mod nearest;
