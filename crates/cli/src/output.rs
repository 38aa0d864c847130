//! Printing: whatever is written to standard output and standard error, except clap's help and the
//! progress bars.
//!
//! A name from data may hold anything, so unprintable characters are escaped here. A closed output
//! (`dcgan … | head`) must not end a training run, so nothing here fails; another failure of
//! standard output is reported once and, by [`finish`], makes the exit code 1.

use file_io::is_unprintable;
use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, ErrorKind, Write, stderr, stdout};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// When something was last printed.
static LAST_PRINT: Mutex<Option<Instant>> = Mutex::new(None);

/// The time since something was last printed, or since this was first asked.
pub fn quiet_time() -> Duration {
    LAST_PRINT
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get_or_insert_with(Instant::now)
        .elapsed()
}

fn printed() {
    *LAST_PRINT.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
}

/// Whether nothing but errors is printed.
static SILENT: AtomicBool = AtomicBool::new(false);

/// Prints nothing but errors from now on: another rank prints what all have.
pub fn silence() {
    SILENT.store(true, Ordering::Relaxed);
}

/// Whether [`silence`] was called.
pub fn is_silent() -> bool {
    SILENT.load(Ordering::Relaxed)
}

/// Whether output was lost.
static OUTPUT_LOST: AtomicBool = AtomicBool::new(false);

/// Prints a line on standard output; the text may have several.
pub fn line(text: impl Display) {
    if !is_silent() {
        written(writeln!(stdout(), "{}", escaped_lines(&text.to_string())));
    }
}

/// Prints `warning: …` on standard error.
pub fn warning(text: impl Display) {
    message(format!("warning: {}", one_line(text)));
}

/// Prints `progress: …` on standard error.
pub fn progress(text: impl Display) {
    message(format!("progress: {}", one_line(text)));
}

/// Prints `error: …` on standard error.
pub fn error(text: impl Display) {
    print_error(format!("error: {}", one_line(text)));
}

/// Prints a line on standard error; the text may have several.
pub fn note(text: impl Display) {
    message(escaped_lines(&text.to_string()));
}

/// `wrote PATH`, unless the output is JSON.
pub fn wrote(path: &Path, json: bool) {
    if !json {
        line(format!("wrote {}", name(path.display())));
    }
}

/// A JSON object as one line on standard output. JSON itself escapes only a part of the
/// unprintable characters.
pub fn json(value: &serde_json::Value) {
    if !is_silent() {
        written(writeln!(stdout(), "{}", escaped(&value.to_string())));
    }
}

/// A name or path within a text of several lines, on one line.
pub fn name(name: impl Display) -> String {
    escaped(&name.to_string()).into_owned()
}

/// The text on one line, with unprintable characters as JSON and TOML write them: `\n`, `\u001b`.
pub fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unprintable) {
        return Cow::Borrowed(text);
    }
    let escape = |c: char| match c {
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        '\t' => "\\t".to_owned(),
        c if is_unprintable(c) => format!("\\u{:04x}", u32::from(c)),
        c => c.to_string(),
    };
    Cow::Owned(text.chars().map(escape).collect())
}

/// Takes the result of a write to standard output: the first failure is reported, except that of a
/// closed pipe.
pub fn written(result: io::Result<()>) {
    printed();
    if let Err(lost) = result
        && lost.kind() != ErrorKind::BrokenPipe
        && !OUTPUT_LOST.swap(true, Ordering::Relaxed)
    {
        error(format!("cannot write to standard output: {lost}"));
    }
}

/// Flushes standard output. Returns `code`, or 1 instead of 0 if output was lost.
pub fn finish(code: ExitCode) -> ExitCode {
    written(stdout().flush());
    let lost = OUTPUT_LOST.load(Ordering::Relaxed) && code == ExitCode::SUCCESS;
    if lost { ExitCode::FAILURE } else { code }
}

/// Prints on standard error, unless nothing but errors is printed.
fn message(text: impl Display) {
    if !is_silent() {
        print_error(text);
    }
}

/// Prints on standard error, whose own failure cannot be reported anywhere.
fn print_error(text: impl Display) {
    printed();
    let _ = writeln!(stderr(), "{text}");
}

fn escaped_lines(text: &str) -> Cow<'_, str> {
    if !text.contains(|c| c != '\n' && is_unprintable(c)) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.split('\n').map(escaped).collect::<Vec<_>>().join("\n"))
}

/// Messages of other libraries may have several lines; a message of this program has one.
fn one_line(text: impl Display) -> String {
    let text = text.to_string();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(escaped).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_acts_on_is_printed() {
        let evil = "\u{1b}]0;owned\u{7}\u{9b}31m\u{8}\r\u{7f}\u{202e}gpj\u{2066}\u{2028}犬 é";
        for shown in [escaped(evil).into_owned(), escaped_lines(evil).into_owned(), one_line(evil)]
        {
            assert!(!shown.contains(is_unprintable), "{shown:?}");
            assert!(shown.starts_with("\\u001b]0;owned\\u0007\\u009b31m"), "{shown:?}");
            assert!(shown.contains("\\u202egpj\\u2066") && shown.ends_with("犬 é"), "{shown:?}");
        }
        assert_eq!(name("a\nb\tc"), "a\\nb\\tc");
        assert_eq!(escaped_lines("a\nb\tc"), "a\nb\\tc");
        assert_eq!(one_line("a\n  b\u{1b}\n"), "a b\\u001b");
        // Escaped JSON is the same JSON.
        let value = serde_json::json!({ "\u{9b}": evil });
        let text = value.to_string();
        let shown = escaped(&text);
        assert!(!shown.contains(is_unprintable), "{shown:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }
}
