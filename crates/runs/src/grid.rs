//! Sample images as PNG: a grid in one file, or one file per image.
//!
//! The range is fixed, -1 is black and 1 is white, so that grids of different steps and runs can be
//! compared; the contrast of a grid is never stretched.
//!
//! ```
//! use runs::GridOptions;
//! use runs::grid::{grid, read_png, save_png_with};
//!
//! // Three gray images of 2×2 pixels: black, gray and white.
//! let images = [[-1.0f32; 4], [0.0; 4], [1.0; 4]].concat();
//! let options = GridOptions { columns: 2, padding: 1, scale: 1, background: 255 };
//! let image = grid(&images, [3, 2, 2, 1], options).unwrap();
//! assert_eq!((image.width(), image.height()), (7, 7));
//!
//! let dir = tempfile::tempdir().unwrap();
//! let path = dir.path().join("grid.png");
//! save_png_with(&path, &image, &[("Software", "example".to_owned())]).unwrap();
//! let (read, texts) = read_png(&path).unwrap();
//! assert_eq!(read, image);
//! assert_eq!(texts["Software"], "example");
//! ```

use crate::{ArtifactError, write_atomic};
use image::codecs::png::PngDecoder;
use image::{DynamicImage, GrayImage, ImageDecoder, ImageResult, Limits, RgbImage, RgbaImage};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

/// The longest side of a grid in pixels.
const MAX_SIDE: u32 = 65_535;

/// Layout of a grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GridOptions {
    /// Images per row, at least 1.
    pub columns: usize,
    /// Pixels between images and around them, not enlarged.
    pub padding: usize,
    /// Each pixel becomes `scale` × `scale`, at least 1.
    pub scale: usize,
    /// The value between images and in empty cells: 255 is white.
    pub background: u8,
}

impl Default for GridOptions {
    /// The papers' 8 per row with thin white lines.
    fn default() -> Self {
        Self { columns: 8, padding: 2, scale: 1, background: 255 }
    }
}

impl GridOptions {
    /// One image without padding.
    pub const SINGLE: Self = Self { columns: 1, padding: 0, scale: 1, background: 0 };

    /// The longer side in pixels that [`for_size`](Self::for_size) does not exceed by enlarging.
    pub const ENLARGED_SIDE: usize = 64;

    /// The default, with images of `[height, width]` enlarged by the largest factor with which the
    /// longer side has at most [`ENLARGED_SIDE`](Self::ENLARGED_SIDE) pixels: 28 is doubled, 64 is
    /// kept.
    pub fn for_size([height, width]: [usize; 2]) -> Self {
        let scale = (Self::ENLARGED_SIDE / height.max(width).max(1)).max(1);
        Self { scale, ..Self::default() }
    }

    /// Width and height in pixels of a grid of `count` images of `[height, width]`: to know before
    /// the images are made whether they can be laid out.
    ///
    /// # Errors
    /// Returns [`ArtifactError::GridSize`] if a side would have more than 65535 pixels, or none.
    pub fn size(&self, count: usize, size: [usize; 2]) -> Result<[u32; 2], ArtifactError> {
        let columns = self.columns.clamp(1, count.max(1));
        // side = cells · (extent · scale + padding) + padding
        let side = |cells: usize, extent: usize| {
            let cell = extent.checked_mul(self.scale.max(1))?.checked_add(self.padding)?;
            let side = cells.checked_mul(cell)?.checked_add(self.padding)?;
            u32::try_from(side).ok().filter(|side| (1..=MAX_SIDE).contains(side))
        };
        side(columns, size[1])
            .zip(side(count.div_ceil(columns), size[0]))
            .map(|(width, height)| [width, height])
            .ok_or(ArtifactError::GridSize { count, size })
    }
}

/// Lays out `images`, `[N, H, W, C]` in [-1, 1] with C of 1 (gray), 3 (RGB) or 4 (RGBA), in a grid,
/// row by row.
///
/// A value `v` becomes `(v + 1) · 127.5`, rounded and clamped; NaN becomes 0.
///
/// # Errors
/// Returns [`ArtifactError::Channels`] for another number of channels,
/// [`ArtifactError::ImageShape`] if the values do not fill the shape or there are none, and
/// [`ArtifactError::GridSize`] if a side would exceed 65535 pixels.
pub fn grid(
    images: &[f32],
    shape: [usize; 4],
    options: GridOptions,
) -> Result<DynamicImage, ArtifactError> {
    let [count, height, width, channels] = shape;
    check(images, shape)?;
    let [grid_width, grid_height] = options.size(count, [height, width])?;
    let GridOptions { columns, padding, scale, background } = options;
    let (columns, scale) = (columns.clamp(1, count), scale.max(1));
    let stride = grid_width as usize * channels;
    let mut pixels = vec![background; stride * grid_height as usize];
    if channels == 4 {
        pixels.chunks_exact_mut(4).for_each(|pixel| pixel[3] = 255);
    }
    for (index, image) in images.chunks_exact(height * width * channels).enumerate() {
        let top = padding + index / columns * (height * scale + padding);
        let left = padding + index % columns * (width * scale + padding);
        for (y, line) in image.chunks_exact(width * channels).enumerate() {
            let line: Vec<u8> =
                line.chunks_exact(channels).flat_map(|pixel| repeat(pixel, scale)).collect();
            for row in 0..scale {
                let start = (top + y * scale + row) * stride + left * channels;
                if let Some(target) = pixels.get_mut(start..start + line.len()) {
                    target.copy_from_slice(&line);
                }
            }
        }
    }
    from_pixels(grid_width, grid_height, channels, pixels)
        .ok_or(ArtifactError::GridSize { count, size: [height, width] })
}

/// Writes an image that was drawn as PNG, atomically, with the program's
/// [signature](imaging::signature): datasets leave it out.
///
/// # Errors
/// Returns an error if the file cannot be written, or the image is not 8-bit gray, RGB or RGBA.
pub fn save_png(path: &Path, image: &DynamicImage) -> Result<(), ArtifactError> {
    save_png_with(path, image, &[(imaging::SOFTWARE_KEYWORD, signature())])
}

/// The signature of this version.
pub(crate) fn signature() -> String {
    imaging::signature(env!("CARGO_PKG_VERSION"))
}

/// [`save_png`] with these metadata texts alone, each under a keyword of 1 to 79 Latin letters.
///
/// A short ASCII text is stored uncompressed (tEXt), so that any program that shows such texts can
/// read it; others are compressed UTF-8 (iTXt).
///
/// # Errors
/// Returns the errors of [`save_png`].
pub fn save_png_with(
    path: &Path,
    image: &DynamicImage,
    texts: &[(&str, String)],
) -> Result<(), ArtifactError> {
    let bytes = encode(image, texts)
        .map_err(|reason| ArtifactError::Encode { path: path.to_owned(), reason })?;
    write_atomic(path, |writer| writer.write_all(&bytes))
}

/// Encodes an image as PNG with texts.
pub(crate) fn encode(image: &DynamicImage, texts: &[(&str, String)]) -> Result<Vec<u8>, String> {
    let color = match image {
        DynamicImage::ImageLuma8(_) => png::ColorType::Grayscale,
        DynamicImage::ImageRgb8(_) => png::ColorType::Rgb,
        DynamicImage::ImageRgba8(_) => png::ColorType::Rgba,
        other => {
            return Err(format!("pixels of type {:?} are not supported", other.color()));
        }
    };
    let mut bytes = Vec::new();
    let mut write = || -> Result<(), png::EncodingError> {
        let mut encoder = png::Encoder::new(&mut bytes, image.width(), image.height());
        encoder.set_color(color);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        for (keyword, text) in texts {
            if text.is_ascii() && text.len() < 200 {
                writer.write_text_chunk(&png::text_metadata::TEXtChunk::new(
                    *keyword,
                    text.as_str(),
                ))?;
            } else {
                let mut chunk = png::text_metadata::ITXtChunk::new(*keyword, text.as_str());
                chunk.compressed = true;
                writer.write_text_chunk(&chunk)?;
            }
        }
        writer.write_image_data(image.as_bytes())?;
        writer.finish()
    };
    write().map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// Most bytes of a PNG file, of its decoded image and of its texts.
const MAX_BYTES: u64 = 256 << 20;

/// Reads a PNG and its texts by keyword (tEXt and iTXt).
///
/// # Errors
/// Returns [`ArtifactError::Read`] if the file cannot be read, and [`ArtifactError::Png`] if it is
/// not a valid PNG or has more than 256 MiB.
pub fn read_png(path: &Path) -> Result<(DynamicImage, BTreeMap<String, String>), ArtifactError> {
    let invalid = |reason: String| ArtifactError::Png { path: path.to_owned(), reason };
    let length = fs::metadata(path).map_err(ArtifactError::read(path))?.len();
    if length > MAX_BYTES {
        return Err(invalid(format!("it has {length} bytes, over {MAX_BYTES}")));
    }
    let bytes = file_io::read(path).map_err(ArtifactError::read(path))?;
    let image = decode(&bytes).map_err(|error| invalid(error.to_string()))?;
    let limits = png::Limits { bytes: MAX_BYTES as usize };
    let decoder = png::Decoder::new_with_limits(Cursor::new(&bytes[..]), limits);
    let info = decoder.read_info().map_err(|error| invalid(error.to_string()))?;
    let info = info.info();
    let plain = info
        .uncompressed_latin1_text
        .iter()
        .map(|chunk| (chunk.keyword.clone(), chunk.text.clone()));
    let long = info.utf8_text.iter().cloned().filter_map(|mut chunk| {
        chunk.decompress_text_with_limit(MAX_BYTES as usize).ok()?;
        Some((chunk.keyword.clone(), chunk.get_text().ok()?))
    });
    Ok((image, plain.chain(long).collect()))
}

/// Decodes a PNG whose image takes no more than [`MAX_BYTES`] bytes.
///
/// By its own decoder: a reader for any format would compile all of them into this crate.
pub(crate) fn decode(bytes: &[u8]) -> ImageResult<DynamicImage> {
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_BYTES);
    let mut decoder = PngDecoder::with_limits(Cursor::new(bytes), limits.clone())?;
    limits.reserve(decoder.total_bytes())?;
    decoder.set_limits(limits)?;
    DynamicImage::from_decoder(decoder)
}

/// Writes each of `images`, `[N, H, W, C]` in [-1, 1], as `dir/NNNNN.png` counting from `first`,
/// and returns the paths. Creates `dir` if it is missing and replaces files of the same name.
///
/// # Errors
/// Returns the errors of [`grid`] and [`save_png`].
pub fn write_images(
    dir: &Path,
    first: usize,
    images: &[f32],
    shape: [usize; 4],
) -> Result<Vec<PathBuf>, ArtifactError> {
    write_images_with(dir, first, images, shape, |_| Vec::new())
}

/// [`write_images`] with metadata: `texts` is called with each image's number.
///
/// # Errors
/// Returns the errors of [`write_images`].
pub fn write_images_with<'a>(
    dir: &Path,
    first: usize,
    images: &[f32],
    shape: [usize; 4],
    texts: impl Fn(usize) -> Vec<(&'a str, String)>,
) -> Result<Vec<PathBuf>, ArtifactError> {
    let [_, height, width, channels] = shape;
    check(images, shape)?;
    fs::create_dir_all(dir).map_err(ArtifactError::write(dir))?;
    images
        .chunks_exact(height * width * channels)
        .enumerate()
        .map(|(index, image)| {
            let path = dir.join(format!("{:05}.png", first + index));
            save_png_with(
                &path,
                &grid(image, [1, height, width, channels], GridOptions::SINGLE)?,
                &texts(first + index),
            )?;
            Ok(path)
        })
        .collect()
}

/// Maps [-1, 1] to a byte. The cast saturates and maps NaN to 0.
fn byte(value: f32) -> u8 {
    ((value + 1.0) * 127.5).round() as u8
}

fn repeat(pixel: &[f32], scale: usize) -> impl Iterator<Item = u8> + '_ {
    (0..scale).flat_map(move |_| pixel.iter().map(|&value| byte(value)))
}

fn check(images: &[f32], shape: [usize; 4]) -> Result<(), ArtifactError> {
    let channels = shape[3];
    if !matches!(channels, 1 | 3 | 4) {
        return Err(ArtifactError::Channels { channels });
    }
    let elements = shape.iter().try_fold(1usize, |product, &extent| product.checked_mul(extent));
    if elements.is_none_or(|elements| elements == 0 || elements != images.len()) {
        return Err(ArtifactError::ImageShape { len: images.len(), shape });
    }
    Ok(())
}

fn from_pixels(width: u32, height: u32, channels: usize, pixels: Vec<u8>) -> Option<DynamicImage> {
    Some(match channels {
        1 => DynamicImage::ImageLuma8(GrayImage::from_raw(width, height, pixels)?),
        3 => DynamicImage::ImageRgb8(RgbImage::from_raw(width, height, pixels)?),
        _ => DynamicImage::ImageRgba8(RgbaImage::from_raw(width, height, pixels)?),
    })
}
