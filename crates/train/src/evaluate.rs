//! Measuring a run's generator while it goes. What measures is the caller's: this crate knows no metrics.

use crate::TrainError;
use crate::artefacts::Checkpoint;
use serde::{Deserialize, Serialize};

/// How often a run is measured, and by what: what `config.toml` records. The loop itself only looks at `every`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evaluate {
    /// Every so many steps, and after the last.
    pub every: u64,
    /// What is measured; the first decides which checkpoint is best.
    pub metrics: Vec<String>,
    /// Pictures of each side.
    pub count: usize,
    /// Where features come from.
    pub features: String,
}

/// What was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurement {
    /// Figures by name, as they go into the metrics.
    pub figures: Vec<(String, f64)>,
    /// What decides which checkpoint is best: the lower, the better.
    pub score: f64,
    /// What the score is, with what it depends on: scores of different names are not compared.
    pub by: String,
}

/// Measures the generator of a checkpoint.
pub type Measure<'a> = dyn FnMut(&Checkpoint) -> Result<Measurement, TrainError> + 'a;

/// A measured checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scored {
    /// Its step.
    pub step: u64,
    /// Its score: the lower, the better.
    pub score: f64,
    /// What the score is.
    pub by: String,
}

impl Scored {
    /// Whether a checkpoint of this score takes the place of `best`. What is no number never does.
    pub(crate) fn beats(&self, best: Option<&Self>) -> bool {
        self.score.is_finite() && best.is_none_or(|best| best.by != self.by || self.score < best.score)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lower_score_by_the_same_measure_is_better() {
        let scored = |score, by: &str| Scored { step: 1, score, by: by.into() };
        assert!(scored(1.0, "a").beats(None));
        assert!(scored(1.0, "a").beats(Some(&scored(2.0, "a"))));
        assert!(!scored(2.0, "a").beats(Some(&scored(2.0, "a"))));
        assert!(scored(3.0, "b").beats(Some(&scored(2.0, "a"))));
        assert!(!scored(f64::NAN, "b").beats(None));
    }
}
