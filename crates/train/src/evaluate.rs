//! Measuring a run's generator while it goes. What measures is the caller's: this crate knows no metrics.

use crate::TrainError;
use runs::Checkpoint;
use serde::{Deserialize, Serialize};

/// How often a run is measured, and by what: what `config.toml` records. The loop itself only looks at `every`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvalConfig {
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
pub struct EvalResult {
    /// Figures by name, as they go into the metrics.
    pub metrics: Vec<(String, f64)>,
    /// What stands for a picture in all of them: the features' name and the hash of their weights.
    pub features: String,
    /// What decides which checkpoint is best: the lower, the better.
    pub score: f64,
    /// The figure that the score is made of, as it is shown.
    pub value: f64,
    /// What the score is, with what it depends on: scores of different names are not compared.
    pub by: String,
}

/// Measures the generator of a checkpoint.
pub type EvalFn<'a> = dyn FnMut(&Checkpoint) -> Result<EvalResult, TrainError> + 'a;

/// A measured checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointScore {
    /// Its step.
    pub step: u64,
    /// Its score: the lower, the better.
    pub score: f64,
    /// The figure that the score is made of; none in checkpoints from before it was kept.
    #[serde(default)]
    pub value: Option<f64>,
    /// What the score is.
    pub by: String,
}

impl CheckpointScore {
    /// The figure as it is shown.
    #[must_use]
    pub fn shown(&self) -> f64 {
        self.value.unwrap_or_else(|| self.score.abs())
    }

    /// Whether a checkpoint of this score takes the place of `best`. What is no number never does.
    pub(crate) fn is_better_than(&self, best: Option<&Self>) -> bool {
        self.score.is_finite()
            && best.is_none_or(|best| best.by != self.by || self.score < best.score)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lower_score_by_the_same_measure_is_better() {
        let scored =
            |score, by: &str| CheckpointScore { step: 1, score, value: None, by: by.into() };
        assert!(scored(1.0, "a").is_better_than(None));
        assert!(scored(1.0, "a").is_better_than(Some(&scored(2.0, "a"))));
        assert!(!scored(2.0, "a").is_better_than(Some(&scored(2.0, "a"))));
        assert!(scored(3.0, "b").is_better_than(Some(&scored(2.0, "a"))));
        assert!(!scored(f64::NAN, "b").is_better_than(None));
    }

    #[test]
    fn the_figure_is_shown_with_its_sign() {
        let best = CheckpointScore {
            step: 1,
            score: -0.5,
            value: Some(-0.5),
            by: "kernel distance".into(),
        };
        assert_eq!(best.shown(), -0.5);
        let text = serde_json::to_string(&best).unwrap();
        assert_eq!(serde_json::from_str::<CheckpointScore>(&text).unwrap(), best);
        // As checkpoints had it before: a precision of 0.5.
        let old: CheckpointScore =
            serde_json::from_str(r#"{"step":1,"score":-0.5,"by":"precision"}"#).unwrap();
        assert_eq!(old.shown(), 0.5);
    }
}
