//! Ctrl-C (and a polite `kill`): while training, the first lets the step finish and the run save, a second one later ends the program
//! at once. Before training there is nothing to save, and the first ends it.

use crate::error::{CliError, EXIT_INTERRUPTED};
use crate::output;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

static GRACEFUL: AtomicBool = AtomicBool::new(false);
static STOP: AtomicBool = AtomicBool::new(false);
static FIRST: OnceLock<Instant> = OnceLock::new();
/// What comes so soon after the first is the same wish told twice: `timeout`, for one, signals the program and then its group.
const ECHO: Duration = Duration::from_millis(200);

/// Makes interrupts end the program with exit code 130 from now on.
///
/// # Errors
/// When the system refuses the handler.
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
    .map_err(|e| CliError::Failed(format!("cannot watch for Ctrl-C: {e}")))
}

/// From now on the first interrupt only sets the flag that is returned.
pub fn graceful() -> &'static AtomicBool {
    GRACEFUL.store(true, Ordering::SeqCst);
    &STOP
}
