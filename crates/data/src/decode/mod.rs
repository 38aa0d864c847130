//! Decodes image files within limits, since they come from anywhere.
//!
//! Pixels are those of Pillow, or the file is named as bad: `tests/datasets/decode.rs` holds every
//! format and feature against it. Where the libraries misread a kind of file, a module here reads
//! it.

mod bmp;
mod gif;
mod ifd;
mod jpeg;
mod orientation;
mod png;
mod tiff;

use std::borrow::Cow;
use std::io::Cursor;
use std::path::Path;

use image::metadata::Orientation;
use image::{
    DynamicImage, GrayAlphaImage, GrayImage, ImageDecoder, ImageFormat, ImageReader, Limits,
    RgbImage, RgbaImage,
};

use crate::error::ImageError;
use crate::foreign::ForeignFormat;
use crate::quiet::catch_quietly;

/// The largest side of an image that is decoded, in pixels.
pub const MAX_SIDE: u32 = 16384;

/// The most memory that one decoded image may take, in bytes; also the largest image file that is
/// read.
pub const MAX_DECODED_BYTES: u64 = 256 << 20;

/// The pixels, and what a decoder needs beside them, in lengths of the pixels: a progressive JPEG's
/// coefficients have 16 bits.
const DECODING_COPIES: u64 = 3;

/// The memory from which on it is checked that there is as much.
const CHECKED_BYTES: u64 = 16 << 20;

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
/// Takes the first frame of an animation, applies the orientation of EXIF, XMP or TIFF, and rounds
/// 16-bit channels to 8 bits.
pub(crate) fn decode(bytes: &[u8], name: &Path) -> Result<DecodedImage<'static>, ImageError> {
    let EncodedImage { size, length, orientation, read } = guarded(|| open(bytes, name))?;
    require_memory(size, DECODING_COPIES * length)?;
    let decoded = guarded(|| {
        let mut image = read()?;
        if let Some(orientation) = orientation {
            image.apply_orientation(orientation);
        }
        Ok(into_decoded(image))
    });
    Ok(decoded?)
}

/// Checks that there is memory for an image's pixels. The decoders abort the program where they get
/// none.
fn require_memory(size: [u64; 2], bytes: u64) -> Result<(), ImageError> {
    if bytes < CHECKED_BYTES {
        return Ok(());
    }
    let reserved = Vec::<u8>::new().try_reserve_exact(usize::try_from(bytes).unwrap_or(usize::MAX));
    reserved.map_err(|_| ImageError::Memory { size, bytes })
}

/// Checks the header and the limits, without decoding.
pub(crate) fn check_header(bytes: &[u8], name: &Path) -> Result<(), String> {
    guarded(|| open(bytes, name).map(drop))
}

/// Decoders are third-party code on untrusted files: a panic in one makes the image bad.
fn guarded<T>(decode: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_quietly("the decoder", decode)
}

/// Whether the extension is that of a supported image format.
pub(crate) fn has_image_extension(path: &Path) -> bool {
    ImageFormat::from_path(path).is_ok_and(|format| format.reading_enabled())
}

/// Whether these are the first bytes of a supported image format.
pub(crate) fn is_image_start(bytes: &[u8]) -> bool {
    format_of(bytes).is_some()
}

/// The supported format with these first bytes.
fn format_of(bytes: &[u8]) -> Option<ImageFormat> {
    // BigTIFF, which the library does not know.
    if bytes.starts_with(b"II\x2B\0") || bytes.starts_with(b"MM\0\x2B") {
        return Some(ImageFormat::Tiff);
    }
    image::guess_format(bytes).ok().filter(ImageFormat::reading_enabled)
}

/// An image file whose header was read.
struct EncodedImage<'a> {
    /// Width and height in pixels, as stored.
    size: [u64; 2],
    /// Bytes of the decoded samples.
    length: u64,
    /// How the stored pixels are to be turned, if at all.
    orientation: Option<Orientation>,
    /// Decodes the pixels.
    read: Box<dyn FnOnce() -> Result<DynamicImage, String> + 'a>,
}

fn open<'a>(bytes: &'a [u8], name: &Path) -> Result<EncodedImage<'a>, String> {
    if bytes.is_empty() {
        return Err("the file is empty".to_owned());
    }
    let format = match format_of(bytes) {
        Some(format) => format,
        // TGA has no magic number: the name decides.
        None if ImageFormat::from_path(name).is_ok_and(|format| format == ImageFormat::Tga) => {
            check_tga(bytes)?;
            ImageFormat::Tga
        }
        None => {
            return Err(match ForeignFormat::of(bytes, name) {
                Some(format) => format!("it is {format}"),
                None => format!(
                    "not in a known image format (starts with {:02x?})",
                    &bytes[..bytes.len().min(4)]
                ),
            });
        }
    };
    let image = match format {
        ImageFormat::Jpeg => jpeg::open(bytes)?,
        ImageFormat::Png => {
            png::check_transparency(bytes)?;
            let exif = png::exif(bytes);
            open_by_library(png::with_end(bytes), format, exif.as_deref())?
        }
        ImageFormat::Gif => gif::open(bytes)?,
        ImageFormat::Bmp if bmp::is_run_length_encoded(bytes) => bmp::open(bytes)?,
        ImageFormat::Bmp => {
            bmp::check_alpha(bytes)?;
            open_by_library(Cow::Borrowed(bytes), format, None)?
        }
        ImageFormat::Tiff => tiff::open(bytes)?,
        ImageFormat::WebP => {
            // Readers look for EXIF metadata only where a flag announces them.
            let head = bytes.get(12..21).unwrap_or_default();
            let announced = head.starts_with(b"VP8X") && head[8] & 8 != 0;
            let exif: Option<&[u8]> = if announced { None } else { Some(&[]) };
            open_by_library(Cow::Borrowed(bytes), format, exif)?
        }
        _ => open_by_library(Cow::Borrowed(bytes), format, None)?,
    };
    let [width, height] = image.size;
    if width.max(height) > u64::from(MAX_SIDE) {
        return Err(format!(
            "{width}×{height} pixels; at most {MAX_SIDE} a side are decoded: scale it down"
        ));
    }
    if image.length > MAX_DECODED_BYTES {
        let mib = MAX_DECODED_BYTES >> 20;
        return Err(format!("{width}×{height} pixels would take more than {mib} MiB"));
    }
    if width == 0 || height == 0 {
        return Err(format!("{width}×{height} pixels: there is nothing in it"));
    }
    Ok(image)
}

/// Refuses TGA files with colors of 16 bits whose highest bit is set: programs disagree about its
/// meaning.
fn check_tga(bytes: &[u8]) -> Result<(), String> {
    let &[ident, _, kind, _, _, map, map_high, map_depth, ..] = bytes else { return Ok(()) };
    let colors = usize::from(u16::from_le_bytes([map, map_high]));
    let map = bytes.get(18 + usize::from(ident)..).unwrap_or_default();
    let (map, pixels) = map.split_at(map.len().min(colors * usize::from(map_depth).div_ceil(8)));
    let set = |bytes: &[u8]| bytes.chunks_exact(2).any(|pixel| pixel[1] > 0x7F);
    match (kind, bytes.get(16)) {
        (1 | 9, _) if matches!(map_depth, 15 | 16) && set(map) => {
            Err("TGA with a palette of 16 bits with an attribute bit is not read: save it with 24 \
                 or 32"
                .to_owned())
        }
        (2, Some(15 | 16)) if !set(pixels) => Ok(()),
        (2 | 10, Some(15 | 16)) => Err("TGA of 16 bits with an attribute bit, or compressed, is \
                                        not read: save it with 24 or 32"
            .to_owned()),
        _ => Ok(()),
    }
}

/// Opens a file by the image library; `exif` are metadata that it does not read.
fn open_by_library<'a>(
    bytes: Cow<'a, [u8]>,
    format: ImageFormat,
    exif: Option<&[u8]>,
) -> Result<EncodedImage<'a>, String> {
    // The sides are checked later, with a better message.
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(|error| one_line(&error))?;
    let (width, height) = decoder.dimensions();
    let own = if exif.is_some() { None } else { decoder.exif_metadata().ok().flatten() };
    let xmp = decoder.xmp_metadata().ok().flatten();
    Ok(EncodedImage {
        size: [width.into(), height.into()],
        length: decoder.total_bytes(),
        orientation: orientation::of_metadata(exif.or(own.as_deref()), xmp.as_deref()),
        read: Box::new(|| DynamicImage::from_decoder(decoder).map_err(|error| one_line(&error))),
    })
}

/// An image of `size` (width, height) from interleaved samples of 1 to 4 channels.
fn from_samples(
    [width, height]: [usize; 2],
    channels: usize,
    samples: Vec<u8>,
) -> Result<DynamicImage, String> {
    let (width, height) = (width as u32, height as u32);
    let image: Option<DynamicImage> = match channels {
        1 => GrayImage::from_raw(width, height, samples).map(Into::into),
        2 => GrayAlphaImage::from_raw(width, height, samples).map(Into::into),
        3 => RgbImage::from_raw(width, height, samples).map(Into::into),
        _ => RgbaImage::from_raw(width, height, samples).map(Into::into),
    };
    image.ok_or_else(|| "its pixels end early".to_owned())
}

/// 16 bits rounded to 8.
fn reduce(value: u16) -> u8 {
    ((u32::from(value) + 128) / 257) as u8
}

/// The light that an ink and black let through.
fn over_black_ink(ink: u8, black: u8) -> u8 {
    ((u32::from(255 - ink) * u32::from(255 - black) + 127) / 255) as u8
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
