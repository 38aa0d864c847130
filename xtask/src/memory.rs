//! `memory`: the memory estimate of `dcgan train`, compared with the peak of the process.

use crate::bench::peak_resident;
use clap::Args;
use image::RgbImage;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// Train a few steps in several configurations, and compare the memory that `dcgan train` announces
/// with the most that the process had resident. Fails if an estimate is below the peak or more than
/// 20 % above it. Linux only.
#[derive(Args)]
pub struct Options {
    /// A built `dcgan`, instead of building one.
    #[arg(long, value_name = "FILE")]
    dcgan: Option<PathBuf>,
    /// A folder for images and runs, which is created and deleted.
    #[arg(long, value_name = "DIR", default_value = "target/memory")]
    folder: PathBuf,
    /// Measure only configurations whose name contains this text.
    #[arg(long, default_value = "")]
    only: String,
}

/// A training run.
struct Configuration {
    name: &'static str,
    /// Side and number of the training images.
    images: [u32; 2],
    /// The recipe.
    recipe: &'static str,
}

const CONFIGURATIONS: [Configuration; 15] = [
    Configuration { name: "small", images: [28, 512], recipe: "base = \"small\"" },
    Configuration {
        name: "torch, width 16",
        images: [64, 256],
        recipe: "base = \"torch\"\ntrain.batch = 16\ngenerator.width = 16\n\
                 discriminator.width = 16",
    },
    Configuration {
        name: "torch, batch 32",
        images: [64, 256],
        recipe: "base = \"torch\"\ntrain.batch = 32",
    },
    Configuration {
        name: "torch, EMA",
        images: [64, 256],
        recipe: "base = \"torch\"\ntrain.batch = 64\ntrain.ema = 0.999",
    },
    Configuration {
        name: "torch, a set of 15000 images",
        images: [64, 15_000],
        recipe: "base = \"torch\"\ntrain.batch = 16\ngenerator.width = 32\n\
                 discriminator.width = 32",
    },
    Configuration {
        name: "attention",
        images: [64, 256],
        recipe: "base = \"torch\"\ntrain.batch = 32\ngenerator.attention = 32\n\
                 discriminator.attention = 32\ngenerator.width = 32\ndiscriminator.width = 32",
    },
    Configuration {
        name: "minibatch discrimination",
        images: [28, 512],
        recipe: "base = \"small\"\ntrain.batch = 256\n\
                 discriminator.minibatch_discrimination = { kernels = 100, dims = 5 }",
    },
    Configuration {
        name: "gradient penalty",
        images: [64, 256],
        recipe: "base = \"torch\"\ntrain.batch = 32\nobjective.loss = \"wasserstein\"\n\
                 objective.gradient_penalty = 10.0\ndiscriminator.norm = \"layer\"\n\
                 train.d_steps = 2\ngenerator.width = 32\ndiscriminator.width = 32",
    },
    Configuration {
        name: "hinge, spectral norm",
        images: [64, 256],
        recipe: "base = \"torch\"\ntrain.batch = 32\nobjective.loss = \"hinge\"\n\
                 discriminator.parametrization = \"spectral-norm\"\n\
                 discriminator.norm = \"none\"\ndiscriminator.bias = true",
    },
    Configuration {
        name: "relativistic, R1",
        images: [64, 256],
        recipe: "base = \"torch\"\ntrain.batch = 16\nobjective.relativistic = true\n\
                 objective.r1 = 1.0\ndiscriminator.norm = \"none\"\ndiscriminator.bias = true",
    },
    Configuration {
        name: "128x128, width 32",
        images: [128, 128],
        recipe: "base = \"torch\"\ntrain.batch = 16\nimage.size = [128, 128]\n\
                 generator.width = 32\ndiscriminator.width = 32",
    },
    Configuration {
        name: "128x128, EMA",
        images: [128, 128],
        recipe: "base = \"torch\"\ntrain.batch = 16\nimage.size = [128, 128]\ntrain.ema = 0.999",
    },
    Configuration {
        name: "torch, batch 8",
        images: [64, 256],
        recipe: "base = \"torch\"\ntrain.batch = 8",
    },
    Configuration { name: "modern", images: [64, 256], recipe: "base = \"modern\"" },
    Configuration {
        name: "resize and max-pool",
        images: [64, 256],
        recipe: "base = \"torch\"\ntrain.batch = 32\ngenerator.upsample = \"nearest\"\n\
                 discriminator.downsample = \"max-pool\"\ngenerator.width = 32\n\
                 discriminator.width = 32",
    },
];

/// Steps of a run: the memory no longer grows then.
const STEPS: &str = "6";
/// Time between two readings of the peak, which only grows.
const POLL: Duration = Duration::from_millis(1);
/// The ratios of estimate and peak that pass: from the peak to 20 % above it.
const PASSING_RATIOS: std::ops::RangeInclusive<f64> = 1.0..=1.2;

/// Measures all configurations and prints a table.
///
/// # Errors
/// Returns an error if a run fails, or a ratio is not in [`PASSING_RATIOS`].
pub fn run(options: &Options) -> Result<(), Box<dyn std::error::Error>> {
    let chosen: Vec<_> = CONFIGURATIONS.iter().filter(|c| c.name.contains(&options.only)).collect();
    if chosen.is_empty() {
        return Err(format!("no configuration has `{}` in its name", options.only).into());
    }
    let dcgan = crate::tasks::dcgan(options.dcgan.as_deref())?;
    if options.folder.exists() {
        return Err(format!("{} exists: remove it first", options.folder.display()).into());
    }
    fs::create_dir_all(&options.folder)?;
    println!("{:<30} {:>12} {:>12} {:>6}", "configuration", "estimate", "peak", "ratio");
    let mut bad = Vec::new();
    for configuration in chosen {
        let [estimate, peak] = measure(&dcgan, &options.folder, configuration)?;
        let ratio = estimate as f64 / peak as f64;
        let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
        let name = configuration.name;
        println!("{name:<30} {:>12} {:>12} {ratio:>6.3}", mib(estimate), mib(peak));
        if !PASSING_RATIOS.contains(&ratio) {
            bad.push(name);
        }
    }
    fs::remove_dir_all(&options.folder)?;
    if bad.is_empty() {
        return Ok(());
    }
    Err(format!("estimates not from the peak to 20 % above it: {}", bad.join(", ")).into())
}

/// Estimate and peak of a run in bytes.
fn measure(
    dcgan: &Path,
    folder: &Path,
    configuration: &Configuration,
) -> Result<[u64; 2], Box<dyn std::error::Error>> {
    let [side, count] = configuration.images;
    let data = folder.join(format!("{side}-{count}"));
    if !data.is_dir() {
        fs::create_dir(&data)?;
        for i in 0..count {
            let pixel =
                |x: u32, y: u32| image::Rgb([x * 3 + i, (y * 5) ^ i, x + y].map(|v| v as u8));
            RgbImage::from_fn(side, side, pixel).save(data.join(format!("{i:05}.png")))?;
        }
    }
    let recipe = folder.join("recipe.toml");
    fs::write(&recipe, configuration.recipe)?;
    let (run, log) = (folder.join("run"), folder.join("log"));
    let mut child = Command::new(dcgan)
        .args(["train", "--device", "cpu", "--json", "--steps", STEPS])
        .args(["--log-every", "1", "--sample-every", "2", "--checkpoint-every", "2"])
        .arg("--data")
        .arg(&data)
        .arg("--recipe")
        .arg(&recipe)
        .arg("--out")
        .arg(&run)
        .stdout(File::create(&log)?)
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(|e| format!("cannot run {}: {e}", dcgan.display()))?;
    let process = child.id().to_string();
    let mut peak = 0;
    let ended = loop {
        peak = peak.max(peak_resident(&process).unwrap_or(0));
        match child.try_wait()? {
            Some(ended) => break ended,
            None => sleep(POLL),
        }
    };
    let text = fs::read_to_string(&log)?;
    if !ended.success() {
        return Err(format!("{}: the run failed: {ended}\n{text}", configuration.name).into());
    }
    fs::remove_dir_all(&run)?;
    let estimate = text.lines().find_map(|line| {
        let event: serde_json::Value = serde_json::from_str(line).ok()?;
        event["memory_bytes"].as_u64()
    });
    Ok([estimate.ok_or("the run printed no estimate")?, peak])
}
