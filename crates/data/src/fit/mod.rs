//! Preprocessing of one image, of any size and channels, to the target's shape.

use std::borrow::Cow;
use std::sync::LazyLock;

use imaging::Fit;
use resample::resample;

use crate::decode::DecodedImage;
use crate::error::ImageError;
use crate::preprocess::Preprocess;

/// A rectangle of pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rect {
    x: usize,
    y: usize,
    width: usize,
    height: usize,
}

/// Preprocesses `image` into `out` (`[H, W, C]` bytes).
pub(crate) fn fit_image(
    image: &DecodedImage<'_>,
    preprocess: &Preprocess,
    out: &mut [u8],
) -> Result<(), ImageError> {
    let [height, width, channels] = preprocess.shape();
    let (source, target) = placement(preprocess, [image.height as usize, image.width as usize]);
    let pixels = convert(image, source, preprocess)?;
    let (from, to) = ([source.height, source.width], [target.height, target.width]);
    if target == (Rect { x: 0, y: 0, width, height }) {
        return resample(&pixels, from, out, to, channels, preprocess.filter)
            .map_err(|error| error.to_string().into());
    }
    let background = margin(preprocess);
    for pixel in out.chunks_exact_mut(channels) {
        pixel.copy_from_slice(&background[..channels]);
    }
    let mut inner = vec![0; target.width * target.height * channels];
    resample(&pixels, from, &mut inner, to, channels, preprocess.filter)
        .map_err(|error| error.to_string())?;
    for (y, row) in inner.chunks_exact(target.width * channels).enumerate() {
        let start = ((target.y + y) * width + target.x) * channels;
        out[start..start + row.len()].copy_from_slice(row);
    }
    Ok(())
}

/// The value of each byte b: b / 127.5 - 1, so in `[-1, 1]`.
static TO_FLOAT: LazyLock<[f32; 256]> =
    LazyLock::new(|| std::array::from_fn(|byte| byte as f32 / 127.5 - 1.0));

/// Scales bytes to `[-1, 1]`.
pub(crate) fn to_float(bytes: &[u8], out: &mut [f32]) {
    let table = &*TO_FLOAT;
    for (value, &byte) in out.iter_mut().zip(bytes) {
        *value = table[usize::from(byte)];
    }
}

/// The rectangle of an image of size `[h, w]` that is read, and the rectangle of the target that it
/// fills.
fn placement(preprocess: &Preprocess, [h, w]: [usize; 2]) -> (Rect, Rect) {
    let [height, width, _] = preprocess.shape();
    let [cut_h, cut_w] =
        preprocess.crop.map_or([h, w], |[ch, cw]| [h.min(ch as usize), w.min(cw as usize)]);
    let (source, target) = match preprocess.min_side {
        None => geometry(preprocess.fit, [cut_h, cut_w], [height, width]),
        Some(side) => {
            let (shorter, side) = (cut_h.min(cut_w), side as usize);
            let (part_h, part_w) =
                (scaled(shorter, height, side).min(cut_h), scaled(shorter, width, side).min(cut_w));
            let part = Rect {
                x: (cut_w - part_w) / 2,
                y: (cut_h - part_h) / 2,
                width: part_w,
                height: part_h,
            };
            (part, Rect { x: 0, y: 0, width, height })
        }
    };
    (Rect { x: source.x + (w - cut_w) / 2, y: source.y + (h - cut_h) / 2, ..source }, target)
}

/// `side · by / over`, rounded to nearest, at least 1.
fn scaled(side: usize, by: usize, over: usize) -> usize {
    ((2 * side * by + over) / (2 * over)).max(1)
}

/// The rectangles without [`crop`](Preprocess::crop); sizes are `[height, width]`.
fn geometry(fit: Fit, from: [usize; 2], to: [usize; 2]) -> (Rect, Rect) {
    let ([h, w], [height, width]) = (from, to);
    let whole = Rect { x: 0, y: 0, width: w, height: h };
    let all = Rect { x: 0, y: 0, width, height };
    match fit {
        Fit::Stretch => (whole, all),
        Fit::Crop => {
            let (cut_w, cut_h) = if w * height > width * h {
                (scaled(h, width, height).min(w), h)
            } else {
                (w, scaled(w, height, width).min(h))
            };
            (Rect { x: (w - cut_w) / 2, y: (h - cut_h) / 2, width: cut_w, height: cut_h }, all)
        }
        Fit::Pad => {
            let (new_w, new_h) = if w <= width && h <= height {
                (w, h)
            } else if w * height > width * h {
                (width, scaled(h, width, w).min(height))
            } else {
                (scaled(w, height, h).min(width), height)
            };
            let target = Rect {
                x: (width - new_w) / 2,
                y: (height - new_h) / 2,
                width: new_w,
                height: new_h,
            };
            (whole, target)
        }
    }
}

/// The background color, in as many channels as the target has.
fn margin(preprocess: &Preprocess) -> [u8; 4] {
    let [r, g, b] = preprocess.background;
    match preprocess.channels {
        1 => [luma([r, g, b]), 0, 0, 0],
        _ => [r, g, b, 0],
    }
}

/// The pixels of `rect`, composited on the background and converted to the target's channels.
fn convert<'a>(
    image: &'a DecodedImage<'_>,
    rect: Rect,
    preprocess: &Preprocess,
) -> Result<Cow<'a, [u8]>, ImageError> {
    let width = image.width as usize;
    let from = usize::from(image.channels);
    let whole = rect.width == width && rect.height == image.height as usize;
    if whole && image.channels == preprocess.channels {
        return Ok(Cow::Borrowed(&image.pixels));
    }
    let length = rect.width * rect.height * usize::from(preprocess.channels);
    let mut pixels = Vec::new();
    pixels.try_reserve_exact(length).map_err(|_| ImageError::Memory {
        size: [image.width, image.height].map(u64::from),
        bytes: length as u64,
    })?;
    for y in rect.y..rect.y + rect.height {
        let start = (y * width + rect.x) * from;
        convert_row(&image.pixels[start..start + rect.width * from], from, preprocess, &mut pixels);
    }
    Ok(Cow::Owned(pixels))
}

fn convert_row(row: &[u8], from: usize, preprocess: &Preprocess, out: &mut Vec<u8>) {
    let background = preprocess.background;
    let gray_background = luma(background);
    let rgb_over = |p: &[u8]| [0, 1, 2].map(|c| over(p[c], p[3], background[c]));
    match (from, preprocess.channels) {
        (1, 1) | (3, 3) | (4, 4) => out.extend_from_slice(row),
        (1, 3) => out.extend(row.iter().flat_map(|&v| [v; 3])),
        (1, _) => out.extend(row.iter().flat_map(|&v| [v, v, v, 255])),
        (2, 1) => out.extend(row.chunks_exact(2).map(|p| over(p[0], p[1], gray_background))),
        (2, 3) => {
            out.extend(row.chunks_exact(2).flat_map(|p| background.map(|b| over(p[0], p[1], b))))
        }
        (2, _) => out.extend(row.chunks_exact(2).flat_map(|p| [p[0], p[0], p[0], p[1]])),
        (3, 1) => out.extend(row.chunks_exact(3).map(|p| luma([p[0], p[1], p[2]]))),
        (3, _) => out.extend(row.chunks_exact(3).flat_map(|p| [p[0], p[1], p[2], 255])),
        (_, 1) => out.extend(row.chunks_exact(4).map(|p| luma(rgb_over(p)))),
        (_, _) => out.extend(row.chunks_exact(4).flat_map(rgb_over)),
    }
}

/// `value` with `alpha` over `below`, rounded to nearest; exact at alpha 0 and 255.
fn over(value: u8, alpha: u8, below: u8) -> u8 {
    let (value, alpha, below) = (u32::from(value), u32::from(alpha), u32::from(below));
    ((value * alpha + below * (255 - alpha) + 127) / 255) as u8
}

/// Luma of Rec. 601 in 16-bit fixed point, bit-identical to Pillow's `convert("L")`; gray is
/// unchanged.
fn luma([r, g, b]: [u8; 3]) -> u8 {
    ((u32::from(r) * 19595 + u32::from(g) * 38470 + u32::from(b) * 7471 + (1 << 15)) >> 16) as u8
}

#[cfg(test)]
mod tests;
