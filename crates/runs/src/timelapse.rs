//! A GIF of a run's sample grids in step order: the fixed latents learning to draw.

use crate::{ArtifactError, checkpoint_retention, grid, write_atomic};
use gif::{Encoder, EncodingError, Frame, Repeat};
use image::imageops::{self, FilterType};
use image::{DynamicImage, GenericImageView, RgbImage};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Length and pace of a time-lapse.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// At most this many frames, chosen evenly, the first and last grid among them. At least 1.
    pub frames: usize,
    /// Hundredths of a second per frame.
    pub delay: u16,
    /// Hundredths of a second for the last frame.
    pub last_delay: u16,
}

impl Default for Options {
    /// Up to 60 frames of 0.12 s, the last held for 2 s.
    fn default() -> Self {
        Self { frames: 60, delay: 12, last_delay: 200 }
    }
}

/// What went into a time-lapse.
#[derive(Debug)]
pub struct Timelapse {
    /// The steps of its frames, rising.
    pub steps: Vec<u64>,
    /// Grids that could not be decoded, with the reason.
    pub skipped: Vec<(PathBuf, String)>,
}

/// Writes `path`, a GIF that loops, from the `step-N.png` files in `samples`, atomically.
///
/// Grey grids keep all 256 greys; others get the best 256 colours of each frame. Transparency is laid on white. Grids
/// of another size than the last, from before a run was changed, are resized to it.
///
/// # Errors
/// No grid in `samples` can be decoded, a grid is larger than GIF allows (65535), or the disk.
pub fn write(path: &Path, samples: &Path, options: Options) -> Result<Timelapse, ArtifactError> {
    let files = evenly(checkpoint_retention::steps_in(samples, "png")?, options.frames);
    let mut skipped = Vec::new();
    // The last picture sets the size, so it is found first; then one picture is in memory at a time.
    let size =
        files.iter().rev().find_map(|(_, file)| decode(file).ok()).map(|image| image.dimensions());
    let size = size.ok_or_else(|| ArtifactError::Pictures {
        what: format!("a time-lapse of {samples:?}"),
        reason: "there is no step-N.png in it that can be decoded; sample more often with --sample-every".to_owned(),
    })?;
    let (Ok(width), Ok(height)) = (u16::try_from(size.0), u16::try_from(size.1)) else {
        return Err(ArtifactError::Pictures {
            what: format!("a time-lapse of {samples:?}"),
            reason: format!("its grids are {}x{}, a GIF has sides up to 65535", size.0, size.1),
        });
    };
    let mut steps = Vec::new();
    write_atomic(path, |writer| {
        let mut encoder = Encoder::new(writer, width, height, &[]).map_err(io_error)?;
        encoder.set_repeat(Repeat::Infinite).map_err(io_error)?;
        // A frame is written when the next is known to be good, so that the last good one gets the long delay.
        let mut pending: Option<Frame<'static>> = None;
        for (step, file) in &files {
            let image = match decode(file) {
                Ok(image) => image,
                Err(error) => {
                    skipped.push((file.clone(), error.to_string()));
                    continue;
                }
            };
            if let Some(frame) = pending.replace(frame(image, size, options.delay)) {
                encoder.write_frame(&frame).map_err(io_error)?;
            }
            steps.push(*step);
        }
        if let Some(mut frame) = pending {
            frame.delay = options.last_delay;
            encoder.write_frame(&frame).map_err(io_error)?;
        }
        encoder.into_inner().map_err(io_error)?.flush()
    })?;
    Ok(Timelapse { steps, skipped })
}

/// Writes a GIF that loops, atomically, from pictures of one size, each shown for `delay` hundredths of a second; colours as in [`write`].
///
/// # Errors
/// No pictures, pictures of several sizes or larger than GIF allows (65535), or the disk.
pub fn animate(path: &Path, pictures: &[DynamicImage], delay: u16) -> Result<(), ArtifactError> {
    let failed = |reason: &str| ArtifactError::Pictures {
        what: format!("the animation {path:?}"),
        reason: reason.to_owned(),
    };
    let size = pictures.first().ok_or_else(|| failed("there are no pictures"))?.dimensions();
    if pictures.iter().any(|picture| picture.dimensions() != size) {
        return Err(failed("its pictures have several sizes"));
    }
    let (Ok(width), Ok(height)) = (u16::try_from(size.0), u16::try_from(size.1)) else {
        return Err(failed("a GIF has sides up to 65535"));
    };
    write_atomic(path, |writer| {
        let mut encoder = Encoder::new(writer, width, height, &[]).map_err(io_error)?;
        encoder.set_repeat(Repeat::Infinite).map_err(io_error)?;
        for picture in pictures {
            encoder.write_frame(&frame(opaque(picture.clone()), size, delay)).map_err(io_error)?;
        }
        encoder.into_inner().map_err(io_error)?.flush()
    })
}

/// At most `count` of `items`, first and last included, in even strides.
fn evenly<T>(items: Vec<T>, count: usize) -> Vec<T> {
    let (len, count) = (items.len(), count.max(1));
    if len <= count {
        return items;
    }
    // A single frame is the last; else frame k is item k·(len - 1)/(count - 1).
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
    Ok(opaque(grid::decode(&fs::read(file)?)?))
}

fn opaque(image: DynamicImage) -> RgbImage {
    if image.color().has_alpha() { on_white(&image) } else { image.into_rgb8() }
}

fn on_white(image: &DynamicImage) -> RgbImage {
    let mut white =
        image::RgbaImage::from_pixel(image.width(), image.height(), image::Rgba([255; 4]));
    imageops::overlay(&mut white, &image.to_rgba8(), 0, 0);
    DynamicImage::ImageRgba8(white).into_rgb8()
}

/// One frame; its sides were checked to fit.
fn frame(image: RgbImage, size: (u32, u32), delay: u16) -> Frame<'static> {
    let image = if image.dimensions() == size {
        image
    } else {
        imageops::resize(&image, size.0, size.1, FilterType::Triangle)
    };
    let (width, height) = (size.0 as u16, size.1 as u16);
    let grey = image.pixels().all(|pixel| pixel.0[0] == pixel.0[1] && pixel.0[1] == pixel.0[2]);
    let mut frame = if grey {
        // The quantiser would spend its 256 colours unevenly on a ramp that fits exactly.
        let indices: Vec<u8> = image.pixels().map(|pixel| pixel.0[0]).collect();
        let ramp: Vec<u8> = (0..=255).flat_map(|level| [level; 3]).collect();
        Frame::from_palette_pixels(width, height, indices, ramp, None)
    } else {
        // One pixel in `speed` trains the palette: about 50,000 of them, all of a small grid.
        let speed = (image.len() / 3 / 50_000).clamp(1, 30) as i32;
        Frame::from_rgb_speed(width, height, image.as_raw(), speed)
    };
    frame.delay = delay;
    frame
}

fn io_error(error: EncodingError) -> io::Error {
    match error {
        EncodingError::Io(error) => error,
        other => io::Error::other(other),
    }
}
