//! `dcgan devices`.

use super::flags::JsonArg;
use crate::error::CliError;
use crate::output;
use serde_json::json;
use std::thread::available_parallelism;
use tensor::gpu;

/// Flags of `devices`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    json: JsonArg,
}

/// Lists the CPU and the GPUs.
///
/// # Errors
/// Never returns an error.
pub fn run(args: &Args) -> Result<(), CliError> {
    let threads = available_parallelism().map_or(1, usize::from);
    let set = tensor::isa().to_string();
    let name = cpu_name();
    let adapters = gpu::adapters();
    if args.json.json {
        output::json(
            &json!({ "device": "cpu", "name": name, "threads": threads, "instruction_set": set, "usable": true }),
        );
        for (i, a) in adapters.iter().enumerate() {
            output::json(&json!({
                "device": format!("gpu:{i}"), "name": a.name, "backend": a.backend, "kind": a.kind, "driver": a.driver,
                "max_buffer_size": a.max_buffer_size, "max_binding_size": a.max_binding_size,
                "f16": a.f16, "subgroups": a.subgroups, "timestamps": a.timestamps, "software": a.software, "usable": a.compute,
            }));
        }
        return Ok(());
    }
    output::line(format!(
        "cpu    {}: {threads} threads, instruction set {set}",
        name.as_deref().unwrap_or("unknown processor")
    ));
    for (i, a) in adapters.iter().enumerate() {
        let yes = |flag| if flag { "yes" } else { "no" };
        output::line(format!(
            "gpu:{i}  {} ({}{}, driver {}): buffers to {} MiB, bindings to {} MiB, f16 {}, subgroups {}",
            a.name,
            a.backend,
            if a.software { ", software" } else { "" },
            if a.driver.is_empty() { "unknown" } else { &a.driver },
            a.max_buffer_size >> 20,
            a.max_binding_size >> 20,
            yes(a.f16),
            yes(a.subgroups)
        ));
    }
    if adapters.is_empty() {
        output::line("no GPU found: install its Vulkan driver (on Linux also libvulkan1)");
    } else if adapters.iter().all(|a| a.software) {
        output::line(
            "software renderers are slower than the CPU: they are used only with --allow-software",
        );
    }
    Ok(())
}

/// The processor's name (Linux only).
fn cpu_name() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let (_, name) = text.lines().find(|line| line.starts_with("model name"))?.split_once(':')?;
    Some(name.trim().to_owned())
}
