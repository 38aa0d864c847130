//! Whether a training step fits the memory, told before anything is allocated for it.

use crate::error::CliError;
use crate::render::{Renderer, size};
use nn::ModelSummary;
use tensor::Device;

/// Compares the plan with the memory that is available: too little is an error that ends with `way_out`, or under `dry_run` a warning.
///
/// # Errors
/// Both numbers, and the way out.
pub fn check(
    plan: &ModelSummary,
    device: &Device,
    way_out: &str,
    dry_run: bool,
    render: &Renderer,
) -> Result<(), CliError> {
    // A GPU's own memory is not told before it is asked for; what does not fit it is an error of its own.
    if let Device::Gpu(_) = device {
        return Ok(());
    }
    let Some(available) = available().filter(|available| plan.memory_bytes > *available) else {
        return Ok(());
    };
    let text = format!(
        "a training step on {} images takes about {}, and {} of memory are available: {way_out}",
        plan.batch,
        size(plan.memory_bytes),
        size(available)
    );
    if !dry_run {
        return Err(CliError::Failed(text));
    }
    render.warning(&text);
    Ok(())
}

/// Bytes that programs can still get without swapping, where the system tells (Linux).
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
        let table = "MemTotal:       24684180 kB\nMemFree:        20605248 kB\nMemAvailable:   23179776 kB\nBuffers: 0 kB\n";
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
