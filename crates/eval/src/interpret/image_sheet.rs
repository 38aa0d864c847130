//! Pictures in rows, with gaps between their columns.

use runs::{ArtifactError, GridOptions, grid};
use std::path::Path;

/// Rows of small pictures of one shape; what is not there is white.
pub struct ImageSheet {
    cell: [usize; 3],
    columns: usize,
    pixels: Vec<f32>,
}

impl ImageSheet {
    /// An empty sheet for pictures `[H, W, C]`, in so many columns.
    pub fn new(cell: [usize; 3], columns: usize) -> Self {
        Self { cell, columns, pixels: Vec::new() }
    }

    /// One more row: a picture, `[H, W, C]` in [−1, 1], or nothing in each column.
    ///
    /// # Panics
    /// When there are more pictures than columns, or one of another size.
    #[track_caller]
    pub fn row<'a>(&mut self, pictures: impl IntoIterator<Item = Option<&'a [f32]>>) {
        let size: usize = self.cell.iter().product();
        let mut count = 0;
        for picture in pictures {
            match picture {
                Some(pixels) => {
                    assert_eq!(
                        pixels.len(),
                        size,
                        "ImageSheet::row: a picture of another size than {:?}",
                        self.cell
                    );
                    self.pixels.extend_from_slice(pixels);
                }
                None => self.pixels.resize(self.pixels.len() + size, 1.0),
            }
            count += 1;
        }
        assert!(
            count <= self.columns,
            "ImageSheet::row: {count} pictures in {} columns",
            self.columns
        );
        self.pixels.resize(self.pixels.len() + (self.columns - count) * size, 1.0);
    }

    /// Writes the sheet as a PNG, enlarged where its cells are small.
    ///
    /// # Errors
    /// Nothing on it, channels that cannot be drawn, too large a picture, or the disk.
    pub fn save(&self, path: &Path) -> Result<(), ArtifactError> {
        let [h, w, c] = self.cell;
        let count = self.pixels.len() / (h * w * c).max(1);
        let options = GridOptions { columns: self.columns, ..GridOptions::for_size([h, w]) };
        grid::save_png(path, &grid::grid(&self.pixels, [count, h, w, c], options)?)
    }
}

/// Signed numbers as a picture whose middle grey is 0: divided by their largest size, or by `largest` where that is given.
pub(super) fn signed(values: &[f32], largest: Option<f32>) -> Vec<f32> {
    let largest = largest
        .unwrap_or_else(|| values.iter().fold(0.0, |most: f32, value| most.max(value.abs())));
    let factor = if largest > 0.0 { 1.0 / largest } else { 0.0 };
    values.iter().map(|value| value * factor).collect()
}
