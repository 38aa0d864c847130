//! The adversarial step and the state it moves.

use crate::condition::Conditions;
use crate::evaluate::CheckpointScore;
use crate::monitor::{Alert, AlertKind, MonitorConfig, TrainingMonitor};
use crate::{Settings, TrainError};
use data::Cursor;
use nn::loss::{GanLoss, HistoricalAverage};
use nn::recipe::{ConditionKind, ConditioningMethod, NetworkRole};
use nn::{Ema, ForwardCtx, Mode, Network, Optimizer, Recipe, StateDict};
use runs::{Checkpoint, CheckpointMeta, DatasetId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tensor::rng::Philox;
use tensor::{Device, FiniteCheck, HostTensor, PendingRead, Tensor};

/// Philox streams of a run, under its seed. Shuffling has streams of its own in `data`.
mod stream {
    pub const WEIGHTS: u64 = 1;
    pub const LATENTS: u64 = 2;
    pub const FIXED_LATENTS: u64 = 3;
    /// Targets, noise, dropout, augmentation, penalties.
    pub const STEP: u64 = 6;
}

/// What a return to an earlier step is called among the changes of the settings.
const ROLLBACK: &str = "rollback";

/// Pictures in the grid of fixed latents: 8 × 8.
const FIXED: usize = 64;
/// Pictures in a row of it, and at most so many rows of classes.
const ROW: usize = 8;
const MOST_ROWS: usize = 32;

/// Names of the optimisers' state in checkpoints, whichever optimisers they are; the first ones were Adam.
const OPTIMIZER_G: &str = "adam_g.";
const OPTIMIZER_D: &str = "adam_d.";
const HISTORY_G: &str = "history_g.";
const HISTORY_D: &str = "history_d.";

/// What a step measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepMetrics {
    /// −log D(x) − log(1 − D(G(z))), means over the batch.
    pub d_loss: f32,
    /// −log D(G(z)) after D's update.
    pub g_loss: f32,
    /// Mean of D(x) before D's update, in [0, 1].
    pub d_real: f32,
    /// Mean of D(G(z)) before D's update, in [0, 1].
    pub d_fake: f32,
    /// The share of real and generated pictures about which D was right before its update, in [0, 1].
    pub d_accuracy: f32,
    /// The norm of G's gradient, in steps that are logged.
    pub g_grad_norm: Option<f32>,
}

/// What the guard remembers: the first thing of a step that was not finite. The optimisers stand still from there on.
pub(crate) mod non_finite_source {
    pub const D_LOSS: f32 = 1.0;
    pub const D_GRADIENT: f32 = 2.0;
    pub const G_LOSS: f32 = 3.0;
    pub const G_GRADIENT: f32 = 4.0;

    pub fn name(mark: f32) -> &'static str {
        match mark {
            D_LOSS => "the discriminator's loss",
            D_GRADIENT => "the discriminator's gradient",
            G_LOSS => "the generator's loss",
            _ => "the generator's gradient",
        }
    }
}

/// What a step measured, on its way from the device: a GPU goes on with the next step meanwhile.
#[must_use = "what went wrong in a step is only known after `wait`"]
pub struct PendingMetrics {
    step: u64,
    device: Device,
    reading: PendingRead,
}

impl PendingMetrics {
    pub(crate) fn new(step: u64, device: &Device, reading: PendingRead) -> Self {
        Self { step, device: device.clone(), reading }
    }

    /// The finished step that this is of.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// The losses; waits until they are there.
    ///
    /// # Errors
    /// [`TrainError::NonFinite`], where the optimisers have not seen the step's gradients of the network named, nor any later ones; or
    /// [`TrainError::Gpu`].
    pub fn wait(self) -> Result<StepMetrics, TrainError> {
        let values = self.reading.wait();
        self.device.check()?;
        let [real, fake, g_loss, d_real, d_fake, d_accuracy, seen, ref gradient @ ..] = values[..]
        else {
            return Err(TrainError::Mismatch(format!(
                "{} numbers were measured instead of 7",
                values.len()
            )));
        };
        if seen != 0.0 {
            return Err(TrainError::NonFinite {
                step: self.step,
                what: non_finite_source::name(seen).into(),
            });
        }
        Ok(StepMetrics {
            d_loss: real + fake,
            g_loss,
            d_real,
            d_fake,
            d_accuracy,
            g_grad_norm: gradient.first().copied(),
        })
    }
}

/// Both networks, their optimisers, and every counter: all that a checkpoint holds.
pub struct Trainer {
    pub(crate) settings: Settings,
    pub(crate) generator: Network,
    pub(crate) discriminator: Network,
    pub(crate) optimizer_g: Optimizer,
    pub(crate) optimizer_d: Optimizer,
    pub(crate) ema: Option<Ema>,
    pub(crate) history_g: Option<HistoricalAverage>,
    pub(crate) history_d: Option<HistoricalAverage>,
    pub(crate) latent_rng: Philox,
    /// Randomness of everything in a step but latents.
    pub(crate) step_rng: Philox,
    /// The layers of D whose features are matched.
    pub(crate) feature_layers: Vec<String>,
    fixed: FixedLatents,
    pub(crate) cursor: Cursor,
    pub(crate) step: u64,
    pub(crate) device: Device,
    pub(crate) guard: FiniteCheck,
    monitor: TrainingMonitor,
    best: Option<CheckpointScore>,
}

/// What the same pictures are drawn of again and again.
struct FixedLatents {
    latents: Tensor,
    condition: Option<Tensor>,
}

/// The part of a checkpoint's state that is not tensors.
#[derive(Serialize, Deserialize)]
struct CheckpointState {
    settings: Settings,
    #[serde(alias = "latents")]
    latent_rng: Philox,
    /// Absent in the oldest checkpoints, whose recipes had no use for it.
    #[serde(default, alias = "tricks")]
    step_rng: Option<Philox>,
    cursor: Cursor,
    /// Absent in the oldest checkpoints.
    #[serde(default, alias = "watchdog")]
    monitor: TrainingMonitor,
    /// The best measured checkpoint so far, of runs that are measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    best: Option<CheckpointScore>,
}

impl Trainer {
    /// A run on `device` that has not begun.
    ///
    /// # Errors
    /// Settings that make no networks, or networks that the device cannot hold.
    pub fn new(settings: Settings, device: &Device) -> Result<Self, TrainError> {
        settings.validate()?;
        let recipe = &settings.recipe;
        let (generator, discriminator) =
            recipe.build(&mut Philox::new(settings.seed, stream::WEIGHTS))?;
        [&generator, &discriminator].into_iter().for_each(|network| network.to_device(device));
        let optimizer_g = Optimizer::new(&generator, recipe.optimizer(NetworkRole::Generator));
        let optimizer_d =
            Optimizer::new(&discriminator, recipe.optimizer(NetworkRole::Discriminator));
        let history = |net| {
            (recipe.objective.historical_averaging > 0.0).then(|| HistoricalAverage::new(net))
        };
        let (history_g, history_d) = (history(&generator), history(&discriminator));
        let ema = (recipe.train.ema > 0.0).then(|| Ema::new(&generator, recipe.train.ema as f32));
        let fixed = fixed(recipe, settings.seed, device, None);
        device.check()?;
        Ok(Self {
            latent_rng: Philox::new(settings.seed, stream::LATENTS),
            step_rng: Philox::new(settings.seed, stream::STEP),
            feature_layers: recipe.feature_layers(),
            cursor: Cursor::new(settings.seed).with_buffer(settings.shuffle_buffer),
            step: 0,
            device: device.clone(),
            guard: FiniteCheck::new(device),
            monitor: TrainingMonitor::default(),
            best: None,
            generator,
            discriminator,
            optimizer_g,
            optimizer_d,
            history_g,
            history_d,
            ema,
            fixed,
            settings,
        })
    }

    /// The run that `checkpoint` is a state of, on `device`, which need not be the one it began on.
    ///
    /// # Errors
    /// A checkpoint without a training state (an imported one), or of other networks than its recipe's.
    pub fn resume(checkpoint: &Checkpoint, device: &Device) -> Result<Self, TrainError> {
        if checkpoint.meta.state.is_null() {
            return Err(TrainError::Mismatch(
                "the checkpoint holds no training state, it was imported: use train --init-from, or sample".into(),
            ));
        }
        let state: CheckpointState = serde_json::from_value(checkpoint.meta.state.clone())
            .map_err(|e| {
                TrainError::Mismatch(format!(
                    "the checkpoint's training state is of another version ({e})"
                ))
            })?;
        let mut trainer = Self::new(state.settings, device)?;
        trainer.load_weights(checkpoint)?;
        trainer.optimizer_g.load_state(&strip_prefix(checkpoint, OPTIMIZER_G))?;
        trainer.optimizer_d.load_state(&strip_prefix(checkpoint, OPTIMIZER_D))?;
        for (history, prefix) in
            [(&mut trainer.history_g, HISTORY_G), (&mut trainer.history_d, HISTORY_D)]
        {
            history
                .as_mut()
                .map_or(Ok(()), |history| history.load_state(&strip_prefix(checkpoint, prefix)))?;
        }
        if let Some(ema) = &mut trainer.ema {
            ema.load_state_dict(&strip_prefix(checkpoint, "ema."))?;
        }
        trainer.latent_rng = state.latent_rng;
        if let Some(step_rng) = state.step_rng {
            trainer.step_rng = step_rng;
        }
        trainer.cursor = state.cursor;
        trainer.monitor = state.monitor;
        trainer.best = state.best;
        trainer.step = checkpoint.meta.step;
        Ok(trainer)
    }

    /// Takes the weights of another run's checkpoint, and nothing else of it.
    ///
    /// # Errors
    /// Names or shapes that are not this recipe's.
    pub fn load_weights(&mut self, checkpoint: &Checkpoint) -> Result<(), TrainError> {
        self.generator.load_state_dict(&strip_prefix(checkpoint, "g."))?;
        self.discriminator.load_state_dict(&strip_prefix(checkpoint, "d."))?;
        if let Some(ema) = &mut self.ema {
            *ema = Ema::new(&self.generator, self.settings.recipe.train.ema as f32);
        }
        Ok(())
    }

    /// Whether the step that comes next is written into the metrics.
    pub(crate) fn should_log_next(&self) -> bool {
        let next = self.step + 1;
        next.is_multiple_of(self.settings.log_every) || next == self.settings.steps
    }

    /// What was found to go wrong so far.
    pub fn monitor(&self) -> &TrainingMonitor {
        &self.monitor
    }

    /// The same, to be fed.
    pub(crate) fn monitor_mut(&mut self) -> &mut TrainingMonitor {
        &mut self.monitor
    }

    /// The best checkpoint that was measured so far.
    pub fn best(&self) -> Option<&CheckpointScore> {
        self.best.as_ref()
    }

    /// Remembers a better one.
    pub(crate) fn set_best(&mut self, best: CheckpointScore) {
        self.best = Some(best);
    }

    /// Whether D can win: a Wasserstein critic's loss has no lower bound, and its sign says nothing.
    pub(crate) fn d_can_win(&self) -> bool {
        self.settings.recipe.objective.loss != GanLoss::Wasserstein
    }

    /// Other answers to what is found, recorded in the settings.
    pub fn set_monitor_config(&mut self, config: MonitorConfig) {
        let from = std::mem::replace(&mut self.settings.monitor, config);
        for (setting, from, to) in from.differences(&config) {
            self.settings.record_override(self.step, setting, from, to);
        }
    }

    /// The run as its checkpoint has it, with half the learning rate, after `what` was not finite in `step`; recorded in the settings.
    ///
    /// # Errors
    /// As [`resume`](Self::resume).
    pub(crate) fn roll_back(
        &self,
        checkpoint: &Checkpoint,
        step: u64,
        what: &str,
    ) -> Result<(Self, Alert), TrainError> {
        let mut back = Self::resume(checkpoint, &self.device)?;
        back.settings.monitor = self.settings.monitor;
        back.settings.record_override(
            back.step,
            ROLLBACK,
            format!("step {step}: {what}"),
            format!("step {}", back.step),
        );
        let lr = back.settings.recipe.optimizer.lr / 2.0;
        back.set_learning_rate(lr)?;
        let alert = Alert {
            kind: AlertKind::RolledBack,
            step,
            message: format!("{what} is not finite: training has diverged"),
            hint: format!("going on from step {} with half the learning rate, {lr:e}", back.step),
        };
        back.monitor.record_rollback(alert.clone());
        Ok((back, alert))
    }

    /// How often the run went back.
    pub(crate) fn rollbacks(&self) -> usize {
        self.settings.overrides.iter().filter(|change| change.setting == ROLLBACK).count()
    }

    /// Where this trainer computes.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Finished steps.
    pub fn steps_done(&self) -> u64 {
        self.step
    }

    /// Where the next batch starts.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// The settings of the run.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Makes the run longer or shorter, recorded in its settings.
    pub fn set_steps(&mut self, steps: u64) {
        if steps != self.settings.steps {
            self.settings.record_override(self.step, "steps", self.settings.steps, steps);
            self.settings.steps = steps;
        }
    }

    /// Changes the learning rate, of both networks in proportion, recorded in the settings.
    ///
    /// # Errors
    /// A rate that is not a positive number.
    pub fn set_learning_rate(&mut self, lr: f64) -> Result<(), TrainError> {
        let from = self.settings.recipe.optimizer.lr;
        if lr != from {
            let mut recipe = self.settings.recipe.clone();
            recipe.optimizer.lr_discriminator =
                recipe.optimizer.lr_discriminator.map(|own| own * lr / from);
            recipe.optimizer.lr = lr;
            recipe.validate()?;
            self.settings.recipe = recipe;
            self.settings.record_override(self.step, "lr", from, lr);
        }
        Ok(())
    }

    /// The generator, and the discriminator.
    pub fn networks(&self) -> (&Network, &Network) {
        (&self.generator, &self.discriminator)
    }

    /// Draws the fixed latents under conditions that the data have, where the recipe cannot make them up: attributes and vectors.
    pub fn init_fixed_conditions(&mut self, conditions: &Conditions) {
        let recipe = &self.settings.recipe;
        let made_up = recipe.condition.as_ref().is_some_and(|c| {
            c.generator != ConditioningMethod::None && c.kind != ConditionKind::Class
        });
        if made_up {
            self.fixed =
                fixed(recipe, self.settings.seed, &self.device, Some(&conditions.examples(ROW)));
        }
    }

    /// Pictures of the fixed latents, `[64, H, W, C]` in [−1, 1] on the CPU (under a class: eight of each, class after class, of the same eight
    /// latents), by the averaged generator where there is one.
    /// Batch norm normalises by running statistics; those of an averaged generator are not the averages of those on the way, so it takes the
    /// statistics of these pictures.
    pub fn fixed_samples(&mut self) -> Tensor {
        let swap = |ema: &mut Option<Ema>, generator| {
            if let Some(ema) = ema {
                ema.swap(generator);
            }
        };
        swap(&mut self.ema, &self.generator);
        let mode = if self.ema.is_some() { Mode::BATCH } else { Mode::SAMPLE };
        let pass = ForwardCtx::from(mode).with_condition(self.fixed.condition.as_ref());
        let images = self
            .settings
            .recipe
            .image
            .range
            .from_network_range(&self.generator.forward(&self.fixed.latents, pass))
            .to_device(&Device::Cpu);
        swap(&mut self.ema, &self.generator);
        images
    }

    /// The whole state, with nothing in it that depends on the clock.
    ///
    /// # Errors
    /// [`TrainError::NonFinite`] when a weight, statistic or moment is not finite: such a state is not worth keeping. [`TrainError::Gpu`] when
    /// they cannot be read any more.
    pub fn checkpoint(&self, dataset: &DatasetId) -> Result<Checkpoint, TrainError> {
        let (settings, latent_rng, step_rng) =
            (self.settings.clone(), self.latent_rng.clone(), Some(self.step_rng.clone()));
        let (cursor, monitor, best) = (self.cursor, self.monitor.clone(), self.best.clone());
        let state = CheckpointState { settings, latent_rng, step_rng, cursor, monitor, best };
        let state = serde_json::to_value(state)
            .map_err(|e| TrainError::Mismatch(format!("cannot write the training state: {e}")))?;
        let mut tensors = BTreeMap::new();
        let mut put = |prefix: &str, values: StateDict| {
            tensors
                .extend(values.into_iter().map(|(name, value)| (format!("{prefix}{name}"), value)));
        };
        put("g.", self.generator.state_dict());
        put("d.", self.discriminator.state_dict());
        put(OPTIMIZER_G, self.optimizer_g.state());
        put(OPTIMIZER_D, self.optimizer_d.state());
        for (history, prefix) in [(&self.history_g, HISTORY_G), (&self.history_d, HISTORY_D)] {
            if let Some(history) = history {
                put(prefix, history.state());
            }
        }
        if let Some(ema) = &self.ema {
            put("ema.", ema.state_dict());
        }
        self.device.check()?;
        let sound = |array: &HostTensor| {
            array.as_f32().is_none_or(|values| values.iter().all(|v| v.is_finite()))
        };
        if let Some((name, _)) = tensors.iter().find(|(_, array)| !sound(array)) {
            return Err(TrainError::NonFinite { step: self.step, what: format!("{name:?}") });
        }
        Ok(Checkpoint {
            meta: meta(&self.settings.recipe, self.step, dataset.clone(), state, &self.device),
            tensors,
        })
    }
}

/// Latents, and conditions where the generator is told one: each condition has a row, under the latents of the first row.
fn fixed(recipe: &Recipe, seed: u64, device: &Device, conditions: Option<&Tensor>) -> FixedLatents {
    let mut rng = Philox::new(seed, stream::FIXED_LATENTS);
    let latents = recipe.sample_z(&mut rng, FIXED, device);
    let Some(c) = recipe.condition.as_ref().filter(|c| c.generator != ConditioningMethod::None)
    else {
        return FixedLatents { latents, condition: None };
    };
    let conditions =
        conditions.cloned().unwrap_or_else(|| recipe.example_conditions(c.size.min(MOST_ROWS)));
    let rows = conditions.shape()[0];
    let column: Vec<usize> = (0..rows * ROW).map(|i| i % ROW).collect();
    let row: Vec<usize> = (0..rows * ROW).map(|i| i / ROW).collect();
    FixedLatents {
        latents: latents.index_select(&column),
        condition: Some(conditions.to_device(device).index_select(&row)),
    }
}

/// A checkpoint's metadata for this program and device.
pub(crate) fn meta(
    recipe: &Recipe,
    step: u64,
    dataset: DatasetId,
    state: serde_json::Value,
    device: &Device,
) -> CheckpointMeta {
    CheckpointMeta {
        step,
        recipe: recipe.to_toml(),
        recipe_name: recipe.name.clone(),
        dataset,
        state,
        numerics_id: device.numerics_id(),
        numerics_version: tensor::numerics_version(),
    }
}

/// The arrays whose names begin with `prefix`, without it.
pub(crate) fn strip_prefix(checkpoint: &Checkpoint, prefix: &str) -> StateDict {
    let strip = |(name, array): (&String, &HostTensor)| {
        Some((name.strip_prefix(prefix)?.to_string(), array.clone()))
    };
    checkpoint.tensors.iter().filter_map(strip).collect()
}
