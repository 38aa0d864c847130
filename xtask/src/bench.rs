//! What the benchmarks of networks share: flags, the peer, the median, and the peak of memory.

use crate::pytorch_baseline::{Baseline, StepShape, Work};
use clap::Args;
use nn::Recipe;
use std::error::Error;
use std::path::PathBuf;
use tensor::{Device, DeviceSpec, gpu};

/// Flags that say where a benchmark computes.
#[derive(Args)]
pub struct DeviceArgs {
    /// Threads (default: all cores).
    #[arg(long)]
    threads: Option<usize>,
    /// Where to compute: auto, cpu, gpu or gpu:NUMBER.
    #[arg(long, default_value = "cpu")]
    device: DeviceSpec,
    /// Accept a software renderer as graphics processor.
    #[arg(long)]
    allow_software: bool,
}

/// Flags of the benchmarks of a recipe's networks.
#[derive(Args)]
pub struct NetworkArgs {
    /// Side of the square images: three channels from 48 up, one below.
    #[arg(long, default_value_t = 64)]
    pub image: usize,
    /// Recipe.
    #[arg(long, default_value = "torch")]
    pub recipe: String,
    #[command(flatten)]
    pub device: DeviceArgs,
    /// A Python with torch: its networks, in NCHW and in channels-last layout, alternate with ours
    /// in the same run.
    #[arg(long, value_name = "PYTHON")]
    peer: Option<PathBuf>,
}

/// The memory layouts of the peer's networks.
pub const LAYOUTS: [&str; 2] = ["nchw", "channels_last"];

/// An error that may leave the thread pool.
pub type BoxError = Box<dyn Error + Send + Sync>;

impl DeviceArgs {
    /// Opens the device; with `half`, a GPU's convolutions round their operands.
    pub fn open(&self, half: bool) -> Result<Device, BoxError> {
        let options =
            gpu::Options { allow_software: self.allow_software, half, ..Default::default() };
        Ok(Device::open(self.device, options)?)
    }

    /// Runs `work` in a pool of these threads.
    pub fn in_pool<T: Send>(
        &self,
        work: impl FnOnce() -> Result<T, BoxError> + Send,
    ) -> Result<T, Box<dyn Error>> {
        let threads = self.threads.unwrap_or(0);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
        pool.install(work).map_err(|error| -> Box<dyn Error> { error })
    }
}

impl NetworkArgs {
    /// The preset at this image size.
    pub fn recipe(&self) -> Result<Recipe, BoxError> {
        preset(&self.recipe, self.image)
    }

    /// The peer in both layouts, each with room for its times; none without `--peer`.
    pub fn baselines(
        &self,
        work: Work,
        device: &Device,
        channels: usize,
        batch: usize,
    ) -> Result<Vec<(Baseline, Vec<f64>)>, BoxError> {
        let Some(python) = &self.peer else { return Ok(Vec::new()) };
        let on = match device {
            Device::Gpu(gpu) if !gpu.adapter().software => "gpu",
            _ => "cpu",
        };
        let threads = rayon::current_num_threads();
        let shape = StepShape { image: self.image, channels, batch, threads };
        let start = |layout| {
            Ok((Baseline::start(python, &self.recipe, work, layout, on, shape)?, Vec::new()))
        };
        LAYOUTS.into_iter().map(start).collect()
    }
}

/// A preset at an image size: three channels from 48 up, one below.
pub fn preset(name: &str, image: usize) -> Result<Recipe, BoxError> {
    let mut recipe = Recipe::preset(name)?;
    recipe.image.size = [image; 2];
    recipe.image.channels = if image >= 48 { 3 } else { 1 };
    Ok(recipe)
}

/// The upper median.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The peak resident memory in bytes of a process (`self` or a number), if the system reports it
/// (Linux).
pub fn peak_resident(process: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
}
