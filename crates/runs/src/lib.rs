//! The files that a training run leaves on disk, and the readers for them.
//!
//! No network is built here: weights are named arrays, images are `[N, H, W, C]` slices in [-1, 1].
//! One rule holds throughout: a file is complete or absent. Whatever replaces an older file is
//! written under a temporary name, flushed to the disk and renamed (`atomic`), so a full disk or a
//! kill at any instant leaves the older files as they were.
//!
//! ```text
//! runs/0007-paper/
//!   config.toml             resolved recipe, written once          run_dir
//!   metrics.jsonl           one object per logged step             metrics
//!   events.out.tfevents.*   the same for TensorBoard               tensorboard
//!   samples/step-*.png      grids of the fixed latents             grid, timelapse
//!   checkpoints/step-*.safetensors             checkpoint, checkpoint_retention
//!   losses.png              the loss curves                        plots::losses
//!   .lock                   held while a process trains here       run_dir
//! ```

#![forbid(unsafe_code)]

pub mod animation;
mod atomic;
pub mod builtin_models;
pub mod checkpoint;
pub mod checkpoint_retention;
mod container;
mod error;
pub mod grid;
pub mod metrics;
mod npy;
pub mod plots;
pub mod run_dir;
mod run_dir_init;
pub mod run_list;
mod state_dict;
pub mod tensorboard;
pub mod timelapse;

pub use atomic::{remove_stale, write_atomic};
pub use checkpoint::{Checkpoint, CheckpointHeader, CheckpointMeta, DatasetId};
pub use checkpoint_retention::{LatestValidCheckpoint, RetentionPolicy};
pub use container::TensorInfo;
pub use error::{ArtifactError, FrameProblem};
pub use grid::GridOptions;
pub use metrics::{MetricsRow, MetricsWriter};
pub use npy::read_npy;
pub use run_dir::RunDir;
pub use run_list::RunInfo;
pub use state_dict::{read_state_dict, write_state_dict};
pub use tensorboard::EventWriter;
