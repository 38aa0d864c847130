//! `figures`: the drawings of docs/ that come from formulas alone.

use clap::Args;
use image::imageops;
use nn::loss::GanLoss;
use plotters::prelude::*;
use runs::plots::{self, Area, DrawError, FONT};
use std::ops::Range;
use std::path::PathBuf;
use tensor::Tensor;

/// Draws docs/losses.png: what the generator minimises, and how strongly it is pulled.
#[derive(Args)]
pub struct Options {
    /// Where the picture goes.
    #[arg(long, default_value = "docs/losses.png")]
    out: PathBuf,
}

const SIZE: [u32; 2] = [1200, 400];
/// Drawn this many times larger and shrunk: lines come out smooth.
const SCALE: u32 = 3;
const POINTS: usize = 400;

const CURVES: [(&str, GanLoss, RGBColor); 2] = [
    ("log(1 − D), minimax", GanLoss::Minimax, RGBColor(31, 119, 180)),
    ("−log D, non-saturating", GanLoss::NonSaturating, RGBColor(214, 98, 10)),
];

/// One of the three drawings side by side: axes, and what is drawn at an x.
struct Panel {
    across: &'static str,
    up: &'static str,
    x: Range<f64>,
    y: Range<f64>,
    value: fn(GanLoss, f64) -> f64,
}

/// Draws the figures.
///
/// # Errors
/// When the file cannot be written.
pub fn run(options: &Options) -> Result<(), DrawError> {
    let large = plots::paint("the losses", SIZE.map(|side| side * SCALE).into(), draw)?;
    let image = imageops::resize(&large, SIZE[0], SIZE[1], imageops::FilterType::Triangle);
    image
        .save(&options.out)
        .map_err(|error| format!("cannot write {}: {error}", options.out.display()))?;
    println!("wrote {}", options.out.display());
    Ok(())
}

fn draw(sheet: &Area<'_>) -> Result<(), DrawError> {
    let of_d = "D(G(z))";
    let panels = [
        Panel {
            across: of_d,
            up: "generator's loss",
            x: 0.0..1.0,
            y: -5.0..5.0,
            value: |objective, d| loss(objective, logit(d)).0,
        },
        Panel {
            across: of_d,
            up: "its derivative by D",
            x: 0.0..1.0,
            y: -10.0..0.0,
            value: |objective, d| loss(objective, logit(d)).1 / (d * (1.0 - d)),
        },
        Panel {
            across: "logit of D(G(z))",
            up: "its derivative by the logit",
            x: -6.0..6.0,
            y: -1.0..0.0,
            value: |objective, x| loss(objective, x).1,
        },
    ];
    for (panel, area) in panels.iter().zip(sheet.split_evenly((1, panels.len()))) {
        panel.draw(&area)?;
    }
    let mut x = 72 * SCALE as i32;
    for (name, _, colour) in CURVES {
        let y = 18 * SCALE as i32;
        sheet.draw(&PathElement::new(
            [(x, y), (x + 28 * SCALE as i32, y)],
            colour.stroke_width(3 * SCALE),
        ))?;
        sheet.draw(&Text::new(
            name,
            (x + 36 * SCALE as i32, y - 7 * SCALE as i32),
            (FONT, 15 * SCALE).into_font(),
        ))?;
        x += 290 * SCALE as i32;
    }
    Ok(())
}

fn logit(d: f64) -> f64 {
    (d / (1.0 - d)).ln()
}

/// The generator's loss where the discriminator's logit is `x`, and its derivative by it.
fn loss(objective: GanLoss, x: f64) -> (f64, f64) {
    let x = Tensor::from_slice(&[x as f32], [1]).leaf();
    let value = objective.generator(&x);
    let item = f64::from(value.item());
    (item, value.backward().of(&x).map_or(0.0, |g| f64::from(g.item())))
}

impl Panel {
    fn draw(&self, area: &Area) -> Result<(), DrawError> {
        let Range { start, end } = self.y;
        let mut chart = ChartBuilder::on(area)
            .margin(12 * SCALE)
            .margin_top(44 * SCALE)
            .x_label_area_size(46 * SCALE)
            .y_label_area_size(60 * SCALE)
            .build_cartesian_2d(self.x.clone(), start..end)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(RGBColor(225, 225, 225).stroke_width(SCALE))
            .axis_style(BLACK.stroke_width(SCALE))
            .label_style((FONT, 13 * SCALE))
            .axis_desc_style((FONT, 15 * SCALE))
            .set_all_tick_mark_size(5 * SCALE)
            .x_desc(self.across)
            .y_desc(self.up)
            .x_labels(6)
            .y_labels(6)
            .x_label_formatter(&|x| format!("{:.1}", x + 0.0))
            .y_label_formatter(&|y| format!("{:.1}", y + 0.0))
            .draw()?;
        for (_, objective, colour) in CURVES {
            // At the middles of the steps: neither end has a finite value.
            let at = |i: usize| {
                self.x.start + (self.x.end - self.x.start) * (i as f64 + 0.5) / POINTS as f64
            };
            let points = (0..POINTS)
                .map(|i| (at(i), (self.value)(objective, at(i))))
                .filter(|(_, y)| (start..=end).contains(y));
            chart.draw_series(LineSeries::new(points, colour.stroke_width(2 * SCALE)))?;
        }
        Ok(())
    }
}
