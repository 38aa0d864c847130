//! Signals. Ctrl-C, SIGTERM, SIGHUP and SIGUSR1 (which OpenMPI's launcher passes on at once) end
//! the program at once and leave no temporary file; while training, the first one lets the step
//! finish and the run save. A signal that was ignored when the program started (`nohup`, background
//! jobs of scripts) stays ignored.

use crate::error::{CliError, EXIT_INTERRUPTED};
use crate::{distributed, output};
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

static STOPS_GRACEFULLY: AtomicBool = AtomicBool::new(false);
static STOP_REQUESTED: AtomicBool = AtomicBool::new(false);
static FIRST_SIGNAL: OnceLock<Instant> = OnceLock::new();
/// The error of [`watch`].
static WATCH_ERROR: OnceLock<io::Error> = OnceLock::new();
/// Signals this soon after the first are the same one: `timeout`, for example, signals the program
/// and then its process group.
const REPEATED_SIGNAL: Duration = Duration::from_millis(200);

/// What the first interrupt prints.
const STOPPING: &str = "\nfinishing the step, then saving; once more to quit at once";

/// Installs the handlers: from now on an interrupt removes temporary files and ends the program
/// with exit code 130, and a write over the limit of file sizes is an error like others. Where no
/// thread can be started, an interrupt ends the program without that.
pub fn watch() {
    if let Err(error) = system::watch() {
        let _ = WATCH_ERROR.set(error);
    }
}

/// Whether an interrupt has set the flag of [`graceful`].
pub fn is_stopping() -> bool {
    STOP_REQUESTED.load(Ordering::SeqCst)
}

/// Makes the first interrupt set the returned flag instead of ending the program.
pub fn graceful() -> Result<&'static AtomicBool, CliError> {
    if let Some(error) = WATCH_ERROR.get() {
        return Err(failure!("cannot watch for Ctrl-C: {error}"));
    }
    STOPS_GRACEFULLY.store(true, Ordering::SeqCst);
    Ok(&STOP_REQUESTED)
}

/// Sets the flag of [`graceful`] as the first interrupt does; false if the program no longer
/// trains, or is stopping already.
pub fn request_stop() -> bool {
    let stops =
        STOPS_GRACEFULLY.load(Ordering::SeqCst) && !STOP_REQUESTED.swap(true, Ordering::SeqCst);
    if stops {
        FIRST_SIGNAL.get_or_init(Instant::now);
        output::note(STOPPING);
    }
    stops
}

/// Makes every interrupt end the program again: what the run needs is saved.
pub fn immediate() {
    STOPS_GRACEFULLY.store(false, Ordering::SeqCst);
}

fn interrupted() {
    if !STOPS_GRACEFULLY.load(Ordering::SeqCst) {
        end();
    }
    let first = FIRST_SIGNAL.get_or_init(Instant::now);
    if !STOP_REQUESTED.swap(true, Ordering::SeqCst) {
        output::note(STOPPING);
    } else if first.elapsed() >= REPEATED_SIGNAL {
        end();
    }
}

fn end() -> ! {
    let _held = file_io::discard_temporaries();
    distributed::abort_group(EXIT_INTERRUPTED);
    system::exit(i32::from(EXIT_INTERRUPTED))
}

#[cfg(unix)]
mod system {
    use signal_hook::consts::{SIGABRT, SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGXFSZ};
    use signal_hook::iterator::Signals;
    use std::io;
    use std::process::{Command, Stdio};
    use std::sync::mpsc::channel;
    use std::thread;

    pub use signal_hook::low_level::exit;

    pub fn watch() -> io::Result<()> {
        // The standard library aborts where an allocation that cannot be refused fails, after it
        // has printed the size, and at a panic within a panic. The exit code is that of errors.
        let always = std::sync::Arc::new(true.into());
        signal_hook::flag::register_conditional_shutdown(SIGABRT, 1, always)?;
        if !is_ignored(SIGXFSZ) {
            // By default it kills; with a handler, the write fails and its error is reported.
            signal_hook::flag::register(SIGXFSZ, std::sync::Arc::default())?;
        }
        let watched = [SIGINT, SIGTERM, SIGHUP, SIGUSR1].into_iter();
        let watched: Vec<i32> = watched.filter(|signal| !is_ignored(*signal)).collect();
        let (sender, receiver) = channel();
        // Installed by the thread, so that signals keep their default effect if it cannot start.
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            let mut signals = match Signals::new(watched) {
                Ok(signals) => signals,
                Err(error) => return drop(sender.send(Err(error))),
            };
            // The receiver waits for it.
            let _ = sender.send(Ok(()));
            signals.forever().for_each(|_| super::interrupted());
        })?;
        receiver.recv().unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))
    }

    /// Whether this process ignores the signal.
    fn is_ignored(signal: i32) -> bool {
        match std::fs::read_to_string("/proc/self/status") {
            Ok(status) => in_mask(&status, signal),
            Err(_) => survived_by_child(signal),
        }
    }

    /// Whether the signal is in the mask of ignored ones in Linux's `/proc/PID/status`.
    fn in_mask(status: &str, signal: i32) -> bool {
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
    }

    /// Without `/proc`: a child inherits that a signal is ignored, and outlives it.
    fn survived_by_child(signal: i32) -> bool {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("kill -{signal} $$")]);
        shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        shell.status().is_ok_and(|status| status.success())
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        /// Rust ignores SIGPIPE, but restores it in children.
        #[test]
        fn ignored_signals_are_known() {
            assert!(is_ignored(signal_hook::consts::SIGPIPE));
            assert!(!is_ignored(SIGTERM));
            assert!(in_mask("SigBlk:\t0000\nSigIgn:\t0000000000000001\n", SIGHUP));
            assert!(!in_mask("SigBlk:\t0001\nSigIgn:\t0000000000000002\n", SIGHUP));
            assert!(!survived_by_child(SIGTERM));
        }
    }
}

#[cfg(not(unix))]
mod system {
    use std::io;

    pub use std::process::exit;

    pub fn watch() -> io::Result<()> {
        ctrlc::set_handler(super::interrupted).map_err(io::Error::other)
    }
}
