//! Plots: a white sheet to draw on with `plotters`, in a typeface that is compiled in, so that an
//! image is the same everywhere and needs no font of the system.
//!
//! ```
//! use plotters::prelude::*;
//! use runs::plots::{Anchor, BLUE, INK, paint, text};
//!
//! let image = paint("a circle", (80, 40), |area| {
//!     area.draw(&Circle::new((20, 20), 10, BLUE.filled()))?;
//!     text(area, "circle", (36, 20), 12, INK, Anchor::Left)
//! })
//! .unwrap();
//! assert_eq!(image.get_pixel(20, 20).0, [31, 119, 180]);
//! assert_eq!(image.get_pixel(0, 0).0, [255; 3]);
//! ```

mod animation;
mod bars;
mod diverging;
pub mod losses;
mod plane;

pub use animation::animate;
pub use bars::{Bar, bars};
pub use diverging::diverging;
pub use plane::PlanePanel;

use crate::ArtifactError;
pub use image::RgbImage;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontStyle, register_font};

/// The typeface of all text.
pub const FONT: &str = "hack";

/// Color of the first of two series, and of generated points.
pub const BLUE: RGBColor = RGBColor(31, 119, 180);
/// Color of the second of two series, and of real points.
pub const ORANGE: RGBColor = RGBColor(214, 98, 10);
/// Color of text and frames.
pub const INK: RGBColor = RGBColor(40, 40, 40);
/// Color of thin lines on a colormap.
pub const PALE: RGBColor = RGBColor(205, 205, 205);
/// Color of a chart's grid lines.
pub const GRID: RGBColor = RGBColor(225, 225, 225);

/// The drawing area of a plot.
pub type Area<'a> = DrawingArea<BitMapBackend<'a>, Shift>;
/// An error of the drawing library.
pub type DrawError = Box<dyn std::error::Error>;

/// Draws on a white sheet of `width` × `height` pixels; errors call the result `plot`.
///
/// # Errors
/// Returns [`ArtifactError::Plot`] if `draw` fails.
pub fn paint(
    plot: &'static str,
    (width, height): (u32, u32),
    draw: impl FnOnce(&Area<'_>) -> Result<(), DrawError>,
) -> Result<RgbImage, ArtifactError> {
    let painted = || -> Result<RgbImage, DrawError> {
        register_font(FONT, FontStyle::Normal, epaint_default_fonts::HACK_REGULAR)
            .map_err(|_| "the built-in font is invalid")?;
        let mut pixels = vec![255; (width * height * 3) as usize];
        {
            let area = BitMapBackend::with_buffer(&mut pixels, (width, height)).into_drawing_area();
            draw(&area)?;
            area.present()?;
        }
        RgbImage::from_raw(width, height, pixels)
            .ok_or_else(|| "the sheet has the wrong size".into())
    };
    painted().map_err(|error| ArtifactError::Plot { plot, reason: error.to_string() })
}

/// Horizontal alignment of a text to its point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Anchor {
    /// The text starts at the point.
    Left,
    /// The text is centered on the point.
    Center,
    /// The text ends at the point.
    Right,
}

/// Draws a line of text whose middle is at height `y`.
///
/// # Errors
/// Returns the error of the drawing library.
pub fn text(
    area: &Area<'_>,
    words: &str,
    (x, y): (i32, i32),
    size: i32,
    color: RGBColor,
    anchor: Anchor,
) -> Result<(), DrawError> {
    let side = match anchor {
        Anchor::Left => HPos::Left,
        Anchor::Center => HPos::Center,
        Anchor::Right => HPos::Right,
    };
    let style = (FONT, size).into_font().color(&color).pos(Pos::new(side, VPos::Center));
    area.draw(&Text::new(words.to_owned(), (x, y), style))?;
    Ok(())
}
