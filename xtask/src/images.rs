//! `images` and `stack`: single images of a dataset, and images stacked vertically, for the pages
//! of docs/experiments.

use clap::{Args, ValueEnum};
use data::{Dataset, Preprocess, Split};
use image::{Rgb, RgbImage, imageops};
use runs::grid::write_images;
use std::error::Error;
use std::path::PathBuf;

/// Write single images of a dataset as PNG, each under its index.
#[derive(Args)]
pub struct Options {
    /// A dataset as in `dcgan train --data`.
    spec: String,
    /// Indices in the dataset, from 0.
    #[arg(required = true)]
    numbers: Vec<usize>,
    /// The split.
    #[arg(long, value_enum, default_value_t = Part::Train)]
    split: Part,
    /// Height and width.
    #[arg(long, value_name = "N", default_value_t = 28)]
    size: u32,
    /// 1 for gray images, 3 for color.
    #[arg(long, value_name = "N", default_value_t = 1)]
    channels: u8,
    /// The folder to write.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum Part {
    Train,
    Test,
}

/// Stack images vertically, aligned at the left edge.
#[derive(Args)]
pub struct Stack {
    /// The PNG to write.
    out: PathBuf,
    /// The images, from top to bottom.
    #[arg(required = true)]
    images: Vec<PathBuf>,
}

/// Pixels between stacked images.
const GAP: u32 = 2;

/// Writes the images.
pub fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let split = match options.split {
        Part::Train => Split::Train,
        Part::Test => Split::Test,
    };
    let preprocess = Preprocess::new([options.size; 2], options.channels);
    let set = Dataset::open(&options.spec, split, &preprocess, &|_| ())?;
    let [h, w, c] = set.shape();
    let mut values = vec![0.0; h * w * c];
    for &number in &options.numbers {
        if number >= set.len() {
            return Err(
                format!("no image {number} in {}, which has {}", options.spec, set.len()).into()
            );
        }
        set.write(number, &mut values)?;
        write_images(&options.out, number, &values, [1, h, w, c])?;
    }
    Ok(())
}

/// Stacks the images.
pub fn stack(options: &Stack) -> Result<(), Box<dyn Error>> {
    let open = |file: &PathBuf| {
        image::open(file).map_err(|error| format!("cannot read {}: {error}", file.display()))
    };
    let images: Vec<RgbImage> = options
        .images
        .iter()
        .map(|file| Ok(open(file)?.to_rgb8()))
        .collect::<Result<_, String>>()?;
    let width = images.iter().map(RgbImage::width).max().unwrap_or(0);
    let height = images.iter().map(|image| image.height() + GAP).sum::<u32>().saturating_sub(GAP);
    let mut sheet = RgbImage::from_pixel(width, height, Rgb([255; 3]));
    let mut top = 0;
    for image in &images {
        imageops::replace(&mut sheet, image, 0, i64::from(top));
        top += image.height() + GAP;
    }
    sheet
        .save(&options.out)
        .map_err(|error| format!("cannot write {}: {error}", options.out.display()))?;
    Ok(())
}
