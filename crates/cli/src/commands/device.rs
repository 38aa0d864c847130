//! Where to compute: flags that several commands have.

use crate::error::CliError;
use clap::ValueEnum;
use tensor::{Device, DeviceSpec, gpu};

/// How exactly a GPU computes.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Precision {
    /// Everything in single precision.
    F32,
    /// Convolutions round their operands to half precision; sums, weights and all else stay in single.
    Mixed,
}

/// Flags that choose a device.
#[derive(clap::Args)]
#[command(next_help_heading = "Device")]
pub struct DeviceArgs {
    /// auto (a graphics processor if there is one), cpu, gpu or gpu:NUMBER of `dcgan devices`.
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: DeviceSpec,
    /// Take a software renderer for a graphics processor: for tests, slower than the CPU.
    #[arg(long)]
    allow_software: bool,
    /// Precision of convolutions on a graphics processor.
    #[arg(long, value_enum, default_value = "f32")]
    precision: Precision,
}

impl DeviceArgs {
    /// The device.
    ///
    /// # Errors
    /// It is not there, or does not open.
    pub fn open(&self) -> Result<Device, CliError> {
        let half = self.precision == Precision::Mixed;
        let options =
            gpu::Options { allow_software: self.allow_software, half, ..Default::default() };
        Ok(Device::open(self.device, options)?)
    }
}
