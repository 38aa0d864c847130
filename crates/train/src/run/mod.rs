//! The training loop: batches in; metrics, sample grids and checkpoints out.
//!
//! In a group of processes each runs this loop, and rank 0 alone writes files, draws grids and
//! evaluates. All decisions about the steps to come are made together.

mod speed;
mod writer;

use crate::condition::Conditions;
use crate::evaluate::{CheckpointScore, EvalFn};
use crate::monitor::{Alert, MAX_ROLLBACKS, NanAction, SampleStats};
use crate::{Event, PendingMetrics, RealBatch, Settings, StepMetrics, TrainError, Trainer};
use data::{Dataset, Loader};
use runs::{RunDir, checkpoint, checkpoint_retention};
use speed::{Clock, GroupSpeed};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use tensor::Device;
use tensor::distributed::ProcessGroup;
use writer::RunWriter;

/// Batches decoded ahead of the step.
pub(crate) const PREFETCH: usize = 4;
/// Epochs after which a grid is always written: those of the DCGAN paper's figures 2 and 3.
const PAPER_EPOCHS: [u64; 2] = [1, 5];
/// Steps that a GPU may be behind the host: it computes while the host prepares the next batch, and
/// a stop never waits for more than these.
const MAX_STEPS_IN_FLIGHT: usize = 2;

/// Flags through which others control a run. They are read between two steps.
#[derive(Clone, Copy, Debug)]
pub struct RunControls<'a> {
    /// Finishes the step, saves and returns.
    pub stop: &'a AtomicBool,
    /// Saves a checkpoint after the step, and is then reset. Either all ranks of a group have this
    /// flag or none; that of any of them is enough.
    pub save: Option<&'a AtomicBool>,
}

impl<'a> From<&'a AtomicBool> for RunControls<'a> {
    fn from(stop: &'a AtomicBool) -> Self {
        Self { stop, save: None }
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct RunOutcome {
    /// Finished steps.
    pub step: u64,
    /// Whether those are all steps, with the evaluation and the images that follow the last one;
    /// otherwise the run was stopped and can be resumed.
    pub finished: bool,
    /// The newest checkpoint.
    pub checkpoint: PathBuf,
    /// All alerts of the run, the earliest first.
    pub alerts: Vec<Alert>,
    /// The alert that ended the run, if the settings say so.
    pub stopped_by: Option<Alert>,
    /// The time-lapse of the fixed latents and the plot of the losses, of a finished run.
    pub images: Vec<PathBuf>,
    /// The best checkpoint, in a run that is evaluated.
    pub best: Option<CheckpointScore>,
    /// The score of the newest checkpoint, if it was evaluated.
    pub last: Option<CheckpointScore>,
}

/// Trains until the settings' last step, or until `stop` is set, which finishes the step, saves and
/// returns. A trainer that has finished steps already resumes in the directory: later rows of its
/// metrics are cut off, since they are computed again.
///
/// After NaN or infinity the run rolls back to the newest valid checkpoint with half the learning
/// rate, at most [`MAX_ROLLBACKS`] times in a call, unless the settings say otherwise.
///
/// All processes of the trainer's [group](Trainer::process_group) must call this; those of other
/// ranks than 0 only read from `dir`, and their outcome has no images, scores and alerts of sample
/// grids. NaN and infinity end or roll back all of them. Any other error of one process leaves the
/// others waiting: the caller must end them.
///
/// # Errors
/// Returns an error if images cannot be read, files cannot be written, the device fails or training
/// diverges; what was saved before stays.
pub fn run(
    trainer: &mut Trainer,
    dataset: &Arc<Dataset>,
    dir: &RunDir,
    stop: &AtomicBool,
    emit: &mut dyn FnMut(Event),
) -> Result<RunOutcome, TrainError> {
    run_with_eval(trainer, dataset, dir, stop, emit, None)
}

/// [`run`] that evaluates the generator at the steps that the settings name, and keeps the best
/// checkpoint in addition to the newest ones. The evaluation must depend only on the checkpoint;
/// otherwise a resumed run differs from an uninterrupted one. It may be cancelled once `stop` is
/// set: the run then ends, and makes up for the evaluation when it is resumed. `controls` are the
/// flag `stop` alone, or [`RunControls`].
///
/// # Errors
/// Returns the errors of [`run`], and those of `eval`.
pub fn run_with_eval<'a>(
    trainer: &mut Trainer,
    dataset: &Arc<Dataset>,
    dir: &RunDir,
    controls: impl Into<RunControls<'a>>,
    emit: &mut dyn FnMut(Event),
    eval: Option<&mut EvalFn<'_>>,
) -> Result<RunOutcome, TrainError> {
    let RunControls { stop, save } = controls.into();
    let eval = eval.map(|eval| eval as &mut EvalFn<'_>);
    let mut context = RunContext { trainer, dataset, dir, stop, save, emit, eval };
    // Counted here: the overrides of a checkpoint that is loaded repeatedly stay the same.
    let mut rollbacks = 0;
    loop {
        match context.train_loop() {
            Err(TrainError::NonFinite { step, what })
                if context.trainer.settings().monitor.on_nan == NanAction::Rollback =>
            {
                if rollbacks == MAX_ROLLBACKS {
                    let lr = context.trainer.settings().recipe.optimizer.lr;
                    return Err(TrainError::Diverged { step, what, rollbacks, lr });
                }
                rollbacks += 1;
                let checkpoint = context.roll_back(step, what)?;
                let is_stopped = stop.load(Ordering::Relaxed);
                if context.trainer.process_group().any(is_stopped) {
                    return Ok(context.stopped_at(checkpoint));
                }
            }
            other => return other,
        }
    }
}

/// The parts of a run that its loop uses.
struct RunContext<'a> {
    trainer: &'a mut Trainer,
    dataset: &'a Arc<Dataset>,
    dir: &'a RunDir,
    stop: &'a AtomicBool,
    save: Option<&'a AtomicBool>,
    emit: &'a mut dyn FnMut(Event),
    eval: Option<&'a mut EvalFn<'a>>,
}

impl RunContext<'_> {
    /// Trains from the trainer's step on.
    fn train_loop(&mut self) -> Result<RunOutcome, TrainError> {
        let mut training = TrainLoop::start(self)?;
        while !training.is_done() {
            let start = Instant::now();
            training.clock.start_step();
            let epoch_end = training.train_step()?;
            let due = training.due(epoch_end);
            let metrics = training.read_metrics(&due)?;
            training.clock.add_step(start.elapsed());
            training.emit(Event::Stepped { step: training.step() });
            let written = training.write(&due, metrics);
            if due.saves || due.evaluates {
                training.context.share_failure(written)?;
            } else {
                written?;
            }
        }
        training.finish()
    }

    /// The result of rank 0, which saves and evaluates: its NaN and infinity are errors of all
    /// ranks, as those of a step are. Other errors are this process's own.
    fn share_failure<T>(&self, result: Result<T, TrainError>) -> Result<T, TrainError> {
        let group = self.trainer.process_group();
        let message = match &result {
            Err(TrainError::NonFinite { what, .. } | TrainError::NonFiniteStart { what }) => {
                what.clone().into_bytes()
            }
            Err(_) => return result,
            Ok(_) => Vec::new(),
        };
        let what = String::from_utf8_lossy(&group.broadcast(message)).into_owned();
        match result {
            Ok(_) if !what.is_empty() => {
                Err(TrainError::non_finite_state(self.trainer.steps_done(), what))
            }
            own => own,
        }
    }

    /// Resets the trainer to the newest valid checkpoint after `what` was NaN or infinite, and
    /// returns its path.
    fn roll_back(&mut self, step: u64, what: String) -> Result<PathBuf, TrainError> {
        let group = self.trainer.process_group().clone();
        let (path, checkpoint) = if group.is_root() {
            let latest = checkpoint_retention::latest_valid(&self.dir.checkpoints())?;
            for (_, error) in &latest.skipped {
                let path = latest.path.display();
                (self.emit)(Event::Warning(format!("{error} (skipped; rolling back to {path})")));
            }
            share_path(&group, latest.path.clone());
            (latest.path, latest.checkpoint)
        } else {
            let path = share_path(&group, PathBuf::new());
            let checkpoint = checkpoint::load(&path)?;
            (path, checkpoint)
        };
        let (trainer, alert) = self.trainer.roll_back(&checkpoint, step, &what)?;
        *self.trainer = trainer;
        (self.emit)(Event::Alert(alert));
        Ok(path)
    }

    /// The outcome of a run that was stopped after a roll-back to `checkpoint`.
    fn stopped_at(&self, checkpoint: PathBuf) -> RunOutcome {
        RunOutcome {
            step: self.trainer.steps_done(),
            finished: false,
            checkpoint,
            alerts: self.trainer.monitor().alerts().to_vec(),
            stopped_by: None,
            images: Vec::new(),
            best: self.trainer.best().cloned(),
            last: None,
        }
    }
}

/// The path of rank 0.
fn share_path(group: &ProcessGroup, path: PathBuf) -> PathBuf {
    if group.is_single() {
        return path;
    }
    let bytes = group.broadcast(path.into_os_string().into_encoded_bytes());
    PathBuf::from(String::from_utf8_lossy(&bytes).into_owned())
}

/// The alert of rank 0, which alone has those of sample grids.
fn share_alert(group: &ProcessGroup, alert: Option<Alert>) -> Option<Alert> {
    if group.is_single() {
        return alert;
    }
    let message = serde_json::to_vec(&alert);
    let message = message.unwrap_or_else(|error| panic!("an alert that JSON cannot hold: {error}"));
    serde_json::from_slice(&group.broadcast(message))
        .unwrap_or_else(|error| panic!("rank 0 sent no alert that this rank can read: {error}"))
}

/// The outputs that are due after a step.
struct DueOutputs {
    /// Whether the run ends with this step.
    ends: bool,
    logs: bool,
    samples: bool,
    evaluates: bool,
    saves: bool,
    /// The epoch that ended with the step.
    epoch: Option<u64>,
}

/// The training loop of a run between two roll-backs.
struct TrainLoop<'c, 'a> {
    context: &'c mut RunContext<'a>,
    settings: Settings,
    loader: Loader,
    conditions: Option<Conditions>,
    /// The files of the run, on rank 0.
    writer: Option<RunWriter<'a>>,
    clock: Clock,
    /// Metrics of the steps that the device may not have finished.
    pending: VecDeque<PendingMetrics>,
    stopped_by: Option<Alert>,
    last_score: Option<CheckpointScore>,
    /// Whether the evaluation of the newest step was cancelled.
    lacks_evaluation: bool,
}

impl<'c, 'a> TrainLoop<'c, 'a> {
    fn start(context: &'c mut RunContext<'a>) -> Result<Self, TrainError> {
        let settings = context.trainer.settings().clone();
        let step = context.trainer.steps_done();
        let (dataset, recipe) = (context.dataset, &settings.recipe);
        let cursor = context.trainer.cursor();
        let (batch, rows) = (recipe.train.batch, context.trainer.rows());
        let loader = Loader::of_rows(dataset.clone(), batch, rows, cursor, PREFETCH)?;
        let conditions = match &recipe.condition {
            Some(condition) => {
                let all = Conditions::new(condition, dataset, settings.condition_file.as_deref())?;
                Some(all.with_labels(recipe.objective.num_labels))
            }
            None => None,
        };
        if let Some(conditions) = &conditions {
            // Each rank reads the file, which may be another one on another node.
            let own = conditions.vectors_checksum().to_le_bytes();
            context.trainer.compare_over_ranks("condition vectors", &own)?;
            context.trainer.init_fixed_conditions(conditions);
        }
        let group = context.trainer.process_group().clone();
        let open = || RunWriter::open(context.dir, &settings, dataset.fingerprint(), step);
        let mut writer = group.is_root().then(open).transpose()?;
        if let Some(damage) = writer.as_ref().and_then(RunWriter::damage) {
            (context.emit)(Event::Warning(damage));
        }
        // Makes a run that is killed before its next checkpoint resumable as it is now: one that
        // has just begun, and one whose steps or learning rate were just changed. It also notices a
        // full disk at once.
        if step == 0 || settings.overrides.iter().any(|change| change.step == step) {
            let saved = match &mut writer {
                Some(writer) => writer.save(context.trainer, context.emit),
                None => Ok(()),
            };
            context.share_failure(saved)?;
        }
        let seconds = writer.as_ref().map_or(Ok(0.0), RunWriter::seconds_so_far)?;
        let clock = Clock::new(seconds, &group);
        (context.emit)(Event::Started {
            step,
            steps: settings.steps,
            batches_per_epoch: loader.batches_per_epoch(),
        });
        if context.trainer.monitor().needs_reference()
            && let Some(real) = SampleStats::of_dataset(dataset)
        {
            context.trainer.monitor_mut().set_reference(real);
        }
        let mut training = Self {
            context,
            settings,
            loader,
            conditions,
            writer,
            clock,
            pending: VecDeque::new(),
            stopped_by: None,
            last_score: None,
            lacks_evaluation: false,
        };
        let caught_up = training.catch_up_evaluation();
        training.context.share_failure(caught_up)?;
        Ok(training)
    }

    /// Evaluates the step from which the run resumes, where that was cancelled.
    fn catch_up_evaluation(&mut self) -> Result<(), TrainError> {
        let (evaluates, step) = (self.evaluates_step(), self.step());
        let RunContext { trainer, emit, eval, .. } = &mut *self.context;
        let (Some(writer), Some(eval), true) = (&mut self.writer, eval, evaluates) else {
            return Ok(());
        };
        if !writer.lacks_evaluation(step)? {
            return Ok(());
        }
        let Some((result, score)) = writer.evaluate(trainer, *eval, *emit)? else {
            self.lacks_evaluation = true;
            return Ok(());
        };
        writer.add_evaluation(&result)?;
        if trainer.best() == Some(&score) {
            writer.save(trainer, *emit)?;
        }
        self.last_score = Some(score);
        Ok(())
    }

    fn step(&self) -> u64 {
        self.context.trainer.steps_done()
    }

    fn emit(&mut self, event: Event) {
        (self.context.emit)(event);
    }

    fn is_stopped(&self) -> bool {
        self.context.stop.load(Ordering::Relaxed)
    }

    fn is_done(&self) -> bool {
        let stops = self.is_stopped() || self.stopped_by.is_some();
        self.step() >= self.settings.steps || self.context.trainer.process_group().any(stops)
    }

    /// Trains one step on the next batches; every update of D has a batch of its own. Returns
    /// whether an epoch ended.
    fn train_step(&mut self) -> Result<bool, TrainError> {
        let batches = (0..self.settings.recipe.train.batches_per_step())
            .map(|_| self.loader.next())
            .collect::<Result<Vec<_>, _>>()?;
        let conditions = self.conditions.as_ref();
        let real: Vec<RealBatch<'_>> = batches
            .iter()
            .map(|batch| RealBatch { batch, condition: conditions.map(|c| c.of(batch)) })
            .collect();
        self.pending.push_back(self.context.trainer.train_step(&real));
        let epoch_end = batches.iter().any(|batch| batch.epoch_end);
        batches.into_iter().for_each(|batch| self.loader.recycle(batch.images));
        Ok(epoch_end)
    }

    /// Whether the generator is evaluated after this step.
    fn evaluates_step(&self) -> bool {
        let (step, steps) = (self.step(), self.settings.steps);
        let eval = self.settings.eval.as_ref().filter(|_| self.context.eval.is_some());
        eval.is_some_and(|eval| step > 0 && (step.is_multiple_of(eval.every) || step == steps))
    }

    /// Whether a checkpoint was asked for since the step before.
    fn takes_save_request(&self) -> bool {
        let Some(save) = self.context.save else { return false };
        self.context.trainer.process_group().any(save.swap(false, Ordering::Relaxed))
    }

    /// The outputs that are due after the step that was just trained.
    fn due(&self, epoch_end: bool) -> DueOutputs {
        let (settings, step) = (&self.settings, self.step());
        let is_last = step == settings.steps;
        let batches = step * settings.recipe.train.batches_per_step() as u64;
        let epoch = epoch_end.then(|| batches / self.loader.batches_per_epoch());
        let evaluates = self.evaluates_step();
        DueOutputs {
            ends: self.is_done(),
            logs: settings.logs_step(step) || evaluates,
            samples: step.is_multiple_of(settings.sample_every)
                || is_last
                || epoch.is_some_and(|epoch| PAPER_EPOCHS.contains(&epoch)),
            evaluates,
            saves: self.takes_save_request() || step.is_multiple_of(settings.checkpoint_every),
            epoch,
        }
    }

    /// Reads the metrics of finished steps and returns those of the newest. A GPU may stay a few
    /// steps behind, unless something is written: that must come from steps known to be finite.
    fn read_metrics(&mut self, due: &DueOutputs) -> Result<Option<StepMetrics>, TrainError> {
        let writes = due.logs || due.samples || due.saves || due.ends;
        let is_cpu = matches!(self.context.trainer.device(), Device::Cpu);
        let in_flight = if writes || is_cpu { 0 } else { MAX_STEPS_IN_FLIGHT };
        let mut newest = None;
        while self.pending.len() > in_flight
            && let Some(pending) = self.pending.pop_front()
        {
            let step = pending.step();
            let metrics = pending.wait()?;
            let d_can_win = self.context.trainer.d_can_win();
            let alerts = self.context.trainer.monitor_mut().observe_step(step, &metrics, d_can_win);
            self.report(alerts);
            newest = Some(metrics);
        }
        Ok(newest)
    }

    /// Emits alerts; the first that is to end the run does so.
    fn report(&mut self, alerts: Vec<Alert>) {
        for alert in alerts {
            if self.stopped_by.is_none() && self.settings.monitor.stops(alert.kind) {
                self.stopped_by = Some(alert.clone());
            }
            self.emit(Event::Alert(alert));
        }
    }

    /// Writes what is due after a step with these metrics.
    fn write(&mut self, due: &DueOutputs, metrics: Option<StepMetrics>) -> Result<(), TrainError> {
        let step = self.step();
        if due.saves {
            self.context.trainer.compare_ranks()?;
        }
        let speed = if due.logs { self.clock.speed() } else { None };
        if let Some(warning) = speed.as_ref().and_then(|speed| self.clock.notice_straggler(speed)) {
            self.emit(Event::Warning(warning));
        }
        if self.writer.is_some() {
            self.write_files(due, metrics, speed.as_ref())?;
        }
        if due.logs {
            self.clock.reset();
        }
        if let Some(epoch) = due.epoch {
            self.emit(Event::Epoch { epoch, step });
        }
        Ok(())
    }

    /// Writes the files that are due after a step with these metrics.
    fn write_files(
        &mut self,
        due: &DueOutputs,
        metrics: Option<StepMetrics>,
        speed: Option<&GroupSpeed>,
    ) -> Result<(), TrainError> {
        let step = self.step();
        let Some(writer) = &mut self.writer else { return Ok(()) };
        if due.samples {
            let (path, stats) = writer.sample(self.context.trainer)?;
            (self.context.emit)(Event::Sampled { step, path });
            let alerts = self.context.trainer.monitor_mut().observe_grid(step, stats);
            self.report(alerts);
        }
        let Some(writer) = &mut self.writer else { return Ok(()) };
        let RunContext { trainer, emit, eval, .. } = &mut *self.context;
        let evaluated = match eval {
            Some(eval) if due.evaluates => writer.evaluate(trainer, *eval, *emit)?,
            _ => None,
        };
        self.lacks_evaluation = due.evaluates && evaluated.is_none();
        if let Some(metrics) = metrics.filter(|_| due.logs) {
            let mut extra = trainer.monitor_mut().metrics(&metrics);
            if let Some((result, _)) = &evaluated {
                result.extend(&mut extra);
            }
            let batch = self.settings.recipe.train.batch;
            let row = self.clock.row(step, metrics, batch, extra, speed);
            writer.log(&row)?;
            emit(Event::Logged(row));
        }
        let score = evaluated.map(|(_, score)| score);
        let is_best = score.is_some() && trainer.best() == score.as_ref();
        self.last_score = score.or(self.last_score.take());
        if is_best || due.saves {
            writer.save(trainer, *emit)?;
        }
        Ok(())
    }

    /// Saves the last checkpoint and, if all steps are done and the run is not to stop, the images
    /// of a finished run.
    fn finish(mut self) -> Result<RunOutcome, TrainError> {
        // Steps in flight when the run was stopped between two steps.
        let due = DueOutputs {
            ends: true,
            logs: false,
            samples: false,
            evaluates: false,
            saves: true,
            epoch: None,
        };
        self.read_metrics(&due)?;
        self.context.trainer.compare_ranks()?;
        let step = self.step();
        let RunContext { trainer, emit, stop, .. } = &mut *self.context;
        let saved = match &mut self.writer {
            Some(writer) => writer.final_checkpoint(trainer, *emit),
            None => Ok(PathBuf::new()),
        };
        // A resumed run makes up for the evaluation and the images.
        let is_cut_short = self.lacks_evaluation || stop.load(Ordering::Relaxed);
        let group = trainer.process_group().clone();
        let checkpoint = share_path(&group, self.context.share_failure(saved)?);
        let finished = step >= self.settings.steps && !group.any(is_cut_short);
        let images = match &self.writer {
            Some(writer) if finished => writer.final_images(&mut *self.context.emit)?,
            _ => Vec::new(),
        };
        let stopped_by = share_alert(&group, self.stopped_by);
        let trainer = &self.context.trainer;
        Ok(RunOutcome {
            step,
            finished,
            checkpoint,
            alerts: trainer.monitor().alerts().to_vec(),
            stopped_by,
            images,
            best: trainer.best().cloned(),
            last: self.last_score.filter(|score| score.step == step),
        })
    }
}
