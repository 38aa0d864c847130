//! Ctrl-C and SIGTERM. While training, the first one lets the step finish and the run save, and a
//! second one ends the program at once. Before training, the first one ends it.

use crate::error::{CliError, EXIT_INTERRUPTED};
use crate::output;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

static GRACEFUL: AtomicBool = AtomicBool::new(false);
static STOP: AtomicBool = AtomicBool::new(false);
static FIRST: OnceLock<Instant> = OnceLock::new();
/// Signals this soon after the first are the same one: `timeout`, for example, signals the program
/// and then its process group.
const ECHO: Duration = Duration::from_millis(200);

/// Installs the handler: from now on an interrupt ends the program with exit code 130.
pub fn watch() -> Result<(), CliError> {
    ctrlc::set_handler(|| {
        if !GRACEFUL.load(Ordering::SeqCst) {
            std::process::exit(i32::from(EXIT_INTERRUPTED));
        }
        let first = FIRST.get_or_init(Instant::now);
        if !STOP.swap(true, Ordering::SeqCst) {
            output::note("\nfinishing the step, then saving; once more to quit at once");
        } else if first.elapsed() >= ECHO {
            std::process::exit(i32::from(EXIT_INTERRUPTED));
        }
    })
    .map_err(|e| failure!("cannot watch for Ctrl-C: {e}"))
}

/// Makes the first interrupt set the returned flag instead of ending the program.
pub fn graceful() -> &'static AtomicBool {
    GRACEFUL.store(true, Ordering::SeqCst);
    &STOP
}
