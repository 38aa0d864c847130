//! Bar chart of proportions with their confidence intervals.

use super::{Area, BLUE, DrawError, FONT, paint};
use crate::ArtifactError;
use image::DynamicImage;
use plotters::prelude::*;

const WIDTH: u32 = 900;
/// Height of a bar with its margins, and of the axis below, in pixels.
const ROW: u32 = 56;
const AXIS: u32 = 74;
/// Width of the names to the left of the bars.
const LEFT: u32 = 220;
/// The most bars of a plot.
const MAX_BARS: usize = 1000;

/// One bar.
#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    /// The bar's name.
    pub name: String,
    /// The proportion, in [0, 1].
    pub value: f64,
    /// Half the width of its confidence interval.
    pub half: f64,
}

/// Draws horizontal bars, from the least end of an interval (rounded down to a tenth) to 1, with
/// their intervals as lines; 900 pixels wide.
///
/// # Errors
/// Returns an error if there are no bars, or more than 1000.
pub fn bars(axis: &str, bars: &[Bar]) -> Result<DynamicImage, ArtifactError> {
    const PLOT: &str = "the bars";
    match bars.len() {
        0 => return Err(ArtifactError::NoRows { plot: PLOT }),
        n if n > MAX_BARS => {
            return Err(ArtifactError::Plot { plot: PLOT, reason: format!("{n} of them") });
        }
        _ => {}
    }
    let height = bars.len() as u32 * ROW + AXIS;
    paint(PLOT, (WIDTH, height), |sheet| draw(axis, bars, sheet)).map(DynamicImage::ImageRgb8)
}

fn draw(axis: &str, bars: &[Bar], sheet: &Area<'_>) -> Result<(), DrawError> {
    let least = bars.iter().map(|bar| bar.value - bar.half).fold(1.0, f64::min);
    let from = ((least * 10.0).floor() / 10.0).clamp(0.0, 0.9);
    let mut chart = ChartBuilder::on(sheet)
        .margin_right(40)
        .margin_top(10)
        .x_label_area_size(AXIS - 10)
        .y_label_area_size(LEFT)
        .build_cartesian_2d(from..1.0, bars.len() as f64..0.0)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .light_line_style(TRANSPARENT)
        .bold_line_style(RGBColor(225, 225, 225))
        .label_style((FONT, 16))
        .axis_desc_style((FONT, 18))
        .x_desc(axis)
        .x_labels(6)
        .x_label_formatter(&|share| format!("{:.0} %", 100.0 * share))
        .draw()?;
    for (row, bar) in bars.iter().enumerate() {
        let (top, middle, bottom) = (row as f64 + 0.2, row as f64 + 0.5, row as f64 + 0.8);
        let end = |value: f64| value.clamp(from, 1.0);
        let (low, high) = (end(bar.value - bar.half), end(bar.value + bar.half));
        chart.draw_series([Rectangle::new(
            [(from, top), (end(bar.value), bottom)],
            BLUE.mix(0.6).filled(),
        )])?;
        let line = |points: [(f64, f64); 2]| PathElement::new(points, BLACK.stroke_width(2));
        let caps = [low, high].map(|end| line([(end, middle - 0.12), (end, middle + 0.12)]));
        chart.draw_series(caps.into_iter().chain([line([(low, middle), (high, middle)])]))?;
        let at = (row as u32 * ROW + 10 + ROW / 2 - 9) as i32;
        sheet.draw(&Text::new(bar.name.clone(), (14, at), (FONT, 18).into_font()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn larger_values_have_longer_bars() {
        let bar = |value: f64| Bar { name: "x".into(), value, half: 0.01 };
        let image = bars("accuracy", &[bar(0.5), bar(0.9)]).unwrap().to_rgb8();
        assert_eq!(image.dimensions(), (WIDTH, 2 * ROW + AXIS));
        // Near the upper edge of each bar, above the line of its interval.
        let blue = |row: u32| {
            let y = 10 + row * ROW + ROW / 4 + 2;
            let is_blue = |&x: &u32| {
                let p = image.get_pixel(x, y).0;
                p[2] > p[0].saturating_add(40)
            };
            (LEFT + 2..WIDTH).filter(is_blue).count()
        };
        let (short, long) = (blue(0), blue(1));
        assert!(short > 20 && long > 4 * short, "{short} {long}");
        assert!(matches!(bars("accuracy", &[]), Err(ArtifactError::NoRows { .. })));
    }
}
