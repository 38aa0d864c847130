//! `figures`: the drawings of docs/ that come from formulas alone.

use clap::Args;
use nn::loss::Objective;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};
use std::path::PathBuf;
use tensor::Tensor;

/// Draws docs/losses.png: what the generator minimises, and how strongly it pulls, as functions of the discriminator's logit.
#[derive(Args)]
pub struct Options {
    /// Where the picture goes.
    #[arg(long, default_value = "docs/losses.png")]
    out: PathBuf,
}

type Failure = Box<dyn std::error::Error>;
type Area<'a> = DrawingArea<BitMapBackend<'a>, Shift>;

const SIZE: (u32, u32) = (1100, 480);
const FONT: &str = "hack";
/// Logits at the left and the right edge.
const RANGE: std::ops::Range<f64> = -6.0..6.0;
const POINTS: usize = 241;

const CURVES: [(&str, Objective, RGBColor); 2] =
    [("log(1 − D)", Objective::Minimax, RGBColor(31, 119, 180)), ("−log D", Objective::NonSaturating, RGBColor(214, 98, 10))];

/// Draws the figures.
///
/// # Errors
/// When the file cannot be written.
pub fn run(options: &Options) -> Result<(), Failure> {
    // No system font is needed, so the picture is the same everywhere.
    register_font(FONT, FontStyle::Normal, epaint_default_fonts::HACK_REGULAR).map_err(|_| "the built-in font is broken")?;
    let mut pixels = vec![255; (SIZE.0 * SIZE.1 * 3) as usize];
    draw(&mut pixels)?;
    let image = image::RgbImage::from_raw(SIZE.0, SIZE.1, pixels).ok_or("the drawing area has the wrong size")?;
    image.save(&options.out).map_err(|error| format!("cannot write {}: {error}", options.out.display()))?;
    println!("wrote {}", options.out.display());
    Ok(())
}

fn draw(pixels: &mut [u8]) -> Result<(), Failure> {
    let root = BitMapBackend::with_buffer(pixels, SIZE).into_drawing_area();
    let (left, right) = root.split_horizontally(SIZE.0 / 2);
    panel(&left, "generator's loss", -6.5..6.5, |objective, x| objective.generator(x))?;
    panel(&right, "its derivative by the logit", -1.05..0.05, |objective, x| {
        let x = x.leaf();
        let gradients = objective.generator(&x).backward();
        gradients.of(&x).cloned().unwrap_or_else(|| Tensor::zeros([1]))
    })?;
    root.present()?;
    Ok(())
}

/// One value of each objective over the logits.
fn panel(area: &Area, title: &str, range: std::ops::Range<f64>, value: fn(Objective, &Tensor) -> Tensor) -> Result<(), Failure> {
    let mut chart = ChartBuilder::on(area)
        .margin(14)
        .margin_top(44)
        .x_label_area_size(48)
        .y_label_area_size(70)
        .build_cartesian_2d(RANGE, range)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(RGBColor(225, 225, 225))
        .label_style((FONT, 15))
        .axis_desc_style((FONT, 17))
        .x_desc("logit of D(G(z)): sure of a fake … sure of a real one")
        .y_desc(title)
        .x_labels(7)
        .y_labels(7)
        .y_label_formatter(&|value| format!("{value:.1}"))
        .draw()?;
    for (name, objective, colour) in CURVES {
        let points = (0..POINTS).map(|i| {
            let x = RANGE.start + (RANGE.end - RANGE.start) * i as f64 / (POINTS - 1) as f64;
            (x, f64::from(value(objective, &Tensor::from_slice(&[x as f32], [1])).item()))
        });
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(3)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 26, y)], colour.stroke_width(3)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE)
        .border_style(RGBColor(200, 200, 200))
        .label_font((FONT, 16))
        .draw()?;
    Ok(())
}
