//! Success rates of vector arithmetic, with one exemplar and with the mean of several (the point of
//! figure 7 of Radford et al. 2016), and their confidence intervals.

use crate::stats::wilson_interval;
use tensor::rng::Philox;

/// Independent draws of `per` different exemplars of each concept from its candidates; none if a
/// concept has fewer candidates.
pub fn draw_trials(
    candidates: [&[usize]; 3],
    per: usize,
    draws: usize,
    rng: &mut Philox,
) -> Vec<[Vec<usize>; 3]> {
    if candidates.iter().any(|found| found.len() < per || u32::try_from(found.len()).is_err()) {
        return Vec::new();
    }
    let mut pick = |found: &[usize]| -> Vec<usize> {
        let chosen = rng.sample_without_replacement(found.len(), per);
        chosen.into_iter().map(|i| found[i]).collect()
    };
    (0..draws).map(|_| candidates.map(&mut pick)).collect()
}

/// Successes among independent trials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SuccessRate {
    /// The number of successes.
    pub hits: usize,
    /// The number of trials.
    pub of: usize,
}

impl SuccessRate {
    /// Counts outcomes.
    pub fn count(outcomes: impl IntoIterator<Item = bool>) -> Self {
        outcomes.into_iter().fold(Self::default(), |Self { hits, of }, hit| Self {
            hits: hits + usize::from(hit),
            of: of + 1,
        })
    }

    /// The proportion of successes, in [0, 1]; 0 without trials.
    pub fn share(self) -> f64 {
        self.hits as f64 / self.of.max(1) as f64
    }

    /// The 95 % confidence interval of the proportion (Wilson 1927).
    pub fn interval(self) -> [f64; 2] {
        if self.of == 0 {
            return [0.0, 1.0];
        }
        wilson_interval(self.of as f64, self.share())
    }
}

/// Successes among images in clusters of equal size, such as a result and its neighbors. Images of
/// one cluster are alike, so they are not independent trials.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrialResults {
    /// Successes among all images.
    pub total: SuccessRate,
    /// The effective sample size: the number of independent images with the same variance of the
    /// proportion. `None` for a single cluster.
    pub effective: Option<f64>,
}

impl TrialResults {
    /// Counts `outcomes`, cluster by cluster, `per` each.
    pub fn count(outcomes: &[bool], per: usize) -> Self {
        let total = SuccessRate::count(outcomes.iter().copied());
        let shares: Vec<f64> = outcomes
            .chunks(per.max(1))
            .map(|cluster| SuccessRate::count(cluster.iter().copied()).share())
            .collect();
        let (clusters, p) = (shares.len() as f64, total.share());
        let squares = shares.iter().map(|share| (share - p).powi(2)).sum::<f64>();
        // The variance of the mean of the clusters' proportions is p (1 − p) / n for n independent
        // images. At least one image a cluster is independent, at most all.
        let effective = (shares.len() > 1).then(|| {
            let variance = squares / (clusters - 1.0) / clusters;
            if variance > 0.0 {
                (p * (1.0 - p) / variance).clamp(clusters, total.of as f64)
            } else {
                clusters
            }
        });
        Self { total, effective }
    }

    /// The 95 % confidence interval of the proportion: Wilson's, for the effective sample size.
    /// `None` for a single cluster.
    pub fn interval(self) -> Option<[f64; 2]> {
        self.effective.map(|n| wilson_interval(n, self.total.share()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trials_draw_different_exemplars_of_each_concept() {
        let (a, b, c) = ([1, 2, 3, 4, 5], [10, 11, 12], [20, 21, 22, 23]);
        let drawn = draw_trials([&a, &b, &c], 3, 200, &mut Philox::new(1, 2));
        assert_eq!(drawn.len(), 200);
        let mut seen = std::collections::BTreeSet::<usize>::new();
        for trial in &drawn {
            for (own, all) in trial.iter().zip([&a[..], &b, &c]) {
                assert!(own.len() == 3 && own.iter().all(|row| all.contains(row)), "{own:?}");
                assert!(own[0] != own[1] && own[0] != own[2] && own[1] != own[2], "{own:?}");
            }
            seen.extend(&trial[0]);
        }
        assert_eq!(seen.len(), 5, "all exemplars are drawn");
        assert_eq!(drawn, draw_trials([&a, &b, &c], 3, 200, &mut Philox::new(1, 2)));
        assert!(draw_trials([&a, &b[..2], &c], 3, 200, &mut Philox::new(1, 2)).is_empty());
    }

    #[test]
    fn images_of_a_cluster_are_not_independent() {
        // Clusters of equal outcomes count as one image each.
        let alike: Vec<bool> = (0..900).map(|i| (i / 9) % 4 == 0).collect();
        let found = TrialResults::count(&alike, 9);
        let total = SuccessRate { hits: 225, of: 900 };
        assert_eq!((found.total, found.effective), (total, Some(100.0)));
        assert_eq!(found.interval().unwrap(), SuccessRate { hits: 25, of: 100 }.interval());
        // Clusters of unrelated images count as nearly all of them.
        let mut rng = Philox::new(3, 1);
        let apart: Vec<bool> = (0..9000).map(|_| rng.below(4) == 0).collect();
        let effective = TrialResults::count(&apart, 9).effective.unwrap();
        assert!(effective > 7000.0 && effective <= 9000.0, "{effective}");
        // All successes: no certainty.
        assert_eq!(
            TrialResults::count(&[true; 90], 9).interval(),
            Some(SuccessRate { hits: 10, of: 10 }.interval())
        );
        assert_eq!(TrialResults::count(&[true; 9], 9).interval(), None);
    }

    #[test]
    fn rates_have_wilson_intervals() {
        // Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20.
        for (hits, of, low, high) in
            [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)]
        {
            let [l, h] = SuccessRate { hits, of }.interval();
            assert!((l - low).abs() < 1e-4 && (h - high).abs() < 1e-4, "{hits} of {of}: {l} {h}");
        }
        assert_eq!(SuccessRate::count([true, false, true, true]), SuccessRate { hits: 3, of: 4 });
        let none = SuccessRate::default();
        assert_eq!((none.share(), none.interval()), (0.0, [0.0, 1.0]));
    }
}
