//! Everything that decides how a run goes, resolved: what `config.toml` and each checkpoint record.

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
    /// The data, as `--data` names it.
    pub data: String,
    /// Seed of weights, latents and shuffling.
    pub seed: u64,
    /// Training steps of the whole run.
    pub steps: u64,
    /// A row of metrics every so many steps.
    pub log_every: u64,
    /// A grid of the fixed latents every so many steps.
    pub sample_every: u64,
    /// A checkpoint every so many steps.
    pub checkpoint_every: u64,
    /// Checkpoints kept.
    pub keep: usize,
    /// Pictures shuffled together, for sets that are best read in the order in which they lie; all of them without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shuffle_buffer: Option<NonZeroU32>,
    /// What is done about what goes wrong.
    #[serde(default, alias = "watch")]
    pub monitor: MonitorConfig,
    /// How the run is measured while it goes, where it is.
    #[serde(default, alias = "evaluate", skip_serializing_if = "Option::is_none")]
    pub eval: Option<EvalConfig>,
    /// How pictures become the network's input.
    pub preprocess: Preprocess,
    /// The file of vectors that pictures are conditioned on, where the recipe wants some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition_file: Option<PathBuf>,
    /// The networks and how they are trained.
    pub recipe: Recipe,
    /// What was changed when the run was resumed, or went back.
    #[serde(default, alias = "changes", skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<ResumeOverride>,
}

/// A setting changed on `--resume`, or when the run went back after a number that was not finite.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResumeOverride {
    /// Finished steps when it was changed.
    pub step: u64,
    /// The setting.
    pub setting: String,
    /// Its old value.
    pub from: String,
    /// Its new value.
    pub to: String,
}

impl Settings {
    /// Checks what the recipe's and the data's own checks do not see.
    ///
    /// # Errors
    /// One line, naming the setting.
    pub fn validate(&self) -> Result<(), TrainError> {
        self.recipe.validate()?;
        let zero = [
            ("steps", self.steps),
            ("log-every", self.log_every),
            ("sample-every", self.sample_every),
            ("checkpoint-every", self.checkpoint_every),
            ("keep", self.keep as u64),
            ("eval-every", self.eval.as_ref().map_or(1, |evaluate| evaluate.every)),
        ];
        match zero.iter().find(|(_, value)| *value == 0) {
            Some((name, _)) => {
                Err(TrainError::Setting(format!("--{name} is 0: it must be at least 1")))
            }
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
    /// When a number does not fit TOML's 64-bit signed integers.
    pub fn to_toml(&self) -> Result<String, TrainError> {
        toml::to_string(self)
            .map_err(|e| TrainError::Setting(format!("cannot write the settings as TOML: {e}")))
    }

    /// Records a change of the steps or the learning rate on resume.
    pub fn record_override(
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
