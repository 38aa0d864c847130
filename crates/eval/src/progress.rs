//! How far long work is, and whether it shall go on.

use crate::EvalError;

/// Told `what` is done, how much of it and of how much; answers whether to go on. The CLI draws a bar and looks for Ctrl-C.
#[derive(Clone, Copy)]
pub struct Progress<'a>(pub &'a (dyn Fn(&str, u64, u64) -> bool + Sync));

impl Progress<'_> {
    /// For callers who do not look.
    pub const SILENT: Progress<'static> = Progress(&|_, _, _| true);

    /// Tells that `done` of `total` is finished.
    ///
    /// # Errors
    /// [`EvalError::Stopped`] when the listener wants no more of it.
    pub fn report(self, what: &str, done: usize, total: usize) -> Result<(), EvalError> {
        if (self.0)(what, done as u64, total as u64) { Ok(()) } else { Err(EvalError::Stopped) }
    }
}
