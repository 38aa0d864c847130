//! Plots one after the other, as a GIF of half their size.

use super::diverging::palette;
use crate::ArtifactError;
use crate::animation::{common_size, gif_sides, write_gif};
use gif::Frame;
use image::RgbImage;
use image::imageops::{self, FilterType};
use std::collections::HashMap;
use std::path::Path;

/// Duration in hundredths of a second of a frame, and of the last one.
const DELAY: [u16; 2] = [10, 250];

/// Writes plots as a looping GIF of half their size, atomically.
///
/// All frames share the colors of this module, and a pixel that does not change is transparent:
/// both make the file small.
///
/// # Errors
/// Returns [`ArtifactError::Frames`] if there are no plots, plots of several sizes or a side over
/// 65535, and [`ArtifactError::Write`] if the file cannot be written.
pub fn animate(path: &Path, plots: &[RgbImage]) -> Result<(), ArtifactError> {
    let (width, height) = common_size(path, plots.iter().map(RgbImage::dimensions))?;
    let (width, height) = gif_sides(path, (width / 2, height / 2))?;
    let mut quantizer = Quantizer::new();
    let colors: Vec<u8> = quantizer.palette.as_flattened().to_vec();
    write_gif(path, (width, height), &colors, |encoder| {
        let mut shown: Vec<u8> = Vec::new();
        for (i, plot) in plots.iter().enumerate() {
            let small = imageops::resize(plot, width.into(), height.into(), FilterType::Triangle);
            let indices: Vec<u8> = small.pixels().map(|pixel| quantizer.nearest(pixel.0)).collect();
            let changed = |(at, &index): (usize, &u8)| {
                if shown.get(at) == Some(&index) { quantizer.transparent } else { index }
            };
            let buffer: Vec<u8> = indices.iter().enumerate().map(changed).collect();
            encoder.write_frame(&Frame {
                width,
                height,
                buffer: buffer.into(),
                transparent: Some(quantizer.transparent),
                delay: DELAY[usize::from(i + 1 == plots.len())],
                ..Frame::default()
            })?;
            shown = indices;
        }
        Ok(())
    })
}

/// Maps colors to the nearest index of the palette.
struct Quantizer {
    palette: Vec<[u8; 3]>,
    /// The index that stands for no color.
    transparent: u8,
    cache: HashMap<[u8; 3], u8>,
}

impl Quantizer {
    fn new() -> Self {
        let mut palette = palette();
        palette.truncate(255);
        let transparent = palette.len() as u8;
        palette.push([0; 3]);
        Self { palette, transparent, cache: HashMap::new() }
    }

    fn nearest(&mut self, color: [u8; 3]) -> u8 {
        let palette = &self.palette[..usize::from(self.transparent)];
        *self.cache.entry(color).or_insert_with(|| {
            let distance = |own: &[u8; 3]| -> i32 {
                (0..3).map(|i| (i32::from(own[i]) - i32::from(color[i])).pow(2)).sum()
            };
            let nearest = palette.iter().enumerate().min_by_key(|(_, own)| distance(own));
            nearest.map_or(0, |(at, _)| at as u8)
        })
    }
}
