//! The studio: a local web server whose page shows runs while they train, and draws with the
//! generators of their checkpoints.
//!
//! The server only reads the files that a run writes, so it may watch runs of other processes. It
//! runs on one thread of its own; files are read, and pages made, on at most four others. The page
//! is compiled in (`assets/`) and loads nothing from elsewhere.
//!
//! ```
//! use std::net::SocketAddr;
//! use studio::{Source, Studio, StudioConfig};
//!
//! let folder = tempfile::tempdir()?;
//! let config = StudioConfig::new(Source::Folder(folder.path().to_owned()));
//! let studio = Studio::start(config, SocketAddr::from(([127, 0, 0, 1], 0)))?;
//! assert!(studio.url().starts_with("http://127.0.0.1:"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Safety of the server
//! The command line listens on the loopback address by default; on another address, clients need a
//! random token. A request must name `localhost`, a loopback address or the address listened to as
//! its `Host`, which prevents DNS rebinding, and one that changes something must come from the
//! studio's own page. Of the disk the server reads the run directories of one folder and follows no
//! link in them. Heads and bodies are limited in size and time, and so are the connections.

#![forbid(unsafe_code)]

mod assets;
mod error;
mod events;
mod explore;
mod guard;
mod history;
mod library;
mod routes;
mod server;

pub use error::StudioError;
pub use server::Studio;

use runs::Checkpoint;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Which runs are shown.
#[derive(Clone, Debug)]
pub enum Source {
    /// All runs of a folder; none while it is absent or empty.
    Folder(PathBuf),
    /// One run directory.
    Run(PathBuf),
    /// No run: the model alone.
    None,
}

/// A generator that does not belong to a run.
#[derive(Clone, Debug)]
pub struct Model {
    /// The name that the page shows.
    pub name: String,
    /// The networks.
    pub checkpoint: Checkpoint,
    /// Whether `name` is that of a built-in model.
    pub is_builtin: bool,
}

/// Controls of the run that this process trains.
#[derive(Clone)]
pub struct Controls {
    /// The name of its run directory.
    pub run: String,
    /// Asks for a checkpoint after the current step.
    pub save: Arc<dyn Fn() + Send + Sync>,
    /// Ends the run after the current step; false if it no longer trains.
    pub stop: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl fmt::Debug for Controls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Controls").field("run", &self.run).finish_non_exhaustive()
    }
}

/// What a studio shows and allows.
#[derive(Clone, Debug)]
pub struct StudioConfig {
    /// The runs.
    pub source: Source,
    /// A generator beside them.
    pub model: Option<Model>,
    /// Controls of one of the runs.
    pub controls: Option<Controls>,
    /// Refuses whatever changes something.
    pub read_only: bool,
    /// Whether clients need the token that is part of [`Studio::url`].
    pub needs_token: bool,
}

impl StudioConfig {
    /// Shows these runs, without controls or a token.
    pub fn new(source: Source) -> Self {
        Self { source, model: None, controls: None, read_only: false, needs_token: false }
    }
}
