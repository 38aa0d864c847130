//! A time-lapse of a run: its sample grids as a GIF, in step order.
//!
//! ```
//! use image::{DynamicImage, GrayImage};
//! use runs::grid::save_png;
//! use runs::timelapse::{self, Options};
//!
//! let dir = tempfile::tempdir().unwrap();
//! for step in [100, 200, 300] {
//!     let image = DynamicImage::ImageLuma8(GrayImage::new(8, 8));
//!     save_png(&dir.path().join(format!("step-{step:08}.png")), &image).unwrap();
//! }
//! let options = Options { frames: 2, ..Options::default() };
//! let timelapse = timelapse::write(&dir.path().join("out.gif"), dir.path(), options).unwrap();
//! assert_eq!(timelapse.steps, [100, 300]);
//! ```

use crate::animation::{frame, gif_sides, opaque, write_gif};
use crate::{ArtifactError, checkpoint_retention, grid};
use gif::Frame;
use image::RgbImage;
use std::path::{Path, PathBuf};

/// Length and pace of a time-lapse.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Most frames, chosen evenly, with the first and last grid among them. At least 1.
    pub frames: usize,
    /// Duration of a frame in hundredths of a second.
    pub delay: u16,
    /// Duration of the last frame in hundredths of a second.
    pub last_delay: u16,
}

impl Default for Options {
    /// Up to 60 frames of 0.12 s, with 2 s for the last.
    fn default() -> Self {
        Self { frames: 60, delay: 12, last_delay: 200 }
    }
}

/// The contents of a time-lapse.
#[derive(Debug)]
pub struct Timelapse {
    /// The steps of its frames, rising.
    pub steps: Vec<u64>,
    /// Grids that could not be decoded, with the reason.
    pub skipped: Vec<(PathBuf, String)>,
}

/// Writes `path`, a looping GIF of the `step-N.png` files in `samples`, atomically.
///
/// Gray grids keep all 256 grays; others get the best 256 colors of each frame. Transparency is
/// composited on white. Grids of another size than the last, from before a run was changed, are
/// resized to it.
///
/// # Errors
/// Returns [`ArtifactError::NoSamples`] if no grid in `samples` can be decoded,
/// [`ArtifactError::Frames`] if a side exceeds 65535, and [`ArtifactError::Write`] if the file
/// cannot be written.
pub fn write(path: &Path, samples: &Path, options: Options) -> Result<Timelapse, ArtifactError> {
    let files = evenly(checkpoint_retention::steps_in(samples, "png")?, options.frames);
    // The last image sets the size, so it is found first; then one image is in memory at a time.
    let last = files.iter().rev().find_map(|(_, file)| decode(file).ok());
    let size = last
        .map(|image| image.dimensions())
        .ok_or_else(|| ArtifactError::NoSamples { dir: samples.to_owned() })?;
    let sides = gif_sides(path, size)?;
    let (mut steps, mut skipped) = (Vec::new(), Vec::new());
    write_gif(path, sides, &[], |encoder| {
        // A frame is written once the next is known to be valid, so that the last valid one gets
        // the long delay.
        let mut pending: Option<Frame<'static>> = None;
        for (step, file) in &files {
            let image = match decode(file) {
                Ok(image) => image,
                Err(error) => {
                    skipped.push((file.clone(), error.to_string()));
                    continue;
                }
            };
            if let Some(frame) = pending.replace(frame(image, sides, options.delay)) {
                encoder.write_frame(&frame)?;
            }
            steps.push(*step);
        }
        match pending {
            Some(mut frame) => {
                frame.delay = options.last_delay;
                encoder.write_frame(&frame)
            }
            None => Ok(()),
        }
    })?;
    Ok(Timelapse { steps, skipped })
}

/// At most `count` of `items`, with the first and last among them, in even strides.
fn evenly<T>(items: Vec<T>, count: usize) -> Vec<T> {
    let (len, count) = (items.len(), count.max(1));
    if len <= count {
        return items;
    }
    // A single frame is the last; otherwise frame k is item k·(len - 1)/(count - 1).
    let chosen: Vec<usize> = match count {
        1 => vec![len - 1],
        _ => (0..count).map(|k| k * (len - 1) / (count - 1)).collect(),
    };
    items
        .into_iter()
        .enumerate()
        .filter(|(index, _)| chosen.binary_search(index).is_ok())
        .map(|(_, item)| item)
        .collect()
}

fn decode(file: &Path) -> Result<RgbImage, image::ImageError> {
    Ok(opaque(grid::decode(&file_io::read(file)?)?))
}
