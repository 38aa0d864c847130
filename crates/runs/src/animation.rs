//! Looping GIFs of images of one size.
//!
//! ```
//! use image::{DynamicImage, RgbImage};
//! use runs::animation;
//!
//! let dir = tempfile::tempdir().unwrap();
//! let path = dir.path().join("fade.gif");
//! let frame = |gray| DynamicImage::ImageRgb8(RgbImage::from_pixel(8, 4, image::Rgb([gray; 3])));
//! animation::write(&path, &[frame(0), frame(128), frame(255)], 12).unwrap();
//! assert!(std::fs::read(&path).unwrap().starts_with(b"GIF89a"));
//! // A file is the old one or the whole new one: a refused animation leaves it as it was.
//! assert!(animation::write(&path, &[], 12).is_err());
//! assert!(path.exists());
//! ```

use crate::error::FrameProblem;
use crate::grid::signature;
use crate::{ArtifactError, write_atomic};
use gif::{Encoder, EncodingError, Extension, Frame, Repeat};
use image::imageops::{self, FilterType};
use image::{DynamicImage, RgbImage};
use std::io::{self, Write};
use std::path::Path;

/// Writes a looping GIF, atomically, with each frame shown for `delay` hundredths of a second.
///
/// Gray frames keep all 256 grays; others get the best 256 colors of each frame. Transparency is
/// composited on white.
///
/// # Errors
/// Returns [`ArtifactError::Frames`] if there are no frames, frames of several sizes or a side over
/// 65535, and [`ArtifactError::Write`] if the file cannot be written.
pub fn write(path: &Path, frames: &[DynamicImage], delay: u16) -> Result<(), ArtifactError> {
    let size = common_size(path, frames.iter().map(|frame| (frame.width(), frame.height())))?;
    let sides = gif_sides(path, size)?;
    write_gif(path, sides, &[], |encoder| {
        frames
            .iter()
            .try_for_each(|image| encoder.write_frame(&frame(opaque(image.clone()), sides, delay)))
    })
}

/// The one size of all frames.
pub(crate) fn common_size(
    path: &Path,
    mut sizes: impl Iterator<Item = (u32, u32)>,
) -> Result<(u32, u32), ArtifactError> {
    let failed = |reason| ArtifactError::Frames { path: path.to_owned(), reason };
    let first = sizes.next().ok_or_else(|| failed(FrameProblem::None))?;
    if sizes.all(|size| size == first) {
        Ok(first)
    } else {
        Err(failed(FrameProblem::SeveralSizes))
    }
}

/// Width and height in the 16 bits that the format has for them.
pub(crate) fn gif_sides(
    path: &Path,
    (width, height): (u32, u32),
) -> Result<(u16, u16), ArtifactError> {
    match (u16::try_from(width), u16::try_from(height)) {
        (Ok(width), Ok(height)) => Ok((width, height)),
        _ => Err(ArtifactError::Frames {
            path: path.to_owned(),
            reason: FrameProblem::TooLarge { width, height },
        }),
    }
}

/// Writes a looping GIF with the program's signature, atomically: `palette` is the global one, RGB
/// after RGB, or empty, and `write_frames` adds the frames.
pub(crate) fn write_gif(
    path: &Path,
    (width, height): (u16, u16),
    palette: &[u8],
    write_frames: impl FnOnce(&mut Encoder<&mut dyn Write>) -> Result<(), EncodingError>,
) -> Result<(), ArtifactError> {
    write_atomic(path, |writer| {
        let encode = |writer: &mut dyn Write| -> Result<(), EncodingError> {
            let mut encoder = Encoder::new(writer, width, height, palette)?;
            encoder.set_repeat(Repeat::Infinite)?;
            encoder.write_raw_extension(Extension::Comment.into(), &[signature().as_bytes()])?;
            write_frames(&mut encoder)?;
            // Unlike dropping the encoder, this reports an error of the trailing bytes.
            encoder.into_inner()?;
            Ok(())
        };
        encode(writer).map_err(|error| match error {
            EncodingError::Io(error) => error,
            other => io::Error::other(other),
        })
    })
}

/// An image without transparency: composited on white.
pub(crate) fn opaque(image: DynamicImage) -> RgbImage {
    if !image.color().has_alpha() {
        return image.into_rgb8();
    }
    let (width, height) = (image.width(), image.height());
    let mut white = image::RgbaImage::from_pixel(width, height, image::Rgba([255; 4]));
    imageops::overlay(&mut white, &image.to_rgba8(), 0, 0);
    DynamicImage::ImageRgba8(white).into_rgb8()
}

/// One frame, resized if it has other sides.
pub(crate) fn frame(image: RgbImage, (width, height): (u16, u16), delay: u16) -> Frame<'static> {
    let size = (u32::from(width), u32::from(height));
    let image = if image.dimensions() == size {
        image
    } else {
        imageops::resize(&image, size.0, size.1, FilterType::Triangle)
    };
    let gray = image.pixels().all(|pixel| pixel.0[0] == pixel.0[1] && pixel.0[1] == pixel.0[2]);
    let mut frame = if gray {
        // The quantizer would spend its 256 colors unevenly on a ramp that fits exactly.
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
