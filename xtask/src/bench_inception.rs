//! `bench-inception`: the features of FID, with random weights.

use crate::bench::{BoxError, DeviceArgs, LAYOUTS, median};
use crate::pytorch_baseline::Baseline;
use clap::Args;
use eval::inception::{Inception, InputScaling};
use std::path::PathBuf;
use std::time::Instant;
use tensor::Device;
use tensor::rng::Philox;

/// Time the Inception network of FID with random weights: median images per second, with resizing.
#[derive(Args)]
pub struct Options {
    /// Side of the square images before resizing.
    #[arg(long, default_value_t = 64)]
    image: usize,
    /// Images per batch: pytorch-fid's default.
    #[arg(long, default_value_t = 50)]
    batch: usize,
    /// Timed batches, after a warm-up.
    #[arg(long, default_value_t = 5)]
    repeats: usize,
    #[command(flatten)]
    device: DeviceArgs,
    /// A Python with torch, torchvision and pytorch-fid: its network on a CPU, in NCHW and in
    /// channels-last layout, alternates with ours in the same run.
    #[arg(long, value_name = "PYTHON")]
    peer: Option<PathBuf>,
}

/// Runs the benchmark.
pub fn run(options: &Options) -> Result<(), Box<dyn std::error::Error>> {
    options.device.in_pool(|| measure(options))
}

fn measure(options: &Options) -> Result<(), BoxError> {
    let Options { image: side, batch, .. } = *options;
    let device = options.device.open(false)?;
    let network = random(&device);
    let images = Philox::new(1, 0).uniform([batch, side, side, 3], -1.0, 1.0);
    let threads = rayon::current_num_threads();
    let mut baselines = Vec::new();
    if let Some(python) = &options.peer {
        for layout in LAYOUTS {
            let sizes = [side, batch, threads].map(|size| size.to_string());
            let arguments = [layout, &sizes[0], &sizes[1], &sizes[2]];
            let started =
                Baseline::start_script(python, "inception_baseline.py", layout, &arguments)?;
            baselines.push((started, Vec::new()));
        }
    }
    let mut ours = Vec::new();
    for repeat in 0..options.repeats.max(1) + 1 {
        let start = Instant::now();
        drop(network.extract(&images)?);
        let seconds = start.elapsed().as_secs_f64();
        if repeat > 0 {
            ours.push(seconds);
        }
        for (baseline, times) in &mut baselines {
            let theirs = baseline.step()?;
            if repeat > 0 {
                times.push(theirs);
            }
        }
    }
    let rate = |seconds: f64| batch as f64 / seconds;
    println!(
        "inception {side}x{side} batch {batch} on {device}, {threads} threads: {:.2} images/s",
        rate(median(ours.clone()))
    );
    for (baseline, times) in baselines {
        let ratio = median(times.iter().zip(&ours).map(|(theirs, ours)| theirs / ours).collect());
        println!(
            "PyTorch {}: {:.2} images/s; ours is {ratio:.2} times as fast",
            baseline.layout(),
            rate(median(times))
        );
    }
    Ok(())
}

/// The network with random weights that keep the size of its activations.
fn random(device: &Device) -> Inception {
    let mut rng = Philox::new(2, 0);
    let weights = |name: &str, shape: &[usize]| {
        let fan_in: usize = shape.iter().skip(1).product();
        let count = shape.iter().product::<usize>();
        if name.ends_with("conv.weight") || name == "fc.weight" {
            return rng.normal([count], 0.0, (2.0 / fan_in as f32).sqrt()).to_vec();
        }
        let is_scale = name.ends_with("bn.weight") || name.ends_with("running_var");
        vec![if is_scale { 1.0 } else { 0.0 }; count]
    };
    Inception::from_fn(weights, InputScaling::PytorchFid, device)
}
