//! `dcgan features` and `dcgan classify`: what a discriminator has learned about pictures.

pub mod features;
pub mod linear_probe;

use super::preprocess::{DatasetInfo, PreprocessArgs};
use crate::error::CliError;
use crate::render::with_progress;
use data::{DataSpec, Dataset, Preprocess, Split};
use eval::images::evenly_spaced;
use eval::representation::{ClassLabels, MAX_POINTS, scatter};
use nn::Recipe;
use runs::grid;
use std::path::Path;

/// Draws rows of features, as many numbers for each of the pictures, as points of the plane; `classes` are those of the rows, where they have any.
///
/// # Errors
/// The disk.
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
    let picture =
        scatter(&points, width, classes.as_ref().map(|(of, names)| ClassLabels { of, names }))?;
    Ok(grid::save_png(file, &picture)?)
}

/// No flags: a set's pictures become what the recipe's networks were made for.
const PLAIN: PreprocessArgs = PreprocessArgs {
    image: None,
    channels: None,
    fit: None,
    crop: None,
    min_side: None,
    filter: None,
    background: None,
    flip: None,
};

/// Opens the set that `spec` names, its pictures brought to the size of `recipe`, or of the recipe that suits them.
pub(super) fn open(
    spec: &str,
    split: Split,
    recipe: Option<&Recipe>,
    json: bool,
) -> Result<Dataset, CliError> {
    let parsed = DataSpec::parse(spec)?;
    let preprocess = match recipe {
        Some(recipe) => PLAIN.preprocess(recipe, &DatasetInfo::of(&parsed)?)?,
        None => PLAIN.of_recipe(None, &parsed)?,
    };
    open_as(spec, split, &preprocess, json)
}

/// Opens the set that `spec` names, its pictures brought to this shape.
pub(super) fn open_as(
    spec: &str,
    split: Split,
    preprocess: &Preprocess,
    json: bool,
) -> Result<Dataset, CliError> {
    with_progress(json, |progress| {
        let tell = |p: data::ScanProgress| {
            // Opening cannot be stopped half-way.
            let _ = progress.report("reading images", p.done, p.total);
        };
        Ok(Dataset::open(spec, split, preprocess, &tell)?)
    })
}
