//! `bench-sample`: the generator alone, as `dcgan sample` runs it, with random weights.

use crate::bench_step::median;
use crate::pytorch_baseline::{Baseline, StepShape, Work};
use clap::Args;
use nn::{Mode, Recipe};
use std::path::PathBuf;
use std::time::Instant;
use tensor::rng::{Distribution, Philox};
use tensor::{Device, DeviceSpec, gpu};

/// Time sampling, as many batches in a row as give at least 64 images: median milliseconds per
/// batch, with batch norm folded into the weights.
#[derive(Args)]
pub struct Options {
    /// Side of the square images: three channels from 48 up, one below.
    #[arg(long, default_value_t = 64)]
    image: usize,
    /// Images per batch.
    #[arg(long, value_delimiter = ',', default_value = "1,64")]
    batch: Vec<usize>,
    /// Recipe.
    #[arg(long, default_value = "torch")]
    recipe: String,
    /// Repeats of each measurement.
    #[arg(long, default_value_t = 20)]
    repeats: usize,
    /// Threads (default: all cores).
    #[arg(long)]
    threads: Option<usize>,
    /// Where to compute: auto, cpu, gpu or gpu:NUMBER.
    #[arg(long, default_value = "cpu")]
    device: DeviceSpec,
    /// Accept a software renderer as graphics processor.
    #[arg(long)]
    allow_software: bool,
    /// A Python with torch: its generator in evaluation mode, NCHW and channels-last, alternates
    /// with ours in the same run.
    #[arg(long, value_name = "PYTHON")]
    peer: Option<PathBuf>,
}

/// Images per measurement, at least; the baseline draws as many.
const IMAGES: usize = 64;

/// Runs the benchmark.
///
/// # Errors
/// Returns an error if the recipe and size give no network, if the device cannot be opened, or if
/// the baseline has no torch.
pub fn run(options: &Options) -> Result<(), Box<dyn std::error::Error>> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(options.threads.unwrap_or(0)).build()?;
    pool.install(|| options.batch.iter().try_for_each(|&batch| measure(options, batch)))
        .map_err(|e| e.to_string())?;
    Ok(())
}

fn measure(
    options: &Options,
    batch: usize,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut recipe = Recipe::preset(&options.recipe)?;
    recipe.image.size = [options.image; 2];
    recipe.image.channels = if options.image >= 48 { 3 } else { 1 };
    let open = gpu::Options { allow_software: options.allow_software, ..Default::default() };
    let device = Device::open(options.device, open)?;
    let mut rng = Philox::new(3, 0);
    let (generator, _) = recipe.build(&mut rng)?;
    let generator = generator.folded();
    generator.to_device(&device);
    let threads = rayon::current_num_threads();
    let on = if matches!(device, Device::Cpu) { "cpu" } else { "gpu" };
    let shape = StepShape { image: options.image, channels: recipe.image.channels, batch, threads };
    let mut baselines = Vec::new();
    if let Some(python) = &options.peer {
        for layout in ["nchw", "channels_last"] {
            baselines.push((
                Baseline::start(python, &options.recipe, Work::Sample, layout, on, shape)?,
                Vec::new(),
            ));
        }
    }
    let calls = IMAGES.div_ceil(batch.max(1));
    let mut ours = Vec::new();
    for repeat in 0..options.repeats + 3 {
        let z = rng.draw(
            &device,
            [batch, recipe.generator.latent],
            Distribution::Normal { mean: 0.0, std: 1.0 },
        );
        device.synchronize();
        let start = Instant::now();
        for _ in 0..calls {
            drop(tensor::batch_invariant(|| generator.forward(&z, Mode::SAMPLE)));
        }
        device.synchronize();
        let seconds = start.elapsed().as_secs_f64() / calls as f64;
        if repeat >= 3 {
            ours.push(seconds);
        }
        for (baseline, times) in &mut baselines {
            let theirs = baseline.step()?;
            if repeat >= 3 {
                times.push(theirs / calls as f64);
            }
        }
    }
    device.check()?;
    let side = options.image;
    let seconds = median(ours.clone());
    println!(
        "{} {side}x{side} batch {batch} on {device}, {threads} threads: {:.2} ms, {:.1} images/s",
        options.recipe,
        seconds * 1e3,
        batch as f64 / seconds
    );
    for (baseline, times) in baselines {
        let ratio = median(times.iter().zip(&ours).map(|(theirs, ours)| theirs / ours).collect());
        println!(
            "PyTorch {}: {:.2} ms; ours is {ratio:.2} times as fast",
            baseline.layout(),
            median(times) * 1e3
        );
    }
    Ok(())
}
