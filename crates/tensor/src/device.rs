//! Where tensors live and kernels run.

use std::fmt;

/// A back end. Two closed arms and a `match` per operation need no generic parameter; the GPU arm joins here.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Device {
    /// The host processor: rayon threads and the widest SIMD instruction set it has.
    Cpu,
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Cpu => write!(f, "cpu ({})", crate::cpu::isa()),
        }
    }
}
