//! Plot of a frame: generated points over the modes, and D's logits over the plane.
//!
//! ```
//! use train::toy::{ToyDataset, ToySettings, ToyTrainer, frame_plot};
//!
//! let changes = [("generator.width".to_owned(), "8".to_owned())];
//! let settings = ToySettings::new(ToyDataset::Ring, 0, 1, &changes).unwrap();
//! let frame = ToyTrainer::new(&settings, &tensor::Device::Cpu).unwrap().frame();
//! assert_eq!(frame_plot::draw(&settings, &frame).unwrap().dimensions(), (1400, 800));
//! ```

use super::{Frame, Landscape, Mixture, ToySettings};
use image::RgbImage;
use plotters::prelude::*;
use runs::ArtifactError;
use runs::plots::{
    Anchor, Area, BLUE, DrawError, INK, ORANGE, PALE, PlanePanel, diverging, paint, text,
};

const WIDTH: u32 = 1400;
const HEIGHT: u32 = 800;
/// Number of generated points that are drawn.
const NUM_POINTS: usize = 600;

/// The color scale of a landscape.
#[derive(Clone, Copy)]
struct Scale {
    /// The logit between generated and real, drawn white.
    neutral: f64,
    /// The distance from it at which the colors saturate.
    full: f64,
}

impl Scale {
    /// The scale of a loss with targets; for a loss that only compares logits, the scale of this
    /// frame's logits of real and generated points.
    fn of(settings: &ToySettings, mixture: &Mixture, frame: &Frame) -> Self {
        let objective = &settings.recipe.objective;
        match objective.loss.decided_distance().filter(|_| !objective.relativistic) {
            Some(full) => Self { neutral: objective.loss.decision_boundary(false).into(), full },
            None => Self::between(mixture, frame),
        }
    }

    /// White halfway between the mean over the modes and the mean over G's points, saturated two
    /// standard deviations of the landscape away.
    fn between(mixture: &Mixture, frame: &Frame) -> Self {
        let landscape = &frame.landscape;
        let mean = |points: &mut dyn Iterator<Item = [f64; 2]>| {
            let logits: Vec<f64> =
                points.filter_map(|point| landscape_at(landscape, mixture.extent, point)).collect();
            logits.iter().sum::<f64>() / logits.len().max(1) as f64
        };
        let real = mean(&mut mixture.centers.iter().map(|center| center.map(f64::from)));
        let fake = mean(
            &mut frame
                .samples
                .chunks_exact(2)
                .map(|point| [f64::from(point[0]), f64::from(point[1])]),
        );
        let count = landscape.logits.len().max(1) as f64;
        let middle = landscape.logits.iter().map(|v| f64::from(*v)).sum::<f64>() / count;
        let variance =
            landscape.logits.iter().map(|v| (f64::from(*v) - middle).powi(2)).sum::<f64>() / count;
        Self { neutral: (real + fake) / 2.0, full: 2.0 * variance.sqrt().max(1e-30) }
    }
}

/// The logit of the cell that contains a point; `None` outside.
fn landscape_at(landscape: &Landscape, extent: f32, [x, y]: [f64; 2]) -> Option<f64> {
    let cell = |v: f64| (v / f64::from(extent) + 1.0) / 2.0 * landscape.side as f64;
    let inside = |v: f64| (0.0..landscape.side as f64).contains(&v);
    let (column, row) = (cell(x), cell(-y));
    let logit = (inside(column) && inside(row))
        .then(|| landscape.logits.get(row as usize * landscape.side + column as usize))??;
    Some(f64::from(*logit))
}

/// Draws a frame on 1400 × 800 pixels; axes, positions and colors are the same in all frames of a
/// run.
///
/// # Errors
/// Returns the error of the drawing library.
pub fn draw(settings: &ToySettings, frame: &Frame) -> Result<RgbImage, ArtifactError> {
    let mixture = &settings.dataset.mixture();
    let scale = Scale::of(settings, mixture, frame);
    let extent = f64::from(mixture.extent);
    let points = PlanePanel { left: 72, top: 76, side: 612, extent };
    let plane = PlanePanel { left: 764, ..points };
    paint("the toy", (WIDTH, HEIGHT), |area| {
        samples(area, &points, mixture, frame)?;
        landscape(area, &plane, mixture, frame, scale)
    })
}

/// The even coordinates inside the panel.
fn ticks(panel: &PlanePanel) -> Vec<i32> {
    let last = (panel.extent / 2.0).floor() as i32;
    (-last..=last).map(|tick| 2 * tick).collect()
}

fn samples(
    area: &Area<'_>,
    panel: &PlanePanel,
    mixture: &Mixture,
    frame: &Frame,
) -> Result<(), DrawError> {
    let coverage = &frame.coverage;
    text(area, &format!("step {}", frame.step), (panel.left, 40), 26, INK, Anchor::Left)?;
    let (modes, near) = (mixture.centers.len(), 100.0 * coverage.high_quality);
    let found = format!("{}/{modes} modes, {near:4.1} % within 3σ", coverage.modes);
    text(area, &found, (panel.left + panel.side, 40), 24, INK, Anchor::Right)?;
    for &tick in &ticks(panel) {
        let (x, y) = panel.at([f64::from(tick); 2]);
        area.draw(&PathElement::new([(x, panel.top), (x, panel.top + panel.side)], PALE.mix(0.5)))?;
        area.draw(&PathElement::new(
            [(panel.left, y), (panel.left + panel.side, y)],
            PALE.mix(0.5),
        ))?;
    }
    for center in &mixture.centers {
        let center = panel.at(center.map(f64::from));
        area.draw(&Circle::new(center, radius(panel, mixture).max(7), ORANGE.filled()))?;
    }
    for point in frame.samples.chunks_exact(2).take(NUM_POINTS) {
        let point = [f64::from(point[0]), f64::from(point[1])];
        if panel.contains(point) {
            area.draw(&Circle::new(panel.at(point), 3, BLUE.mix(0.6).filled()))?;
        }
    }
    panel.axes(area, &ticks(panel), 24)?;
    let y = (HEIGHT - 36) as i32;
    area.draw(&Circle::new((panel.left + 16, y), 9, ORANGE.filled()))?;
    text(area, "real, to 3σ", (panel.left + 38, y), 26, INK, Anchor::Left)?;
    area.draw(&Circle::new((panel.left + 296, y), 5, BLUE.filled()))?;
    text(area, "generated", (panel.left + 316, y), 26, INK, Anchor::Left)
}

/// Three standard deviations, in pixels.
fn radius(panel: &PlanePanel, mixture: &Mixture) -> i32 {
    (3.0 * f64::from(mixture.std) * f64::from(panel.side) / (2.0 * panel.extent)).round() as i32
}

fn landscape(
    area: &Area<'_>,
    panel: &PlanePanel,
    mixture: &Mixture,
    frame: &Frame,
    scale: Scale,
) -> Result<(), DrawError> {
    text(area, "D's logits", (panel.left, 40), 26, INK, Anchor::Left)?;
    let value = |x: i32, y: i32| {
        (f64::from(bilinear(&frame.landscape, panel, x, y)) - scale.neutral) / scale.full
    };
    for y in 0..panel.side {
        for x in 0..panel.side {
            area.draw_pixel((panel.left + x, panel.top + y), &diverging(value(x, y)))?;
        }
    }
    for center in &mixture.centers {
        let center = panel.at(center.map(f64::from));
        area.draw(&Circle::new(center, 8, INK.stroke_width(2)))?;
    }
    panel.axes(area, &ticks(panel), 24)?;
    color_bar(area, panel, (HEIGHT - 36) as i32)
}

/// The landscape at a pixel of the panel, interpolated between the centers of its cells.
fn bilinear(landscape: &Landscape, panel: &PlanePanel, x: i32, y: i32) -> f32 {
    let last = landscape.side - 1;
    let position = |pixel: i32| {
        let cell = ((f64::from(pixel) + 0.5) / f64::from(panel.side) * landscape.side as f64 - 0.5)
            .clamp(0.0, last as f64);
        (cell.floor() as usize, cell.fract() as f32)
    };
    let ((column, right), (row, down)) = (position(x), position(y));
    let at = |row: usize, column: usize| {
        landscape
            .logits
            .get(row.min(last) * landscape.side + column.min(last))
            .copied()
            .unwrap_or(f32::NAN)
    };
    let line = |row: usize| at(row, column) * (1.0 - right) + at(row, column + 1) * right;
    line(row) * (1.0 - down) + line(row + 1) * down
}

fn color_bar(area: &Area<'_>, panel: &PlanePanel, y: i32) -> Result<(), DrawError> {
    let (left, width) = (panel.left + 206, 200);
    for x in 0..width {
        let color = diverging((f64::from(x) + 0.5) / f64::from(width) * 2.0 - 1.0);
        area.draw(&PathElement::new([(left + x, y - 10), (left + x, y + 10)], color))?;
    }
    area.draw(&Rectangle::new([(left - 1, y - 11), (left + width, y + 11)], INK))?;
    text(area, "generated", (left - 16, y), 26, INK, Anchor::Right)?;
    text(area, "real", (left + width + 16, y), 26, INK, Anchor::Left)
}
