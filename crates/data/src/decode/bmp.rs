//! What the image library reads in other ways than Pillow: run-length encoded BMP files, which may
//! leave pixels out (those have the palette's first color, and not black), and a bit of alpha.

use std::borrow::Cow;

use image::ImageFormat;

use super::{EncodedImage, from_samples, open_by_library};

/// The file header, before the info header.
const FILE_HEADER: usize = 14;

/// Whether the compression of an info header is RLE8 or RLE4.
pub(super) fn is_run_length_encoded(bytes: &[u8]) -> bool {
    number(bytes, FILE_HEADER) >= 40 && matches!(number(bytes, FILE_HEADER + 16), 1 | 2)
}

/// Refuses files of 15 bits of color and one of alpha, which Pillow leaves out.
pub(super) fn check_alpha(bytes: &[u8]) -> Result<(), String> {
    let field = |at| number(bytes, FILE_HEADER + at);
    // The masks of red and alpha, in headers that have the latter.
    let has_masks = field(0) >= 56 && matches!(field(16), 3 | 6);
    match has_masks && field(14) & 0xFFFF == 16 && field(40) == 0x7C00 && field(52) == 0x8000 {
        true => Err("BMP of 16 bits with alpha is not read: save it with 32".to_owned()),
        false => Ok(()),
    }
}

/// Opens a file with a gray ramp for a palette, which makes indices of its colors.
pub(super) fn open(bytes: &[u8]) -> Result<EncodedImage<'_>, String> {
    let start = FILE_HEADER.saturating_add(number(bytes, FILE_HEADER) as usize);
    let most = if number(bytes, FILE_HEADER + 16) == 1 { 256 } else { 16 };
    let colors = match number(bytes, FILE_HEADER + 32) as usize {
        0 => most,
        count => count.min(most),
    };
    let mut ramp = bytes.to_vec();
    let mut palette = [[0; 3]; 256];
    let entries = ramp.get_mut(start..).unwrap_or_default().chunks_exact_mut(4).take(colors);
    for ((index, color), entry) in (0..=255).zip(&mut palette).zip(entries) {
        *color = [entry[2], entry[1], entry[0]];
        entry[..3].fill(index);
    }
    let image = open_by_library(Cow::Owned(ramp), ImageFormat::Bmp, None)?;
    Ok(EncodedImage {
        read: Box::new(move || {
            let indices = (image.read)()?.into_rgb8();
            let size = [indices.width(), indices.height()].map(|side| side as usize);
            let pixels =
                indices.pixels().flat_map(|pixel| palette[usize::from(pixel[0])]).collect();
            from_samples(size, 3, pixels)
        }),
        ..image
    })
}

/// The number at an offset, 0 beyond the end.
fn number(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |b| u32::from_le_bytes(*b))
}
