//! The Philox streams that a run draws from under its one seed, so that no two purposes share
//! random numbers. Shuffling and flips have streams of their own in `data`.

/// Initial weights.
pub const WEIGHTS: u64 = 1;
/// Latents of the training steps.
pub const LATENTS: u64 = 2;
/// The fixed latents of the sample grid.
pub const FIXED_LATENTS: u64 = 3;
/// Latents that a [`Sampler`](crate::Sampler) draws.
pub const SAMPLING: u64 = 4;
/// Latents with which batch-norm statistics are recalibrated.
pub const CALIBRATION: u64 = 5;
/// Everything random in a step but latents: targets, noise, dropout, augmentation, penalties.
pub const STEP: u64 = 6;
