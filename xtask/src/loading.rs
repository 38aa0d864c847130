//! `bench-data`: how fast batches come from a set as it lies, and from the same set prepared.

use clap::Args;
use data::{Cursor, DataError, Dataset, Loader, Preprocess, Split, prepare};
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Measure images per second of a set: decoded for each batch, and from a packed file.
#[derive(Args)]
pub struct Options {
    /// What `dcgan train --data` takes: a folder of photographs, say.
    #[arg(value_name = "SPEC")]
    spec: String,
    /// Height and width of the images.
    #[arg(long, value_name = "N", default_value_t = 64)]
    image: u32,
    /// Images per batch.
    #[arg(long, value_name = "N", default_value_t = 64)]
    batch: usize,
    /// Batches made ahead: at most as many threads decode.
    #[arg(long, value_name = "N", default_value_t = 2)]
    prefetch: usize,
    /// How long each is measured.
    #[arg(long, value_name = "S", default_value_t = 3.0)]
    seconds: f64,
}

pub fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let preprocess = Preprocess::new([options.image; 2], 3);
    let packed = std::env::temp_dir().join(format!("dcgan-bench-data-{}", std::process::id()));
    let start = Instant::now();
    let prepared = prepare(&options.spec, Split::Train, &preprocess, &packed, false, &|_| ())?;
    println!("prepared {} images in {:.1} s", prepared.images, start.elapsed().as_secs_f64());
    let measured = measure(&options.spec, &preprocess, options)
        .and_then(|source| Ok((source, measure(&packed.display().to_string(), &preprocess, options)?)));
    std::fs::remove_file(&packed)?;
    let (source, packed) = measured?;
    println!("as it lies    {source:>9.0} images/s");
    println!("packed file   {packed:>9.0} images/s");
    Ok(())
}

/// Images per second, without any kept in memory by this program.
fn measure(spec: &str, preprocess: &Preprocess, options: &Options) -> Result<f64, DataError> {
    let set = Arc::new(Dataset::open_within(spec, Split::Train, preprocess, 0, &|_| ())?);
    let mut loader = Loader::new(set, options.batch, Cursor::new(0), options.prefetch)?;
    // What was made before the clock starts is not counted.
    for _ in 0..=options.prefetch {
        let batch = loader.next()?;
        loader.recycle(batch.images);
    }
    let (start, length) = (Instant::now(), Duration::from_secs_f64(options.seconds.clamp(0.1, 600.0)));
    let mut images = 0;
    while start.elapsed() < length {
        let batch = loader.next()?;
        images += options.batch;
        loader.recycle(batch.images);
    }
    Ok(images as f64 / start.elapsed().as_secs_f64())
}
