//! `bench-sample`: the generator alone, as `dcgan sample` runs it, on random weights.

use crate::peer::{Peer, Shape, Work};
use crate::step::median;
use clap::Args;
use nn::{Mode, Recipe};
use std::path::PathBuf;
use std::time::Instant;
use tensor::rng::{Distribution, Philox};
use tensor::{Device, DeviceSpec, gpu};

/// Times drawing pictures, as many batches in a row as make at least 64: median milliseconds of a batch, with batch norm folded into the weights.
#[derive(Args)]
pub struct Options {
    /// Side of the square pictures: three channels from 48 up, one below.
    #[arg(long, default_value_t = 64)]
    image: usize,
    /// Pictures drawn together.
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
    /// Take a software renderer for a graphics processor.
    #[arg(long)]
    allow_software: bool,
    /// A Python with torch: its generator in evaluation mode, NCHW and channels-last, alternates with ours in the same run.
    #[arg(long, value_name = "PYTHON")]
    peer: Option<PathBuf>,
}

/// Pictures drawn in a turn, at least; the peer's number.
const PICTURES: usize = 64;

/// Runs the benchmark.
///
/// # Errors
/// A recipe or size that makes no network, a device that cannot be had, or a peer without torch.
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
    let shape = Shape { image: options.image, channels: recipe.image.channels, batch, threads };
    let mut peers = Vec::new();
    if let Some(python) = &options.peer {
        for layout in ["nchw", "channels_last"] {
            peers.push((
                Peer::start(python, &options.recipe, Work::Sample, layout, on, shape)?,
                Vec::new(),
            ));
        }
    }
    let calls = PICTURES.div_ceil(batch.max(1));
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
        for (peer, times) in &mut peers {
            let theirs = peer.step()?;
            if repeat >= 3 {
                times.push(theirs / calls as f64);
            }
        }
    }
    device.check()?;
    let side = options.image;
    let seconds = median(ours.clone());
    println!(
        "{} {side}x{side} batch {batch} on {device}, {threads} threads: {:.2} ms, {:.1} pictures/s",
        options.recipe,
        seconds * 1e3,
        batch as f64 / seconds
    );
    for (peer, times) in peers {
        let ratio = median(times.iter().zip(&ours).map(|(theirs, ours)| theirs / ours).collect());
        println!(
            "PyTorch {}: {:.2} ms; ours is {ratio:.2} times as fast",
            peer.layout(),
            median(times) * 1e3
        );
    }
    Ok(())
}
