//! SampleSpec a picture again.

use super::{Cell, Provenance};
use crate::{EvalError, Progress};
use image::DynamicImage;
use runs::{GridOptions, grid};
use train::Sampler;

/// A picture drawn again, beside the one of the file.
pub struct Reproduction {
    /// As it comes out now.
    pub image: DynamicImage,
    /// Numbers (pixels times channels) that were compared.
    pub compared: usize,
    /// How many of them differ.
    pub differing: usize,
    /// The largest difference, of 255.
    pub largest: u8,
    /// Places of the grid that no generator drew; they were copied.
    pub given: usize,
}

/// Draws the picture of `origin` again and compares it with `old`.
///
/// # Errors
/// An origin that does not fit the networks, or a picture of another size than it says.
pub fn reproduce(
    origin: &Provenance,
    old: &DynamicImage,
    sampler: &Sampler,
    batch: usize,
    progress: Progress<'_>,
) -> Result<Reproduction, EvalError> {
    let drawing = &origin.drawing;
    let shape = sampler.shape();
    let given: Vec<usize> = drawing
        .cells
        .iter()
        .filter_map(|cell| if let Cell::Given(i) = cell { Some(*i) } else { None })
        .collect();
    let mut pictures =
        vec![
            Vec::new();
            given.iter().max().map_or(0, |last| last.saturating_add(1).min(drawing.cells.len()))
        ];
    for (place, cell) in drawing.cells.iter().enumerate() {
        if let Cell::Given(i) = cell
            && let Some(slot) = pictures.get_mut(*i)
        {
            *slot = cut(old, drawing.grid, drawing.cells.len(), place, shape).ok_or_else(|| {
                EvalError::Mismatch("the picture has not the size that it says it has".into())
            })?;
        }
    }
    let total = if drawing.mixes.is_empty() { drawing.len() } else { drawing.mixes.len() };
    let mut told = Ok(());
    let batch = origin.batch.unwrap_or(batch);
    let (values, shape) = drawing.draw(sampler, batch, &pictures, |done| {
        told = told
            .as_ref()
            .map_or_else(|_| Err(EvalError::Stopped), |()| progress.report("drawing", done, total));
    })?;
    told?;
    let image = grid::grid(&values, shape, drawing.grid)?;
    if (image.width(), image.height(), image.color()) != (old.width(), old.height(), old.color()) {
        return Err(EvalError::Mismatch(format!(
            "drawn again the picture is {}x{}, the file's is {}x{}: it was changed since, or is of other networks",
            image.width(),
            image.height(),
            old.width(),
            old.height()
        )));
    }
    let differences = image.as_bytes().iter().zip(old.as_bytes()).map(|(a, b)| a.abs_diff(*b));
    let (differing, largest) =
        differences.fold((0, 0), |(n, most), d| (n + usize::from(d > 0), most.max(d)));
    Ok(Reproduction {
        compared: image.as_bytes().len(),
        image,
        differing,
        largest,
        given: given.len(),
    })
}

/// The pixels of a place of a grid, `[H, W, C]` in [−1, 1].
fn cut(
    image: &DynamicImage,
    options: GridOptions,
    cells: usize,
    place: usize,
    [h, w, c]: [usize; 3],
) -> Option<Vec<f32>> {
    let GridOptions { columns, padding, scale, .. } = options;
    let (columns, scale) = (columns.clamp(1, cells), scale.max(1));
    let cell = |extent: usize| extent.checked_mul(scale)?.checked_add(padding);
    let top = padding.checked_add((place / columns).checked_mul(cell(h)?)?)?;
    let left = padding.checked_add((place % columns).checked_mul(cell(w)?)?)?;
    let (bytes, stride) = (image.as_bytes(), image.width() as usize * c);
    if usize::from(image.color().channel_count()) != c
        || bytes.len() != stride * image.height() as usize
    {
        return None;
    }
    let mut out = Vec::with_capacity(h * w * c);
    for y in 0..h {
        for x in 0..w {
            let start =
                (top + y * scale).checked_mul(stride)?.checked_add((left + x * scale) * c)?;
            let inside = left + x * scale < image.width() as usize;
            out.extend(
                bytes
                    .get(start..start + c)
                    .filter(|_| inside)?
                    .iter()
                    .map(|&byte| f32::from(byte) / 127.5 - 1.0),
            );
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_cut_out_of_a_grid_is_what_was_put_there() {
        let values: Vec<f32> =
            (0..5 * 2 * 3 * 3).map(|i| f32::from(i as u8) / 127.5 - 1.0).collect();
        for options in [
            GridOptions { columns: 2, padding: 1, scale: 3, background: 255 },
            GridOptions { columns: 9, ..GridOptions::SINGLE },
        ] {
            let image = grid::grid(&values, [5, 2, 3, 3], options).unwrap();
            for place in 0..5 {
                let cut = cut(&image, options, 5, place, [2, 3, 3]).unwrap();
                assert!(
                    cut.iter().zip(&values[place * 18..]).all(|(a, b)| (a - b).abs() < 1e-6),
                    "{place}"
                );
            }
            assert!(cut(&image, options, 5, 6, [2, 3, 3]).is_none());
            assert!(cut(&image, options, 5, 0, [2, 3, 1]).is_none());
            assert!(cut(&image, options, 5, usize::MAX, [2, 3, 3]).is_none());
        }
    }
}
