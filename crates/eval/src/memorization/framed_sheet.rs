//! Pictures in a grid, some of them in frames.

use crate::EvalError;
use image::DynamicImage;
use runs::{GridOptions, grid};

/// Pixels of a frame's side, after enlarging.
const THICK: usize = 3;

/// The colour around a picture, RGB in [−1, 1].
pub type FrameColor = [f32; 3];

/// Pictures of one size laid out row by row, as Goodfellow et al. 2014 show neighbours: what they found, in a frame, beside what they looked for.
pub struct FramedSheet {
    shape: [usize; 3],
    scale: usize,
    columns: usize,
    /// `[H, W, 3]` with room for a frame, one after the other.
    cells: Vec<f32>,
    count: usize,
}

impl FramedSheet {
    /// An empty sheet of pictures `[H, W, C]`, C of 1, 3 or 4 (of which A is left out).
    #[must_use]
    pub fn new(shape: [usize; 3], columns: usize) -> Self {
        let scale = (64 / shape[0].max(shape[1]).max(1)).max(1);
        Self { shape, scale, columns, cells: Vec::new(), count: 0 }
    }

    /// Adds a picture, `[H, W, C]` in [−1, 1]; without a frame there is white around it.
    ///
    /// # Panics
    /// When it has not the shape of the sheet.
    #[track_caller]
    pub fn add(&mut self, picture: &[f32], frame: Option<FrameColor>) {
        let [h, w, c] = self.shape;
        assert_eq!(
            picture.len(),
            h * w * c,
            "FramedSheet: a picture of another shape than {:?}",
            self.shape
        );
        let frame = frame.unwrap_or([1.0; 3]);
        let [tall, wide] = [h * self.scale + 2 * THICK, w * self.scale + 2 * THICK];
        for y in 0..tall {
            for x in 0..wide {
                let inside =
                    (THICK..tall - THICK).contains(&y) && (THICK..wide - THICK).contains(&x);
                let at = || (((y - THICK) / self.scale) * w + (x - THICK) / self.scale) * c;
                let pixel = match (inside, c) {
                    (false, _) => frame,
                    (true, 1) => [picture[at()]; 3],
                    (true, _) => std::array::from_fn(|i| picture[at() + i]),
                };
                self.cells.extend(pixel);
            }
        }
        self.count += 1;
    }

    /// The sheet as a picture.
    ///
    /// # Errors
    /// No pictures, or too many.
    pub fn draw(&self) -> Result<DynamicImage, EvalError> {
        let [tall, wide] =
            [self.shape[0] * self.scale + 2 * THICK, self.shape[1] * self.scale + 2 * THICK];
        let options = GridOptions { columns: self.columns, padding: 1, scale: 1, background: 255 };
        Ok(grid::grid(&self.cells, [self.count, tall, wide, 3], options)?)
    }
}
