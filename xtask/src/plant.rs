//! `plant`: a set with duplicates whose number is known, and how many of them were found.

use clap::Args;
use image::{Rgb, RgbImage, imageops};
use serde_json::Value;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Copies the emoji people and plants near-duplicates of every fifth picture: recompressed, moved by a pixel, brighter. With --judge, tells how many of
/// them are in the groups that `dcgan dedup --groups` wrote.
#[derive(Args)]
pub struct Options {
    /// The pictures, PNG in sub-folders [default: the training pictures of datasets/emoji-people].
    #[arg(long)]
    input: Option<PathBuf>,
    /// The folder to make.
    #[arg(long, required_unless_present = "judge")]
    out: Option<PathBuf>,
    /// The groups to judge.
    #[arg(long, value_name = "FILE.json", conflicts_with = "out")]
    judge: Option<PathBuf>,
}

type Failure = Box<dyn std::error::Error>;
type Change = (&'static str, fn(&RgbImage) -> RgbImage);

/// One picture in so many has duplicates.
const EVERY: usize = 5;
/// Between a picture's name and what was done to it.
const MARK: char = '~';
const CHANGES: [Change; 3] = [("jpeg", |picture| picture.clone()), ("shift", shifted), ("bright", brighter)];

/// Plants, or judges.
///
/// # Errors
/// Files that cannot be read or written.
pub fn run(options: &Options) -> Result<(), Failure> {
    match (&options.judge, &options.out) {
        (Some(file), _) => judge(file),
        (None, Some(out)) => {
            let input = options.input.clone().unwrap_or_else(|| crate::tasks::root().join("datasets/emoji-people/train"));
            plant(&input, out)
        }
        (None, None) => Err("--out or --judge".into()),
    }
}

fn plant(input: &Path, out: &Path) -> Result<(), Failure> {
    fs::create_dir_all(out)?;
    let mut files = Vec::new();
    for folder in fs::read_dir(input)? {
        for file in fs::read_dir(folder?.path())? {
            files.push(file?.path());
        }
    }
    files.sort();
    for (k, file) in files.iter().enumerate() {
        let stem = file.file_stem().ok_or("a file without a name")?.to_string_lossy();
        let picture = on_white(&image::open(file)?.to_rgba8());
        picture.save(out.join(format!("{stem}.png")))?;
        if k % EVERY == 0 {
            for (name, change) in CHANGES {
                let ending = if name == "jpeg" { "jpg" } else { "png" };
                change(&picture).save(out.join(format!("{stem}{MARK}{name}.{ending}")))?;
            }
        }
    }
    println!("{} pictures, {} planted beside them", files.len(), files.len().div_ceil(EVERY) * CHANGES.len());
    Ok(())
}

fn on_white(picture: &image::RgbaImage) -> RgbImage {
    RgbImage::from_fn(picture.width(), picture.height(), |x, y| {
        let [r, g, b, a] = picture.get_pixel(x, y).0.map(u32::from);
        Rgb([r, g, b].map(|c| ((c * a + 255 * (255 - a) + 127) / 255) as u8))
    })
}

fn shifted(picture: &RgbImage) -> RgbImage {
    let mut out = RgbImage::from_pixel(picture.width(), picture.height(), Rgb([255; 3]));
    imageops::overlay(&mut out, picture, 1, 0);
    out
}

fn brighter(picture: &RgbImage) -> RgbImage {
    RgbImage::from_fn(picture.width(), picture.height(), |x, y| Rgb(picture.get_pixel(x, y).0.map(|c| c.saturating_add(13))))
}

fn judge(file: &Path) -> Result<(), Failure> {
    let groups: Vec<Value> = serde_json::from_slice(&fs::read(file)?)?;
    let mut found: HashMap<&str, usize> = CHANGES.iter().map(|(name, _)| (*name, 0)).collect();
    let (mut left_out, mut planted, mut strangers) = (0, 0, 0);
    for group in &groups {
        let others = group["left_out"].as_array().ok_or("a group without left_out")?;
        let names: Vec<&str> = std::iter::once(&group["kept"]).chain(others).filter_map(Value::as_str).collect();
        let bases: Vec<&str> = names
            .iter()
            .map(|name| name.rsplit('/').next().unwrap_or(name))
            .map(|name| name.split([MARK, '.']).next().unwrap_or(name))
            .collect();
        left_out += others.len();
        // The same drawing in another skin tone or for another gender has the same first code point.
        let drawing = |base: &str| base.split('-').next().map(str::to_owned);
        strangers += bases.iter().skip(1).filter(|base| drawing(base) != drawing(bases[0])).count();
        for (i, name) in names.iter().enumerate() {
            let change = name.split([MARK, '.']).nth(1).filter(|_| name.contains(MARK));
            let mate = (0..names.len()).any(|j| j != i && bases[j] == bases[i] && !names[j].contains(MARK));
            if let Some(count) = change.filter(|_| mate).and_then(|change| found.get_mut(change)) {
                *count += 1;
                planted += 1;
            }
        }
    }
    println!(
        "{left_out} left out, {planted} of them planted, {strangers} another drawing than what is kept; found by change: {found:?}"
    );
    Ok(())
}
