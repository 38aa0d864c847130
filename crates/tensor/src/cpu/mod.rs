//! The CPU back end: rayon over tiles, SIMD inside.
//!
//! Results never depend on the number of threads: work is split by the shape alone, and every
//! output is one chain of operations in a fixed order.

pub(crate) mod buffer;
pub(crate) mod conv;
pub(crate) mod conv_algo;
pub(crate) mod distance;
pub(crate) mod elementwise;
mod few_channel_conv;
pub(crate) mod gemm;
pub(crate) mod isa;
pub(crate) mod math;
mod microkernel;
pub(crate) mod movement;
pub(crate) mod norm;
pub(crate) mod optim;
pub(crate) mod parallel;
pub(crate) mod peak;
pub(crate) mod pool;
pub(crate) mod reduce;
mod simd;
mod winograd;
