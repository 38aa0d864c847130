//! `dcgan devices`.

use super::JsonArg;
use crate::error::CliError;
use crate::report::{self, Report};
use serde::Serialize;
use std::thread::available_parallelism;
use tensor::gpu;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    json: JsonArg,
}

/// Lists the CPU and the GPUs.
pub fn run(args: &Args) -> Result<(), CliError> {
    report::print(&DeviceList::new(), args.json.json);
    Ok(())
}

/// The CPU, then the graphics adapters.
#[derive(Serialize)]
#[serde(transparent)]
struct DeviceList(Vec<DeviceReport>);

#[derive(Serialize)]
#[serde(untagged)]
enum DeviceReport {
    Cpu {
        device: &'static str,
        name: Option<String>,
        threads: usize,
        instruction_set: String,
        usable: bool,
    },
    Gpu {
        device: String,
        #[serde(flatten)]
        adapter: gpu::Adapter,
    },
}

impl DeviceList {
    fn new() -> Self {
        let cpu = DeviceReport::Cpu {
            device: "cpu",
            name: cpu_name(),
            threads: available_parallelism().map_or(1, usize::from),
            instruction_set: tensor::isa().to_string(),
            usable: true,
        };
        let gpu = |adapter: gpu::Adapter| DeviceReport::Gpu {
            device: format!("gpu:{}", adapter.index),
            adapter,
        };
        Self([cpu].into_iter().chain(gpu::adapters().into_iter().map(gpu)).collect())
    }
}

impl Report for DeviceList {
    fn text(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.0.iter().map(DeviceReport::line).collect();
        let is_software = |device: &DeviceReport| match device {
            DeviceReport::Cpu { .. } => false,
            DeviceReport::Gpu { adapter, .. } => adapter.software,
        };
        lines.extend(match &self.0[1..] {
            [] => Some(
                "no graphics adapter found: install its Vulkan driver (on Linux also libvulkan1) \
                 to compute with it"
                    .to_owned(),
            ),
            gpus if gpus.iter().all(is_software) => Some(
                "software renderers are slower than the cpu: commands take one only with \
                 --allow-software"
                    .to_owned(),
            ),
            _ => None,
        });
        lines
    }
}

impl DeviceReport {
    fn line(&self) -> String {
        let yes = |flag: bool| if flag { "yes" } else { "no" };
        match self {
            Self::Cpu { device, name, threads, instruction_set, .. } => {
                let name = name.as_deref().unwrap_or("this computer's processor");
                format!("{device}    {name}: {threads} threads, instruction set {instruction_set}")
            }
            Self::Gpu { device, adapter } => format!(
                "{device}  {} ({}{}, driver {}): buffers to {} MiB, bindings to {} MiB, f16 {}, \
                 subgroups {}",
                adapter.name,
                adapter.backend,
                if adapter.software { ", software" } else { "" },
                if adapter.driver.is_empty() { "unknown" } else { &adapter.driver },
                adapter.max_buffer_size >> 20,
                adapter.max_binding_size >> 20,
                yes(adapter.f16),
                yes(adapter.subgroups)
            ),
        }
    }
}

/// The processor's name, if the system reports it.
fn cpu_name() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let (_, name) = text.lines().find(|line| line.starts_with("model name"))?.split_once(':')?;
    Some(name.trim().to_owned())
}
