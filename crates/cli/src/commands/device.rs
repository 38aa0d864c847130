//! The flags that choose a device.

use crate::distributed::{self, Ranks};
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
        Ok(Device::open(self.own_device(distributed::ranks())?, options)?)
    }

    /// The device of this rank: of a node's GPUs each rank takes another one, unless the flag names
    /// one for all.
    fn own_device(&self, ranks: &Ranks) -> Result<DeviceSpec, CliError> {
        let (rank, count) = (ranks.group().local_rank(), ranks.group().local_size());
        let may_be_gpu = match self.device {
            DeviceSpec::Cpu | DeviceSpec::Gpu(Some(_)) => false,
            DeviceSpec::Gpu(None) => true,
            // As `Device::open` decides without loading a driver.
            DeviceSpec::Auto => self.allow_software || gpu::has_gpu_device_files(),
        };
        if count == 1 || !may_be_gpu {
            return Ok(self.device);
        }
        let adapters = gpu::adapters();
        let usable = adapters.iter().filter(|a| a.compute && (self.allow_software || !a.software));
        let gpus = best_gpus(usable.map(|a| (a.index, &*a.kind, &*a.backend)));
        match gpus.get(rank) {
            // The CPU, or the error that there is no GPU.
            None if gpus.is_empty() => Ok(self.device),
            Some(&index) if count <= gpus.len() => Ok(DeviceSpec::Gpu(Some(index))),
            _ => Err(failure!(
                "{count} ranks on {} and {} GPUs: start a rank per GPU, share one with --device \
                 gpu:{}, or take --device cpu",
                ranks.own_node(),
                gpus.len(),
                gpus[0]
            )),
        }
    }
}

/// The numbers of the adapters (number, kind, back end) that ranks take one after the other: of the
/// best kind, and each GPU once.
fn best_gpus<'a>(adapters: impl Iterator<Item = (usize, &'a str, &'a str)>) -> Vec<usize> {
    const KINDS: [&str; 5] = ["DiscreteGpu", "IntegratedGpu", "VirtualGpu", "Other", "Cpu"];
    // OpenGL lists those that the others list already.
    let adapters: Vec<_> = adapters.filter(|(.., backend)| *backend != "Gl").collect();
    let of_kind = |kind: &str| -> Vec<usize> {
        adapters.iter().filter(|(_, own, _)| *own == kind).map(|(index, ..)| *index).collect()
    };
    KINDS.iter().map(|kind| of_kind(kind)).find(|found| !found.is_empty()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::best_gpus;

    #[test]
    fn ranks_take_the_gpus_of_the_best_kind() {
        let adapters = [
            (0, "IntegratedGpu", "Vulkan"),
            (1, "DiscreteGpu", "Vulkan"),
            (2, "DiscreteGpu", "Vulkan"),
            (3, "Cpu", "Vulkan"),
            (4, "DiscreteGpu", "Gl"),
        ];
        assert_eq!(best_gpus(adapters.into_iter()), [1, 2]);
        assert_eq!(best_gpus(adapters[3..].iter().copied()), [3]);
        assert!(best_gpus(adapters[4..].iter().copied()).is_empty());
    }
}
