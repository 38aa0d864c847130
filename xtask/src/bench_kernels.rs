//! `bench-kernels`: GEMM and the convolution triple at the shapes of a DCGAN, as a fraction of each
//! device's measured peak.

use crate::bench::median;
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;
use tensor::{
    ConvGeom, Device, DeviceSpec, Tensor, conv2d, conv2d_input_grad, conv2d_weight_grad, fma_peak,
    fma_rate, gpu,
    rng::{Distribution, Philox},
};

/// Time the matrix product and the convolution triple, in GFLOP/s and as a fraction of the
/// multiply-add peak: on the CPU, and on the best graphics adapter (a software renderer, if there
/// is no other, with an eighth of the batch). On the CPU, where other processes may slow everything
/// down for a while, the peak is measured right before and after each repeat.
#[derive(Args)]
pub struct Options {
    /// Compute on this device only: cpu, gpu or gpu:NUMBER.
    #[arg(long, value_name = "DEVICE")]
    device: Option<DeviceSpec>,
    /// On a GPU, round the operands of convolutions to half precision.
    #[arg(long)]
    mixed: bool,
    /// Images per batch.
    #[arg(long, default_value_t = 128)]
    batch: usize,
    /// Repeats of each measurement; the median is printed.
    #[arg(long, default_value_t = 5)]
    repeats: usize,
    /// Threads (default: all cores).
    #[arg(long)]
    threads: Option<usize>,
    /// Only rows whose name contains this text.
    #[arg(long)]
    only: Option<String>,
    /// Also write the table as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Serialize)]
struct KernelRow {
    name: String,
    pass: &'static str,
    gflop: f64,
    seconds: f64,
    gflops_per_second: f64,
    /// Useful work over the peak: the report's peak on a GPU, on the CPU the median over repeats of
    /// each repeat's own.
    share_of_peak: f64,
}

#[derive(Serialize)]
struct KernelReport {
    device: String,
    threads: usize,
    batch: usize,
    peak_gflops_per_second: f64,
    /// Bytes read and written by a copy kernel; on GPUs only.
    copy_gigabytes_per_second: Option<f64>,
    rows: Vec<KernelRow>,
}

/// Median seconds of one call, and its fraction of the peak. Short kernels are called several times
/// in a row, so that clock resolution and launches do not matter.
fn time(
    device: &Device,
    peak: f64,
    repeats: usize,
    flop: f64,
    f: &dyn Fn() -> Tensor,
) -> (f64, f64) {
    let once = || drop(f());
    let rate = || if matches!(device, Device::Cpu) { fma_rate() } else { peak };
    once();
    let first = device.time(once);
    let calls = if matches!(device, Device::Gpu(_)) {
        (0.01 / first.max(1e-6)).clamp(1.0, 50.0) as usize
    } else {
        1
    };
    let (mut times, mut shares) = (Vec::new(), Vec::new());
    let mut before = rate();
    for _ in 0..repeats.max(1) {
        let seconds = device.time(|| (0..calls).for_each(|_| once())) / calls as f64;
        let after = rate();
        times.push(seconds);
        shares.push(2.0 * flop / seconds / (before + after));
        before = after;
    }
    (median(times), median(shares))
}

/// The requested devices; prints a line for each that is not available.
fn devices(options: &Options) -> Result<Vec<Device>, Box<dyn std::error::Error>> {
    let allowed = gpu::Options { allow_software: true, half: options.mixed, ..Default::default() };
    match options.device {
        Some(choice) => Ok(vec![Device::open(choice, allowed)?]),
        None => {
            let mut all = vec![Device::Cpu];
            match gpu::open(allowed) {
                Ok(gpu) => all.push(Device::Gpu(gpu)),
                Err(error) => eprintln!("no graphics adapter is timed: {error}"),
            }
            Ok(all)
        }
    }
}

/// Runs the benchmark and prints its tables.
pub fn run(options: &Options) -> Result<(), Box<dyn std::error::Error>> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(options.threads.unwrap_or(0)).build()?;
    let mut reports = Vec::new();
    for device in devices(options)? {
        reports.push(pool.install(|| measure(options, &device)));
        device.check()?;
    }
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_string_pretty(&reports)? + "\n")
            .map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    }
    Ok(())
}

fn measure(options: &Options, device: &Device) -> KernelReport {
    let mut rng = Philox::new(1, 0);
    let threads = rayon::current_num_threads();
    let (peak, copy, software) = match device {
        Device::Cpu => (fma_peak(), None, false),
        Device::Gpu(gpu) => {
            let peak = gpu.peak();
            (peak.flops, Some(peak.bytes / 1e9), gpu.adapter().software)
        }
    };
    let (repeats, batch) =
        if software { (1, (options.batch / 8).max(1)) } else { (options.repeats, options.batch) };
    let detail =
        copy.map_or_else(|| format!("{threads} threads"), |bytes| format!("copy {bytes:.0} GB/s"));
    println!("\n{device}, batch {batch}, {detail}, multiply-add peak {:.0} GFLOP/s", peak / 1e9);
    println!(
        "{:<34} {:<12} {:>8} {:>9} {:>9} {:>7}",
        "kernel", "pass", "GFLOP", "ms", "GFLOP/s", "of peak"
    );
    let mut rows = Vec::new();
    let mut add = |name: &str, pass: &'static str, flop: f64, f: &dyn Fn() -> Tensor| {
        if options.only.as_ref().is_some_and(|only| !name.contains(only.as_str())) {
            return;
        }
        let (seconds, share_of_peak) = time(device, peak, repeats, flop, f);
        let row = KernelRow {
            name: name.into(),
            pass,
            gflop: flop / 1e9,
            seconds,
            gflops_per_second: flop / seconds / 1e9,
            share_of_peak,
        };
        let share = row.share_of_peak * 100.0;
        println!(
            "{:<34} {:<12} {:>8.2} {:>9.2} {:>9.1} {:>6.0}%",
            row.name,
            pass,
            row.gflop,
            seconds * 1e3,
            row.gflops_per_second,
            share
        );
        rows.push(row);
    };
    let mut normal = |shape: &[usize], std: f32| {
        rng.draw(device, shape, Distribution::Normal { mean: 0.0, std })
    };
    let sides: &[usize] = match device {
        Device::Gpu(_) if !software => &[512, 1024, 2048, 4096],
        _ => &[512, 1024, 2048],
    };
    for &n in sides.iter().filter(|n| !software || **n < 2048) {
        let (a, b) = (normal(&[n, n], 1.0), normal(&[n, n], 1.0));
        for (pass, ta, tb) in [("a·b", false, false), ("aᵀ·b", true, false), ("a·bᵀ", false, true)]
        {
            add(&format!("gemm {n}³"), pass, 2.0 * (n as f64).powi(3), &|| a.matmul(&b, ta, tb));
        }
    }
    // (network, input side, input channels, output channels, kernel, stride, pad): the
    // discriminator's layers; the generator's are their transposes.
    let layers = [
        ("dcgan64", 64, 3, 64, 4, 2, 1),
        ("dcgan64", 32, 64, 128, 4, 2, 1),
        ("dcgan64", 16, 128, 256, 4, 2, 1),
        ("dcgan64", 8, 256, 512, 4, 2, 1),
        ("dcgan28", 28, 1, 64, 4, 2, 1),
        ("dcgan28", 14, 64, 128, 4, 2, 1),
        ("paper64", 64, 3, 128, 5, 2, 2),
        ("paper64", 32, 128, 256, 5, 2, 2),
        ("paper64", 16, 256, 512, 5, 2, 2),
        ("paper64", 8, 512, 1024, 5, 2, 2),
        ("improved32", 32, 96, 96, 3, 1, 1),
        ("improved32", 16, 192, 192, 3, 1, 1),
        ("improved32", 16, 192, 192, 3, 2, 1),
    ];
    for (net, side, cin, cout, kernel, stride, pad) in layers {
        let geom = ConvGeom::square([side; 2], kernel, stride, pad);
        let name = format!("{net} {side}x{side} {cin}→{cout} k{kernel}s{stride}");
        let [oh, ow] = geom.output();
        let n = batch;
        let flop = 2.0 * (n * oh * ow * cout * kernel * kernel * cin) as f64;
        if options.only.as_ref().is_some_and(|only| !name.contains(only.as_str())) {
            continue;
        }
        let x = normal(&[n, side, side, cin], 1.0);
        let w = normal(&[kernel, kernel, cin, cout], 0.02);
        let dy = normal(&[n, oh, ow, cout], 1.0);
        add(&name, "forward", flop, &|| conv2d(&x, &w, &geom));
        add(&name, "input grad", flop, &|| conv2d_input_grad(&dy, &w, &geom));
        add(&name, "weight grad", flop, &|| conv2d_weight_grad(&x, &dy, &geom));
    }
    let peak_gflops_per_second = peak / 1e9;
    KernelReport {
        device: device.to_string(),
        threads,
        batch,
        peak_gflops_per_second,
        copy_gigabytes_per_second: copy,
        rows,
    }
}
