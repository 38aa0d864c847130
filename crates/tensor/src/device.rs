//! Where tensors live and kernels run.

use crate::gpu::{Gpu, GpuError};
use std::fmt;

/// A back end. Two closed arms and a `match` per operation need no generic parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Device {
    /// The host processor: rayon threads and the widest SIMD instruction set it has.
    Cpu,
    /// A graphics processor, by wgpu.
    Gpu(Gpu),
}

impl Device {
    /// Whether the device still works. Operations cannot fail one by one: after the first failure of a GPU, what is read from it is NaN.
    ///
    /// # Errors
    /// Its first failure: out of memory, a tensor too large to bind, a shader that does not compile, a lost device.
    pub fn check(&self) -> Result<(), GpuError> {
        match self {
            Device::Cpu => Ok(()),
            Device::Gpu(gpu) => gpu.check(),
        }
    }

    /// What decides the last bits of results here: the instruction set, or the adapter and its driver.
    pub fn arithmetic(&self) -> String {
        match self {
            Device::Cpu => crate::cpu::isa().to_string(),
            Device::Gpu(gpu) => {
                let adapter = gpu.adapter();
                let precision = if gpu.is_half() { " mixed" } else { "" };
                format!("{} {} {}{precision}", adapter.name, adapter.backend, adapter.driver).trim().to_string()
            }
        }
    }

    /// Hands over the work recorded so far, without waiting for it: at the end of a training step, for one.
    pub fn flush(&self) {
        if let Device::Gpu(gpu) = self {
            gpu.flush();
        }
    }

    /// Waits until all work is done: for timing it.
    pub fn finish(&self) {
        if let Device::Gpu(gpu) = self {
            gpu.finish();
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Cpu => write!(f, "cpu ({})", crate::cpu::isa()),
            Device::Gpu(gpu) => {
                let adapter = gpu.adapter();
                let precision = if gpu.is_half() { ", mixed precision" } else { "" };
                write!(f, "gpu:{} ({}, {}{precision})", adapter.index, adapter.name, adapter.backend)
            }
        }
    }
}
