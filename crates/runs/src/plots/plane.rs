//! A square panel of a plot that shows a part of the plane.

use super::{Anchor, Area, DrawError, INK, text};
use plotters::prelude::*;

/// A square of the sheet that shows [−extent, extent] of both axes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct PlanePanel {
    /// Left edge in pixels.
    pub left: i32,
    /// Upper edge in pixels.
    pub top: i32,
    /// Side in pixels.
    pub side: i32,
    /// Largest coordinate that is shown.
    pub extent: f64,
}

impl PlanePanel {
    /// The pixel of a point, also of one outside.
    pub fn at(&self, [x, y]: [f64; 2]) -> (i32, i32) {
        let scale = f64::from(self.side) / (2.0 * self.extent);
        // Clamped far outside, where the drawing library would overflow.
        let pixel = |v: f64| ((v + self.extent) * scale).clamp(-1e6, 1e6).round() as i32;
        (self.left + pixel(x), self.top + pixel(-y))
    }

    /// Whether a point is inside.
    pub fn contains(&self, point: [f64; 2]) -> bool {
        point.iter().all(|v| v.abs() < self.extent)
    }

    /// The part inside of the line from `a` to `b` (Liang & Barsky 1984), if there is one and both
    /// ends are finite.
    pub fn clip(&self, a: [f64; 2], b: [f64; 2]) -> Option<[[f64; 2]; 2]> {
        let (mut from, mut to) = (0.0f64, 1.0f64);
        for axis in 0..2 {
            let along = b[axis] - a[axis];
            let edges = [(-along, a[axis] + self.extent), (along, self.extent - a[axis])];
            for (rate, distance) in edges {
                match rate {
                    rate if rate < 0.0 => from = from.max(distance / rate),
                    rate if rate > 0.0 => to = to.min(distance / rate),
                    // Parallel to the edge; outside of it, or not finite, is rejected below.
                    _ if distance >= 0.0 => {}
                    _ => return None,
                }
            }
        }
        let at = |t: f64| [a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1])];
        let part = [at(from), at(to)];
        (from < to && part.as_flattened().iter().all(|v| v.is_finite())).then_some(part)
    }

    /// Draws the frame, ticks at these coordinates, and their labels.
    ///
    /// # Errors
    /// Returns the error of the drawing library.
    pub fn axes(&self, area: &Area<'_>, ticks: &[i32], size: i32) -> Result<(), DrawError> {
        let bottom = self.top + self.side;
        for &tick in ticks {
            let (x, y) = self.at([f64::from(tick); 2]);
            for ends in [[(x, bottom), (x, bottom + 8)], [(self.left - 8, y), (self.left, y)]] {
                area.draw(&PathElement::new(ends, INK.stroke_width(2)))?;
            }
            let below = (x, bottom + 12 + size / 2);
            text(area, &tick.to_string(), below, size, INK, Anchor::Center)?;
            text(area, &tick.to_string(), (self.left - 14, y), size, INK, Anchor::Right)?;
        }
        self.border(area)
    }

    /// Draws the frame alone.
    ///
    /// # Errors
    /// Returns the error of the drawing library.
    pub fn border(&self, area: &Area<'_>) -> Result<(), DrawError> {
        for grow in 0..2 {
            let (low, high) = ((self.left - grow, self.top - grow), self.side + grow);
            area.draw(&Rectangle::new([low, (self.left + high, self.top + high)], INK))?;
        }
        Ok(())
    }
}
