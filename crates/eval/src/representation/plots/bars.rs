//! Shares with their intervals, as bars.

use crate::EvalError;
use image::DynamicImage;
use plotters::prelude::*;
use runs::plots::{self, Area, DrawError, FONT};

const WIDTH: u32 = 900;
/// PixelFeatures of a bar with its surroundings, and of the axis below.
const ROW: u32 = 56;
const AXIS: u32 = 74;
/// Where bars begin: names stand left of it.
const LEFT: u32 = 220;
const BLUE: RGBColor = RGBColor(31, 119, 180);

/// One share, 0 to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    /// What it is of.
    pub name: String,
    /// Itself.
    pub share: f64,
    /// Half the width of its interval.
    pub half: f64,
}

/// The bars below each other, from the least end of an interval (rounded down to a tenth) to 1, with their intervals as lines; 900 pixels wide.
///
/// # Errors
/// No bars, or more than a picture holds.
pub fn bars(axis: &str, bars: &[Bar]) -> Result<DynamicImage, EvalError> {
    let failed = |reason: String| EvalError::Mismatch(format!("cannot draw the bars: {reason}"));
    let height = u32::try_from(bars.len())
        .ok()
        .filter(|&count| (1..=1000).contains(&count))
        .map(|count| count * ROW + AXIS);
    let height = height.ok_or_else(|| failed(format!("{} of them", bars.len())))?;
    let drawn = plots::paint("the bars", (WIDTH, height), |sheet| draw(axis, bars, sheet));
    Ok(drawn.map(DynamicImage::ImageRgb8)?)
}

fn draw(axis: &str, bars: &[Bar], sheet: &Area<'_>) -> Result<(), DrawError> {
    let least = bars.iter().map(|bar| bar.share - bar.half).fold(1.0, f64::min);
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
        let end = |share: f64| share.clamp(from, 1.0);
        let (low, high) = (end(bar.share - bar.half), end(bar.share + bar.half));
        chart.draw_series([Rectangle::new(
            [(from, top), (end(bar.share), bottom)],
            BLUE.mix(0.6).filled(),
        )])?;
        let line = |points: [(f64, f64); 2]| PathElement::new(points, BLACK.stroke_width(2));
        let caps = [low, high].map(|share| line([(share, middle - 0.12), (share, middle + 0.12)]));
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
    fn longer_bars_are_of_larger_shares() {
        let bar = |share: f64| Bar { name: "x".into(), share, half: 0.01 };
        let picture = bars("accuracy", &[bar(0.5), bar(0.9)]).unwrap().to_rgb8();
        assert_eq!(picture.dimensions(), (WIDTH, 2 * ROW + AXIS));
        // Near the upper edge of each bar, above the line of its interval.
        let blue = |row: u32| {
            let y = 10 + row * ROW + ROW / 4 + 2;
            (LEFT + 2..WIDTH)
                .filter(|&x| {
                    let p = picture.get_pixel(x, y).0;
                    p[2] > p[0].saturating_add(40)
                })
                .count()
        };
        let (short, long) = (blue(0), blue(1));
        assert!(short > 20 && long > 4 * short, "{short} {long}");
        assert!(bars("accuracy", &[]).is_err());
    }
}
