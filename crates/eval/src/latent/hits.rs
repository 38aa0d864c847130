//! How often arithmetic gives what it should: with one exemplar, and with the mean of several (the point of figure 7 of Radford et al. 2016).

use tensor::rng::Philox;

/// Independent draws of `per` different exemplars of each concept from those there are. A concept with fewer gives none at all: no trials.
pub fn trials(candidates: [&[usize]; 3], per: usize, draws: usize, rng: &mut Philox) -> Vec<[Vec<usize>; 3]> {
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

/// Hits among trials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// How often it was so.
    pub hits: usize,
    /// How often it could have been.
    pub of: usize,
}

impl Rate {
    /// Counts.
    pub fn count(outcomes: impl IntoIterator<Item = bool>) -> Self {
        outcomes.into_iter().fold(Self::default(), |Self { hits, of }, hit| Self { hits: hits + usize::from(hit), of: of + 1 })
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
        let (n, p, z) = (self.of as f64, self.share(), 1.959_963_984_540_054);
        let (middle, denominator) = (p + z * z / (2.0 * n), 1.0 + z * z / n);
        let half = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
        [((middle - half) / denominator).max(0.0), ((middle + half) / denominator).min(1.0)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trials_draw_different_exemplars_of_each_concept() {
        let (a, b, c) = ([1, 2, 3, 4, 5], [10, 11, 12], [20, 21, 22, 23]);
        let drawn = trials([&a, &b, &c], 3, 200, &mut Philox::new(1, 2));
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
        assert_eq!(drawn, trials([&a, &b, &c], 3, 200, &mut Philox::new(1, 2)));
        assert!(trials([&a, &b[..2], &c], 3, 200, &mut Philox::new(1, 2)).is_empty());
    }

    #[test]
    fn rates_have_wilson_s_interval() {
        // Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20.
        for (hits, of, low, high) in [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)] {
            let [l, h] = Rate { hits, of }.interval();
            assert!((l - low).abs() < 1e-4 && (h - high).abs() < 1e-4, "{hits} of {of}: {l} {h}");
        }
        assert_eq!(Rate::count([true, false, true, true]), Rate { hits: 3, of: 4 });
        assert_eq!((Rate::default().share(), Rate::default().interval()), (0.0, [0.0, 1.0]));
    }
}
