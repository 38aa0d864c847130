//! The flags that choose a device.

use super::flags::ThreadsArg;
use crate::error::CliError;
use clap::ValueEnum;
use tensor::{Device, DeviceSpec, gpu};

/// Precision of a GPU's convolutions.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Precision {
    /// Single precision.
    F32,
    /// Half-precision operands of convolutions; sums, weights and everything else in single.
    Mixed,
}

/// Flags that choose a device.
#[derive(clap::Args)]
#[command(next_help_heading = "Device")]
pub struct DeviceArgs {
    /// Device: auto (a GPU if any), cpu, gpu or gpu:N.
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: DeviceSpec,
    /// Accept a software renderer as a GPU: for tests, slower than the CPU.
    #[arg(long)]
    allow_software: bool,
    /// Precision of convolutions on a GPU.
    #[arg(long, value_enum, default_value = "f32")]
    precision: Precision,
    #[command(flatten)]
    threads: ThreadsArg,
}

impl DeviceArgs {
    /// Starts the threads and opens the device: before other work, which would start its own.
    pub fn open(&self) -> Result<Device, CliError> {
        self.threads.apply()?;
        let half = self.precision == Precision::Mixed;
        let options =
            gpu::Options { allow_software: self.allow_software, half, ..Default::default() };
        Ok(Device::open(self.device, options)?)
    }
}
