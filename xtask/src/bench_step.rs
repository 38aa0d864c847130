//! `bench-step`: a full training step (D on real, D on fake, G, both Adam updates) on synthetic
//! images.

use crate::bench::{BoxError, NetworkArgs, median, peak_resident};
use crate::pytorch_baseline::Work;
use clap::{Args, Parser};
use nn::recipe::UpdateOrder;
use serde::Serialize;
use std::path::PathBuf;
use std::time::Instant;
use tensor::Device;
use tensor::rng::{Distribution, Philox};
use train::{Settings, Trainer};

/// Time a full training step: median seconds and images per second, and peak memory.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    network: NetworkArgs,
    /// Channels, if different.
    #[arg(long)]
    channels: Option<usize>,
    /// Images per batch.
    #[arg(long, default_value_t = 128)]
    batch: usize,
    /// Timed steps, after two warm-up steps.
    #[arg(long, default_value_t = 10)]
    steps: usize,
    /// On a GPU, round the operands of convolutions to half precision.
    #[arg(long)]
    mixed: bool,
    /// Also write the result as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Serialize)]
struct StepReport {
    device: String,
    threads: usize,
    recipe: String,
    image: usize,
    channels: usize,
    batch: usize,
    /// Median.
    seconds_per_step: f64,
    images_per_second: f64,
    /// The peak memory of the process, as the operating system reports it, else that of all
    /// tensors.
    peak_bytes: u64,
    /// The peak memory of all tensors.
    tensor_peak_bytes: u64,
    /// PyTorch in the same run.
    baselines: Vec<PytorchReport>,
}

#[derive(Serialize)]
struct PytorchReport {
    layout: &'static str,
    seconds_per_step: f64,
    images_per_second: f64,
    peak_bytes: u64,
    /// The median over the repeats of its seconds to ours: above 1 ours is faster.
    ratio: f64,
}

impl Options {
    /// Parses flags as on a command line.
    pub fn of(flags: &[&str]) -> Result<Self, clap::Error> {
        #[derive(Parser)]
        struct Step {
            #[command(flatten)]
            options: Options,
        }
        Ok(Step::try_parse_from([&["bench-step"], flags].concat())?.options)
    }
}

/// Runs the benchmark.
pub fn run(options: &Options) -> Result<(), Box<dyn std::error::Error>> {
    let report = options.network.device.in_pool(|| measure(options))?;
    println!(
        "{} {}x{}x{} batch {} on {}, {} threads: {:.3} s/step, {:.1} images/s, peak {:.0} MiB \
         (tensors {:.0} MiB)",
        report.recipe,
        report.image,
        report.image,
        report.channels,
        report.batch,
        report.device,
        report.threads,
        report.seconds_per_step,
        report.images_per_second,
        report.peak_bytes as f64 / 1048576.0,
        report.tensor_peak_bytes as f64 / 1048576.0,
    );
    for baseline in &report.baselines {
        println!(
            "PyTorch {}: {:.3} s/step, {:.1} images/s, peak {:.0} MiB; ours is {:.2} times as fast",
            baseline.layout,
            baseline.seconds_per_step,
            baseline.images_per_second,
            baseline.peak_bytes as f64 / 1048576.0,
            baseline.ratio
        );
    }
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_string_pretty(&report)? + "\n")
            .map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    }
    Ok(())
}

fn measure(options: &Options) -> Result<StepReport, BoxError> {
    let mut recipe = options.network.recipe()?;
    recipe.image.channels = options.channels.unwrap_or(recipe.image.channels);
    recipe.train.batch = options.batch;
    // The baseline uses this order, whatever the source of the recipe did.
    (recipe.train.update_order, recipe.train.separate_batches, recipe.train.resample_z) =
        (UpdateOrder::DFirst, false, false);
    let (side, channels) = (options.network.image, recipe.image.channels);
    let preprocess = data::Preprocess::new([side as u32; 2], channels as u8);
    let settings = Settings {
        data: "synthetic".into(),
        seed: 1,
        steps: u64::MAX >> 1,
        log_every: 1,
        sample_every: 1,
        checkpoint_every: 1,
        keep: 1,
        preprocess,
        recipe,
        condition_file: None,
        monitor: train::monitor::MonitorConfig::default(),
        eval: None,
        shuffle_buffer: None,
        overrides: Vec::new(),
    };
    let latent = settings.recipe.generator.latent;
    let device = options.network.device.open(options.mixed)?;
    let recipe = &settings.recipe;
    let condition = recipe
        .condition
        .as_ref()
        .map(|_| recipe.example_conditions(options.batch).to_device(&device));
    let mut trainer = Trainer::new(settings, &device)?;
    let mut rng = Philox::new(2, 0);
    let real = rng.uniform([options.batch, side, side, channels], -1.0, 1.0).to_device(&device);
    let threads = rayon::current_num_threads();
    let mut baselines = options.network.baselines(Work::Step, &device, channels, options.batch)?;
    let mut seconds = Vec::new();
    for step in 0..options.steps.max(1) + 2 {
        let z = rng.draw(
            &device,
            [options.batch, latent],
            Distribution::Normal { mean: 0.0, std: 1.0 },
        );
        device.synchronize();
        let start = Instant::now();
        trainer.train_step_on(&real, &z, condition.as_ref()).wait()?;
        device.synchronize();
        let ours = start.elapsed().as_secs_f64();
        for (baseline, times) in &mut baselines {
            let theirs = baseline.step()?;
            if step >= 2 {
                times.push(theirs);
            }
        }
        if step >= 2 {
            seconds.push(ours);
        }
    }
    let tensors = match &device {
        Device::Cpu => tensor::memory_stats().peak as u64,
        Device::Gpu(gpu) => gpu.counters().peak_bytes,
    };
    let peak_bytes = peak_resident("self").unwrap_or(tensors);
    let mut reports = Vec::new();
    for (baseline, times) in baselines {
        let ratios = times.iter().zip(&seconds).map(|(theirs, ours)| theirs / ours).collect();
        let seconds_per_step = median(times);
        reports.push(PytorchReport {
            layout: baseline.layout(),
            seconds_per_step,
            images_per_second: options.batch as f64 / seconds_per_step,
            ratio: median(ratios),
            peak_bytes: baseline.finish()?,
        });
    }
    let seconds_per_step = median(seconds);
    Ok(StepReport {
        device: device.to_string(),
        threads,
        recipe: options.network.recipe.clone(),
        image: side,
        channels,
        batch: options.batch,
        seconds_per_step,
        images_per_second: options.batch as f64 / seconds_per_step,
        peak_bytes,
        tensor_peak_bytes: tensors,
        baselines: reports,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Conditional networks get example conditions; without them the step would panic.
    #[test]
    fn a_recipe_with_a_condition_is_timed() {
        let flags = ["--recipe", "newmu-mnist", "--image", "28", "--batch", "2", "--steps", "1"];
        let report = measure(&Options::of(&flags).unwrap()).unwrap();
        assert_eq!(
            (report.recipe.as_str(), report.image, report.channels, report.batch),
            ("newmu-mnist", 28, 1, 2)
        );
        assert!(report.seconds_per_step > 0.0 && report.images_per_second > 0.0);
    }
}
