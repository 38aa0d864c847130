//! Pictures one after the other, as a GIF in half their size.

use super::Picture;
use super::canvas::palette;
use gif::{Encoder, EncodingError, Frame, Repeat};
use image::imageops::{self, FilterType};
use runs::{ArtifactError, write_atomic};
use std::collections::HashMap;
use std::io::{self, Write};
use std::path::Path;

/// Hundredths of a second that a frame and the last one stand.
const DELAY: [u16; 2] = [10, 250];

/// Writes a GIF that loops, atomically. A pixel that stays is transparent, which makes the file small.
///
/// # Errors
/// No pictures, pictures of several sizes or larger than GIF allows, or the disk.
pub fn write(path: &Path, pictures: &[Picture]) -> Result<(), ArtifactError> {
    let failed = |reason: &str| ArtifactError::Pictures {
        what: format!("the animation {path:?}"),
        reason: reason.to_owned(),
    };
    let Some(first) = pictures.first() else { return Err(failed("there are no pictures")) };
    if pictures.iter().any(|picture| picture.size() != first.size()) {
        return Err(failed("its pictures have several sizes"));
    }
    let (width, height) = (first.size().0 / 2, first.size().1 / 2);
    let (Ok(width), Ok(height)) = (u16::try_from(width), u16::try_from(height)) else {
        return Err(failed("a GIF has sides up to 65535"));
    };
    let mut indexer = Indexer::new();
    write_atomic(path, |writer| {
        let colours: Vec<u8> = indexer.palette.iter().flatten().copied().collect();
        let mut encoder = Encoder::new(writer, width, height, &colours).map_err(io_error)?;
        encoder.set_repeat(Repeat::Infinite).map_err(io_error)?;
        let mut shown: Vec<u8> = Vec::new();
        for (i, picture) in pictures.iter().enumerate() {
            let small =
                imageops::resize(&picture.0, width.into(), height.into(), FilterType::Triangle);
            let indices: Vec<u8> = small.pixels().map(|pixel| indexer.nearest(pixel.0)).collect();
            let changed = |(at, &index): (usize, &u8)| {
                if shown.get(at) == Some(&index) { indexer.transparent } else { index }
            };
            let buffer: Vec<u8> = indices.iter().enumerate().map(changed).collect();
            let delay = DELAY[usize::from(i + 1 == pictures.len())];
            let transparent = Some(indexer.transparent);
            encoder
                .write_frame(&Frame {
                    width,
                    height,
                    buffer: buffer.into(),
                    transparent,
                    delay,
                    ..Frame::default()
                })
                .map_err(io_error)?;
            shown = indices;
        }
        encoder.into_inner().map_err(io_error)?.flush()
    })
}

/// Colours to places in the palette, and the place that means none.
struct Indexer {
    palette: Vec<[u8; 3]>,
    transparent: u8,
    known: HashMap<[u8; 3], u8>,
}

impl Indexer {
    fn new() -> Self {
        let mut palette = palette();
        palette.truncate(255);
        let transparent = palette.len() as u8;
        palette.push([0; 3]);
        Self { palette, transparent, known: HashMap::new() }
    }

    fn nearest(&mut self, colour: [u8; 3]) -> u8 {
        let colours = &self.palette[..usize::from(self.transparent)];
        *self.known.entry(colour).or_insert_with(|| {
            let distance = |own: &[u8; 3]| -> i32 {
                (0..3).map(|i| (i32::from(own[i]) - i32::from(colour[i])).pow(2)).sum()
            };
            colours
                .iter()
                .enumerate()
                .min_by_key(|(_, own)| distance(own))
                .map_or(0, |(at, _)| at as u8)
        })
    }
}

fn io_error(error: EncodingError) -> io::Error {
    match error {
        EncodingError::Io(error) => error,
        other => io::Error::other(other),
    }
}
