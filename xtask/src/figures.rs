//! `figures`: the figures in docs/ that are plots of formulas.

use clap::Args;
use image::imageops;
use nn::loss::GanLoss;
use plotters::prelude::*;
use runs::plots::{self, Area, DrawError, FONT};
use std::ops::Range;
use std::path::PathBuf;
use tensor::Tensor;

/// Draw docs/losses.png: the generator's losses and their gradients.
#[derive(Args)]
pub struct Options {
    /// The PNG to write.
    #[arg(long, default_value = "docs/losses.png")]
    out: PathBuf,
}

const SIZE: [u32; 2] = [1200, 400];
/// Drawn this many times larger and reduced, which antialiases the lines.
const SCALE: u32 = 3;
const POINTS: usize = 400;

const CURVES: [(&str, GanLoss, RGBColor); 2] = [
    ("log(1 − D), minimax", GanLoss::Minimax, RGBColor(31, 119, 180)),
    ("−log D, non-saturating", GanLoss::NonSaturating, RGBColor(214, 98, 10)),
];

/// One of the three plots: its axes and its function.
struct Panel {
    x_label: &'static str,
    y_label: &'static str,
    x: Range<f64>,
    y: Range<f64>,
    value: fn(GanLoss, f64) -> f64,
}

/// Draws the figures.
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
            x_label: of_d,
            y_label: "generator's loss",
            x: 0.0..1.0,
            y: -5.0..5.0,
            value: |objective, d| loss(objective, logit(d)).0,
        },
        Panel {
            x_label: of_d,
            y_label: "its derivative by D",
            x: 0.0..1.0,
            y: -10.0..0.0,
            value: |objective, d| loss(objective, logit(d)).1 / (d * (1.0 - d)),
        },
        Panel {
            x_label: "logit of D(G(z))",
            y_label: "its derivative by the logit",
            x: -6.0..6.0,
            y: -1.0..0.0,
            value: |objective, x| loss(objective, x).1,
        },
    ];
    for (panel, area) in panels.iter().zip(sheet.split_evenly((1, panels.len()))) {
        panel.draw(&area)?;
    }
    let mut x = 72 * SCALE as i32;
    for (name, _, color) in CURVES {
        let y = 18 * SCALE as i32;
        sheet.draw(&PathElement::new(
            [(x, y), (x + 28 * SCALE as i32, y)],
            color.stroke_width(3 * SCALE),
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

/// The generator's loss at the discriminator's logit `x`, and its derivative with respect to `x`.
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
            .x_desc(self.x_label)
            .y_desc(self.y_label)
            .x_labels(6)
            .y_labels(6)
            .x_label_formatter(&|x| format!("{:.1}", x + 0.0))
            .y_label_formatter(&|y| format!("{:.1}", y + 0.0))
            .draw()?;
        for (_, objective, color) in CURVES {
            // At the middles of the steps, since neither end has a finite value.
            let at = |i: usize| {
                self.x.start + (self.x.end - self.x.start) * (i as f64 + 0.5) / POINTS as f64
            };
            let points = (0..POINTS)
                .map(|i| (at(i), (self.value)(objective, at(i))))
                .filter(|(_, y)| (start..=end).contains(y));
            chart.draw_series(LineSeries::new(points, color.stroke_width(2 * SCALE)))?;
        }
        Ok(())
    }
}
