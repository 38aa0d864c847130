//! The flags that choose a device.

use crate::error::CliError;
use crate::parse::count;
use crate::threads;
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
    /// CPU threads; results do not depend on it [default: one per core].
    #[arg(long, value_name = "N", value_parser = count(1..=1024))]
    threads: Option<u32>,
}

impl DeviceArgs {
    /// Starts the threads and opens the device: before other work, which would start its own.
    pub fn open(&self) -> Result<Device, CliError> {
        threads::start(self.threads)?;
        let half = self.precision == Precision::Mixed;
        let options =
            gpu::Options { allow_software: self.allow_software, half, ..Default::default() };
        Ok(Device::open(self.device, options)?)
    }
}
