//! The loop around the step: batches in, metrics, grids and checkpoints out.

use crate::condition::Conditions;
use crate::evaluate::{CheckpointScore, EvalFn, EvalResult};
use crate::monitor::{Alert, MAX_ROLLBACKS, MonitorConfig, NanAction, SampleStats};
use crate::{Event, PendingMetrics, RealBatch, StepMetrics, TrainError, Trainer};
use data::{Dataset, Loader};
use runs::{
    ArtifactError, DatasetId, EventWriter, GridOptions, MetricsRow, MetricsWriter, RetentionPolicy,
    RunDir, checkpoint_retention, grid, metrics, plots, timelapse,
};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tensor::Device;

/// Batches decoded ahead of the step.
const PREFETCH: usize = 4;
/// Epochs after which a grid is always written: those of the paper's figures 2 and 3.
const PAPER_EPOCHS: [u64; 2] = [1, 5];

/// What a finished run leaves beside its grids.
const TIMELAPSE: &str = "timelapse.gif";
const LOSSES: &str = "losses.png";

/// Steps that a GPU may be behind: it goes on while the host prepares the next batch, and is never more than this far from stopping.
const MAX_STEPS_IN_FLIGHT: usize = 2;

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct RunOutcome {
    /// Finished steps.
    pub step: u64,
    /// Whether that is all of them; otherwise the run was stopped and can be resumed.
    pub finished: bool,
    /// The newest checkpoint.
    pub checkpoint: PathBuf,
    /// What was found to go wrong, the earliest first.
    pub alerts: Vec<Alert>,
    /// The one that ended the run, where the settings have it so.
    pub stopped_by: Option<Alert>,
    /// The time-lapse of the fixed latents and the loss curve, of a finished run.
    pub images: Vec<PathBuf>,
    /// The best checkpoint that was measured, in a run that is.
    pub best: Option<CheckpointScore>,
    /// The last one, where it was measured just now.
    pub last: Option<CheckpointScore>,
}

/// The files a run writes while it goes.
struct RunWriter<'a> {
    dir: &'a RunDir,
    dataset: DatasetId,
    metrics: MetricsWriter,
    board: EventWriter,
    saved: Option<(u64, PathBuf)>,
}

/// Trains until the settings' last step or until `stop` is set, which finishes the step, saves and returns. A trainer that has
/// finished steps already goes on in the directory: later rows of its metrics are cut off, since they come again.
///
/// When a number is not finite, it goes on from the newest good checkpoint with half the learning rate, at most [`MAX_ROLLBACKS`] times, unless
/// the settings say otherwise.
///
/// # Errors
/// Data, disk, or a loss that is no number; what was saved before stays.
pub fn run(
    trainer: &mut Trainer,
    dataset: &Arc<Dataset>,
    dir: &RunDir,
    stop: &AtomicBool,
    emit: &mut dyn FnMut(Event),
) -> Result<RunOutcome, TrainError> {
    run_with_eval(trainer, dataset, dir, stop, emit, None)
}

/// [`run`], where the settings say so with the generator measured on the way. The best checkpoint is kept beside the newest ones. What measures must be a
/// function of the checkpoint alone, or a resumed run is not the one that was never stopped.
///
/// # Errors
/// As [`run`], and what measuring returns.
pub fn run_with_eval(
    trainer: &mut Trainer,
    dataset: &Arc<Dataset>,
    dir: &RunDir,
    stop: &AtomicBool,
    emit: &mut dyn FnMut(Event),
    mut measure: Option<&mut EvalFn<'_>>,
) -> Result<RunOutcome, TrainError> {
    loop {
        match train_loop(trainer, dataset, dir, stop, emit, measure.as_deref_mut()) {
            Err(TrainError::NonFinite { step, what })
                if trainer.settings().monitor.on_nan == NanAction::Rollback =>
            {
                roll_back(trainer, dir, step, what, emit)?;
            }
            other => return other,
        }
    }
}

/// Puts the trainer back to the newest good checkpoint.
fn roll_back(
    trainer: &mut Trainer,
    dir: &RunDir,
    step: u64,
    what: String,
    emit: &mut dyn FnMut(Event),
) -> Result<(), TrainError> {
    let rollbacks = trainer.rollbacks();
    if rollbacks >= MAX_ROLLBACKS {
        let lr = trainer.settings().recipe.optimizer.lr;
        return Err(TrainError::Diverged { step, what, rollbacks, lr });
    }
    let found = checkpoint_retention::latest_valid(&dir.checkpoints())?;
    for (_, error) in &found.skipped {
        emit(Event::Warning(format!("{error} (skipped; going back to {})", found.path.display())));
    }
    let (back, alert) = trainer.roll_back(&found.checkpoint, step, &what)?;
    *trainer = back;
    emit(Event::Alert(alert));
    Ok(())
}

/// Trains from where the trainer stands.
fn train_loop(
    trainer: &mut Trainer,
    dataset: &Arc<Dataset>,
    dir: &RunDir,
    stop: &AtomicBool,
    emit: &mut dyn FnMut(Event),
    mut measure: Option<&mut EvalFn<'_>>,
) -> Result<RunOutcome, TrainError> {
    let settings = trainer.settings().clone();
    let evaluate_every =
        settings.eval.as_ref().filter(|_| measure.is_some()).map(|evaluate| evaluate.every);
    let mut scored = None;
    let first = trainer.steps_done();
    let mut loader =
        Loader::new(dataset.clone(), settings.recipe.train.batch, trainer.cursor(), PREFETCH)?;
    let per_epoch = loader.batches_per_epoch();
    let conditions = match &settings.recipe.condition {
        Some(condition) => {
            let all = Conditions::new(condition, dataset, settings.condition_file.as_deref())?;
            Some(all.with_labels(settings.recipe.objective.labelled))
        }
        None => None,
    };
    if let Some(conditions) = &conditions {
        trainer.init_fixed_conditions(conditions);
    }
    dir.write_config(&settings.to_toml()?)?;
    let begun = dir.metrics().exists();
    let mut out = RunWriter {
        dir,
        dataset: DatasetId {
            name: settings.data.clone(),
            fingerprint: dataset.fingerprint().to_string(),
        },
        metrics: MetricsWriter::resume(&dir.metrics(), first)?,
        board: EventWriter::create(dir.path(), begun.then_some(first))?,
        saved: None,
    };
    if begun {
        out.delete_outputs_after(first)?;
    }
    // A run killed before its next checkpoint can then be resumed as it is now: one that has just begun, and one whose steps or rate
    // were just changed. A full disk is noticed at once, too.
    if first == 0 || settings.overrides.iter().any(|change| change.step == first) {
        let path = out.save(trainer, settings.keep)?;
        emit(Event::Saved { step: first, path });
    }
    let before = metrics::read(&dir.metrics())?.last().map_or(0.0, |row| row.seconds);
    emit(Event::Started { step: first, steps: settings.steps, batches_per_epoch: per_epoch });
    let mut clock = Clock {
        total: Duration::from_secs_f64(before.max(0.0)),
        since_row: Duration::ZERO,
        steps: 0,
    };
    let behind = if matches!(trainer.device(), Device::Cpu) { 0 } else { MAX_STEPS_IN_FLIGHT };
    let mut pending: VecDeque<PendingMetrics> = VecDeque::new();
    if trainer.monitor().needs_reference()
        && let Some(real) = SampleStats::of_dataset(dataset)
    {
        trainer.monitor_mut().set_reference(real);
    }
    let mut monitor = MonitorState { config: settings.monitor, stopped_by: None };
    while trainer.steps_done() < settings.steps
        && !stop.load(Ordering::Relaxed)
        && monitor.stopped_by.is_none()
    {
        let start = Instant::now();
        // Every update of D sees pictures of its own.
        let batches = (0..settings.recipe.train.batches_per_step())
            .map(|_| loader.next())
            .collect::<Result<Vec<_>, _>>()?;
        let given: Vec<RealBatch<'_>> = batches
            .iter()
            .map(|batch| RealBatch { batch, condition: conditions.as_ref().map(|c| c.of(batch)) })
            .collect();
        pending.push_back(trainer.train_step(&given));
        let epoch_end = batches.iter().any(|batch| batch.epoch_end);
        batches.into_iter().for_each(|batch| loader.recycle(batch.images));
        let step = trainer.steps_done();
        let last = step == settings.steps;
        let epoch = step * settings.recipe.train.batches_per_step() as u64 / per_epoch;
        let evaluates = evaluate_every.is_some_and(|every| step.is_multiple_of(every) || last);
        let logs = step.is_multiple_of(settings.log_every) || last || evaluates;
        let samples = step.is_multiple_of(settings.sample_every)
            || last
            || (epoch_end && PAPER_EPOCHS.contains(&epoch));
        let saves =
            step.is_multiple_of(settings.checkpoint_every) || last || stop.load(Ordering::Relaxed);
        // What is written must be of steps that are known to be sound.
        let allowed = if logs || samples || saves { 0 } else { behind };
        let mut newest = None;
        while pending.len() > allowed
            && let Some(measured) = pending.pop_front()
        {
            newest = Some(monitor.step(trainer, measured, emit)?);
        }
        clock.tick(start.elapsed());
        emit(Event::Stepped { step });
        if samples {
            let (path, health) = out.sample(trainer, step)?;
            emit(Event::Sampled { step, path });
            monitor.grid(trainer, health, emit);
        }
        let measured = match &mut measure {
            Some(measure) if evaluates => Some(out.evaluate(trainer, measure, emit)?),
            _ => None,
        };
        if let Some(losses) = newest.filter(|_| logs) {
            let mut extra = trainer.monitor_mut().metrics(&losses);
            if let Some((measurement, _)) = &measured {
                extra.extend(
                    measurement.metrics.iter().map(|(name, v)| (name.clone(), (*v).into())),
                );
                // A figure means something only beside those of the same features.
                extra.insert("eval/by".to_owned(), measurement.features.clone().into());
            }
            let row = clock.row(step, losses, settings.recipe.train.batch, extra);
            out.log(&row)?;
            emit(Event::Logged(row));
        }
        if epoch_end {
            emit(Event::Epoch { epoch, step });
        }
        let improved = measured.is_some_and(|(_, own)| {
            let improved = trainer.best() == Some(&own);
            scored = Some(own);
            improved
        });
        if improved || step.is_multiple_of(settings.checkpoint_every) {
            let path = out.save(trainer, settings.keep)?;
            emit(Event::Saved { step, path });
        }
    }
    // Stopped between two steps.
    for measured in pending {
        monitor.step(trainer, measured, emit)?;
    }
    let step = trainer.steps_done();
    let checkpoint = match &out.saved {
        Some((at, path)) if *at == step => path.clone(),
        _ => {
            let path = out.save(trainer, settings.keep)?;
            emit(Event::Saved { step, path: path.clone() });
            path
        }
    };
    let finished = step >= settings.steps;
    let images = if finished { out.final_images(emit)? } else { Vec::new() };
    let alerts = trainer.monitor().alerts().to_vec();
    let (best, last) = (trainer.best().cloned(), scored.filter(|scored| scored.step == step));
    Ok(RunOutcome {
        step,
        finished,
        checkpoint,
        alerts,
        stopped_by: monitor.stopped_by,
        images,
        best,
        last,
    })
}

/// Tells what the trainer's watchdog finds.
struct MonitorState {
    config: MonitorConfig,
    stopped_by: Option<Alert>,
}

impl MonitorState {
    /// Waits for what a step measured.
    fn step(
        &mut self,
        trainer: &mut Trainer,
        measured: PendingMetrics,
        emit: &mut dyn FnMut(Event),
    ) -> Result<StepMetrics, TrainError> {
        let step = measured.step();
        let losses = measured.wait()?;
        let d_can_win = trainer.d_can_win();
        let found = trainer.monitor_mut().observe_step(step, &losses, d_can_win);
        self.report(found, emit);
        Ok(losses)
    }

    fn grid(&mut self, trainer: &mut Trainer, health: SampleStats, emit: &mut dyn FnMut(Event)) {
        let step = trainer.steps_done();
        let found = trainer.monitor_mut().observe_grid(step, health);
        self.report(found, emit);
    }

    fn report(&mut self, found: Vec<Alert>, emit: &mut dyn FnMut(Event)) {
        for alert in found {
            if self.stopped_by.is_none() && self.config.stops(alert.kind) {
                self.stopped_by = Some(alert.clone());
            }
            emit(Event::Alert(alert));
        }
    }
}

/// Time spent in steps (and waiting for data), not in writing pictures and checkpoints.
struct Clock {
    total: Duration,
    since_row: Duration,
    steps: u64,
}

impl Clock {
    fn tick(&mut self, elapsed: Duration) {
        self.total += elapsed;
        self.since_row += elapsed;
        self.steps += 1;
    }

    fn row(
        &mut self,
        step: u64,
        losses: StepMetrics,
        batch: usize,
        extra: serde_json::Map<String, serde_json::Value>,
    ) -> MetricsRow {
        let images_per_second =
            (self.steps * batch as u64) as f64 / self.since_row.as_secs_f64().max(1e-9);
        (self.since_row, self.steps) = (Duration::ZERO, 0);
        let StepMetrics { d_loss, g_loss, d_real, d_fake, .. } = losses;
        MetricsRow {
            step,
            d_loss: d_loss.into(),
            g_loss: g_loss.into(),
            d_real: d_real.into(),
            d_fake: d_fake.into(),
            images_per_second,
            seconds: self.total.as_secs_f64(),
            extra,
        }
    }
}

impl RunWriter<'_> {
    fn log(&mut self, row: &MetricsRow) -> Result<(), TrainError> {
        self.metrics.append(row)?;
        let scalars = [
            ("loss/discriminator", row.d_loss),
            ("loss/generator", row.g_loss),
            ("probability/real", row.d_real),
            ("probability/fake", row.d_fake),
            ("speed/images_per_second", row.images_per_second),
        ];
        self.board.scalars(row.step, &scalars)?;
        Ok(())
    }

    /// Writes a grid of the fixed latents, and says what it looks like.
    fn sample(
        &mut self,
        trainer: &mut Trainer,
        step: u64,
    ) -> Result<(PathBuf, SampleStats), TrainError> {
        let images = trainer.fixed_samples();
        let shape = [images.shape()[0], images.shape()[1], images.shape()[2], images.shape()[3]];
        let picture =
            grid::grid(&images.to_vec(), shape, GridOptions::for_size([shape[1], shape[2]]))?;
        let path = self.dir.sample(step);
        grid::save_png(&path, &picture)?;
        self.board.image(step, "samples", &picture)?;
        Ok((path, SampleStats::of(&images)))
    }

    /// Measures the generator, and remembers it where it is the best so far.
    fn evaluate(
        &mut self,
        trainer: &mut Trainer,
        measure: &mut EvalFn<'_>,
        emit: &mut dyn FnMut(Event),
    ) -> Result<(EvalResult, CheckpointScore), TrainError> {
        let step = trainer.steps_done();
        let measurement = measure(&trainer.checkpoint(&self.dataset)?)?;
        let EvalResult { score, value, .. } = measurement;
        let scored =
            CheckpointScore { step, score, value: Some(value), by: measurement.by.clone() };
        if let Some(before) = trainer.best().filter(|best| best.by != scored.by) {
            let (old, new) = (&before.by, &scored.by);
            emit(Event::Warning(format!(
                "the run was measured by {old} before, and is by {new} now: the best is looked for anew"
            )));
        }
        let best = scored.is_better_than(trainer.best());
        if best {
            trainer.set_best(scored.clone());
        }
        let figures: Vec<_> =
            measurement.metrics.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        self.board.scalars(step, &figures)?;
        emit(Event::Evaluated { step, measurement: measurement.clone(), best });
        Ok((measurement, scored))
    }

    /// Removes the pictures of steps that will come again, and those of a run's end.
    fn delete_outputs_after(&self, step: u64) -> Result<(), TrainError> {
        let later = checkpoint_retention::steps_in(&self.dir.samples(), "png")?
            .into_iter()
            .filter(|(at, _)| *at > step)
            .map(|(_, path)| path);
        for path in later.chain([self.dir.path().join(TIMELAPSE), self.dir.path().join(LOSSES)]) {
            match std::fs::remove_file(&path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(ArtifactError::Write { path, source: e }.into());
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The rows first: a checkpoint on disk promises that all rows up to its step are there.
    fn save(&mut self, trainer: &Trainer, keep: usize) -> Result<PathBuf, TrainError> {
        self.metrics.sync()?;
        self.board.sync()?;
        let checkpoint = trainer.checkpoint(&self.dataset)?;
        let kept = RetentionPolicy { last: keep, best: trainer.best().map(|best| best.step) };
        let path =
            checkpoint_retention::save_and_prune(&self.dir.checkpoints(), &checkpoint, kept)?;
        self.saved = Some((trainer.steps_done(), path.clone()));
        Ok(path)
    }

    fn final_images(&self, emit: &mut dyn FnMut(Event)) -> Result<Vec<PathBuf>, TrainError> {
        let lapse = self.dir.path().join(TIMELAPSE);
        let made = timelapse::write(&lapse, &self.dir.samples(), timelapse::Options::default())?;
        for (path, reason) in made.skipped {
            emit(Event::Warning(format!(
                "left {} out of the time-lapse: {reason}",
                path.display()
            )));
        }
        let losses = self.dir.path().join(LOSSES);
        plots::losses::write(&losses, &metrics::read(&self.dir.metrics())?)?;
        Ok(vec![lapse, losses])
    }
}
