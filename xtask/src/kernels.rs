//! `bench-kernels`: GEMM and the convolution triple at the shapes of a DCGAN, as a share of the machine's measured peak.

use clap::Args;
use serde::Serialize;
use std::path::PathBuf;
use std::time::Instant;
use tensor::{ConvGeom, Tensor, conv2d, conv2d_input_grad, conv2d_weight_grad, fma_peak, rng::Philox};

/// Times the matrix product and the convolution triple, in GFLOP/s and as a share of the multiply-add peak measured in the
/// same run.
#[derive(Args)]
pub struct Options {
    /// Images per batch.
    #[arg(long, default_value_t = 128)]
    batch: usize,
    /// Repeats of each measurement; the median is printed.
    #[arg(long, default_value_t = 5)]
    repeats: usize,
    /// Threads (default: all cores).
    #[arg(long)]
    threads: Option<usize>,
    /// Only rows whose name contains this.
    #[arg(long)]
    only: Option<String>,
    /// Also write the table as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Serialize)]
struct Row {
    name: String,
    pass: &'static str,
    gflop: f64,
    seconds: f64,
    gflops_per_second: f64,
    /// Useful work over the peak.
    share_of_peak: f64,
}

#[derive(Serialize)]
struct Report {
    instruction_set: String,
    threads: usize,
    peak_gflops_per_second: f64,
    rows: Vec<Row>,
}

fn median_seconds(repeats: usize, mut f: impl FnMut() -> Tensor) -> f64 {
    drop(f());
    let mut times: Vec<f64> = (0..repeats.max(1))
        .map(|_| {
            let start = Instant::now();
            let out = f();
            let seconds = start.elapsed().as_secs_f64();
            drop(out);
            seconds
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Runs the benchmark and prints its table.
///
/// # Errors
/// When the JSON file cannot be written or the thread pool cannot start.
pub fn run(options: &Options) -> Result<(), Box<dyn std::error::Error>> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(options.threads.unwrap_or(0)).build()?;
    let report = pool.install(|| measure(options));
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_string_pretty(&report)? + "\n")
            .map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    }
    Ok(())
}

fn measure(options: &Options) -> Report {
    let mut rng = Philox::new(1, 0);
    let peak = fma_peak();
    let threads = rayon::current_num_threads();
    println!("cpu ({}), {threads} threads, multiply-add peak {:.0} GFLOP/s", tensor::isa(), peak / 1e9);
    println!("{:<34} {:<12} {:>8} {:>9} {:>9} {:>7}", "kernel", "pass", "GFLOP", "ms", "GFLOP/s", "of peak");
    let mut rows = Vec::new();
    let mut add = |name: &str, pass: &'static str, flop: f64, f: &mut dyn FnMut() -> Tensor| {
        if options.only.as_ref().is_some_and(|only| !name.contains(only.as_str())) {
            return;
        }
        let seconds = median_seconds(options.repeats, f);
        let row = Row {
            name: name.into(),
            pass,
            gflop: flop / 1e9,
            seconds,
            gflops_per_second: flop / seconds / 1e9,
            share_of_peak: flop / seconds / peak,
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
    for n in [512usize, 1024, 2048] {
        let a = rng.normal([n, n], 0.0, 1.0);
        let b = rng.normal([n, n], 0.0, 1.0);
        for (pass, ta, tb) in [("a·b", false, false), ("aᵀ·b", true, false), ("a·bᵀ", false, true)] {
            add(&format!("gemm {n}³"), pass, 2.0 * (n as f64).powi(3), &mut || a.matmul(&b, ta, tb));
        }
    }
    // (network, input side, input channels, output channels, kernel, pad): the discriminator's layers; the generator's are their mirror images.
    let layers = [
        ("dcgan64", 64, 3, 64, 4, 1),
        ("dcgan64", 32, 64, 128, 4, 1),
        ("dcgan64", 16, 128, 256, 4, 1),
        ("dcgan64", 8, 256, 512, 4, 1),
        ("dcgan28", 28, 1, 64, 4, 1),
        ("dcgan28", 14, 64, 128, 4, 1),
        ("paper64", 64, 3, 128, 5, 2),
        ("paper64", 32, 128, 256, 5, 2),
        ("paper64", 16, 256, 512, 5, 2),
        ("paper64", 8, 512, 1024, 5, 2),
    ];
    for (net, side, cin, cout, kernel, pad) in layers {
        let geom = ConvGeom::square([side; 2], kernel, 2, pad);
        let name = format!("{net} {side}x{side} {cin}→{cout} k{kernel}s2");
        let [oh, ow] = geom.output();
        let n = options.batch;
        let flop = 2.0 * (n * oh * ow * cout * kernel * kernel * cin) as f64;
        if options.only.as_ref().is_some_and(|only| !name.contains(only.as_str())) {
            continue;
        }
        let x = rng.normal([n, side, side, cin], 0.0, 1.0);
        let w = rng.normal([kernel, kernel, cin, cout], 0.0, 0.02);
        let dy = rng.normal([n, oh, ow, cout], 0.0, 1.0);
        add(&name, "forward", flop, &mut || conv2d(&x, &w, &geom));
        add(&name, "input grad", flop, &mut || conv2d_input_grad(&dy, &w, &geom));
        add(&name, "weight grad", flop, &mut || conv2d_weight_grad(&x, &dy, &geom));
    }
    Report { instruction_set: tensor::isa().to_string(), threads, peak_gflops_per_second: peak / 1e9, rows }
}
