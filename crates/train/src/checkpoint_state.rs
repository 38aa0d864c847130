//! The state of a run in a checkpoint: a [`TrainState`]'s tensors under prefixed names, and the
//! rest of the run as JSON.

use crate::evaluate::CheckpointScore;
use crate::monitor::TrainingMonitor;
use crate::step::{NetworkState, TrainState};
use crate::{Settings, TrainError};
use data::Cursor;
use nn::{Ema, NnError, Recipe, StateDict};
use runs::{Checkpoint, CheckpointMeta, DatasetId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tensor::HostTensor;
use tensor::rng::Philox;

/// The prefixes of a network's weights, its optimizer's state and the average of its past
/// parameters. An optimizer's state is called `adam` whatever its kind: the first ones were Adam.
const G: [&str; 3] = ["g.", "adam_g.", "history_g."];
const D: [&str; 3] = ["d.", "adam_d.", "history_d."];
const EMA: &str = "ema.";

/// The part of a checkpoint's state that is not tensors.
#[derive(Serialize, Deserialize)]
pub(crate) struct CheckpointState {
    pub settings: Settings,
    #[serde(alias = "latents")]
    pub latent_rng: Philox,
    /// Absent in the oldest checkpoints, whose recipes had no use for it.
    #[serde(default, alias = "tricks")]
    pub step_rng: Option<Philox>,
    pub cursor: Cursor,
    /// Absent in the oldest checkpoints.
    #[serde(default, alias = "watchdog")]
    pub monitor: TrainingMonitor,
    /// The best checkpoint so far, in runs that are evaluated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best: Option<CheckpointScore>,
}

/// All tensors of a run by their names in a checkpoint.
pub(crate) fn tensors(state: &TrainState) -> BTreeMap<String, HostTensor> {
    let mut tensors = BTreeMap::new();
    let mut put = |prefix: &str, values: StateDict| {
        let prefixed = |(name, value)| (format!("{prefix}{name}"), value);
        tensors.extend(values.into_iter().map(prefixed));
    };
    for (network, [weights, optimizer, history]) in [(&state.g, G), (&state.d, D)] {
        put(weights, network.network.state_dict());
        put(optimizer, network.optimizer.state());
        if let Some(average) = &network.history {
            put(history, average.state());
        }
    }
    if let Some(ema) = &state.ema {
        put(EMA, ema.state_dict());
    }
    tensors
}

/// Loads the weights of both networks, and nothing else; the EMA starts at the new weights.
///
/// # Errors
/// Returns an error if names or shapes are not those of the recipe.
pub(crate) fn load_weights(state: &mut TrainState, checkpoint: &Checkpoint) -> Result<(), NnError> {
    state.g.network.load_state_dict(&checkpoint.section(G[0]))?;
    state.d.network.load_state_dict(&checkpoint.section(D[0]))?;
    if let Some(ema) = &mut state.ema {
        *ema = Ema::new(&state.g.network, state.recipe.train.ema as f32);
    }
    Ok(())
}

/// Loads all that [`tensors`] returned.
///
/// # Errors
/// Returns the errors of [`load_weights`].
pub(crate) fn load(state: &mut TrainState, checkpoint: &Checkpoint) -> Result<(), NnError> {
    load_weights(state, checkpoint)?;
    let load_optimizer = |network: &mut NetworkState, [_, optimizer, history]: [&str; 3]| {
        network.optimizer.load_state(&checkpoint.section(optimizer))?;
        match &mut network.history {
            Some(average) => average.load_state(&checkpoint.section(history)),
            None => Ok(()),
        }
    };
    load_optimizer(&mut state.g, G)?;
    load_optimizer(&mut state.d, D)?;
    match &mut state.ema {
        Some(ema) => ema.load_state_dict(&checkpoint.section(EMA)),
        None => Ok(()),
    }
}

/// A checkpoint's metadata for this program.
pub(crate) fn meta(
    recipe: &Recipe,
    step: u64,
    dataset: DatasetId,
    state: serde_json::Value,
    numerics_id: String,
) -> CheckpointMeta {
    CheckpointMeta {
        step,
        recipe: recipe.to_toml(),
        recipe_name: recipe.name.clone(),
        dataset,
        state,
        numerics_id,
        numerics_version: tensor::numerics_version(),
    }
}

/// # Errors
/// Returns [`TrainError::NonFinite`] for a tensor that holds NaN or infinity, before the first step
/// [`TrainError::NonFiniteStart`].
pub(crate) fn check_finite(
    tensors: &BTreeMap<String, HostTensor>,
    step: u64,
) -> Result<(), TrainError> {
    let is_finite = |array: &HostTensor| {
        array.as_f32().is_none_or(|values| values.iter().all(|value| value.is_finite()))
    };
    match tensors.iter().find(|(_, array)| !is_finite(array)) {
        Some((name, _)) => Err(TrainError::non_finite_state(step, format!("{name:?}"))),
        None => Ok(()),
    }
}
