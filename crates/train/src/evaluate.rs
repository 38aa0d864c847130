//! The evaluation of a run's generator during training. The metrics are the caller's choice:
//! this crate knows no metrics.

use crate::TrainError;
use runs::Checkpoint;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// How often a run is evaluated, and by what. `config.toml` records it; the loop itself only uses
/// `every`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvalConfig {
    /// Steps between two evaluations; the last step is evaluated, too.
    pub every: u64,
    /// The metrics; the first decides which checkpoint is best.
    pub metrics: Vec<String>,
    /// Real images, and as many generated ones.
    pub count: usize,
    /// The feature extractor.
    pub features: String,
}

/// The result of an evaluation.
#[derive(Clone, Debug, PartialEq)]
pub struct EvalResult {
    /// Metric values by name.
    pub metrics: Vec<(String, f64)>,
    /// The feature extractor of all metrics: its name and the hash of its weights.
    pub features: String,
    /// The score that decides which checkpoint is best: lower is better.
    pub score: f64,
    /// The metric that the score is computed from, as it is shown.
    pub value: f64,
    /// The name of the score, with all that it depends on: scores of different names are not
    /// compared.
    pub by: String,
}

/// Evaluates the generator of a checkpoint; `None` if the evaluation was cancelled.
pub type EvalFn<'a> = dyn FnMut(&Checkpoint) -> Result<Option<EvalResult>, TrainError> + 'a;

/// The value of a metrics row that names the features of an evaluation.
pub(crate) const FEATURES: &str = "eval/by";

impl EvalResult {
    /// Adds its values to those of a metrics row.
    pub(crate) fn extend(&self, row: &mut Map<String, Value>) {
        row.extend(self.metrics.iter().map(|(name, value)| (name.clone(), (*value).into())));
        // Metrics are only comparable with those of the same features.
        row.insert(FEATURES.to_owned(), self.features.clone().into());
    }
}

/// The score of a checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointScore {
    /// The step of the checkpoint.
    pub step: u64,
    /// The score: lower is better.
    pub score: f64,
    /// The metric that the score is computed from; absent in old checkpoints.
    #[serde(default)]
    pub value: Option<f64>,
    /// The name of the score.
    #[serde(deserialize_with = "metric_name")]
    pub by: String,
}

/// The name of a score. The memorization score was spelled differently in old checkpoints, whose
/// scores would not be compared with new ones.
fn metric_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(String::deserialize(deserializer)?.replace("Memorised", "Memorized"))
}

impl CheckpointScore {
    /// The metric as it is shown.
    pub fn shown(&self) -> f64 {
        self.value.unwrap_or_else(|| self.score.abs())
    }

    /// Whether this checkpoint replaces `best`. A score of NaN or infinity never does.
    pub(crate) fn is_better_than(&self, best: Option<&Self>) -> bool {
        self.score.is_finite()
            && best.is_none_or(|best| best.by != self.by || self.score < best.score)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lower_score_of_the_same_metric_is_better() {
        let scored =
            |score, by: &str| CheckpointScore { step: 1, score, value: None, by: by.into() };
        assert!(scored(1.0, "a").is_better_than(None));
        assert!(scored(1.0, "a").is_better_than(Some(&scored(2.0, "a"))));
        assert!(!scored(2.0, "a").is_better_than(Some(&scored(2.0, "a"))));
        assert!(scored(3.0, "b").is_better_than(Some(&scored(2.0, "a"))));
        assert!(!scored(f64::NAN, "b").is_better_than(None));
    }

    #[test]
    fn the_metric_is_shown_with_its_sign() {
        let by = "kernel distance".to_string();
        let best = CheckpointScore { step: 1, score: -0.5, value: Some(-0.5), by };
        assert_eq!(best.shown(), -0.5);
        let text = serde_json::to_string(&best).unwrap();
        assert_eq!(serde_json::from_str::<CheckpointScore>(&text).unwrap(), best);
        // Old checkpoints have the score alone: a precision of 0.5.
        let old: CheckpointScore =
            serde_json::from_str(r#"{"step":1,"score":-0.5,"by":"precision"}"#).unwrap();
        assert_eq!(old.shown(), 0.5);
        let old: CheckpointScore =
            serde_json::from_str(r#"{"step":1,"score":0.1,"by":"Memorised (pixels)"}"#).unwrap();
        assert_eq!(old.by, "Memorized (pixels)");
    }
}
