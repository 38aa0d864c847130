//! `pictures` and `stack`: single pictures of a set, and pictures above each other, for the pages of docs/experiments.

use clap::{Args, ValueEnum};
use data::{Dataset, Preprocess, Split};
use image::{Rgb, RgbImage, imageops};
use runs::grid::write_images;
use std::error::Error;
use std::path::PathBuf;

/// Write single pictures of a set as PNG, each under its number.
#[derive(Args)]
pub struct Pictures {
    /// What `dcgan train --data` takes.
    spec: String,
    /// Places in the set, from 0.
    #[arg(required = true)]
    numbers: Vec<usize>,
    /// Which part of the set.
    #[arg(long, value_enum, default_value_t = Part::Train)]
    split: Part,
    /// Height and width.
    #[arg(long, value_name = "N", default_value_t = 28)]
    size: u32,
    /// 1 for grey ones, 3 for colour.
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

/// Put pictures above each other, against the left edge.
#[derive(Args)]
pub struct Stack {
    /// The PNG to write.
    out: PathBuf,
    /// From above.
    #[arg(required = true)]
    pictures: Vec<PathBuf>,
}

/// Pixels between pictures that are stacked.
const GAP: u32 = 2;

/// Writes the pictures.
///
/// # Errors
/// A set that cannot be read, a number beyond its end, the disk.
pub fn run(options: &Pictures) -> Result<(), Box<dyn Error>> {
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
            return Err(format!(
                "no picture {number} in {}, which has {}",
                options.spec,
                set.len()
            )
            .into());
        }
        set.write(number, &mut values)?;
        write_images(&options.out, number, &values, [1, h, w, c])?;
    }
    Ok(())
}

/// Stacks the pictures.
///
/// # Errors
/// A picture that cannot be read, the disk.
pub fn stack(options: &Stack) -> Result<(), Box<dyn Error>> {
    let open = |file: &PathBuf| {
        image::open(file).map_err(|error| format!("cannot read {}: {error}", file.display()))
    };
    let pictures: Vec<RgbImage> = options
        .pictures
        .iter()
        .map(|file| Ok(open(file)?.to_rgb8()))
        .collect::<Result<_, String>>()?;
    let width = pictures.iter().map(RgbImage::width).max().unwrap_or(0);
    let height =
        pictures.iter().map(|picture| picture.height() + GAP).sum::<u32>().saturating_sub(GAP);
    let mut sheet = RgbImage::from_pixel(width, height, Rgb([255; 3]));
    let mut top = 0;
    for picture in &pictures {
        imageops::replace(&mut sheet, picture, 0, i64::from(top));
        top += picture.height() + GAP;
    }
    sheet
        .save(&options.out)
        .map_err(|error| format!("cannot write {}: {error}", options.out.display()))?;
    Ok(())
}
