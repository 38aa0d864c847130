//! Progress: bars on a terminal, lines on standard error elsewhere, and a line wherever the program
//! has been silent for a second.

use crate::error::CliError;
use crate::{interrupt, output, threads};
use data::DataError;
use eval::Progress;
use indicatif::{
    HumanDuration, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle, WeakProgressBar,
};
use std::io::{IsTerminal, stderr};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// All bars: one that starts while another is shown (an evaluation during training) goes below it.
static BARS: LazyLock<MultiProgress> = LazyLock::new(|| match output::is_silent() {
    true => MultiProgress::with_draw_target(ProgressDrawTarget::hidden()),
    false => MultiProgress::new(),
});
/// The bars that may not be finished, the newest last.
static OPEN: Mutex<Vec<WeakProgressBar>> = Mutex::new(Vec::new());

/// The silence before the first progress line, and the longest before another one.
const MAX_SILENCE: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(10)];
/// How often a bar is drawn, and the silence measured.
const TICK: Duration = Duration::from_millis(100);

/// A bar that counts items.
pub fn counter(total: u64, what: &'static str) -> ProgressBar {
    bar(total, what, "{msg} {wide_bar} {pos}/{len}  {elapsed}")
}

/// A bar that counts bytes.
pub fn byte_counter(total: u64) -> ProgressBar {
    let template = "{wide_bar} {bytes}/{total_bytes}  {bytes_per_sec}  ETA {eta}";
    bar(total, "bytes downloaded", template)
}

/// A bar of this template, which need not show `what`.
pub fn bar(total: u64, what: &'static str, template: &str) -> ProgressBar {
    let bar = BARS.add(ProgressBar::new(total)).with_message(what);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    // The tick panics where no thread can be started.
    if stderr().is_terminal() && thread::Builder::new().spawn(|| ()).is_ok() {
        bar.enable_steady_tick(TICK);
    }
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    open.retain(|bar| bar.upgrade().is_some_and(|bar| !bar.is_finished()));
    open.push(bar.downgrade());
    bar
}

/// Runs `work` under a bar. An interrupt cancels work that a run can do without: an evaluation
/// during training.
pub fn with_progress<T>(work: impl FnOnce(Progress<'_>) -> T) -> T {
    let bar = counter(0, "");
    let result = work(Progress(&|what, done, total| {
        if bar.message() != what {
            bar.set_message(what.to_owned());
        }
        bar.set_length(total);
        bar.set_position(done);
        !interrupt::is_stopping()
    }));
    bar.finish_and_clear();
    result
}

/// Runs `work`, which reports how many images it has read, under a bar.
///
/// # Errors
/// Returns the error of `work`, or one if the threads that decode cannot be started.
pub fn count_images<T>(
    what: &'static str,
    work: impl FnOnce(&dyn Fn(data::ScanProgress)) -> Result<T, DataError>,
) -> Result<T, CliError> {
    threads::start(None)?;
    let bar = counter(0, what);
    let result = work(&|progress| {
        bar.set_length(progress.total as u64);
        bar.set_position(progress.done as u64);
    });
    bar.finish_and_clear();
    Ok(result?)
}

/// Prints a progress line from now on wherever nothing has been printed for a second, and then for
/// ever longer up to ten, unless a bar on a terminal shows the progress.
pub fn watch_silence() {
    let started = Instant::now();
    let watch = move || {
        let [first, longest] = MAX_SILENCE;
        let (mut last, mut patience) = (String::new(), first);
        loop {
            thread::sleep(TICK);
            let bar = open_bar();
            if bar.is_some() && stderr().is_terminal() {
                continue;
            }
            let (what, took) = match &bar {
                Some(bar) => (describe(bar), bar.elapsed()),
                None => ("working".to_owned(), started.elapsed()),
            };
            let task = bar.map_or_else(String::new, |bar| bar.message());
            if task != last {
                (last, patience) = (task, first);
            }
            if output::quiet_time() >= patience {
                output::progress(format!("{what} ({})", HumanDuration(took)));
                patience = (2 * patience).min(longest);
            }
        }
    };
    // A system that refuses a thread loses the lines alone.
    let _ = thread::Builder::new().spawn(watch);
}

/// The newest bar that is not finished.
fn open_bar() -> Option<ProgressBar> {
    let open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    open.iter().rev().filter_map(WeakProgressBar::upgrade).find(|bar| !bar.is_finished())
}

/// The task of a bar with its position, as text.
fn describe(bar: &ProgressBar) -> String {
    let task = match bar.message() {
        empty if empty.is_empty() => "working".to_owned(),
        task => task,
    };
    match bar.length() {
        Some(total) if total > 0 => format!("{task}, {} of {total}", bar.position()),
        _ => task,
    }
}
