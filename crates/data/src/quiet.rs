//! Calls of libraries that may panic on damaged files.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    /// Whether a panic on this thread is an expected one.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

static HOOK: Once = Once::new();

/// The result of `call`, or the error that `reader` panicked: a panic of a library that reads a file
/// is a defect of the file, which the caller reports, and must not end the process. The panic's own
/// message is not printed.
pub(crate) fn catch_quietly<T>(
    reader: &str,
    call: impl FnOnce() -> Result<T, String>,
) -> Result<T, String> {
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            if !QUIET.get() {
                before(panic);
            }
        }));
    });
    let outer = QUIET.replace(true);
    let result = catch_unwind(AssertUnwindSafe(call));
    QUIET.set(outer);
    result.unwrap_or_else(|_| Err(format!("{reader} panicked")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error() {
        let panicking = || -> Result<u8, String> { panic!("this message must not be printed") };
        assert_eq!(catch_quietly("it", panicking), Err("it panicked".to_owned()));
        assert_eq!(catch_quietly("it", || Ok(3)), Ok(3));
        assert!(!QUIET.get());
    }
}
