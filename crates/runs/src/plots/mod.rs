//! A white sheet to draw charts on, and a typeface that needs none of the system's.

pub mod losses;

use image::RgbImage;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};

/// The typeface of all text.
pub const FONT: &str = "hack";

/// Where charts are drawn.
pub type Area<'a> = DrawingArea<BitMapBackend<'a>, Shift>;
/// What went wrong while drawing.
pub type Failure = Box<dyn std::error::Error>;

/// What `draw` draws on a white sheet of `width` × `height` pixels: the same everywhere, also where no font is installed.
///
/// # Errors
/// Those of `draw`.
pub fn paint(
    (width, height): (u32, u32),
    draw: impl FnOnce(&Area<'_>) -> Result<(), Failure>,
) -> Result<RgbImage, Failure> {
    register_font(FONT, FontStyle::Normal, epaint_default_fonts::HACK_REGULAR)
        .map_err(|_| "the built-in font is broken")?;
    let mut pixels = vec![255; (width * height * 3) as usize];
    {
        let area = BitMapBackend::with_buffer(&mut pixels, (width, height)).into_drawing_area();
        draw(&area)?;
        area.present()?;
    }
    RgbImage::from_raw(width, height, pixels).ok_or_else(|| "the sheet has the wrong size".into())
}
