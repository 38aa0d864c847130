//! Devices: where tensors are stored and kernels run.
//!
//! ```
//! use tensor::{Device, DeviceSpec, gpu};
//! let spec: DeviceSpec = "cpu".parse().unwrap();
//! let device = Device::open(spec, gpu::Options::default()).unwrap();
//! assert_eq!(device, Device::Cpu);
//! ```

use crate::cpu::isa::isa;
use crate::gpu::{self, Gpu, GpuError};
use std::fmt;
use std::str::FromStr;

/// The name of a device: `auto`, `cpu`, `gpu` or `gpu:NUMBER`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceSpec {
    /// A hardware GPU if there is one, else the CPU.
    Auto,
    /// The host processor.
    Cpu,
    /// A GPU, by its number in [`gpu::adapters`] if one is given, else the best one.
    Gpu(Option<usize>),
}

impl FromStr for DeviceSpec {
    type Err = String;

    /// # Errors
    /// Returns one line that lists the possible names.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "auto" => Ok(Self::Auto),
            None if text == "cpu" => Ok(Self::Cpu),
            None if text == "gpu" => Ok(Self::Gpu(None)),
            Some(("gpu", number)) => number
                .parse()
                .map(|i| Self::Gpu(Some(i)))
                .map_err(|_| format!("\"{number}\" is not the number of a gpu")),
            _ => Err("choose auto, cpu, gpu or gpu:NUMBER".into()),
        }
    }
}

/// A back end. An enum with a `match` per operation needs no generic parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Device {
    /// The host processor: rayon threads and the widest SIMD instruction set it has.
    Cpu,
    /// A GPU, by wgpu.
    Gpu(Gpu),
}

impl Device {
    /// Opens a device; `options.index` is not used. `Auto` takes the CPU if there is no graphics
    /// adapter, or only software renderers that are not allowed; an adapter that exists and cannot
    /// be opened is an error.
    ///
    /// # Errors
    /// Returns an error if the adapter does not exist, its driver refuses, or it lacks the half
    /// precision that was asked for.
    pub fn open(spec: DeviceSpec, options: gpu::Options) -> Result<Self, GpuError> {
        let cpu =
            || if options.half { Err(GpuError::NoHalf("the cpu".into())) } else { Ok(Device::Cpu) };
        match spec {
            DeviceSpec::Cpu => cpu(),
            DeviceSpec::Gpu(index) => gpu::open(gpu::Options { index, ..options }).map(Device::Gpu),
            // Enumerating adapters takes seconds, and drivers print complaints on machines without
            // a display.
            DeviceSpec::Auto if !options.allow_software && !gpu::has_gpu_device_files() => cpu(),
            DeviceSpec::Auto => match gpu::open(gpu::Options { index: None, ..options }) {
                Err(GpuError::None | GpuError::OnlySoftware(_)) => cpu(),
                opened => opened.map(Device::Gpu),
            },
        }
    }

    /// Whether the device still works. Operations do not return errors: after the first failure of
    /// a GPU, all values read from it are NaN.
    ///
    /// # Errors
    /// Returns the first failure: out of memory, a tensor too large to bind, a shader that does not
    /// compile, a lost device.
    pub fn check(&self) -> Result<(), GpuError> {
        match self {
            Device::Cpu => Ok(()),
            Device::Gpu(gpu) => gpu.check(),
        }
    }

    /// Identifies the numerics of this device: the instruction set, or adapter, driver, precision
    /// and kernel version. Results are bit-identical between devices with equal ids.
    pub fn numerics_id(&self) -> String {
        match self {
            Device::Cpu => isa().to_string(),
            Device::Gpu(gpu) => {
                let adapter = gpu.adapter();
                let precision = match (gpu.is_half(), gpu.cooperative()) {
                    (false, _) => String::new(),
                    (true, None) => ", mixed precision".into(),
                    (true, Some(side)) => format!(", mixed precision by {side}x{side} matrices"),
                };
                let driver = if adapter.driver.is_empty() { "" } else { ", " };
                format!(
                    "{} ({}{driver}{}), {}{precision}",
                    adapter.name,
                    adapter.backend,
                    adapter.driver,
                    gpu::KERNELS
                )
            }
        }
    }

    /// Submits the work recorded so far without waiting for it, for example at the end of a
    /// training step.
    pub fn flush(&self) {
        if let Device::Gpu(gpu) = self {
            gpu.flush();
        }
    }

    /// Waits until all work is done, as `torch.cuda.synchronize` does.
    pub fn synchronize(&self) {
        if let Device::Gpu(gpu) = self {
            gpu.synchronize();
        }
    }

    /// Seconds that the work of `f` takes: on a GPU by its own clock, if it has one.
    pub fn time(&self, f: impl Fn()) -> f64 {
        match self {
            Device::Gpu(gpu) => gpu.time(f),
            Device::Cpu => {
                let start = std::time::Instant::now();
                f();
                start.elapsed().as_secs_f64()
            }
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Cpu => write!(f, "cpu ({})", isa()),
            Device::Gpu(gpu) => {
                let adapter = gpu.adapter();
                let precision = if gpu.is_half() { ", mixed precision" } else { "" };
                write!(
                    f,
                    "gpu:{} ({}, {}{precision})",
                    adapter.index, adapter.name, adapter.backend
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices() {
        let parse = |text: &str| text.parse::<DeviceSpec>();
        assert_eq!(parse("gpu:1"), Ok(DeviceSpec::Gpu(Some(1))));
        assert_eq!([parse("auto"), parse("cpu"), parse("gpu")].map(Result::unwrap), {
            [DeviceSpec::Auto, DeviceSpec::Cpu, DeviceSpec::Gpu(None)]
        });
        assert!(["tpu", "gpu:", "gpu:x", "cpu:0", ""].iter().all(|bad| parse(bad).is_err()));
        assert!(
            Device::open(DeviceSpec::Cpu, gpu::Options { half: true, ..Default::default() })
                .is_err()
        );
    }
}
