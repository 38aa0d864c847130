//! The chart of `bench-scaling`: efficiency by the number of nodes, measured as points and modelled
//! as lines.

use super::{Network, Prediction, Report, Scaling};
use plotters::prelude::*;
use runs::plots::{self, Anchor, Area, BLUE, DrawError, FONT, GRID, INK, ORANGE, RgbImage, text};

const SIZE: (u32, u32) = (1000, 900);
const GREEN: RGBColor = RGBColor(44, 140, 60);
/// The color of each modelled network.
const COLORS: [RGBColor; 3] = [ORANGE, BLUE, GREEN];

/// Draws weak scaling above strong scaling.
///
/// # Errors
/// Returns the error of the drawing library.
pub fn draw(report: &Report) -> Result<RgbImage, DrawError> {
    let sheet = |area: &Area<'_>| {
        let (weak, strong) = area.split_vertically(SIZE.1 / 2);
        panel(&weak, "weak scaling", &report.weak, &report.networks, |network| &network.weak)?;
        let networks = &report.networks;
        panel(&strong, "strong scaling", &report.strong, networks, |network| &network.strong)
    };
    Ok(plots::paint("the scaling", SIZE, sheet)?)
}

fn panel(
    area: &Area<'_>,
    title: &str,
    measured: &[Scaling],
    networks: &[Network],
    modelled: fn(&Network) -> &Vec<Prediction>,
) -> Result<(), DrawError> {
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .margin_top(44)
        .margin_right(28)
        .x_label_area_size(48)
        .y_label_area_size(70)
        .build_cartesian_2d((1f64..1024.0).log_scale().base(2.0), 0.0..1.1)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .label_style((FONT, 16))
        .axis_desc_style((FONT, 18))
        .x_desc("nodes")
        .y_desc(format!("efficiency, {title}"))
        .x_labels(11)
        .x_label_formatter(&|nodes| format!("{nodes:.0}"))
        .y_label_formatter(&|share| format!("{:.0} %", 100.0 * share))
        .draw()?;
    for (network, color) in networks.iter().zip(COLORS) {
        let points = modelled(network).iter().map(|p| (p.nodes as f64, p.efficiency));
        chart.draw_series(LineSeries::new(points, color.stroke_width(2)))?;
    }
    for scaling in measured {
        let at = (scaling.ranks as f64, scaling.ratio().min(1.1));
        // Ranks that share cores are hollow.
        let style = if scaling.load > 1.0 { INK.stroke_width(2) } else { INK.filled() };
        chart.draw_series([Circle::new(at, 6, style)])?;
    }
    legend(area, networks)
}

/// Draws the legend above the panel, where it hides no curve.
fn legend(area: &Area<'_>, networks: &[Network]) -> Result<(), DrawError> {
    area.draw(&Circle::new((78, 22), 6, INK.filled()))?;
    text(area, "measured here", (92, 22), 16, INK, Anchor::Left)?;
    area.draw(&Circle::new((232, 22), 6, INK.stroke_width(2)))?;
    text(area, "sharing cores", (246, 22), 16, INK, Anchor::Left)?;
    let mut x = 380;
    for (network, color) in networks.iter().zip(COLORS) {
        area.draw(&PathElement::new([(x, 22), (x + 24, 22)], color.stroke_width(3)))?;
        text(area, &format!("model, {}", network.name), (x + 30, 22), 14, INK, Anchor::Left)?;
        x += 208;
    }
    Ok(())
}
