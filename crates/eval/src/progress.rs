//! Progress reports of long work, and cancellation.

use crate::EvalError;

/// A callback `(task, done, total) -> continue?`. The CLI draws a progress bar and returns false
/// after Ctrl-C.
#[derive(Clone, Copy)]
pub struct Progress<'a>(pub &'a (dyn Fn(&str, u64, u64) -> bool + Sync));

impl Progress<'_> {
    /// Reports nothing and never cancels.
    pub const SILENT: Progress<'static> = Progress(&|_, _, _| true);

    /// Reports that `done` of `total` units of `task` are finished.
    ///
    /// # Errors
    /// Returns [`EvalError::Stopped`] if the callback cancels the work.
    pub fn report(self, task: &str, done: usize, total: usize) -> Result<(), EvalError> {
        if (self.0)(task, done as u64, total as u64) { Ok(()) } else { Err(EvalError::Stopped) }
    }
}
