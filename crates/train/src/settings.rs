//! The settings of a run: everything that decides how it proceeds, resolved; `config.toml` and each
//! checkpoint record them.

use crate::TrainError;
use crate::evaluate::EvalConfig;
use crate::monitor::MonitorConfig;
use data::Preprocess;
use nn::Recipe;
use serde::{Deserialize, Serialize};
use std::num::NonZeroU32;
use std::path::PathBuf;

/// A run's settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The dataset, as the user gave it.
    pub data: String,
    /// Seed of weights, latents and shuffling.
    pub seed: u64,
    /// Training steps of the whole run.
    pub steps: u64,
    /// Steps between two rows of metrics.
    pub log_every: u64,
    /// Steps between two grids of the fixed latents.
    pub sample_every: u64,
    /// Steps between two checkpoints.
    pub checkpoint_every: u64,
    /// Checkpoints kept.
    pub keep: usize,
    /// Size of the shuffle buffer in images, for datasets that are best read in their stored
    /// order; without it the whole set is shuffled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shuffle_buffer: Option<NonZeroU32>,
    /// What the run does about alerts.
    #[serde(default, alias = "watch")]
    pub monitor: MonitorConfig,
    /// How the run is evaluated, if it is.
    #[serde(default, alias = "evaluate", skip_serializing_if = "Option::is_none")]
    pub eval: Option<EvalConfig>,
    /// How images become the networks' input.
    pub preprocess: Preprocess,
    /// The file of a vector condition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition_file: Option<PathBuf>,
    /// The networks and how they are trained.
    pub recipe: Recipe,
    /// The settings that were changed when the run was resumed or rolled back.
    #[serde(default, alias = "changes", skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<ResumeOverride>,
}

/// A setting changed when a run was resumed, or rolled back after NaN or infinity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResumeOverride {
    /// Finished steps at the change.
    pub step: u64,
    /// The name of the setting.
    pub setting: String,
    /// The old value.
    pub from: String,
    /// The new value.
    pub to: String,
}

impl Settings {
    /// Checks the recipe, and that no interval or count is 0.
    ///
    /// # Errors
    /// Returns the first setting that is not valid.
    pub fn validate(&self) -> Result<(), TrainError> {
        self.recipe.validate()?;
        let counts = [
            ("steps", self.steps),
            ("log_every", self.log_every),
            ("sample_every", self.sample_every),
            ("checkpoint_every", self.checkpoint_every),
            ("keep", self.keep as u64),
            ("eval_every", self.eval.as_ref().map_or(1, |eval| eval.every)),
        ];
        match counts.iter().find(|(_, value)| *value == 0) {
            Some((setting, _)) => Err(TrainError::Zero { setting }),
            None => Ok(()),
        }
    }

    /// Whether the metrics of step number `step` are written to `metrics.jsonl`.
    pub fn logs_step(&self, step: u64) -> bool {
        step.is_multiple_of(self.log_every) || step == self.steps
    }

    /// The settings as TOML.
    ///
    /// # Errors
    /// Returns an error if an integer does not fit TOML's 64-bit signed integers.
    pub fn to_toml(&self) -> Result<String, TrainError> {
        Ok(toml::to_string(self)?)
    }

    /// Records a change of a setting after `step` finished steps.
    pub(crate) fn record_override(
        &mut self,
        step: u64,
        setting: &str,
        from: impl ToString,
        to: impl ToString,
    ) {
        self.overrides.push(ResumeOverride {
            step,
            setting: setting.into(),
            from: from.to_string(),
            to: to.to_string(),
        });
    }
}
