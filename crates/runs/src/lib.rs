//! Everything a training run leaves on disk, and the readers for it.
//!
//! Nothing here knows tensors or networks: weights are named [`Array`]s, pictures are `[N, H, W, C]` slices in
//! [-1, 1]. One rule holds throughout: a file is complete or absent. Whatever replaces an older file is written
//! under a temporary name, flushed to the disk and renamed (`atomic`), so a full disk or a kill at any instant
//! leaves the older files as they were.
//!
//! ```text
//! runs/0007-paper/
//!   config.toml             resolved recipe, written once          run_dir
//!   metrics.jsonl           one object per logged step             metrics
//!   events.out.tfevents.*   the same for TensorBoard               tensorboard
//!   samples/step-*.png      fixed-latent grids                     grid, timelapse
//!   checkpoints/step-*.safetensors                                 checkpoint, rotation
//!   .lock                   held while a process trains here       run_dir
//! ```

#![forbid(unsafe_code)]

mod array;
mod atomic;
pub mod builtin_models;
pub mod chart;
pub mod checkpoint;
mod container;
mod error;
pub mod grid;
pub mod metrics;
mod npy;
pub mod plot;
pub mod rotation;
pub mod run_dir;
pub mod run_list;
mod skeleton;
mod state_dict;
pub mod tensorboard;
pub mod timelapse;

pub use array::{Array, Data};
pub use atomic::{remove_stale, write_atomic};
pub use checkpoint::{Checkpoint, Dataset, Header, Meta};
pub use container::TensorInfo;
pub use error::ArtefactError;
pub use grid::GridOptions;
pub use metrics::{MetricsWriter, Row};
pub use npy::read_npy;
pub use rotation::{Keep, NewestGood};
pub use run_dir::RunDir;
pub use run_list::RunInfo;
pub use state_dict::{read_state_dict, write_state_dict};
pub use tensorboard::EventWriter;
