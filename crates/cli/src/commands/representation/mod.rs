//! `dcgan features` and `dcgan linear-probe`: the representation learned by a discriminator.

pub mod features;
pub mod linear_probe;

use crate::error::CliError;
use eval::images::evenly_spaced;
use eval::representation::{MAX_POINTS, PlotClasses, scatter};
use runs::grid;
use std::path::Path;

/// Draws `count` rows of features as points in the plane of their first two principal components.
/// `classes` are the classes of the rows and their names, if the images have labels.
pub fn draw_points(
    file: &Path,
    rows: &[f32],
    count: usize,
    classes: Option<(&[usize], &[String])>,
) -> Result<(), CliError> {
    let width = rows.len() / count.max(1);
    let shown = evenly_spaced(count, MAX_POINTS);
    let points: Vec<f32> =
        shown.iter().flat_map(|&at| &rows[at * width..][..width]).copied().collect();
    let classes =
        classes.map(|(of, names)| (shown.iter().map(|&at| of[at]).collect::<Vec<_>>(), names));
    let labels = classes.as_ref().map(|(of, names)| PlotClasses { of, names });
    Ok(grid::save_png(file, &scatter(&points, width, labels)?)?)
}
