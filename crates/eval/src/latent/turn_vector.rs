//! A direction in latent space (Radford et al. 2016, figure 8): the mean of one group less the mean of another, added to other latents.

use super::sample_spec::{Cell, LatentCombination, SampleSpec};
use super::weighted_sum::{mean, sum};

/// An axis interpolation_weights two groups of latents, and the latents that walk along it, all as numbers of latents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnVector {
    /// The group at the far end.
    pub a: Vec<usize>,
    /// The group at the near end.
    pub b: Vec<usize>,
    /// Who walks.
    pub walkers: Vec<usize>,
}

/// `count` places from −scale to scale, at least 2; with an odd count the middle is 0 exactly.
pub fn positions(count: usize, scale: f32) -> Vec<f32> {
    let last = count.max(2) - 1;
    (0..=last).map(|i| scale * (2.0 * i as f32 - last as f32) / last as f32).collect()
}

impl TurnVector {
    /// walker + t · (mean(A) − mean(B)) for every walker at every t, walker by walker. Conditions stay the walker's own.
    pub fn drawing(&self, base: SampleSpec, positions: &[f32]) -> SampleSpec {
        let (a, b) = (mean(&self.a), mean(&self.b));
        let at = |walker: usize, t: f32| {
            let own = vec![(walker, 1.0)];
            let of = if t == 0.0 { own.clone() } else { sum([(1.0, &own), (t, &a), (-t, &b)]) };
            LatentCombination { of, told: Some(own) }
        };
        let mixes: Vec<LatentCombination> = self
            .walkers
            .iter()
            .flat_map(|&walker| positions.iter().map(move |&t| at(walker, t)))
            .collect();
        SampleSpec { cells: (0..mixes.len()).map(Cell::Drawn).collect(), mixes, ..base }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latent::{LatentSource, combine};
    use runs::GridOptions;
    use tensor::Tensor;

    #[test]
    fn walkers_move_along_the_difference_of_means() {
        assert_eq!(positions(5, 1.0), [-1.0, -0.5, 0.0, 0.5, 1.0]);
        let rows = Tensor::from_slice(&[1.0, 3.0, 10.0, 20.0, 100.0, 200.0], [6, 1]);
        let turn = TurnVector { a: vec![0, 1], b: vec![2, 3], walkers: vec![4, 5] };
        let base = SampleSpec::plain(
            vec![LatentSource::of_rows(0, None, &[0, 1, 2, 3, 4, 5])],
            None,
            GridOptions::default(),
        );
        let drawing = turn.drawing(base, &positions(3, 2.0));
        let sums: Vec<_> = drawing.mixes.iter().map(|mix| mix.of.clone()).collect();
        // The axis is 2 − 15.
        assert_eq!(combine(&rows, &sums).to_vec(), [126.0, 100.0, 74.0, 226.0, 200.0, 174.0]);
        assert_eq!((&sums[1], &drawing.mixes[0].told), (&vec![(4, 1.0)], &Some(vec![(4, 1.0)])));
    }
}
