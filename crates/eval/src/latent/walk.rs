//! A walk in latent space (Radford et al. 2016, §6.1): interpolation_weights random points, one row from each to the next.

use super::invert::rms;
use super::sample_spec::{Cell, LatentCombination, SampleSpec};
use super::weighted_sum::{InterpolationPath, interpolation_weights};
use tensor::Tensor;

/// A closed walk over points: each segment leads to the next point, the last one back to the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walk {
    /// The points, and so the segments; at least 2.
    pub points: usize,
    /// Steps of a segment, at least 1.
    pub steps: usize,
    /// How a segment leads from one point to the next.
    pub path: InterpolationPath,
}

impl Walk {
    /// What the pictures on segment `segment` are drawn from: `count` of them, at least 2, both ends included. `points` are `[points, latent]`. Conditions are always joined straight.
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
                of: terms(self.path),
                told: (self.path == InterpolationPath::Spherical)
                    .then(|| terms(InterpolationPath::Linear)),
            }
        };
        (0..count).map(at).collect()
    }

    /// The drawing with a row for each segment, of `columns` pictures.
    pub fn rows(&self, points: &Tensor, columns: usize, base: SampleSpec) -> SampleSpec {
        let mixes: Vec<LatentCombination> =
            (0..self.points).flat_map(|segment| self.segment(points, segment, columns)).collect();
        SampleSpec { cells: (0..mixes.len()).map(Cell::Drawn).collect(), mixes, ..base }
    }

    /// The drawing of the whole walk, step by step: `points · steps` pictures, of which the last is a step away from the first.
    pub fn steps(&self, points: &Tensor, base: SampleSpec) -> SampleSpec {
        let segment =
            |segment| self.segment(points, segment, self.steps + 1).into_iter().take(self.steps);
        SampleSpec { mixes: (0..self.points).flat_map(segment).collect(), ..base }
    }
}

/// How pictures change along a walk. Changes are root mean squares over pixels and channels, in grey levels of 255.
#[derive(Clone, Debug, PartialEq)]
pub struct Smoothness {
    /// The mean change of a step.
    pub mean: f64,
    /// The largest change of a step.
    pub largest: f64,
    /// The segment, from 0, with the largest change, and the step of it.
    pub at: [usize; 2],
    /// The mean difference interpolation_weights the pictures of two points.
    pub apart: f64,
    /// Mean and largest change of each segment.
    pub segments: Vec<[f64; 2]>,
}

impl Smoothness {
    /// Measures `images`, `[points · steps, …]` in [−1, 1], the pictures of [`Walk::steps`].
    ///
    /// # Panics
    /// When there are not as many.
    #[track_caller]
    pub fn of(images: &[f32], walk: &Walk) -> Self {
        let count = walk.points * walk.steps;
        assert!(
            count > 0 && images.len().is_multiple_of(count),
            "Smoothness: {} values for {count} pictures",
            images.len()
        );
        let picture =
            |i: usize| &images[i % count * (images.len() / count)..][..images.len() / count];
        let changes: Vec<f64> = (0..count).map(|i| rms(picture(i), picture(i + 1))).collect();
        let (top, largest) = changes
            .iter()
            .enumerate()
            .fold((0, 0.0), |(at, most), (i, &d)| if d > most { (i, d) } else { (at, most) });
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
        let pairs = (0..walk.points).flat_map(|i| (0..i).map(move |j| (i, j)));
        let apart: Vec<f64> =
            pairs.map(|(i, j)| rms(picture(i * walk.steps), picture(j * walk.steps))).collect();
        let segments = changes
            .chunks(walk.steps)
            .map(|segment| [mean(segment), segment.iter().copied().fold(0.0, f64::max)])
            .collect();
        Self {
            mean: mean(&changes),
            largest,
            at: [top / walk.steps, top % walk.steps],
            apart: mean(&apart),
            segments,
        }
    }

    /// Whether a single step changes the picture half as much as another point would: a network that only knows pictures by heart jumps from one to the next.
    pub fn jumps(&self) -> bool {
        self.largest >= 0.5 * self.apart
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
        SampleSpec::plain(
            vec![LatentSource::of_rows(0, None, &[0, 1, 2])],
            None,
            GridOptions::default(),
        )
    }

    fn latents(mixes: &[LatentCombination]) -> Vec<f32> {
        combine(&points(), &mixes.iter().map(|mix| mix.of.clone()).collect::<Vec<_>>()).to_vec()
    }

    #[test]
    fn legs_lead_from_point_to_point_and_back_to_the_first() {
        let rows = WALK.rows(&points(), 3, base());
        assert_eq!(
            latents(&rows.mixes),
            [
                0.0, 1.0, 1.0, 0.5, 2.0, 0.0, 2.0, 0.0, 0.0, 0.0, -2.0, 0.0, -2.0, 0.0, -1.0, 0.5,
                0.0, 1.0
            ]
        );
        assert_eq!(rows.cells.len(), 9);
        let steps = WALK.steps(&points(), base());
        assert_eq!(steps.mixes.len(), 12);
        assert_eq!(latents(&steps.mixes[..2]), [0.0, 1.0, 0.5, 0.75]);
        assert_eq!(latents(&steps.mixes[11..]), [-0.5, 0.75], "one step before the first");
        // On the circle the latents turn, the conditions do not.
        let turned = Walk { path: InterpolationPath::Spherical, ..WALK }.segment(&points(), 0, 3);
        assert!((turned[1].of[0].1 - 0.5f32.sqrt()).abs() < 1e-6, "{:?}", turned[1]);
        assert_eq!(turned[1].told, Some(vec![(0, 0.5), (1, 0.5)]));
    }

    #[test]
    fn a_jump_is_told_from_an_even_walk() {
        // Pictures of one pixel; the walk goes 0 → 0.8 → 0.4 → 0, evenly within each segment.
        let even: Vec<f32> =
            [[0.0, 0.2, 0.4, 0.6], [0.8, 0.7, 0.6, 0.5], [0.4, 0.3, 0.2, 0.1]].concat();
        let found = Smoothness::of(&even, &WALK);
        assert!(
            (found.mean - 127.5 * 1.6 / 12.0).abs() < 1e-3
                && (found.largest - 127.5 * 0.2).abs() < 1e-3,
            "{found:?}"
        );
        assert!(
            (found.apart - 127.5 * 1.6 / 3.0).abs() < 1e-3 && found.at[0] == 0 && !found.jumps(),
            "{found:?}"
        );
        assert!((found.segments[1][0] - 12.75).abs() < 1e-3);
        // By heart: the picture of the nearest point, all along.
        let heart: Vec<f32> =
            [[0.0, 0.0, 0.0, 0.8], [0.8, 0.8, 0.4, 0.4], [0.4, 0.4, 0.0, 0.0]].concat();
        let found = Smoothness::of(&heart, &WALK);
        assert!(
            found.jumps() && found.at == [0, 2] && (found.largest - 102.0).abs() < 1e-3,
            "{found:?}"
        );
    }
}
