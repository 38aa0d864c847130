//! The loss curves of a run as one image: losses above, D(x) and D(G(z)) below.
//!
//! ```
//! use runs::MetricsRow;
//! use runs::plots::losses;
//!
//! let row = |step: u64| MetricsRow { step, d_loss: 1.4, g_loss: 0.7, ..MetricsRow::default() };
//! let image = losses::draw(&[row(100), row(200)]).unwrap();
//! assert_eq!((image.width(), image.height()), (1000, 800));
//! assert!(losses::draw(&[]).is_err());
//! ```

use super::{Area, BLUE, DrawError, FONT, GRID, ORANGE, paint};
use crate::{ArtifactError, MetricsRow, grid};
use image::DynamicImage;
use plotters::prelude::*;
use std::ops::Range;
use std::path::Path;

const WIDTH: u32 = 1000;
const HEIGHT: u32 = 800;
/// Most points of a curve: more than its pixels only cost time.
const MAX_POINTS: usize = 500;

/// One curve of a panel.
struct Curve {
    name: &'static str,
    color: RGBColor,
    value: fn(&MetricsRow) -> f64,
}

/// Draws the losses, D(x) and D(G(z)) of `rows` over the steps on 1000 × 800 pixels: faint as
/// logged, bold smoothed. NaN and infinite values leave gaps.
///
/// # Errors
/// Returns [`ArtifactError::NoRows`] if there are no rows.
pub fn draw(rows: &[MetricsRow]) -> Result<DynamicImage, ArtifactError> {
    const PLOT: &str = "the loss curves";
    if rows.is_empty() {
        return Err(ArtifactError::NoRows { plot: PLOT });
    }
    paint(PLOT, (WIDTH, HEIGHT), |sheet| panels(rows, sheet)).map(DynamicImage::ImageRgb8)
}

/// Draws the curves as [`draw`] does and writes them as PNG, atomically.
///
/// # Errors
/// Returns an error if there are no rows or the file cannot be written.
pub fn write(path: &Path, rows: &[MetricsRow]) -> Result<(), ArtifactError> {
    grid::save_png(path, &draw(rows)?)
}

fn panels(rows: &[MetricsRow], sheet: &Area<'_>) -> Result<(), DrawError> {
    let (upper, lower) = sheet.split_vertically(HEIGHT * 11 / 20);
    let losses = [
        Curve { name: "d_loss", color: BLUE, value: |row| row.d_loss },
        Curve { name: "g_loss", color: ORANGE, value: |row| row.g_loss },
    ];
    let probabilities = [
        Curve { name: "D(x)", color: BLUE, value: |row| row.d_real },
        Curve { name: "D(G(z))", color: ORANGE, value: |row| row.d_fake },
    ];
    panel(&upper, rows, "loss", &losses, loss_range(rows, &losses))?;
    panel(&lower, rows, "probability of real", &probabilities, 0.0..1.0)
}

fn panel(
    area: &Area,
    rows: &[MetricsRow],
    title: &str,
    curves: &[Curve],
    range: Range<f64>,
) -> Result<(), DrawError> {
    let first = rows.iter().map(|row| row.step).min().unwrap_or(0) as f64;
    let last = rows.iter().map(|row| row.step).max().unwrap_or(0) as f64;
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .margin_top(38)
        .margin_right(28)
        .x_label_area_size(48)
        .y_label_area_size(70)
        .build_cartesian_2d(first..last.max(first + 1.0), range.clone())?;
    let decimals = if range.end - range.start < 0.5 { 3 } else { 1 };
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .label_style((FONT, 16))
        .axis_desc_style((FONT, 18))
        .x_desc("step")
        .y_desc(title)
        .x_labels(8)
        .y_labels(7)
        .x_label_formatter(&|step| format!("{step:.0}"))
        .y_label_formatter(&|value| format!("{value:.decimals$}"))
        .draw()?;
    for curve in curves {
        let points = condensed(rows, curve.value);
        let clip = |(step, value): (f64, f64)| (step, value.clamp(range.start, range.end));
        for segment in segments(&points) {
            let faint = curve.color.mix(0.3).stroke_width(1);
            chart.draw_series(LineSeries::new(segment.iter().copied().map(clip), faint))?;
        }
        let smooth = smoothed(&points);
        for segment in segments(&smooth) {
            let line = segment.iter().copied().map(clip);
            chart.draw_series(LineSeries::new(line.clone(), curve.color.stroke_width(2)))?;
            if let ([_], Some(point)) = (segment, line.clone().next()) {
                // A line of one point is invisible.
                chart.draw_series([Circle::new(point, 3, curve.color.filled())])?;
            }
        }
    }
    legend(area, curves)
}

/// Draws the legend above the panel, where it hides no curve.
fn legend(area: &Area, curves: &[Curve]) -> Result<(), DrawError> {
    let mut x = 90;
    for curve in curves {
        area.draw(&PathElement::new([(x, 17), (x + 28, 17)], curve.color.stroke_width(3)))?;
        area.draw(&Text::new(curve.name, (x + 36, 12), (FONT, 18).into_font()))?;
        x += 150;
    }
    Ok(())
}

/// The range of the loss axis: from 0, or from the 1st percentile if that is negative, to the 99th
/// percentile, so that one spike does not flatten the rest. Values outside are drawn along the
/// edge.
fn loss_range(rows: &[MetricsRow], curves: &[Curve]) -> Range<f64> {
    let mut values: Vec<f64> = curves
        .iter()
        .flat_map(|curve| condensed(rows, curve.value))
        .map(|(_, y)| y)
        .filter(|y| y.is_finite())
        .collect();
    values.sort_by(f64::total_cmp);
    let at = |share: f64| {
        values.get(((values.len().saturating_sub(1)) as f64 * share).round() as usize).copied()
    };
    let low = at(0.01).unwrap_or(0.0).min(0.0) * 1.1;
    let high = at(0.99).unwrap_or(1.0).max(0.0) * 1.1;
    // Tick marks closer than a float's resolution would make plotters loop forever.
    let (low, high) = (low.max(-1e30), high.min(1e30));
    if high - low < 1e-6 { low..low + 1.0 } else { low..high }
}

/// Steps and values, averaged down to about [`MAX_POINTS`] points. A bucket with a NaN is NaN and
/// shows as a gap.
fn condensed(rows: &[MetricsRow], value: fn(&MetricsRow) -> f64) -> Vec<(f64, f64)> {
    rows.chunks(rows.len().div_ceil(MAX_POINTS).max(1))
        .map(|bucket| {
            let mean = |of: &dyn Fn(&MetricsRow) -> f64| {
                bucket.iter().map(of).sum::<f64>() / bucket.len() as f64
            };
            (mean(&|row| row.step as f64), mean(&value))
        })
        .collect()
}

/// Centered moving average over about a twentieth of the curve; gaps stay gaps.
fn smoothed(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let reach = points.len() / 40;
    points
        .iter()
        .enumerate()
        .map(|(index, &(step, value))| {
            let window =
                points.get(index.saturating_sub(reach)..(index + reach + 1).min(points.len()));
            let near: Vec<f64> = window
                .unwrap_or_default()
                .iter()
                .map(|point| point.1)
                .filter(|value| value.is_finite())
                .collect();
            (
                step,
                if value.is_finite() {
                    near.iter().sum::<f64>() / near.len() as f64
                } else {
                    value
                },
            )
        })
        .collect()
}

/// The segments between values that are not finite.
fn segments(points: &[(f64, f64)]) -> impl Iterator<Item = &[(f64, f64)]> {
    points.split(|point| !point.1.is_finite()).filter(|segment| !segment.is_empty())
}
