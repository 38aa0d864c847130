//! A training run between two steps: the training state, the position in the data, the monitor, and
//! the settings that decide how it continues.

use crate::checkpoint_state::{self, CheckpointState};
use crate::condition::Conditions;
use crate::evaluate::CheckpointScore;
use crate::fixed_latents::{self, FixedLatents};
use crate::monitor::{Alert, AlertKind, MonitorConfig, TrainingMonitor};
use crate::step::{DeviceBatch, PendingMetrics, RealBatch, TrainState};
use crate::{Settings, TrainError};
use data::Cursor;
use nn::recipe::ConditionKind;
use nn::{Mode, Network};
use runs::{Checkpoint, DatasetId, GridOptions};
use std::ops::Range;
use std::sync::Arc;
use tensor::distributed::ProcessGroup;
use tensor::{Device, Tensor};

/// The name of a roll-back among the overrides of the settings.
const ROLLBACK: &str = "rollback";

/// Trains the two networks of a recipe, step by step: all that a checkpoint holds.
///
/// ```
/// use data::Preprocess;
/// use nn::Recipe;
/// use runs::DatasetId;
/// use tensor::Device;
/// use tensor::rng::Philox;
/// use train::{Settings, Trainer};
///
/// let mut recipe = Recipe::preset("torch")?;
/// recipe.image.size = [16, 16];
/// (recipe.generator.width, recipe.discriminator.width, recipe.train.batch) = (4, 4, 2);
/// let settings = Settings {
///     data: "images".into(),
///     seed: 7,
///     steps: 10,
///     log_every: 1,
///     sample_every: 10,
///     checkpoint_every: 10,
///     keep: 1,
///     shuffle_buffer: None,
///     monitor: Default::default(),
///     eval: None,
///     preprocess: Preprocess::new([16, 16], 3),
///     condition_file: None,
///     recipe,
///     overrides: Vec::new(),
/// };
/// let mut trainer = Trainer::new(settings, &Device::Cpu)?;
/// let mut rng = Philox::new(1, 0);
/// let (real, z) = (rng.uniform([2, 16, 16, 3], -1.0, 1.0), rng.normal([2, 100], 0.0, 1.0));
/// assert!(trainer.train_step_on(&real, &z, None).wait()?.d_loss > 0.0);
///
/// let dataset = DatasetId { name: "images".into(), fingerprint: "…".into() };
/// let resumed = Trainer::resume(&trainer.checkpoint(&dataset)?, &Device::Cpu)?;
/// assert_eq!(resumed.steps_done(), 1);
/// # Ok::<(), train::TrainError>(())
/// ```
pub struct Trainer {
    settings: Settings,
    state: TrainState,
    fixed_latents: FixedLatents,
    cursor: Cursor,
    monitor: TrainingMonitor,
    best: Option<CheckpointScore>,
}

impl Trainer {
    /// A new run on `device`.
    ///
    /// # Errors
    /// Returns an error if the settings are not valid, a grid of samples would be too large, or the
    /// device cannot hold the networks.
    pub fn new(settings: Settings, device: &Device) -> Result<Self, TrainError> {
        settings.validate()?;
        let recipe = Arc::new(settings.recipe.clone());
        let state = TrainState::new(recipe, settings.seed, settings.steps, device)?;
        let fixed_latents = FixedLatents::new(&settings.recipe, settings.seed, device, None);
        let size = settings.recipe.image.size;
        GridOptions::for_size(size).size(fixed_latents.len(), size)?;
        device.check()?;
        Ok(Self {
            state,
            fixed_latents,
            cursor: Cursor::new(settings.seed).with_buffer(settings.shuffle_buffer),
            monitor: TrainingMonitor::default(),
            best: None,
            settings,
        })
    }

    /// The run whose state `checkpoint` holds, on `device`, which need not be the one it began on.
    ///
    /// # Errors
    /// Returns [`TrainError::NoTrainingState`] for an imported checkpoint, and an error if the
    /// checkpoint does not match its recipe.
    pub fn resume(checkpoint: &Checkpoint, device: &Device) -> Result<Self, TrainError> {
        if checkpoint.meta.state.is_null() {
            return Err(TrainError::NoTrainingState);
        }
        let CheckpointState { settings, latent_rng, step_rng, cursor, monitor, best } =
            serde_json::from_value(checkpoint.meta.state.clone())
                .map_err(TrainError::StateVersion)?;
        let mut trainer = Self { cursor, monitor, best, ..Self::new(settings, device)? };
        let state = &mut trainer.state;
        checkpoint_state::load(state, checkpoint)?;
        state.latent_rng = latent_rng;
        if let Some(step_rng) = step_rng {
            state.step_rng = step_rng;
        }
        state.step = checkpoint.meta.step;
        Ok(trainer)
    }

    /// The same run as a member of a group of processes, each of which computes its
    /// [rows](Self::rows) of each batch. All processes must have the same run.
    ///
    /// # Errors
    /// Returns [`TrainError::TooManyRanks`] if a process would have no images, and
    /// [`TrainError::RanksDiffer`] if the processes do not have the same run: the same settings,
    /// weights and numerics.
    pub fn with_process_group(self, group: ProcessGroup) -> Result<Self, TrainError> {
        let trainer = Self { state: self.state.with_process_group(group)?, ..self };
        trainer.compare_ranks()?;
        Ok(trainer)
    }

    /// The processes that train together.
    pub fn process_group(&self) -> &ProcessGroup {
        &self.state.group
    }

    /// The rows of each global batch that this process computes: see
    /// [`TrainState::rows`](crate::TrainState::rows).
    pub fn rows(&self) -> Vec<Range<usize>> {
        self.state.rows()
    }

    /// Compares the whole state of the run over the processes: gradients are summed, but never the
    /// weights, so that processes whose weights differ would drift apart without notice.
    ///
    /// # Errors
    /// Returns [`TrainError::RanksDiffer`] with the ranks that differ from rank 0, in every
    /// process.
    pub(crate) fn compare_ranks(&self) -> Result<(), TrainError> {
        if self.process_group().is_single() {
            return Ok(());
        }
        let numerics = self.numerics_id();
        let settings = self.settings.to_toml()?;
        let tensors = checkpoint_state::tensors(&self.state);
        let weights = Checkpoint { tensors, ..Checkpoint::default() }.identity();
        for (what, own) in [("numerics", numerics), ("settings", settings), ("weights", weights)] {
            self.compare_over_ranks(what, own.as_bytes())?;
        }
        Ok(())
    }

    /// Compares `own`, which is called `what`, over the processes.
    ///
    /// # Errors
    /// As [`compare_ranks`](Self::compare_ranks).
    pub(crate) fn compare_over_ranks(
        &self,
        what: &'static str,
        own: &[u8],
    ) -> Result<(), TrainError> {
        let all = self.process_group().all_gather(own);
        let ranks: Vec<usize> = (1..all.len()).filter(|&rank| all[rank] != all[0]).collect();
        if ranks.is_empty() {
            return Ok(());
        }
        Err(TrainError::RanksDiffer { what, ranks, step: self.state.step })
    }

    /// Loads the weights of another run's checkpoint, and nothing else of it.
    ///
    /// # Errors
    /// Returns an error if names or shapes are not those of this recipe.
    pub fn load_weights(&mut self, checkpoint: &Checkpoint) -> Result<(), TrainError> {
        Ok(checkpoint_state::load_weights(&mut self.state, checkpoint)?)
    }

    /// One training step on real images: as many updates of both networks as the recipe sets, on as
    /// many [batches](nn::recipe::TrainConfig::batches_per_step), in the order of the updates. A
    /// GPU may still compute when this returns.
    ///
    /// # Panics
    /// Panics without a batch, or when the recipe has a condition and a batch has none.
    pub fn train_step(&mut self, batches: &[RealBatch<'_>]) -> PendingMetrics {
        // Uploaded before the first kernel of the step is recorded: after it, each upload would
        // need a submit of its own.
        let upload = |batch| DeviceBatch::upload(batch, &self.state.recipe, &self.state.device);
        let mut real: Vec<DeviceBatch> = batches.iter().map(upload).collect();
        self.sum_labels(&mut real);
        if let Some(last) = batches.last() {
            self.cursor = last.batch.cursor;
        }
        let logs = self.settings.logs_step(self.state.step + 1);
        self.state.train_step(&real, logs)
    }

    /// A step on given real images `[N, H, W, C]` in the networks' range, latents `[N, latent]` and
    /// conditions `[N, K]`, all on this trainer's device, without an initialization that depends on
    /// data. In a group of processes the images and conditions are this process's rows, and the
    /// latents those of the global batch.
    ///
    /// # Panics
    /// Panics when the recipe has a condition and there is none.
    pub fn train_step_on(
        &mut self,
        real: &Tensor,
        z: &Tensor,
        condition: Option<&Tensor>,
    ) -> PendingMetrics {
        let mut batches = [DeviceBatch::new(real.clone(), condition.cloned())];
        self.sum_labels(&mut batches);
        let logs = self.settings.logs_step(self.state.step + 1);
        self.state.train_step_on(&batches, z.clone(), logs)
    }

    /// Makes the numbers of labeled samples those of the global batches, where a loss looks at
    /// them.
    fn sum_labels(&self, batches: &mut [DeviceBatch]) {
        if self.state.recipe.objective.num_labels == 0 {
            return;
        }
        let mut counts: Vec<f64> = batches.iter().map(|batch| batch.num_labels as f64).collect();
        self.state.group.all_reduce_f64(&mut counts);
        let counted = batches.iter_mut().zip(counts);
        counted.for_each(|(batch, count)| batch.num_labels = count as usize);
    }

    pub(crate) fn state(&self) -> &TrainState {
        &self.state
    }

    /// The failures that the run has shown so far.
    pub fn monitor(&self) -> &TrainingMonitor {
        &self.monitor
    }

    pub(crate) fn monitor_mut(&mut self) -> &mut TrainingMonitor {
        &mut self.monitor
    }

    /// The best checkpoint so far, in a run that is evaluated.
    pub fn best(&self) -> Option<&CheckpointScore> {
        self.best.as_ref()
    }

    pub(crate) fn set_best(&mut self, best: CheckpointScore) {
        self.best = Some(best);
    }

    /// Whether D's loss and accuracy can show that it dominates; see
    /// [`nn::loss::GanLoss::d_can_win`].
    pub(crate) fn d_can_win(&self) -> bool {
        self.settings.recipe.objective.loss.d_can_win()
    }

    /// The run as `checkpoint` has it, with half the learning rate, after `what` was NaN or
    /// infinite in `step`; recorded in the settings.
    ///
    /// # Errors
    /// Returns the errors of [`resume`](Self::resume).
    pub(crate) fn roll_back(
        &self,
        checkpoint: &Checkpoint,
        step: u64,
        what: &str,
    ) -> Result<(Self, Alert), TrainError> {
        let back = Self::resume(checkpoint, self.device())?;
        let mut back = back.with_process_group(self.process_group().clone())?;
        back.settings.monitor = self.settings.monitor;
        let (from, to) = (format!("step {step}: {what}"), format!("step {}", back.state.step));
        back.settings.record_override(back.state.step, ROLLBACK, from, to);
        let lr = back.settings.recipe.optimizer.lr / 2.0;
        back.set_learning_rate(lr)?;
        let alert = Alert {
            kind: AlertKind::RolledBack,
            step,
            message: format!("{what} is NaN or infinite: training has diverged"),
            hint: format!(
                "resuming from step {} with half the learning rate, {lr:e}",
                back.state.step
            ),
        };
        back.monitor.record_rollback(alert.clone());
        Ok((back, alert))
    }

    /// The device that the run computes on.
    pub fn device(&self) -> &Device {
        &self.state.device
    }

    /// Identifies the numerics of the run: those of the [device](Device::numerics_id), and the
    /// number of processes, on whose sums the last bits depend.
    pub fn numerics_id(&self) -> String {
        let id = self.device().numerics_id();
        match self.process_group().world_size() {
            1 => id,
            ranks => format!("{id} on {ranks} processes"),
        }
    }

    /// Finished steps.
    pub fn steps_done(&self) -> u64 {
        self.state.step
    }

    /// The position of the next batch in the dataset.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// The settings of the run.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Changes what the run does about alerts, recorded in its settings.
    pub fn set_monitor_config(&mut self, config: MonitorConfig) {
        let from = std::mem::replace(&mut self.settings.monitor, config);
        for (setting, from, to) in from.differences(&config) {
            self.settings.record_override(self.state.step, setting, from, to);
        }
    }

    /// Makes the run longer or shorter, recorded in its settings.
    pub fn set_steps(&mut self, steps: u64) {
        if steps != self.settings.steps {
            let from = std::mem::replace(&mut self.settings.steps, steps);
            self.settings.record_override(self.state.step, "steps", from, steps);
            self.state.total_steps = steps;
        }
    }

    /// Changes the learning rate, of both networks in proportion, recorded in the settings.
    ///
    /// # Errors
    /// Returns an error if the rate is not finite and greater than 0.
    pub fn set_learning_rate(&mut self, lr: f64) -> Result<(), TrainError> {
        let from = self.settings.recipe.optimizer.lr;
        if lr != from {
            let mut recipe = self.settings.recipe.clone();
            recipe.optimizer.lr_discriminator =
                recipe.optimizer.lr_discriminator.map(|own| own * lr / from);
            recipe.optimizer.lr = lr;
            recipe.validate()?;
            self.state.recipe = Arc::new(recipe.clone());
            self.settings.recipe = recipe;
            self.settings.record_override(self.state.step, "lr", from, lr);
        }
        Ok(())
    }

    /// The generator and the discriminator.
    pub fn networks(&self) -> (&Network, &Network) {
        (&self.state.g.network, &self.state.d.network)
    }

    /// Samples the fixed latents under conditions from the data where the recipe has no examples of
    /// its own: attributes and vectors.
    pub fn init_fixed_conditions(&mut self, conditions: &Conditions) {
        let recipe = &self.settings.recipe;
        let has_class = recipe.condition.as_ref().is_some_and(|c| c.kind == ConditionKind::Class);
        if recipe.g_conditional() && !has_class {
            let examples = conditions.examples(fixed_latents::ROW);
            let seed = self.settings.seed;
            self.fixed_latents =
                FixedLatents::new(recipe, seed, &self.state.device, Some(&examples));
        }
    }

    /// Images of the fixed latents, `[64, H, W, C]` in [−1, 1] on the CPU, by the EMA of G where
    /// there is one. Under a class condition there are eight of each class, class after class, of
    /// the same eight latents.
    ///
    /// Batch norm normalizes by running statistics. An EMA's weights have none of their own (the
    /// average of the statistics on the way is not theirs), so it takes those of these images.
    pub fn fixed_samples(&mut self) -> Tensor {
        let mode = if self.state.ema.is_some() { Mode::BATCH } else { Mode::SAMPLE };
        self.swap_ema();
        let images = self.fixed_latents.sample(&self.state.g.network, mode);
        let images =
            self.settings.recipe.image.range.from_network_range(&images).to_device(&Device::Cpu);
        self.swap_ema();
        images
    }

    /// Exchanges G's weights and their EMA.
    fn swap_ema(&mut self) {
        if let Some(ema) = &mut self.state.ema {
            ema.swap(&self.state.g.network);
        }
    }

    /// The whole state of the run; nothing in it depends on the clock.
    ///
    /// # Errors
    /// Returns [`TrainError::NonFinite`], or before the first step [`TrainError::NonFiniteStart`],
    /// if a weight, a running statistic or the optimizer state holds NaN or infinity: such a state
    /// is not worth keeping. Returns [`TrainError::Gpu`] if the device has failed.
    pub fn checkpoint(&self, dataset: &DatasetId) -> Result<Checkpoint, TrainError> {
        let state = CheckpointState {
            settings: self.settings.clone(),
            latent_rng: self.state.latent_rng.clone(),
            step_rng: Some(self.state.step_rng.clone()),
            cursor: self.cursor,
            monitor: self.monitor.clone(),
            best: self.best.clone(),
        };
        let state = serde_json::to_value(state).map_err(TrainError::StateVersion)?;
        let (step, recipe) = (self.state.step, &self.settings.recipe);
        let tensors = checkpoint_state::tensors(&self.state);
        self.device().check()?;
        checkpoint_state::check_finite(&tensors, step)?;
        let meta = checkpoint_state::meta(recipe, step, dataset.clone(), state, self.numerics_id());
        Ok(Checkpoint { meta, tensors })
    }
}
