//! Scatter plot of feature vectors in the plane of their first two principal components (PCA).

use crate::EvalError;
use image::DynamicImage;
use nalgebra::{DMatrix, SymmetricEigen};
use plotters::prelude::*;
use runs::plots::{self, Area, DrawError, FONT};
use tensor::Tensor;
use tensor::rng::Philox;

/// The most points of a plot: more would hide each other.
pub const MAX_POINTS: usize = 1000;
/// The most classes that have distinguishable colors.
const MAX_COLORS: usize = 20;

const SIZE: (u32, u32) = (900, 640);
/// Left edge of the legend.
const LEGEND: i32 = 690;
/// Height of a line of the legend.
const LINE: i32 = 27;

/// Directions in the subspace iteration that finds the first two, and its iterations: the ninth
/// direction vanishes after so many multiplications, unless its variance equals that of the second.
const BLOCK: usize = 8;
const ROUNDS: usize = 60;

/// The classes of rows.
#[derive(Clone, Copy)]
pub struct PlotClasses<'a> {
    /// The class of each row.
    pub of: &'a [usize],
    /// The classes' names.
    pub names: &'a [String],
}

/// Draws rows of `width` values as points in the plane of their first two principal components,
/// colored by class if there are at most 20; 900 × 640 pixels. The axes show the explained
/// variance.
///
/// # Errors
/// Returns an error if there are no rows, more than [`MAX_POINTS`], the values do not fill the last
/// row, or there is not one class for each row.
pub fn scatter(
    rows: &[f32],
    width: usize,
    classes: Option<PlotClasses<'_>>,
) -> Result<DynamicImage, EvalError> {
    let count = rows.len() / width.max(1);
    if count == 0 || count > MAX_POINTS || rows.len() != count * width {
        return Err(EvalError::ScatterRows { values: rows.len(), width, most: MAX_POINTS });
    }
    let wrong = |classes: &PlotClasses<'_>| {
        classes.of.len() != count || classes.of.iter().any(|&class| class >= classes.names.len())
    };
    if classes.as_ref().is_some_and(wrong) {
        return Err(EvalError::ScatterClasses { rows: count });
    }
    let plane = Plane::of(rows, width);
    let classes = classes.filter(|classes| classes.names.len() <= MAX_COLORS);
    let drawn = plots::paint("the points", SIZE, |sheet| draw(sheet, &plane, classes));
    Ok(drawn.map(DynamicImage::ImageRgb8)?)
}

/// Points in the plane of the first two principal components.
struct Plane {
    points: Vec<(f64, f64)>,
    /// The fraction of the variance that each component explains.
    explained: [f64; 2],
}

impl Plane {
    /// The eigenvectors of the Gram matrix of the centered rows, because rows are few and long.
    fn of(rows: &[f32], width: usize) -> Self {
        let count = rows.len() / width;
        let gram = gram(rows, width, count);
        let block = BLOCK.min(count);
        let start = Philox::new(0, 0).normal([count, block], 0.0, 1.0).to_vec();
        let mut basis = DMatrix::from_iterator(count, block, start.into_iter().map(f64::from));
        for _ in 0..ROUNDS {
            basis = (&gram * basis).qr().q();
        }
        let inner = SymmetricEigen::new(basis.transpose() * &gram * &basis);
        let mut order: Vec<usize> = (0..block).collect();
        order.sort_by(|&a, &b| inner.eigenvalues[b].total_cmp(&inner.eigenvalues[a]));
        let total = gram.trace();
        let along = |at: usize| match order.get(at) {
            Some(&own) if total > 0.0 => {
                let strength = inner.eigenvalues[own].max(0.0);
                let direction = &basis * inner.eigenvectors.column(own);
                // The sign is arbitrary; this one puts the longer side on the right.
                let sign = if direction.max() >= -direction.min() { 1.0 } else { -1.0 };
                (direction.iter().map(|v| v * sign * strength.sqrt()).collect(), strength / total)
            }
            _ => (vec![0.0; count], 0.0),
        };
        let ((x, first), (y, second)) = (along(0), along(1));
        Self { points: x.into_iter().zip(y).collect(), explained: [first, second] }
    }
}

/// The Gram matrix `[count, count]` of the rows minus their mean.
fn gram(rows: &[f32], width: usize, count: usize) -> DMatrix<f64> {
    let mut mean = vec![0f64; width];
    for row in rows.chunks_exact(width) {
        mean.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value) / count as f64);
    }
    let centered: Vec<f32> = rows
        .iter()
        .zip(mean.iter().cycle())
        .map(|(&value, mean)| (f64::from(value) - mean) as f32)
        .collect();
    let centered = Tensor::from_slice(&centered, [count, width]);
    let products = centered.matmul(&centered, false, true).to_vec();
    DMatrix::from_iterator(count, count, products.into_iter().map(f64::from))
}

fn draw(
    sheet: &Area<'_>,
    plane: &Plane,
    classes: Option<PlotClasses<'_>>,
) -> Result<(), DrawError> {
    let range = |of: fn(&(f64, f64)) -> f64| {
        let most = plane.points.iter().map(|point| of(point).abs()).fold(0.0, f64::max);
        let most = if most > 0.0 { 1.05 * most } else { 1.0 };
        -most..most
    };
    let (left, right) = sheet.split_horizontally(LEGEND);
    let mut chart = ChartBuilder::on(&left)
        .margin(14)
        .x_label_area_size(52)
        .y_label_area_size(72)
        .build_cartesian_2d(range(|point| point.0), range(|point| point.1))?;
    let title = |nth: &str, share: f64| {
        format!("{nth} principal component ({:.0} % of the variance)", 100.0 * share)
    };
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(RGBColor(225, 225, 225))
        .label_style((FONT, 14))
        .axis_desc_style((FONT, 16))
        .x_desc(title("first", plane.explained[0]))
        .y_desc(title("second", plane.explained[1]))
        .x_labels(6)
        .y_labels(6)
        .draw()?;
    let color = |row: usize| match &classes {
        Some(classes) => color(classes.of[row], classes.names.len()),
        None => HSLColor(0.0, 0.0, 0.35),
    };
    chart.draw_series(
        plane
            .points
            .iter()
            .enumerate()
            .map(|(row, &point)| Circle::new(point, 3, color(row).mix(0.75).filled())),
    )?;
    for (class, name) in classes.iter().flat_map(|classes| classes.names.iter().enumerate()) {
        let y = 30 + LINE * class as i32;
        let of = self::color(class, classes.map_or(1, |classes| classes.names.len()));
        right.draw(&Circle::new((14, y), 6, of.filled()))?;
        right.draw(&Text::new(shortened(name), (30, y - 9), (FONT, 17).into_font()))?;
    }
    Ok(())
}

/// Hues evenly around the color circle, every other one darker.
fn color(class: usize, count: usize) -> HSLColor {
    HSLColor(class as f64 / count as f64, 0.75, if class.is_multiple_of(2) { 0.5 } else { 0.34 })
}

/// A name shortened to fit the legend.
fn shortened(name: &str) -> String {
    const MAX_CHARS: usize = 17;
    if name.chars().count() <= MAX_CHARS {
        name.to_owned()
    } else {
        name.chars().take(MAX_CHARS - 1).chain(['…']).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The variance along (3, 4)/5 is 100 times that across, and nearly 0 otherwise.
    #[test]
    fn components_are_the_directions_of_most_variance() {
        let count = 400;
        let numbers = Philox::new(1, 0).normal([count, 3], 0.0, 1.0).to_vec();
        let rows: Vec<f32> = numbers
            .chunks(3)
            .flat_map(|n| [5.0 + 6.0 * n[0] - 0.8 * n[1], 8.0 * n[0] + 0.6 * n[1], 0.001 * n[2]])
            .collect();
        let plane = Plane::of(&rows, 3);
        let deviation = |of: fn(&(f64, f64)) -> f64| {
            (plane.points.iter().map(|p| of(p).powi(2)).sum::<f64>() / count as f64).sqrt()
        };
        let (long, short) = (deviation(|p| p.0), deviation(|p| p.1));
        assert!((long - 10.0).abs() < 1.0 && (short - 1.0).abs() < 0.1, "{long} {short}");
        assert!(
            (plane.explained[0] - 0.99).abs() < 0.01
                && (plane.explained.iter().sum::<f64>() - 1.0).abs() < 1e-5
        );
        // The position of each row follows from its values.
        let mean: f64 = numbers.chunks(3).map(|n| f64::from(n[0])).sum::<f64>() / count as f64;
        let sign = (plane.points[0].0 * (f64::from(numbers[0]) - mean)).signum();
        for (point, n) in plane.points.iter().zip(numbers.chunks(3)) {
            assert!(
                (sign * point.0 - 10.0 * (f64::from(n[0]) - mean)).abs() < 0.6,
                "{point:?} {n:?}"
            );
        }
    }

    #[test]
    fn classes_have_different_colors() {
        let rows: Vec<f32> = (0..40)
            .flat_map(|i| [if i % 2 == 0 { 4.0 } else { -4.0 }, (i / 2) as f32 * 0.1, 0.5])
            .collect();
        let of: Vec<usize> = (0..40).map(|i| i % 2).collect();
        let names = ["even".to_owned(), "odd".to_owned()];
        let image =
            scatter(&rows, 3, Some(PlotClasses { of: &of, names: &names })).unwrap().to_rgb8();
        assert_eq!(image.dimensions(), SIZE);
        // Of the saturated pixels inside the axes, red ones are on one side, blue-green ones on the
        // other.
        let side = |red: bool| {
            let places =
                (100..670u32).flat_map(|x| (20..560u32).map(move |y| (x, y))).filter(|&(x, y)| {
                    let [r, g, b] = image.get_pixel(x, y).0.map(i32::from);
                    (r.max(g).max(b) - r.min(g).min(b) > 90) && (r > b) == red
                });
            let xs: Vec<u32> = places.map(|(x, _)| x).collect();
            assert!(xs.len() > 100, "{red}: {} pixels", xs.len());
            (xs.iter().copied().min().unwrap(), xs.iter().copied().max().unwrap())
        };
        let (red, other) = (side(true), side(false));
        assert!(red.1 < other.0 || other.1 < red.0, "{red:?} {other:?}");

        let gray = scatter(&rows, 3, None).unwrap().to_rgb8();
        assert!(gray.pixels().all(|p| p.0[0].abs_diff(p.0[2]) < 20));
        // All points are equal.
        scatter(&[2.0; 6], 3, None).unwrap();
        for (rows, width) in [(&rows[..0], 3), (&rows[..4], 3), (&vec![0.0; MAX_POINTS + 1][..], 1)]
        {
            let error = scatter(rows, width, None).unwrap_err();
            assert!(
                matches!(error, EvalError::ScatterRows { values, .. } if values == rows.len()),
                "{error}"
            );
        }
        assert!(scatter(&rows, 3, Some(PlotClasses { of: &of[1..], names: &names })).is_err());
        assert!(scatter(&rows, 3, Some(PlotClasses { of: &of, names: &names[..1] })).is_err());
    }
}
