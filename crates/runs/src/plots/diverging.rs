//! A diverging colormap in bands, and the palette of plots that use it.

use super::{BLUE, INK, ORANGE, PALE};
use plotters::prelude::*;

/// An even number, so that one band ends at 0.
const BANDS: f64 = 14.0;

/// Maps `t` in [−1, 1] from blue by white to orange. The bands show contours and compress well.
pub fn diverging(t: f64) -> RGBColor {
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
    let band = ((t + 1.0) / 2.0 * BANDS).floor().min(BANDS - 1.0);
    // The color of the band's middle.
    let position = (band + 0.5) / BANDS * (ANCHORS.len() - 1) as f64;
    let (low, fraction) = (position.floor() as usize, position.fract());
    let mix = |channel: usize| {
        let (from, to) = (ANCHORS[low][channel], ANCHORS[low + 1][channel]);
        (from * (1.0 - fraction) + to * fraction).round() as u8
    };
    RGBColor(mix(0), mix(1), mix(2))
}

/// The colors of such plots: the bands, and the ramp from white to each ink, for antialiased edges.
pub(super) fn palette() -> Vec<[u8; 3]> {
    const STEPS: u32 = 14;
    let bands =
        (0..BANDS as u32).map(|band| diverging((f64::from(band) + 0.5) / BANDS * 2.0 - 1.0));
    let ramp = |ink: RGBColor| {
        (1..=STEPS).map(move |step| {
            let fraction = f64::from(step) / f64::from(STEPS);
            let mix = |to: u8| (255.0 + (f64::from(to) - 255.0) * fraction).round() as u8;
            RGBColor(mix(ink.0), mix(ink.1), mix(ink.2))
        })
    };
    let inks = [INK, PALE, BLUE, ORANGE].into_iter().flat_map(ramp);
    bands.chain([WHITE]).chain(inks).map(|RGBColor(r, g, b)| [r, g, b]).collect()
}
