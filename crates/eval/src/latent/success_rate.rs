//! How often arithmetic gives what it should: with one exemplar, and with the mean of several (the point of figure 7 of Radford et al. 2016).

use tensor::rng::Philox;

/// Independent draws of `per` different exemplars of each concept from those there are. A concept with fewer gives none at all: no draw_trials.
pub fn draw_trials(
    candidates: [&[usize]; 3],
    per: usize,
    draws: usize,
    rng: &mut Philox,
) -> Vec<[Vec<usize>; 3]> {
    if candidates.iter().any(|found| found.len() < per || u32::try_from(found.len()).is_err()) {
        return Vec::new();
    }
    // The beginning of a shuffle (Fisher & Yates).
    let mut pick = |found: &[usize]| {
        let mut left = found.to_vec();
        for i in 0..per {
            let j = i + rng.below((left.len() - i) as u32) as usize;
            left.swap(i, j);
        }
        left.truncate(per);
        left
    };
    (0..draws).map(|_| candidates.map(&mut pick)).collect()
}

/// Hits among draw_trials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SuccessRate {
    /// How often it was so.
    pub hits: usize,
    /// How often it could have been.
    pub of: usize,
}

impl SuccessRate {
    /// Counts.
    pub fn count(outcomes: impl IntoIterator<Item = bool>) -> Self {
        outcomes.into_iter().fold(Self::default(), |Self { hits, of }, hit| Self {
            hits: hits + usize::from(hit),
            of: of + 1,
        })
    }

    /// The share, 0 to 1; 0 of nothing.
    pub fn share(self) -> f64 {
        self.hits as f64 / self.of.max(1) as f64
    }

    /// The 95 % confidence interval of the share (Wilson 1927).
    pub fn interval(self) -> [f64; 2] {
        if self.of == 0 {
            return [0.0, 1.0];
        }
        wilson(self.of as f64, self.share())
    }
}

/// Hits among pictures that come in groups of equally many, such as a result and its neighbours: those of one group are alike, and no draw_trials of their own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrialResults {
    /// All of them.
    pub total: SuccessRate,
    /// How many independent pictures would tell as much about the share; none of a single group.
    pub effective: Option<f64>,
}

impl TrialResults {
    /// Counts `outcomes`, group by group, of `per` each.
    pub fn count(outcomes: &[bool], per: usize) -> Self {
        let total = SuccessRate::count(outcomes.iter().copied());
        let shares: Vec<f64> = outcomes
            .chunks(per.max(1))
            .map(|group| SuccessRate::count(group.iter().copied()).share())
            .collect();
        let (groups, p) = (shares.len() as f64, total.share());
        let squares = shares.iter().map(|share| (share - p).powi(2)).sum::<f64>();
        // The variance of the mean of the groups' shares is p (1 − p) / n of n independent pictures. No less than one a group, no more than all.
        let effective = (shares.len() > 1).then(|| {
            let variance = squares / (groups - 1.0) / groups;
            if variance > 0.0 {
                (p * (1.0 - p) / variance).clamp(groups, total.of as f64)
            } else {
                groups
            }
        });
        Self { total, effective }
    }

    /// The 95 % confidence interval of the share: Wilson's of so many independent pictures. A single group has none.
    pub fn interval(self) -> Option<[f64; 2]> {
        self.effective.map(|n| wilson(n, self.total.share()))
    }
}

fn wilson(n: f64, p: f64) -> [f64; 2] {
    let z = 1.959_963_984_540_054;
    let (middle, denominator) = (p + z * z / (2.0 * n), 1.0 + z * z / n);
    let half = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    [((middle - half) / denominator).max(0.0), ((middle + half) / denominator).min(1.0)]
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
        assert_eq!(seen.len(), 5, "each has its turn");
        assert_eq!(drawn, draw_trials([&a, &b, &c], 3, 200, &mut Philox::new(1, 2)));
        assert!(draw_trials([&a, &b[..2], &c], 3, 200, &mut Philox::new(1, 2)).is_empty());
    }

    #[test]
    fn pictures_of_a_group_are_no_trials_of_their_own() {
        // Groups that are all or nothing tell as much as one picture each.
        let alike: Vec<bool> = (0..900).map(|i| (i / 9) % 4 == 0).collect();
        let found = TrialResults::count(&alike, 9);
        assert_eq!(
            (found.total, found.effective),
            (SuccessRate { hits: 225, of: 900 }, Some(100.0))
        );
        assert_eq!(found.interval().unwrap(), SuccessRate { hits: 25, of: 100 }.interval());
        // Groups of pictures that have nothing to do with each other tell as much as all of them, or nearly.
        let mut rng = Philox::new(3, 1);
        let apart: Vec<bool> = (0..9000).map(|_| rng.below(4) == 0).collect();
        let effective = TrialResults::count(&apart, 9).effective.unwrap();
        assert!(effective > 7000.0 && effective <= 9000.0, "{effective}");
        // All hits: no certainty.
        assert_eq!(
            TrialResults::count(&[true; 90], 9).interval(),
            Some(SuccessRate { hits: 10, of: 10 }.interval())
        );
        assert_eq!(TrialResults::count(&[true; 9], 9).interval(), None);
    }

    #[test]
    fn rates_have_wilson_s_interval() {
        // Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20.
        for (hits, of, low, high) in
            [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)]
        {
            let [l, h] = SuccessRate { hits, of }.interval();
            assert!((l - low).abs() < 1e-4 && (h - high).abs() < 1e-4, "{hits} of {of}: {l} {h}");
        }
        assert_eq!(SuccessRate::count([true, false, true, true]), SuccessRate { hits: 3, of: 4 });
        assert_eq!(
            (SuccessRate::default().share(), SuccessRate::default().interval()),
            (0.0, [0.0, 1.0])
        );
    }
}
