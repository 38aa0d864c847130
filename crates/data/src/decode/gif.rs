//! GIF files: the first frame on its canvas, as Pillow shows it. Where the frame leaves some of the
//! canvas free, that is transparent if the frame has a transparent color, else of the first color
//! of its palette; a frame that reaches beyond the canvas enlarges it, and a color beyond the
//! palette is black.

use std::num::NonZeroU64;

use gif::{DecodeOptions, MemoryLimit};

use super::{EncodedImage, MAX_DECODED_BYTES, from_samples, one_line};

pub(super) fn open(bytes: &[u8]) -> Result<EncodedImage<'_>, String> {
    let mut options = DecodeOptions::new();
    if let Some(limit) = NonZeroU64::new(MAX_DECODED_BYTES) {
        options.set_memory_limit(MemoryLimit::Bytes(limit));
    }
    let mut decoder = options.read_info(bytes).map_err(|error| one_line(&error))?;
    let canvas = [decoder.width(), decoder.height()].map(usize::from);
    let first = decoder.global_palette().and_then(|palette| palette.first_chunk().copied());
    let frame = decoder.next_frame_info().map_err(|error| one_line(&error))?;
    let frame = frame.ok_or("it has no frame")?;
    let [left, top, width, height] =
        [frame.left, frame.top, frame.width, frame.height].map(usize::from);
    let transparent = frame.transparent;
    let free = match (transparent, &frame.palette) {
        (Some(_), _) => [0; 4],
        (None, Some(own)) => opaque(own.first_chunk().copied()),
        (None, None) => opaque(first),
    };
    let size = [canvas[0].max(left + width), canvas[1].max(top + height)];
    Ok(EncodedImage {
        size: size.map(|side| side as u64),
        length: 4 * size[0] as u64 * size[1] as u64,
        orientation: None,
        read: Box::new(move || {
            let mut indices = vec![0; width * height];
            decoder.read_into_buffer(&mut indices).map_err(|error| one_line(&error))?;
            let palette = decoder.palette().map_err(|error| one_line(&error))?;
            let color = |index: &u8| {
                let own = palette.get(3 * usize::from(*index)..);
                let mut color = opaque(own.and_then(|own| own.first_chunk().copied()));
                if transparent == Some(*index) {
                    color[3] = 0;
                }
                color
            };
            let mut pixels: Vec<u8> = indices.iter().flat_map(color).collect();
            if size != [width, height] {
                let mut whole = free.repeat(size[0] * size[1]);
                for (y, row) in pixels.chunks_exact(4 * width).enumerate() {
                    let start = 4 * ((top + y) * size[0] + left);
                    whole[start..start + row.len()].copy_from_slice(row);
                }
                pixels = whole;
            }
            from_samples(size, 4, pixels)
        }),
    })
}

fn opaque(color: Option<[u8; 3]>) -> [u8; 4] {
    let [r, g, b] = color.unwrap_or_default();
    [r, g, b, 255]
}
