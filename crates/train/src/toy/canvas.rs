//! Painting with few colours, in twice the size of an animation's frames.

use image::{DynamicImage, RgbImage};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use runs::plots::{self, FONT};
pub(super) use runs::plots::{Area, Failure};
use runs::{ArtifactError, grid};
use std::path::Path;

pub(super) const INK: RGBColor = RGBColor(40, 40, 40);
pub(super) const PALE: RGBColor = RGBColor(205, 205, 205);
/// Generated, or what D takes for it.
pub(super) const BLUE: RGBColor = RGBColor(31, 105, 180);
/// Real.
pub(super) const ORANGE: RGBColor = RGBColor(214, 98, 10);

/// A picture of the laboratory.
#[derive(Clone)]
pub struct Picture(pub(super) RgbImage);

impl Picture {
    /// A white sheet that `draw` draws on.
    pub(super) fn paint(
        width: u32,
        height: u32,
        draw: impl FnOnce(&Area<'_>) -> Result<(), Failure>,
    ) -> Result<Self, ArtifactError> {
        let failed = |error: Failure| ArtifactError::Pictures {
            what: "the laboratory".to_owned(),
            reason: error.to_string(),
        };
        plots::paint((width, height), draw).map(Self).map_err(failed)
    }

    /// Width and height in pixels.
    pub fn size(&self) -> (u32, u32) {
        self.0.dimensions()
    }

    /// Writes a PNG, atomically.
    ///
    /// # Errors
    /// The disk.
    pub fn save_png(&self, path: &Path) -> Result<(), ArtifactError> {
        grid::save_png(path, &DynamicImage::ImageRgb8(self.0.clone()))
    }
}

/// Where text stands to its point.
#[derive(Clone, Copy)]
pub(super) enum Anchor {
    Left,
    Centre,
    Right,
}

/// A line of text whose middle is at height `y`.
pub(super) fn text(
    area: &Area<'_>,
    words: &str,
    (x, y): (i32, i32),
    size: i32,
    colour: RGBColor,
    anchor: Anchor,
) -> Result<(), Failure> {
    let side = match anchor {
        Anchor::Left => HPos::Left,
        Anchor::Centre => HPos::Center,
        Anchor::Right => HPos::Right,
    };
    let style = (FONT, size).into_font().color(&colour).pos(Pos::new(side, VPos::Center));
    area.draw(&Text::new(words.to_owned(), (x, y), style))?;
    Ok(())
}

/// A square of the sheet that shows [−extent, extent] of both axes.
#[derive(Clone, Copy)]
pub(super) struct Panel {
    pub left: i32,
    pub top: i32,
    pub side: i32,
    pub extent: f64,
}

impl Panel {
    /// The pixel of a point of the plane, wherever it lies.
    pub fn at(&self, [x, y]: [f64; 2]) -> (i32, i32) {
        let scale = f64::from(self.side) / (2.0 * self.extent);
        let place = |v: f64| ((v + self.extent) * scale).clamp(-1e6, 1e6).round() as i32;
        (self.left + place(x), self.top + place(-y))
    }

    /// Whether a point is inside.
    pub fn holds(&self, point: [f64; 2]) -> bool {
        point.iter().all(|v| v.abs() < self.extent)
    }

    /// The part inside of the line from `a` to `b` (Liang & Barsky 1984), if there is one and both ends are finite.
    pub fn inside(&self, a: [f64; 2], b: [f64; 2]) -> Option<[[f64; 2]; 2]> {
        let (mut from, mut to) = (0.0f64, 1.0f64);
        for axis in 0..2 {
            let along = b[axis] - a[axis];
            for (rate, room) in [(-along, a[axis] + self.extent), (along, self.extent - a[axis])] {
                match rate {
                    rate if rate < 0.0 => from = from.max(room / rate),
                    rate if rate > 0.0 => to = to.min(room / rate),
                    // Along the edge, outside of it, or not finite.
                    _ if room >= 0.0 => {}
                    _ => return None,
                }
            }
        }
        let at = |t: f64| [a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1])];
        let part = [at(from), at(to)];
        (from < to && part.as_flattened().iter().all(|v| v.is_finite())).then_some(part)
    }

    /// Frame, ticks at these coordinates, and their labels.
    pub fn axes(&self, area: &Area<'_>, ticks: &[i32], size: i32) -> Result<(), Failure> {
        let bottom = self.top + self.side;
        for &tick in ticks {
            let (x, y) = self.at([f64::from(tick); 2]);
            area.draw(&PathElement::new([(x, bottom), (x, bottom + 8)], INK.stroke_width(2)))?;
            area.draw(&PathElement::new(
                [(self.left - 8, y), (self.left, y)],
                INK.stroke_width(2),
            ))?;
            text(area, &tick.to_string(), (x, bottom + 12 + size / 2), size, INK, Anchor::Centre)?;
            text(area, &tick.to_string(), (self.left - 14, y), size, INK, Anchor::Right)?;
        }
        self.border(area)
    }

    /// The frame alone.
    pub fn border(&self, area: &Area<'_>) -> Result<(), Failure> {
        let corners = [(self.left, self.top), (self.left + self.side, self.top + self.side)];
        for grow in 0..2 {
            let corners = [
                (corners[0].0 - grow, corners[0].1 - grow),
                (corners[1].0 + grow, corners[1].1 + grow),
            ];
            area.draw(&Rectangle::new(corners, INK))?;
        }
        Ok(())
    }
}

/// From blue by white to orange, `t` in [−1, 1]; in bands, which make contours to see and files that compress.
pub(super) fn diverging(t: f64) -> RGBColor {
    const ANCHORS: [[f64; 3]; 7] = [
        [33.0, 102.0, 172.0],
        [103.0, 169.0, 207.0],
        [209.0, 229.0, 240.0],
        [247.0, 247.0, 247.0],
        [254.0, 224.0, 182.0],
        [241.0, 163.0, 64.0],
        [179.0, 88.0, 6.0],
    ];
    let t = if t.is_nan() { 0.0 } else { t.clamp(-1.0, 1.0) };
    // The middle of the band; an even number of them, so that one ends at 0.
    let band = ((t + 1.0) / 2.0 * BANDS).floor().min(BANDS - 1.0);
    let place = (band + 0.5) / BANDS * (ANCHORS.len() - 1) as f64;
    let (low, share) = (place.floor() as usize, place.fract());
    let mix = |channel: usize| {
        (ANCHORS[low][channel] * (1.0 - share) + ANCHORS[low + 1][channel] * share).round() as u8
    };
    RGBColor(mix(0), mix(1), mix(2))
}

const BANDS: f64 = 14.0;

/// What pictures are made of: the bands, and the way from white to each ink, which smooth edges take.
pub(super) fn palette() -> Vec<[u8; 3]> {
    const STEPS: u32 = 14;
    let bands =
        (0..BANDS as u32).map(|band| diverging((f64::from(band) + 0.5) / BANDS * 2.0 - 1.0));
    let way = |ink: RGBColor| {
        (1..=STEPS).map(move |step| {
            let mix = |to: u8| {
                (255.0 + (f64::from(to) - 255.0) * f64::from(step) / f64::from(STEPS)).round() as u8
            };
            RGBColor(mix(ink.0), mix(ink.1), mix(ink.2))
        })
    };
    let colours = bands.chain([WHITE]).chain([INK, PALE, BLUE, ORANGE].into_iter().flat_map(way));
    colours.map(|RGBColor(r, g, b)| [r, g, b]).collect()
}
