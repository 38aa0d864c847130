//! Turn vectors (Radford et al. 2016, figure 8): a direction in latent space, the mean of one
//! group minus the mean of another, added to other latents.

use super::sample_spec::{Cell, LatentCombination, SampleSpec};
use super::weighted_sum::{mean, sum};

/// A direction between two groups of latents, and the latents that are moved along it, all as
/// indices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnVector {
    /// The group that the direction points to.
    pub a: Vec<usize>,
    /// The group that the direction starts from.
    pub b: Vec<usize>,
    /// The latents that are moved.
    pub bases: Vec<usize>,
}

/// `count` positions from −scale to scale, at least 2; with an odd count the middle one is exactly
/// 0.
pub fn positions(count: usize, scale: f32) -> Vec<f32> {
    let last = count.max(2) - 1;
    (0..=last).map(|i| scale * (2.0 * i as f32 - last as f32) / last as f32).collect()
}

impl TurnVector {
    /// base + t · (mean(A) − mean(B)) for every base at every position t, base by base. Each base
    /// keeps its own condition.
    pub fn samples(&self, spec: SampleSpec, positions: &[f32]) -> SampleSpec {
        let (a, b) = (mean(&self.a), mean(&self.b));
        let at = |base: usize, t: f32| {
            let own = vec![(base, 1.0)];
            let latent = if t == 0.0 { own.clone() } else { sum([(1.0, &own), (t, &a), (-t, &b)]) };
            LatentCombination { latent, condition: Some(own) }
        };
        let combinations: Vec<LatentCombination> = self
            .bases
            .iter()
            .flat_map(|&base| positions.iter().map(move |&t| at(base, t)))
            .collect();
        let cells = (0..combinations.len()).map(Cell::Image).collect();
        SampleSpec { cells, combinations, ..spec }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latent::{LatentSource, combine};
    use runs::GridOptions;
    use tensor::Tensor;

    #[test]
    fn bases_move_along_the_difference_of_means() {
        assert_eq!(positions(5, 1.0), [-1.0, -0.5, 0.0, 0.5, 1.0]);
        let rows = Tensor::from_slice(&[1.0, 3.0, 10.0, 20.0, 100.0, 200.0], [6, 1]);
        let turn = TurnVector { a: vec![0, 1], b: vec![2, 3], bases: vec![4, 5] };
        let latents = vec![LatentSource::of_rows(0, None, &[0, 1, 2, 3, 4, 5])];
        let base = SampleSpec::plain(latents, None, GridOptions::default());
        let samples = turn.samples(base, &positions(3, 2.0));
        let sums: Vec<_> = samples.combinations.iter().map(|own| own.latent.clone()).collect();
        // The direction is 2 − 15.
        assert_eq!(combine(&rows, &sums).to_vec(), [126.0, 100.0, 74.0, 226.0, 200.0, 174.0]);
        let condition = &samples.combinations[0].condition;
        assert_eq!((&sums[1], condition), (&vec![(4, 1.0)], &Some(vec![(4, 1.0)])));
    }
}
