//! Compares the memory estimate of a training step with the available memory, before anything is
//! allocated.

use crate::error::CliError;
use crate::render::Renderer;
use indicatif::HumanBytes;
use nn::ModelSummary;
use tensor::Device;

/// Checks that a training step fits into memory. `hint` ends the message.
pub fn check(
    plan: &ModelSummary,
    device: &Device,
    hint: &str,
    dry_run: bool,
    render: &Renderer,
) -> Result<(), CliError> {
    // A GPU does not report its free memory; an allocation that fails there is an error of its own.
    if let Device::Gpu(_) = device {
        return Ok(());
    }
    let Some(available) = available().filter(|available| plan.memory_bytes > *available) else {
        return Ok(());
    };
    let text = format!(
        "a training step on {} images takes about {}, and {} are available: {hint}",
        plan.batch,
        HumanBytes(plan.memory_bytes),
        HumanBytes(available)
    );
    if !dry_run {
        return Err(CliError::Failed(text));
    }
    render.warning(&text);
    Ok(())
}

/// Memory available without swapping, in bytes (Linux only).
fn available() -> Option<u64> {
    parse(&std::fs::read_to_string("/proc/meminfo").ok()?)
}

fn parse(meminfo: &str) -> Option<u64> {
    let value = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn the_kernels_table_is_read() {
        let table = "MemTotal:       24684180 kB\nMemFree:        20605248 kB\n\
                     MemAvailable:   23179776 kB\nBuffers: 0 kB\n";
        assert_eq!(parse(table), Some(23_179_776 * 1024));
        for bad in [
            "",
            "MemTotal: 1 kB\n",
            "MemAvailable: many kB\n",
            "MemAvailable: 3\n",
            "MemAvailable: 99999999999999999999 kB",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
