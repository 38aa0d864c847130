//! The program's commands, run as a user runs them, in one test binary: each binary links all
//! crates again.

#[path = "../common/mod.rs"]
mod common;

mod bad_input;
mod conditional;
mod data;
mod disk;
mod eval;
#[cfg(unix)]
mod faults;
mod hostile;
mod import_export;
mod interpret;
mod latent;
mod listing;
mod memorization;
mod representation;
mod resume;
mod sample;
mod studio;
mod toy;
mod train;
