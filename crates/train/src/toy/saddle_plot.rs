//! Plot of the saddle: the trajectory of each update rule in a panel, over the same game.
//!
//! ```
//! use train::toy::saddle::{SaddleSettings, simulate};
//! use train::toy::saddle_plot::draw;
//!
//! let settings = SaddleSettings { steps: 20, ..SaddleSettings::default() };
//! let trajectories = simulate(&settings).unwrap();
//! assert_eq!(draw(&trajectories, &settings, 20).unwrap().width(), 1644);
//! ```

use super::saddle::{SaddleSettings, Trajectory};
use image::RgbImage;
use plotters::prelude::*;
use runs::ArtifactError;
use runs::plots::{
    Anchor, Area, BLUE, DrawError, INK, ORANGE, PALE, PlanePanel, diverging, paint, text,
};

const COLUMNS: usize = 5;
const SIDE: i32 = 300;
const GAP: i32 = 24;
const TITLE: i32 = 76;
const HEADER: i32 = 70;

/// Draws the trajectories up to `step`: 1644 pixels wide, with five panels in a row, which clip.
///
/// # Errors
/// Returns the error of the drawing library.
pub fn draw(
    trajectories: &[Trajectory],
    settings: &SaddleSettings,
    step: usize,
) -> Result<RgbImage, ArtifactError> {
    let lines = trajectories.len().div_ceil(COLUMNS) as i32;
    let width = COLUMNS as i32 * (SIDE + GAP) + GAP;
    let height = HEADER + lines * (TITLE + SIDE) + GAP;
    // The panel reaches to twice the initial distance.
    let extent = 2.0 * settings.start[0].hypot(settings.start[1]);
    paint("the saddle", (width as u32, height as u32), |area| {
        header(area, settings, step, width)?;
        trajectories.iter().enumerate().try_for_each(|(i, trajectory)| {
            let (column, line) = ((i % COLUMNS) as i32, (i / COLUMNS) as i32);
            let (left, top) = (GAP + column * (SIDE + GAP), HEADER + TITLE + line * (TITLE + SIDE));
            panel(area, &PlanePanel { left, top, side: SIDE, extent }, trajectory, settings, step)
        })
    })
}

fn header(
    area: &Area<'_>,
    settings: &SaddleSettings,
    step: usize,
    width: i32,
) -> Result<(), DrawError> {
    let SaddleSettings { lr, curvature, .. } = settings;
    let game = match curvature {
        0.0 => "min over x, max over y of x·y".to_owned(),
        c => format!("min over x, max over y of x·y + {c}/2 (x² − y²)"),
    };
    text(area, &format!("{game},  η = {lr}"), (GAP, 40), 30, INK, Anchor::Left)?;
    text(area, &format!("step {step}"), (width - GAP, 40), 30, INK, Anchor::Right)
}

fn panel(
    area: &Area<'_>,
    panel: &PlanePanel,
    trajectory: &Trajectory,
    settings: &SaddleSettings,
    step: usize,
) -> Result<(), DrawError> {
    let (left, top) = (panel.left, panel.top);
    text(area, trajectory.method.name(), (left, top - 48), 26, INK, Anchor::Left)?;
    let now = format!("distance {}", distance(trajectory.distance(step)));
    text(area, &now, (left, top - 18), 24, BLUE, Anchor::Left)?;
    saddle(area, panel, settings.curvature)?;
    for axis in [[[-1.0, 0.0], [1.0, 0.0]], [[0.0, -1.0], [0.0, 1.0]]] {
        let ends = axis.map(|[x, y]| panel.at([x * panel.extent, y * panel.extent]));
        area.draw(&PathElement::new(ends, PALE.stroke_width(2)))?;
    }
    let points = trajectory.points.get(..=step).unwrap_or(&trajectory.points);
    for [a, b] in points.windows(2).filter_map(|line| panel.clip(line[0], line[1])) {
        area.draw(&PathElement::new([panel.at(a), panel.at(b)], BLUE.stroke_width(2)))?;
    }
    for point in points.iter().filter(|point| panel.contains(**point)) {
        area.draw(&Circle::new(panel.at(*point), 4, BLUE.filled()))?;
    }
    area.draw(&Circle::new(panel.at(settings.start), 7, ORANGE.filled()))?;
    if let Some(last) = points.last().filter(|last| panel.contains(**last)) {
        area.draw(&Circle::new(panel.at(*last), 7, INK.filled()))?;
    }
    let (x, y) = panel.at([0.0; 2]);
    area.draw(&Cross::new((x, y), 7, INK.stroke_width(2)))?;
    panel.border(area)
}

/// Draws the game's value as the background.
fn saddle(area: &Area<'_>, panel: &PlanePanel, curvature: f64) -> Result<(), DrawError> {
    let coordinate = |pixel: i32| (f64::from(pixel) + 0.5) / f64::from(panel.side) * 2.0 - 1.0;
    for py in 0..panel.side {
        for px in 0..panel.side {
            let (x, y) = (coordinate(px), -coordinate(py));
            let value = x * y + curvature / 2.0 * (x * x - y * y);
            area.draw_pixel(
                (panel.left + px, panel.top + py),
                &diverging(value / 2.5 / (1.0 + curvature.abs() / 2.0)),
            )?;
        }
    }
    Ok(())
}

/// A distance with three decimals, or in scientific notation.
pub fn distance(value: f64) -> String {
    match value {
        v if !v.is_finite() => "infinite".to_owned(),
        v if v >= 1e4 || (v > 0.0 && v < 1e-3) => format!("{v:.1e}"),
        v => format!("{v:.3}"),
    }
}
