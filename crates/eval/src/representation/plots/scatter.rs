//! SvmRows of numbers as points in the plane of their two principal components.

use crate::EvalError;
use image::DynamicImage;
use nalgebra::{DMatrix, SymmetricEigen};
use plotters::prelude::*;
use runs::plots::{self, Area, DrawError, FONT};
use tensor::Tensor;
use tensor::rng::Philox;

/// The most points that are drawn: more hide each other.
pub const MAX_POINTS: usize = 1000;
/// The most classes that colours tell apart.
const COLOURS: usize = 20;

const SIZE: (u32, u32) = (900, 640);
/// Where the legend begins.
const LEGEND: i32 = 690;
/// PixelFeatures of a line of the legend.
const LINE: i32 = 27;

/// Directions that are followed to find two, and how often: what is left of the ninth direction after so many multiplications is nothing,
/// unless it is as long as the second.
const BLOCK: usize = 8;
const ROUNDS: usize = 60;

/// Which class each row belongs to.
#[derive(Clone, Copy)]
pub struct ClassLabels<'a> {
    /// The class of each row.
    pub of: &'a [usize],
    /// The classes' names.
    pub names: &'a [String],
}

/// SvmRows of `width` numbers as points, 900 × 640 pixels: along the two directions in which they vary most (principal components), with their
/// shares of the variance, and coloured by class where there are at most 20.
///
/// # Errors
/// No rows, rows of other lengths than `width`, other than one class for each, or more than a picture shows ([`MAX_POINTS`]).
pub fn scatter(
    rows: &[f32],
    width: usize,
    classes: Option<ClassLabels<'_>>,
) -> Result<DynamicImage, EvalError> {
    let failed = |reason: String| EvalError::Mismatch(format!("cannot draw the points: {reason}"));
    let count = rows.len() / width.max(1);
    if count == 0 || count > MAX_POINTS || rows.len() != count * width {
        return Err(failed(format!(
            "{} numbers in rows of {width}: 1 to {MAX_POINTS} rows can be shown",
            rows.len()
        )));
    }
    let wrong = |classes: &ClassLabels<'_>| {
        classes.of.len() != count || classes.of.iter().any(|&class| class >= classes.names.len())
    };
    if classes.as_ref().is_some_and(wrong) {
        return Err(failed(format!("{count} rows, and not one class for each")));
    }
    let plane = Plane::of(rows, width);
    let classes = classes.filter(|classes| classes.names.len() <= COLOURS);
    let drawn = plots::paint("the points", SIZE, |sheet| draw(sheet, &plane, classes));
    Ok(drawn.map(DynamicImage::ImageRgb8)?)
}

/// Points in the plane of the two principal components.
struct Plane {
    points: Vec<(f64, f64)>,
    /// Of the variance, that of each component.
    shares: [f64; 2],
}

impl Plane {
    /// By the eigenvectors of the Gram matrix of the centred rows: rows are few and long.
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
                // Either sign would do: the larger end is on the right.
                let sign = if direction.max() >= -direction.min() { 1.0 } else { -1.0 };
                (direction.iter().map(|v| v * sign * strength.sqrt()).collect(), strength / total)
            }
            _ => (vec![0.0; count], 0.0),
        };
        let ((x, first), (y, second)) = (along(0), along(1));
        Self { points: x.into_iter().zip(y).collect(), shares: [first, second] }
    }
}

/// Products of the rows with each other, `[count, count]`, after their mean is taken off.
fn gram(rows: &[f32], width: usize, count: usize) -> DMatrix<f64> {
    let mut mean = vec![0f64; width];
    for row in rows.chunks_exact(width) {
        mean.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value) / count as f64);
    }
    let centred: Vec<f32> = rows
        .iter()
        .zip(mean.iter().cycle())
        .map(|(&value, mean)| (f64::from(value) - mean) as f32)
        .collect();
    let centred = Tensor::from_slice(&centred, [count, width]);
    let products = centred.matmul(&centred, false, true).to_vec();
    DMatrix::from_iterator(count, count, products.into_iter().map(f64::from))
}

fn draw(
    sheet: &Area<'_>,
    plane: &Plane,
    classes: Option<ClassLabels<'_>>,
) -> Result<(), DrawError> {
    let room = |of: fn(&(f64, f64)) -> f64| {
        let most = plane.points.iter().map(|point| of(point).abs()).fold(0.0, f64::max);
        let most = if most > 0.0 { 1.05 * most } else { 1.0 };
        -most..most
    };
    let (left, right) = sheet.split_horizontally(LEGEND);
    let mut chart = ChartBuilder::on(&left)
        .margin(14)
        .x_label_area_size(52)
        .y_label_area_size(72)
        .build_cartesian_2d(room(|point| point.0), room(|point| point.1))?;
    let title = |nth: &str, share: f64| {
        format!("{nth} principal component ({:.0} % of the variance)", 100.0 * share)
    };
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(RGBColor(225, 225, 225))
        .label_style((FONT, 14))
        .axis_desc_style((FONT, 16))
        .x_desc(title("first", plane.shares[0]))
        .y_desc(title("second", plane.shares[1]))
        .x_labels(6)
        .y_labels(6)
        .draw()?;
    let colour = |row: usize| match &classes {
        Some(classes) => colour(classes.of[row], classes.names.len()),
        None => HSLColor(0.0, 0.0, 0.35),
    };
    chart.draw_series(
        plane
            .points
            .iter()
            .enumerate()
            .map(|(row, &point)| Circle::new(point, 3, colour(row).mix(0.75).filled())),
    )?;
    for (class, name) in classes.iter().flat_map(|classes| classes.names.iter().enumerate()) {
        let y = 30 + LINE * class as i32;
        let of = self::colour(class, classes.map_or(1, |classes| classes.names.len()));
        right.draw(&Circle::new((14, y), 6, of.filled()))?;
        right.draw(&Text::new(shortened(name), (30, y - 9), (FONT, 17).into_font()))?;
    }
    Ok(())
}

/// Around the circle of hues, every other one darker.
fn colour(class: usize, count: usize) -> HSLColor {
    HSLColor(class as f64 / count as f64, 0.75, if class.is_multiple_of(2) { 0.5 } else { 0.34 })
}

/// A name that fits the legend.
fn shortened(name: &str) -> String {
    const MOST: usize = 17;
    if name.chars().count() <= MOST {
        name.to_owned()
    } else {
        name.chars().take(MOST - 1).chain(['…']).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Along (3, 4)/5 ten times as far as across, and next to nothing else.
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
            (plane.shares[0] - 0.99).abs() < 0.01
                && (plane.shares.iter().sum::<f64>() - 1.0).abs() < 1e-5
        );
        // A row lies where its numbers say.
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
    fn classes_have_colours() {
        let rows: Vec<f32> = (0..40)
            .flat_map(|i| [if i % 2 == 0 { 4.0 } else { -4.0 }, (i / 2) as f32 * 0.1, 0.5])
            .collect();
        let of: Vec<usize> = (0..40).map(|i| i % 2).collect();
        let names = ["even".to_owned(), "odd".to_owned()];
        let picture =
            scatter(&rows, 3, Some(ClassLabels { of: &of, names: &names })).unwrap().to_rgb8();
        assert_eq!(picture.dimensions(), SIZE);
        // Of saturated pixels inside the axes: red ones on one side, the others, which are blue-green, on the other.
        let side = |red: bool| {
            let places =
                (100..670u32).flat_map(|x| (20..560u32).map(move |y| (x, y))).filter(|&(x, y)| {
                    let [r, g, b] = picture.get_pixel(x, y).0.map(i32::from);
                    (r.max(g).max(b) - r.min(g).min(b) > 90) && (r > b) == red
                });
            let xs: Vec<u32> = places.map(|(x, _)| x).collect();
            assert!(xs.len() > 100, "{red}: {} pixels", xs.len());
            (xs.iter().copied().min().unwrap(), xs.iter().copied().max().unwrap())
        };
        let (red, other) = (side(true), side(false));
        assert!(red.1 < other.0 || other.1 < red.0, "{red:?} {other:?}");

        let grey = scatter(&rows, 3, None).unwrap().to_rgb8();
        assert!(grey.pixels().all(|p| p.0[0].abs_diff(p.0[2]) < 20));
        // All in one place.
        scatter(&[2.0; 6], 3, None).unwrap();
        for (rows, width, what) in [
            (&rows[..0], 3, "0 numbers"),
            (&rows[..4], 3, "rows of 3"),
            (&vec![0.0; MAX_POINTS + 1][..], 1, "1 to 1000"),
        ] {
            let error = scatter(rows, width, None).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
        assert!(scatter(&rows, 3, Some(ClassLabels { of: &of[1..], names: &names })).is_err());
        assert!(scatter(&rows, 3, Some(ClassLabels { of: &of, names: &names[..1] })).is_err());
    }
}
