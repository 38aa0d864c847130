//! Latent walks (Radford et al. 2016, §6.1): interpolation between random points, and how smoothly
//! the images change on the way.

use super::image_error::rms;
use super::sample_spec::{Cell, LatentCombination, SampleSpec};
use super::weighted_sum::{InterpolationPath, interpolation_weights};
use crate::stats::mean;
use tensor::Tensor;

/// A closed walk over points: each segment leads to the next point, the last one back to the
/// first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walk {
    /// The number of points, and of segments; at least 2.
    pub points: usize,
    /// Steps of a segment, at least 1.
    pub steps: usize,
    /// How a segment interpolates.
    pub path: InterpolationPath,
}

impl Walk {
    /// The latents on one segment: `count` of them, at least 2, both ends included. `points` are
    /// `[points, latent]`. Conditions are always interpolated linearly.
    pub fn segment(&self, points: &Tensor, segment: usize, count: usize) -> Vec<LatentCombination> {
        let (from, to) = (segment % self.points, (segment + 1) % self.points);
        let (values, width) = (points.to_vec(), points.shape()[1]);
        let row = |i: usize| &values[i * width..][..width];
        let at = |i: usize| {
            let t = i as f64 / (count - 1) as f64;
            let terms = |path| {
                let [a, b] = interpolation_weights(row(from), row(to), t, path);
                vec![(from, a), (to, b)]
            };
            LatentCombination {
                latent: terms(self.path),
                condition: (self.path == InterpolationPath::Spherical)
                    .then(|| terms(InterpolationPath::Linear)),
            }
        };
        (0..count).map(at).collect()
    }

    /// The images of all segments, `columns` of each, one segment after the other.
    pub fn rows(&self, points: &Tensor, columns: usize, base: SampleSpec) -> SampleSpec {
        let combinations: Vec<LatentCombination> =
            (0..self.points).flat_map(|i| self.segment(points, i, columns)).collect();
        let cells = (0..combinations.len()).map(Cell::Image).collect();
        SampleSpec { cells, combinations, ..base }
    }

    /// The images of the whole walk, step by step: `points · steps` images, of which the last is a
    /// step away from the first.
    pub fn steps(&self, points: &Tensor, base: SampleSpec) -> SampleSpec {
        let segment = |i| self.segment(points, i, self.steps + 1).into_iter().take(self.steps);
        SampleSpec { combinations: (0..self.points).flat_map(segment).collect(), ..base }
    }
}

/// How images change along a walk. Changes are root mean squares over pixels and channels, in gray
/// levels of 255.
#[derive(Clone, Debug, PartialEq)]
pub struct Smoothness {
    /// The mean change of a step.
    pub mean: f64,
    /// The largest change of a step.
    pub largest: f64,
    /// The segment, from 0, with the largest change, and the step of it.
    pub at: [usize; 2],
    /// The mean difference between the images of two points.
    pub point_distance: f64,
    /// Mean and largest change of each segment.
    pub segments: Vec<[f64; 2]>,
}

impl Smoothness {
    /// Measures `images`, `[points · steps, …]` in [−1, 1], the images of [`Walk::steps`].
    ///
    /// # Panics
    /// Panics if the number of images is another.
    #[track_caller]
    pub fn of(images: &[f32], walk: &Walk) -> Self {
        let count = walk.points * walk.steps;
        assert!(
            count > 0 && images.len().is_multiple_of(count),
            "Smoothness: {} values for {count} images",
            images.len()
        );
        let size = images.len() / count;
        let image = |i: usize| &images[i % count * size..][..size];
        let changes: Vec<f64> = (0..count).map(|i| rms(image(i), image(i + 1))).collect();
        let (top, largest) = changes
            .iter()
            .enumerate()
            .fold((0, 0.0), |(at, most), (i, &d)| if d > most { (i, d) } else { (at, most) });
        let pairs = (0..walk.points).flat_map(|i| (0..i).map(move |j| (i, j)));
        let distances: Vec<f64> =
            pairs.map(|(i, j)| rms(image(i * walk.steps), image(j * walk.steps))).collect();
        let segments = changes
            .chunks(walk.steps)
            .map(|segment| [mean(segment), segment.iter().copied().fold(0.0, f64::max)])
            .collect();
        Self {
            mean: mean(&changes),
            largest,
            at: [top / walk.steps, top % walk.steps],
            point_distance: mean(&distances),
            segments,
        }
    }

    /// Whether a single step changes the image half as much as another point would: a generator
    /// that has memorized its training images jumps from one to the next.
    pub fn jumps(&self) -> bool {
        self.largest >= 0.5 * self.point_distance
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latent::{LatentSource, combine};
    use runs::GridOptions;

    const WALK: Walk = Walk { points: 3, steps: 4, path: InterpolationPath::Linear };

    fn points() -> Tensor {
        Tensor::from_slice(&[0.0, 1.0, 2.0, 0.0, -2.0, 0.0], [3, 2])
    }

    fn base() -> SampleSpec {
        let latents = vec![LatentSource::of_rows(0, None, &[0, 1, 2])];
        SampleSpec::plain(latents, None, GridOptions::default())
    }

    fn latents(all: &[LatentCombination]) -> Vec<f32> {
        let sums: Vec<_> = all.iter().map(|own| own.latent.clone()).collect();
        combine(&points(), &sums).to_vec()
    }

    #[test]
    fn segments_lead_from_point_to_point_and_back() {
        let rows = WALK.rows(&points(), 3, base());
        assert_eq!(
            latents(&rows.combinations),
            [
                0.0, 1.0, 1.0, 0.5, 2.0, 0.0, 2.0, 0.0, 0.0, 0.0, -2.0, 0.0, -2.0, 0.0, -1.0, 0.5,
                0.0, 1.0
            ]
        );
        assert_eq!(rows.cells.len(), 9);
        let steps = WALK.steps(&points(), base());
        assert_eq!(steps.combinations.len(), 12);
        assert_eq!(latents(&steps.combinations[..2]), [0.0, 1.0, 0.5, 0.75]);
        assert_eq!(latents(&steps.combinations[11..]), [-0.5, 0.75], "one step before the first");
        // On the circle latents rotate, conditions do not.
        let spherical =
            Walk { path: InterpolationPath::Spherical, ..WALK }.segment(&points(), 0, 3);
        assert!((spherical[1].latent[0].1 - 0.5f32.sqrt()).abs() < 1e-6, "{:?}", spherical[1]);
        assert_eq!(spherical[1].condition, Some(vec![(0, 0.5), (1, 0.5)]));
    }

    #[test]
    fn jumps_are_distinguished_from_even_walks() {
        // Images of one pixel; the walk goes 0 → 0.8 → 0.4 → 0, evenly within each segment.
        let even: Vec<f32> =
            [[0.0, 0.2, 0.4, 0.6], [0.8, 0.7, 0.6, 0.5], [0.4, 0.3, 0.2, 0.1]].concat();
        let found = Smoothness::of(&even, &WALK);
        let near = |a: f64, b: f64| (a - b).abs() < 1e-3;
        assert!(near(found.mean, 127.5 * 1.6 / 12.0), "{found:?}");
        assert!(near(found.largest, 127.5 * 0.2), "{found:?}");
        assert!(near(found.point_distance, 127.5 * 1.6 / 3.0), "{found:?}");
        assert!(near(found.segments[1][0], 12.75), "{found:?}");
        assert!(found.at[0] == 0 && !found.jumps(), "{found:?}");
        // Memorized: the image of the nearest point, all along.
        let memorized: Vec<f32> =
            [[0.0, 0.0, 0.0, 0.8], [0.8, 0.8, 0.4, 0.4], [0.4, 0.4, 0.0, 0.0]].concat();
        let found = Smoothness::of(&memorized, &WALK);
        assert!(found.jumps() && found.at == [0, 2] && near(found.largest, 102.0), "{found:?}");
    }
}
