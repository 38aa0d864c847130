//! The events of a run.

use crate::evaluate::EvalResult;
use crate::monitor::Alert;
use runs::MetricsRow;
use std::path::PathBuf;

/// Something that happened in a run, in the order it happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// The loop begins or resumes.
    Started {
        /// Steps already finished.
        step: u64,
        /// Steps of the whole run.
        steps: u64,
        /// Batches in an epoch.
        batches_per_epoch: u64,
    },
    /// A step was finished; cheap, for progress bars.
    Stepped {
        /// Finished steps.
        step: u64,
    },
    /// A row went into metrics.jsonl.
    Logged(MetricsRow),
    /// A grid of the fixed latents was written.
    Sampled {
        /// Finished steps.
        step: u64,
        /// The path of the PNG.
        path: PathBuf,
    },
    /// The generator was evaluated.
    Evaluated {
        /// Finished steps.
        step: u64,
        /// The result of the evaluation.
        result: EvalResult,
        /// Whether this checkpoint is the best so far.
        best: bool,
    },
    /// A checkpoint was written.
    Saved {
        /// Finished steps.
        step: u64,
        /// The path of the checkpoint.
        path: PathBuf,
    },
    /// An epoch ended.
    Epoch {
        /// The epoch's number, from 1.
        epoch: u64,
        /// Finished steps.
        step: u64,
    },
    /// Training shows a failure; emitted once until it has gone away.
    Alert(Alert),
    /// Something the user should know that does not stop the run.
    Warning(String),
}
