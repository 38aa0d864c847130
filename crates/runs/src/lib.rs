//! The files that a training run leaves on disk, and the readers for them.
//!
//! No network is built here: weights are named arrays, images are `[N, H, W, C]` slices in [-1, 1].
//! One rule holds throughout: a file is complete or absent. Whatever replaces an older file is
//! written under a temporary name, flushed to the disk and renamed (`write_atomic`), so a full disk
//! or a kill at any instant leaves the older files as they were.
//!
//! ```text
//! runs/0007-paper/
//!   config.toml             resolved recipe, written once          run_dir
//!   metrics.jsonl           one object per logged step             metrics
//!   events.out.tfevents.*   the same for TensorBoard               tensorboard
//!   samples/step-*.png      grids of the fixed latents             grid, timelapse
//!   checkpoints/step-*.safetensors             checkpoint, checkpoint_retention
//!   losses.png              the loss curves                        plots::losses
//!   note.txt                a note of the user's                   crate studio
//!   .lock                   held while a process trains here       run_dir
//! ```

#![forbid(unsafe_code)]

pub mod animation;
pub mod builtin_models;
pub mod checkpoint;
pub mod checkpoint_retention;
mod container;
mod error;
pub mod grid;
pub mod metrics;
mod npy;
mod npz;
pub mod plots;
mod pytorch;
pub mod run_dir;
mod run_dir_init;
pub mod run_list;
mod state_dict;
pub mod tensorboard;
pub mod timelapse;

pub use checkpoint::{Checkpoint, CheckpointHeader, CheckpointMeta, DatasetId};
pub use checkpoint_retention::{LatestValidCheckpoint, RetentionPolicy};
pub use container::TensorInfo;
pub use error::{ArtifactError, FrameProblem};
pub use grid::GridOptions;
pub use metrics::{MetricsRow, MetricsWriter};
pub use npy::read_npy;
pub use npz::{NpzArray, read_npz, write_npz};
pub use pytorch::{PyTorchProblem, UnreadEntry};
pub use run_dir::{RunDir, remove_stale};
pub use run_list::RunInfo;
pub use state_dict::{StateDictFile, StateDictInfo, read_state_dict, write_state_dict};
pub use tensorboard::EventWriter;

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::Path;

/// [`file_io::write_atomic`]: a reader finds the old file or the whole new one.
///
/// # Errors
/// Returns [`ArtifactError::Write`] with the error of the operating system or of `fill`.
pub fn write_atomic(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<&mut File>) -> io::Result<()>,
) -> Result<(), ArtifactError> {
    file_io::write_atomic(path, fill).map_err(ArtifactError::write(path))
}
