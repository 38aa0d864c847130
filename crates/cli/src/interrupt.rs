//! Ctrl-C (and a polite `kill`): while training, the first lets the step finish and the run save, the second ends the program at
//! once. Before training there is nothing to save, and the first ends it.

use crate::error::{CliError, INTERRUPTED};
use crate::output;
use std::sync::atomic::{AtomicBool, Ordering};

static GRACEFUL: AtomicBool = AtomicBool::new(false);
static STOP: AtomicBool = AtomicBool::new(false);

/// Makes interrupts end the program with exit code 130 from now on.
///
/// # Errors
/// When the system refuses the handler.
pub fn watch() -> Result<(), CliError> {
    ctrlc::set_handler(|| {
        if !GRACEFUL.load(Ordering::SeqCst) || STOP.swap(true, Ordering::SeqCst) {
            std::process::exit(i32::from(INTERRUPTED));
        }
        output::note("\nfinishing the step, then saving; once more to quit at once");
    })
    .map_err(|e| CliError::Failed(format!("cannot watch for Ctrl-C: {e}")))
}

/// From now on the first interrupt only sets the flag that is returned.
pub fn graceful() -> &'static AtomicBool {
    GRACEFUL.store(true, Ordering::SeqCst);
    &STOP
}
