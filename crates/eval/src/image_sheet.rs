//! Image sheets: rows of small images of one shape, some of them in colored frames.
//!
//! ```
//! use eval::image_sheet::ImageSheet;
//!
//! let mut sheet = ImageSheet::new([2, 2, 1], 3);
//! sheet.row([Some(&[0.0; 4][..]), None]);
//! let image = sheet.draw()?;
//! assert!(image.width() > image.height());
//! # Ok::<(), eval::EvalError>(())
//! ```

use crate::EvalError;
use image::DynamicImage;
use runs::{GridOptions, grid};
use std::path::Path;

/// Width of a frame's side, in pixels after enlarging.
const FRAME: usize = 3;

/// The color of a frame, RGB in [−1, 1].
pub type FrameColor = [f32; 3];

/// Images of one shape, row by row; what is missing is white.
pub struct ImageSheet {
    /// `[H, W, C]` of an image.
    shape: [usize; 3],
    columns: usize,
    /// The factor by which images are enlarged before frames are drawn; `None` without frames.
    framed: Option<usize>,
    /// The cells, one after the other.
    cells: Vec<f32>,
}

impl ImageSheet {
    /// An empty sheet for images `[H, W, C]`.
    pub fn new(shape: [usize; 3], columns: usize) -> Self {
        Self { shape, columns, framed: None, cells: Vec::new() }
    }

    /// An empty sheet with space for frames, for images `[H, W, C]` with 1, 3 or 4 channels (of
    /// which the fourth is ignored): nearest neighbors framed next to their query, as in Goodfellow
    /// et al. 2014.
    pub fn framed(shape: [usize; 3], columns: usize) -> Self {
        let scale = GridOptions::for_size([shape[0], shape[1]]).scale;
        Self { framed: Some(scale), ..Self::new(shape, columns) }
    }

    /// `[H, W, C]` of a cell.
    fn cell(&self) -> [usize; 3] {
        let [h, w, _] = self.shape;
        match self.framed {
            Some(scale) => [h * scale + 2 * FRAME, w * scale + 2 * FRAME, 3],
            None => self.shape,
        }
    }

    /// Adds an image `[H, W, C]` in [−1, 1]. Without a frame it is surrounded by white.
    ///
    /// # Panics
    /// Panics if the image has another shape.
    #[track_caller]
    pub fn add(&mut self, image: &[f32], frame: Option<FrameColor>) {
        let [_, w, c] = self.shape;
        let size: usize = self.shape.iter().product();
        assert_eq!(
            image.len(),
            size,
            "ImageSheet: an image of another shape than {:?}",
            self.shape
        );
        let Some(scale) = self.framed else { return self.cells.extend_from_slice(image) };
        let frame = frame.unwrap_or([1.0; 3]);
        let [height, width, _] = self.cell();
        for y in 0..height {
            for x in 0..width {
                let inside =
                    (FRAME..height - FRAME).contains(&y) && (FRAME..width - FRAME).contains(&x);
                let at = || (((y - FRAME) / scale) * w + (x - FRAME) / scale) * c;
                let pixel = match (inside, c) {
                    (false, _) => frame,
                    (true, 1) => [image[at()]; 3],
                    (true, _) => std::array::from_fn(|i| image[at() + i]),
                };
                self.cells.extend(pixel);
            }
        }
    }

    /// Adds a white cell.
    pub fn add_blank(&mut self) {
        let size: usize = self.cell().iter().product();
        self.cells.resize(self.cells.len() + size, 1.0);
    }

    /// Adds a row of images without frames, filled up with white cells.
    ///
    /// # Panics
    /// Panics if there are more images than columns, or one has another shape.
    #[track_caller]
    pub fn row<'a>(&mut self, images: impl IntoIterator<Item = Option<&'a [f32]>>) {
        let mut count = 0;
        for image in images {
            match image {
                Some(image) => self.add(image, None),
                None => self.add_blank(),
            }
            count += 1;
        }
        assert!(count <= self.columns, "ImageSheet: {count} images in {} columns", self.columns);
        (count..self.columns).for_each(|_| self.add_blank());
    }

    fn options(&self) -> GridOptions {
        let [h, w, _] = self.cell();
        let options = match self.framed {
            // The images are enlarged already.
            Some(_) => GridOptions { columns: 1, padding: 1, scale: 1, background: 255 },
            None => GridOptions::for_size([h, w]),
        };
        GridOptions { columns: self.columns, ..options }
    }

    /// Checks that a sheet of `count` cells can be drawn, before its images are made.
    ///
    /// # Errors
    /// Returns an error if it would be too large.
    pub fn check_size(&self, count: usize) -> Result<(), EvalError> {
        let [h, w, _] = self.cell();
        self.options().size(count, [h, w])?;
        Ok(())
    }

    /// Draws the sheet. Small images are enlarged.
    ///
    /// # Errors
    /// Returns an error if the sheet is empty or too large, or the channels cannot be drawn.
    pub fn draw(&self) -> Result<DynamicImage, EvalError> {
        let [h, w, c] = self.cell();
        let count = self.cells.len() / (h * w * c).max(1);
        Ok(grid::grid(&self.cells, [count, h, w, c], self.options())?)
    }

    /// Draws the sheet and writes it as a PNG, atomically.
    ///
    /// # Errors
    /// Returns the errors of [`draw`](Self::draw), and an error if the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), EvalError> {
        Ok(grid::save_png(path, &self.draw()?)?)
    }
}
