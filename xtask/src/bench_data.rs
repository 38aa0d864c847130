//! `bench-data`: images per second from a dataset's own files and from the same dataset packed,
//! compared with the training step.

use crate::bench_step;
use clap::Args;
use data::{Cursor, DataError, Dataset, Loader, Preprocess, Split, prepare};
use image::codecs::jpeg::JpegEncoder;
use std::error::Error;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

/// Height and width of the `--synthetic` images: those of aligned CelebA.
const PHOTO: [u32; 2] = [218, 178];
/// The JPEG quality that makes them about as long as CelebA's: 7 KB.
const QUALITY: u8 = 88;

/// Measure images per second of a dataset: decoded for each batch, and from a packed file.
#[derive(Args)]
pub struct Options {
    /// A dataset as in `dcgan train --data`, such as a folder of photographs.
    #[arg(value_name = "SPEC", required_unless_present = "synthetic")]
    spec: Option<String>,
    /// Generate N JPEG files of 218x178 instead, like photographs in size and detail.
    #[arg(long, value_name = "N", conflicts_with = "spec",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    synthetic: Option<u32>,
    /// Height and width of the images.
    #[arg(long, value_name = "N", default_value_t = 64)]
    image: u32,
    /// Images per batch.
    #[arg(long, value_name = "N", default_value_t = 128)]
    batch: usize,
    /// Threads that decode, at most one per core, each with one batch prefetched; also those of the
    /// training step.
    #[arg(long, value_name = "N", default_value_t = 2,
        value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: u16,
    /// Seconds per measurement.
    #[arg(long, value_name = "S", default_value_t = 3.0)]
    seconds: f64,
    /// Also measure the training step (recipe torch, as in bench-step) and print the ratios.
    #[arg(long)]
    step: bool,
}

/// A temporary folder, removed at the end.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // It is in the system's temporary folder, so leftover files are harmless.
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let scratch =
        Scratch(std::env::temp_dir().join(format!("dcgan-bench-data-{}", std::process::id())));
    fs::create_dir(&scratch.0)?;
    let spec = match (&options.spec, options.synthetic) {
        (Some(spec), _) => spec.clone(),
        (None, count) => {
            let folder = scratch.0.join("photographs");
            let bytes = photographs(&folder, count.unwrap_or(1))?;
            println!(
                "made {} JPEG files of {}x{}, {bytes} bytes each",
                count.unwrap_or(1),
                PHOTO[0],
                PHOTO[1]
            );
            folder.display().to_string()
        }
    };
    let preprocess = Preprocess::new([options.image; 2], 3);
    let packed = scratch.0.join("packed");
    let start = Instant::now();
    let prepared = prepare(&spec, Split::Train, &preprocess, &packed, false, &|_| ())?;
    println!("prepared {} images in {:.1} s", prepared.images, start.elapsed().as_secs_f64());
    let source = measure(&spec, &preprocess, options)?;
    let packed = measure(&packed.display().to_string(), &preprocess, options)?;
    // The loader limits its threads in the same way.
    let threads = available_parallelism().map_or(1, usize::from).min(options.threads.into());
    println!("its own files {source:>9.0} images/s, {threads} threads");
    println!("packed file   {packed:>9.0} images/s, {threads} threads");
    if options.step {
        let step = training(options, threads, &scratch.0)?;
        println!("training step {step:>9.0} images/s, {threads} threads");
        println!(
            "loading is {:.1} times as fast as training from its own files (wanted: 3)",
            source / step
        );
        println!(
            "loading is {:.1} times as fast as training from the packed file (wanted: 20)",
            packed / step
        );
    }
    Ok(())
}

/// Images per second, without a cache in this process.
fn measure(spec: &str, preprocess: &Preprocess, options: &Options) -> Result<f64, DataError> {
    let set = Arc::new(Dataset::open_within(spec, Split::Train, preprocess, 0, &|_| ())?);
    let mut loader = Loader::new(set, options.batch, Cursor::new(0), options.threads.into())?;
    // Batches that were prepared before the clock starts are not counted.
    for _ in 0..=options.threads {
        let batch = loader.next()?;
        loader.recycle(batch.images);
    }
    let (start, length) =
        (Instant::now(), Duration::from_secs_f64(options.seconds.clamp(0.1, 600.0)));
    let mut images = 0;
    while start.elapsed() < length {
        let batch = loader.next()?;
        images += options.batch;
        loader.recycle(batch.images);
    }
    Ok(images as f64 / start.elapsed().as_secs_f64())
}

/// Images per second of a training step, by `bench-step`.
fn training(options: &Options, threads: usize, scratch: &Path) -> Result<f64, Box<dyn Error>> {
    let json = scratch.join("step.json").display().to_string();
    let numbers = [options.image as usize, options.batch, threads].map(|number| number.to_string());
    let [image, batch, threads] = numbers.each_ref().map(String::as_str);
    let flags = [
        "--image",
        image,
        "--channels",
        "3",
        "--batch",
        batch,
        "--threads",
        threads,
        "--json",
        &json,
    ];
    bench_step::run(&bench_step::Options::of(&flags)?)?;
    let report: serde_json::Value = serde_json::from_str(&fs::read_to_string(&json)?)?;
    report["images_per_second"]
        .as_f64()
        .ok_or_else(|| "bench-step reports no images per second".into())
}

/// Writes `count` files; returns their mean length.
fn photographs(folder: &Path, count: u32) -> Result<u64, Box<dyn Error>> {
    fs::create_dir(folder)?;
    let mut bytes = 0;
    for k in 0..count {
        let path = folder.join(format!("{k:06}.jpg"));
        photograph(k)
            .write_with_encoder(JpegEncoder::new_with_quality(File::create(&path)?, QUALITY))?;
        bytes += fs::metadata(&path)?.len();
    }
    Ok(bytes / u64::from(count))
}

/// A light gradient, a large ellipse and small ones with soft edges, fine texture and grain: the
/// detail that a photograph of a face has for a JPEG decoder. A function of `k`.
fn photograph(k: u32) -> image::RgbImage {
    let mut state = u64::from(k).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32
    };
    let [height, width] = PHOTO.map(|side| side as f32);
    let mut color = || [random(), random(), random()].map(|part| 40.0 + 180.0 * part);
    let colors: Vec<[f32; 3]> = (0..10).map(|_| color()).collect();
    let blobs: Vec<[f32; 4]> = (0..9)
        .map(|blob| {
            let large = if blob == 0 { 0.35 } else { 0.05 + 0.1 * random() };
            let spread = if blob == 0 { 0.1 } else { 0.8 };
            [
                0.5 + spread * (random() - 0.5),
                0.5 + spread * (random() - 0.5),
                large,
                large * (0.7 + 0.6 * random()),
            ]
        })
        .collect();
    let (wave, light) = (0.3 + random(), random() - 0.5);
    image::RgbImage::from_fn(PHOTO[1], PHOTO[0], |x, y| {
        let (u, v) = (x as f32 / width, y as f32 / height);
        let mut pixel = colors[9];
        for ([cx, cy, rx, ry], color) in blobs.iter().zip(&colors) {
            let distance = (((u - cx) / rx).powi(2) + ((v - cy) / ry).powi(2)).sqrt();
            let share = ((1.15 - distance) / 0.3).clamp(0.0, 1.0);
            pixel = std::array::from_fn(|part| pixel[part] + share * (color[part] - pixel[part]));
        }
        let texture = 6.0 * (wave * x as f32 + 3.0 * v).sin() * (wave * 0.7 * y as f32).sin();
        let grain = 5.0 * (random() - 0.5);
        image::Rgb(
            pixel.map(|part| {
                (part * (1.0 + light * (u - v)) + texture + grain).clamp(0.0, 255.0) as u8
            }),
        )
    })
}
