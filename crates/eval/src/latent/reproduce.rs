//! Reproduces an image from its provenance, and compares it with the file.

use super::{Cell, Provenance, SampleSpec};
use crate::{EvalError, Progress};
use image::DynamicImage;
use runs::{GridOptions, grid};
use train::Sampler;

/// A reproduced image, compared with the file.
pub struct Reproduction {
    /// The image as it is generated now.
    pub image: DynamicImage,
    /// The number of compared values (pixels times channels).
    pub compared: usize,
    /// The number of different values.
    pub differing: usize,
    /// The largest difference, of 255.
    pub largest: u8,
    /// The number of cells that were not generated, but copied from the file.
    pub copied: usize,
}

/// Generates the image of `provenance` again and compares it with `old`. `batch` images are
/// generated at a time, unless the image depends on that.
///
/// # Errors
/// Returns an error if the provenance does not fit the networks, or the image has another size than
/// it says, which is checked first; [`EvalError::Stopped`] if `progress` cancels.
pub fn reproduce(
    provenance: &Provenance,
    old: &DynamicImage,
    sampler: &Sampler,
    batch: usize,
    progress: Progress<'_>,
) -> Result<Reproduction, EvalError> {
    let samples = &provenance.samples;
    check_size(samples, old, sampler.shape())?;
    let cells = samples.cells.iter().enumerate().filter_map(|(at, cell)| match cell {
        Cell::External(i) => Some((at, *i)),
        _ => None,
    });
    let copied: Vec<(usize, usize)> = cells.collect();
    let last = copied.iter().map(|(_, i)| *i).max();
    // An index of a damaged file may be anything.
    let count = last.map_or(0, |last| last.saturating_add(1).min(samples.cells.len()));
    let mut external = vec![Vec::new(); count];
    for &(at, i) in &copied {
        if let Some(image) = external.get_mut(i) {
            *image = crop(old, samples.grid, samples.cells.len(), at, sampler.shape())
                .ok_or(EvalError::CroppedImage)?;
        }
    }
    let total = samples.images();
    let mut reported = Ok(());
    let batch = provenance.batch.unwrap_or(batch);
    let (values, shape) = samples.generate(sampler, batch, &external, |done| {
        if reported.is_ok() {
            reported = progress.report("generating", done, total);
        }
    })?;
    reported?;
    let image = grid::grid(&values, shape, samples.grid)?;
    let differences = image.as_bytes().iter().zip(old.as_bytes()).map(|(a, b)| a.abs_diff(*b));
    let (differing, largest) =
        differences.fold((0, 0), |(n, most), d| (n + usize::from(d > 0), most.max(d)));
    let compared = image.as_bytes().len();
    Ok(Reproduction { image, compared, differing, largest, copied: copied.len() })
}

/// Checks that the file has the size and channels of the image that would be generated: a file may
/// claim a million images.
fn check_size(
    samples: &SampleSpec,
    old: &DynamicImage,
    [h, w, c]: [usize; 3],
) -> Result<(), EvalError> {
    let reproduced = samples.grid.size(samples.num_cells(), [h, w])?;
    let file = [old.width(), old.height()];
    // A byte per channel.
    match reproduced == file && usize::from(old.color().bytes_per_pixel()) == c {
        true => Ok(()),
        false => Err(EvalError::ReproducedSize { reproduced, file }),
    }
}

/// The pixels of cell `at` of a grid, `[H, W, C]` in [−1, 1]; `None` if the grid has no such cell.
fn crop(
    image: &DynamicImage,
    options: GridOptions,
    cells: usize,
    at: usize,
    [h, w, c]: [usize; 3],
) -> Option<Vec<f32>> {
    let GridOptions { columns, padding, scale, .. } = options;
    let (columns, scale) = (columns.clamp(1, cells), scale.max(1));
    // Checked, because the options of a damaged file may be anything.
    let cell = |extent: usize| extent.checked_mul(scale)?.checked_add(padding);
    let top = padding.checked_add((at / columns).checked_mul(cell(h)?)?)?;
    let left = padding.checked_add((at % columns).checked_mul(cell(w)?)?)?;
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
            let pixel = bytes.get(start..start + c).filter(|_| inside)?;
            out.extend(pixel.iter().map(|&byte| f32::from(byte) / 127.5 - 1.0));
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_cropped_out_of_a_grid() {
        let values: Vec<f32> =
            (0..5 * 2 * 3 * 3).map(|i| f32::from(i as u8) / 127.5 - 1.0).collect();
        for options in [
            GridOptions { columns: 2, padding: 1, scale: 3, background: 255 },
            GridOptions { columns: 9, ..GridOptions::SINGLE },
        ] {
            let image = grid::grid(&values, [5, 2, 3, 3], options).unwrap();
            for at in 0..5 {
                let cell = crop(&image, options, 5, at, [2, 3, 3]).unwrap();
                let expected = &values[at * 18..];
                assert!(cell.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{at}");
            }
            assert!(crop(&image, options, 5, 6, [2, 3, 3]).is_none());
            assert!(crop(&image, options, 5, 0, [2, 3, 1]).is_none());
            assert!(crop(&image, options, 5, usize::MAX, [2, 3, 3]).is_none());
        }
    }
}
