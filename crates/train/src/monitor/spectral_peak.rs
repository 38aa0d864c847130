//! The strongest short spatial frequency of a set of images: detects periodic artifacts.
//!
//! Radford et al. 2016 end with "a form of model instability": as models are trained longer, they
//! sometimes collapse a subset of filters to a single oscillating mode. Such a filter puts the same
//! fine stripes or checkerboard into every image. In the power spectrum that is one sharp peak,
//! while edges and textures spread over many frequencies and their power falls with the frequency.
//! So this measures the share of the strongest peak in the power of all frequencies with periods of
//! at most 6 pixels: longer periods are the shapes of objects. A checkerboard measure would only
//! detect period 2, which strided convolutions leave in healthy young generators too.

use std::f64::consts::TAU;

/// The longest period in pixels; longer ones are shapes.
const MAX_PERIOD: f64 = 6.0;
/// The side of the central crop in pixels that is transformed.
const CROP: usize = 64;

/// The strongest short spatial frequency.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SpectralPeak {
    /// The peak's share in the power of all short periods, in [0, 1].
    pub share: f64,
    /// The peak's root mean square.
    pub amplitude: f64,
    /// The peak's period in pixels.
    pub period: f64,
}

/// The strongest frequency of images `[H, W, C]` taken together, each channel's mean subtracted.
pub(super) fn strongest(images: &[&[f32]], shape: [usize; 3]) -> SpectralPeak {
    let [height, width] = [shape[0].min(CROP), shape[1].min(CROP)];
    let power = folded_power(images, shape, [height, width]);
    let [rows, columns] = [height / 2 + 1, width / 2 + 1];
    let frequency = |row: usize, column: usize| {
        (row as f64 / height as f64).hypot(column as f64 / width as f64)
    };
    let short = |row: usize, column: usize| {
        let largest = (row as f64 / height as f64).max(column as f64 / width as f64);
        largest >= 1.0 / MAX_PERIOD
    };
    let all: f64 =
        (0..rows * columns).filter(|k| short(k / columns, k % columns)).map(|k| power[k]).sum();
    if all <= 0.0 {
        return SpectralPeak::default();
    }
    let candidates = (0..rows * columns).filter(|k| short(k / columns, k % columns));
    let strongest = candidates.max_by(|&a, &b| power[a].total_cmp(&power[b]));
    let Some((row, column)) = strongest.map(|k| (k / columns, k % columns)) else {
        return SpectralPeak::default();
    };
    // A period that does not divide the side leaks into the neighboring frequencies.
    let near = |k: usize, n: usize| k.saturating_sub(1)..(k + 2).min(n);
    let bins = near(row, rows).flat_map(|r| near(column, columns).map(move |c| (r, c)));
    let peak: f64 = bins.filter(|&(r, c)| short(r, c)).map(|(r, c)| power[r * columns + c]).sum();
    SpectralPeak { share: peak / all, amplitude: peak.sqrt(), period: 1.0 / frequency(row, column) }
}

/// The power spectrum `[H/2 + 1, W/2 + 1]`: mean squares of each frequency, all four signs
/// together, averaged over images and channels.
fn folded_power(images: &[&[f32]], [h, w, c]: [usize; 3], [height, width]: [usize; 2]) -> Vec<f64> {
    let [rows, columns] = [height / 2 + 1, width / 2 + 1];
    let [top, left] = [(h - height) / 2, (w - width) / 2];
    let (by_row, by_column) = (cos_sin(height, height), cos_sin(columns, width));
    let mut power = vec![0.0; rows * columns];
    let scale = 1.0 / ((height * width) as f64).powi(2) / (images.len() * c).max(1) as f64;
    for image in images {
        for channel in 0..c {
            let pixel =
                |y: usize, x: usize| f64::from(image[((top + y) * w + left + x) * c + channel]);
            let mean = (0..height * width).map(|k| pixel(k / width, k % width)).sum::<f64>()
                / (height * width) as f64;
            // The DFT is separable: along rows first, `[H, W/2 + 1]`.
            let mut half = vec![(0.0, 0.0); height * columns];
            for y in 0..height {
                for k in 0..columns {
                    let wave = &by_column[k * width..][..width];
                    half[y * columns + k] =
                        wave.iter().enumerate().fold((0.0, 0.0), |(re, im), (x, (cos, sin))| {
                            let value = pixel(y, x) - mean;
                            (re + value * cos, im - value * sin)
                        });
                }
            }
            for k in 0..height {
                let wave = &by_row[k * height..][..height];
                for column in 0..columns {
                    let (re, im) =
                        wave.iter().enumerate().fold((0.0, 0.0), |(re, im), (y, (cos, sin))| {
                            let (a, b) = half[y * columns + column];
                            (re + a * cos + b * sin, im + b * cos - a * sin)
                        });
                    // A real signal's other half of the columns is the mirror of this one.
                    let twice = if column == 0 || 2 * column == width { 1.0 } else { 2.0 };
                    power[k.min(height - k) * columns + column] +=
                        twice * (re * re + im * im) * scale;
                }
            }
        }
    }
    power
}

/// Cosine and sine of 2π·k·x/n, `[count, n]`.
fn cos_sin(count: usize, n: usize) -> Vec<(f64, f64)> {
    (0..count * n)
        .map(|i| {
            let angle = TAU * ((i / n) * (i % n) % n) as f64 / n as f64;
            (angle.cos(), angle.sin())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(side: usize, f: impl Fn(f64, f64) -> f64) -> Vec<f32> {
        (0..side * side).map(|k| f((k / side) as f64, (k % side) as f64) as f32).collect()
    }

    #[test]
    fn power_is_that_of_the_image() {
        // Parseval: all mean squares add up to the image's own.
        for side in [28, 15] {
            let values = image(side, |y, x| (y * 0.3).sin() * 0.5 + (x * x * 0.01 + y).cos());
            let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / values.len() as f64;
            let own = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>()
                / values.len() as f64;
            let power: f64 = folded_power(&[&values], [side, side, 1], [side, side]).iter().sum();
            assert!((power - own).abs() < 1e-9 * own, "{power} {own}");
        }
    }

    #[test]
    fn a_wave_is_found_with_its_period_and_amplitude() {
        let shapes = |y: f64, x: f64| if (y - 14.0).hypot(x - 12.0) < 9.0 { 0.8 } else { -0.9 };
        for (fy, fx) in [(0.0, 0.25), (0.5, 0.5), (0.21, 0.0), (0.3, 0.19)] {
            let wave = |y: f64, x: f64| (TAU * (fy * y + fx * x) + 0.3).cos();
            let values = image(32, |y, x| shapes(y, x) + 0.5 * wave(y, x));
            let found = strongest(&[&values], [32, 32, 1]);
            assert!(found.share > 0.5, "{fy} {fx}: {found:?}");
            let period = 1.0 / f64::hypot(fy, fx);
            assert!((found.period - period).abs() < 0.12 * period, "{fy} {fx}: {found:?}");
            assert!(found.amplitude > 0.25 && found.amplitude < 0.5, "{fy} {fx}: {found:?}");
        }
        let plain = strongest(&[&image(32, shapes)], [32, 32, 1]);
        assert!(plain.share < 0.3, "{plain:?}");
        assert_eq!(strongest(&[&[0.5; 64]], [8, 8, 1]).share, 0.0);
    }
}
