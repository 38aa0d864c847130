//! `bench-sample`: the generator alone, as `dcgan sample` runs it, with random weights.

use crate::bench::{BoxError, NetworkArgs, median};
use crate::pytorch_baseline::Work;
use clap::Args;
use nn::Mode;
use std::time::Instant;
use tensor::rng::{Distribution, Philox};

/// Time sampling, as many batches in a row as give at least 64 images: median milliseconds per
/// batch, with batch norm folded into the weights.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    network: NetworkArgs,
    /// Images per batch.
    #[arg(long, value_delimiter = ',', default_value = "1,64")]
    batch: Vec<usize>,
    /// Repeats of each measurement.
    #[arg(long, default_value_t = 20)]
    repeats: usize,
}

/// Images per measurement, at least; the baseline draws as many.
const IMAGES: usize = 64;

/// Runs the benchmark.
pub fn run(options: &Options) -> Result<(), Box<dyn std::error::Error>> {
    let all = || options.batch.iter().try_for_each(|&batch| measure(options, batch));
    options.network.device.in_pool(all)
}

fn measure(options: &Options, batch: usize) -> Result<(), BoxError> {
    let recipe = options.network.recipe()?;
    let device = options.network.device.open(false)?;
    let mut rng = Philox::new(3, 0);
    let (generator, _) = recipe.build(&mut rng)?;
    let generator = generator.folded();
    generator.to_device(&device);
    let threads = rayon::current_num_threads();
    let channels = recipe.image.channels;
    let mut baselines = options.network.baselines(Work::Sample, &device, channels, batch)?;
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
    let side = options.network.image;
    let seconds = median(ours.clone());
    println!(
        "{} {side}x{side} batch {batch} on {device}, {threads} threads: {:.2} ms, {:.1} images/s",
        options.network.recipe,
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
