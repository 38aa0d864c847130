//! Decodes image files within limits, since they come from anywhere.

use std::borrow::Cow;
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use crate::jpeg;

/// The largest side of an image that is decoded, in pixels.
pub const MAX_SIDE: u32 = 16384;

/// The most memory that one decoded image may take, in bytes; also the largest image file that is
/// read.
pub const MAX_DECODED_BYTES: u64 = 256 << 20;

/// A decoded image: 8 bits per channel, interleaved, rows without padding.
#[derive(Debug, Clone)]
pub(crate) struct DecodedImage<'a> {
    pub width: u32,
    pub height: u32,
    /// 1 gray, 2 gray + alpha, 3 RGB, 4 RGBA.
    pub channels: u8,
    pub pixels: Cow<'a, [u8]>,
}

/// Decodes an image file's contents; `name` is used only for formats without a magic number (TGA).
///
/// Takes the first frame of an animation, applies the EXIF orientation, and reduces 16-bit and
/// float channels to 8 bits. The error is one line.
pub(crate) fn decode(bytes: &[u8], name: &Path) -> Result<DecodedImage<'static>, String> {
    // Decoders are third-party code on untrusted files: a panic in one makes the image bad and must
    // not end the process.
    let image = catch_unwind(AssertUnwindSafe(|| decode_unguarded(bytes, name)))
        .unwrap_or_else(|_| Err("the decoder panicked".to_owned()))?;
    Ok(into_decoded(image))
}

/// Checks the header and the limits, without decoding.
pub(crate) fn check_header(bytes: &[u8], name: &Path) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(|| open(bytes, name).map(drop)))
        .unwrap_or_else(|_| Err("the decoder panicked".to_owned()))
}

/// Whether the extension is that of a supported image format.
pub(crate) fn has_image_extension(path: &Path) -> bool {
    ImageFormat::from_path(path).is_ok_and(|format| format.reading_enabled())
}

/// Whether these are the first bytes of a supported image format.
pub(crate) fn is_image_start(bytes: &[u8]) -> bool {
    image::guess_format(bytes).is_ok_and(|format| format.reading_enabled())
}

fn open<'a>(bytes: &'a [u8], name: &Path) -> Result<impl ImageDecoder + 'a, String> {
    if bytes.is_empty() {
        return Err("the file is empty".to_owned());
    }
    let format = match image::guess_format(bytes) {
        Ok(format) => format,
        // TGA has no magic number: the name decides.
        Err(_) if ImageFormat::from_path(name).is_ok_and(|format| format == ImageFormat::Tga) => {
            ImageFormat::Tga
        }
        Err(_) => {
            return Err(format!(
                "not in a known image format (starts with {:02x?})",
                &bytes[..bytes.len().min(4)]
            ));
        }
    };
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(|error| one_line(&error))?;
    let (width, height) = decoder.dimensions();
    // Not every decoder respects the limits.
    if width > MAX_SIDE || height > MAX_SIDE {
        return Err(format!("{width}×{height} pixels; at most {MAX_SIDE} a side are decoded"));
    }
    if decoder.total_bytes() > MAX_DECODED_BYTES {
        let mib = MAX_DECODED_BYTES >> 20;
        return Err(format!("{width}×{height} pixels would take more than {mib} MiB"));
    }
    if width == 0 || height == 0 {
        return Err(format!("{width}×{height} pixels: there is nothing in it"));
    }
    if format == ImageFormat::Jpeg && !jpeg::is_complete(bytes) {
        // The decoder fills the missing rows with gray, which a network would learn.
        return Err("the JPEG data end early".to_owned());
    }
    Ok(decoder)
}

fn decode_unguarded(bytes: &[u8], name: &Path) -> Result<DynamicImage, String> {
    let mut decoder = open(bytes, name)?;
    let orientation = decoder.orientation().ok();
    let mut image = DynamicImage::from_decoder(decoder).map_err(|error| one_line(&error))?;
    if let Some(orientation) = orientation {
        image.apply_orientation(orientation);
    }
    Ok(image)
}

fn into_decoded(image: DynamicImage) -> DecodedImage<'static> {
    let (width, height) = (image.width(), image.height());
    let color = image.color();
    let (channels, pixels) = match (color.has_color(), color.has_alpha()) {
        (false, false) => (1, image.into_luma8().into_raw()),
        (false, true) => (2, image.into_luma_alpha8().into_raw()),
        (true, false) => (3, image.into_rgb8().into_raw()),
        (true, true) => (4, image.into_rgba8().into_raw()),
    };
    DecodedImage { width, height, channels, pixels: Cow::Owned(pixels) }
}

/// A library's message, on one line and of bounded length.
pub(crate) fn one_line(error: &dyn std::fmt::Display) -> String {
    let text = error.to_string();
    let mut line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = line.char_indices().nth(200) {
        line.truncate(end);
        line.push('…');
    }
    line
}
