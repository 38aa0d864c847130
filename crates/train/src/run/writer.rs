//! The files that a run writes: metrics, sample grids, checkpoints, and the plots at its end.

use super::speed::WAITING;
use crate::evaluate::{CheckpointScore, EvalFn, EvalResult, FEATURES};
use crate::monitor::SampleStats;
use crate::{Event, Settings, TrainError, Trainer};
use runs::{
    ArtifactError, DatasetId, EventWriter, GridOptions, MetricsRow, MetricsWriter, RetentionPolicy,
    RunDir, checkpoint_retention, grid, metrics, plots, timelapse,
};
use serde_json::Value;
use std::path::PathBuf;

/// The files of a finished run in addition to its grids.
const TIMELAPSE: &str = "timelapse.gif";
const LOSSES: &str = "losses.png";

/// Writes a run's files.
pub(super) struct RunWriter<'a> {
    dir: &'a RunDir,
    dataset: DatasetId,
    metrics: MetricsWriter,
    board: EventWriter,
    /// The newest checkpoint and its step.
    saved: Option<(u64, PathBuf)>,
}

impl<'a> RunWriter<'a> {
    /// Opens the files of a run at step `step`. Rows and images of later steps are deleted: the
    /// run computes them again.
    pub fn open(
        dir: &'a RunDir,
        settings: &Settings,
        fingerprint: &str,
        step: u64,
    ) -> Result<Self, TrainError> {
        dir.write_config(&settings.to_toml()?)?;
        let resumes = dir.metrics().exists();
        let writer = Self {
            dir,
            dataset: DatasetId {
                name: settings.data.clone(),
                fingerprint: fingerprint.to_string(),
            },
            metrics: MetricsWriter::resume(&dir.metrics(), step)?,
            board: EventWriter::create(dir.path(), resumes.then_some(step))?,
            saved: None,
        };
        if resumes {
            writer.delete_images_after(step)?;
        }
        Ok(writer)
    }

    /// The line of the metrics that was cut off as damaged, if there was one.
    pub fn damage(&self) -> Option<String> {
        self.metrics.damage().map(|error| {
            format!("{error}: this line and the rows after it are lost, training continues")
        })
    }

    /// Seconds of training before the run was resumed.
    pub fn seconds_so_far(&self) -> Result<f64, TrainError> {
        Ok(metrics::read(&self.dir.metrics())?.last().map_or(0.0, |row| row.seconds))
    }

    /// Appends a row of metrics.
    pub fn log(&mut self, row: &MetricsRow) -> Result<(), TrainError> {
        self.metrics.append(row)?;
        let scalars = [
            ("loss/discriminator", row.d_loss),
            ("loss/generator", row.g_loss),
            ("probability/real", row.d_real),
            ("probability/fake", row.d_fake),
            ("speed/images_per_second", row.images_per_second),
        ];
        self.board.scalars(row.step, &scalars)?;
        if let Some(share) = row.extra.get(WAITING).and_then(Value::as_f64) {
            self.board.scalars(row.step, &[("speed/waiting", share)])?;
        }
        Ok(())
    }

    /// Writes a grid of the fixed latents, and returns its path and its statistics.
    pub fn sample(&mut self, trainer: &mut Trainer) -> Result<(PathBuf, SampleStats), TrainError> {
        let step = trainer.steps_done();
        let images = trainer.fixed_samples();
        let [n, h, w, c] = [0, 1, 2, 3].map(|axis| images.shape()[axis]);
        let image = grid::grid(&images.to_vec(), [n, h, w, c], GridOptions::for_size([h, w]))?;
        let path = self.dir.sample(step);
        grid::save_png(&path, &image)?;
        self.board.image(step, "samples", &image)?;
        Ok((path, SampleStats::of(&images)))
    }

    /// Whether the evaluation of step `step`, where one is due, was cancelled: the row of the step
    /// has none.
    pub fn lacks_evaluation(&self, step: u64) -> Result<bool, TrainError> {
        let last = metrics::read(&self.dir.metrics())?.pop();
        Ok(last.is_some_and(|row| row.step == step && !row.extra.contains_key(FEATURES)))
    }

    /// Adds the values of an evaluation to the last row of metrics.
    pub fn add_evaluation(&mut self, result: &EvalResult) -> Result<(), TrainError> {
        Ok(self.metrics.change_last(|row| result.extend(&mut row.extra))?)
    }

    /// Evaluates the generator, and records the checkpoint if it is the best so far. Returns `None`
    /// if the evaluation was cancelled.
    pub fn evaluate(
        &mut self,
        trainer: &mut Trainer,
        eval: &mut EvalFn<'_>,
        emit: &mut dyn FnMut(Event),
    ) -> Result<Option<(EvalResult, CheckpointScore)>, TrainError> {
        let step = trainer.steps_done();
        let Some(result) = eval(&trainer.checkpoint(&self.dataset)?)? else { return Ok(None) };
        let (score, by) = (result.score, result.by.clone());
        let score = CheckpointScore { step, score, value: Some(result.value), by };
        if let Some(before) = trainer.best().filter(|best| best.by != score.by) {
            let (old, new) = (&before.by, &score.by);
            emit(Event::Warning(format!(
                "the run was evaluated by {old} before and is by {new} now: the search for the \
                 best checkpoint starts again"
            )));
        }
        let best = score.is_better_than(trainer.best());
        if best {
            trainer.set_best(score.clone());
        }
        let scalars: Vec<_> =
            result.metrics.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        self.board.scalars(step, &scalars)?;
        emit(Event::Evaluated { step, result: result.clone(), best });
        Ok(Some((result, score)))
    }

    /// Saves a checkpoint.
    pub fn save(
        &mut self,
        trainer: &Trainer,
        emit: &mut dyn FnMut(Event),
    ) -> Result<(), TrainError> {
        // The rows first: a checkpoint on disk promises that all rows up to its step are there.
        self.metrics.sync()?;
        self.board.sync()?;
        let checkpoint = trainer.checkpoint(&self.dataset)?;
        let best = trainer.best().map(|best| best.step);
        let kept = RetentionPolicy { last: trainer.settings().keep, best };
        let path =
            checkpoint_retention::save_and_prune(&self.dir.checkpoints(), &checkpoint, kept)?;
        let step = trainer.steps_done();
        self.saved = Some((step, path.clone()));
        emit(Event::Saved { step, path });
        Ok(())
    }

    /// The path of this step's checkpoint, saved now if it is not there yet.
    pub fn final_checkpoint(
        &mut self,
        trainer: &Trainer,
        emit: &mut dyn FnMut(Event),
    ) -> Result<PathBuf, TrainError> {
        if self.saved.as_ref().is_none_or(|(step, _)| *step != trainer.steps_done()) {
            self.save(trainer, emit)?;
        }
        Ok(self.saved.take().map(|(_, path)| path).unwrap_or_default())
    }

    /// Writes the time-lapse and the plot of the losses of a finished run, and returns their paths.
    pub fn final_images(&self, emit: &mut dyn FnMut(Event)) -> Result<Vec<PathBuf>, TrainError> {
        let lapse = self.dir.path().join(TIMELAPSE);
        let written = timelapse::write(&lapse, &self.dir.samples(), timelapse::Options::default())?;
        for (path, reason) in written.skipped {
            emit(Event::Warning(format!(
                "left {} out of the time-lapse: {reason}",
                path.display()
            )));
        }
        let losses = self.dir.path().join(LOSSES);
        plots::losses::write(&losses, &metrics::read(&self.dir.metrics())?)?;
        Ok(vec![lapse, losses])
    }

    /// Deletes the sample grids of later steps and the images of a finished run.
    fn delete_images_after(&self, step: u64) -> Result<(), TrainError> {
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
}
