//! Printing. A closed output (`dcgan … | head`) must not end a training run, so nothing here fails.

use std::fmt::Display;
use std::io::{Write, stderr, stdout};
use std::path::Path;

/// Prints a line on standard output.
pub fn line(text: impl Display) {
    let _ = writeln!(stdout(), "{text}");
}

/// Prints `warning: …` on standard error.
pub fn warning(text: impl Display) {
    let _ = writeln!(stderr(), "warning: {}", one_line(text));
}

/// Prints `error: …` on standard error.
pub fn error(text: impl Display) {
    let _ = writeln!(stderr(), "error: {}", one_line(text));
}

/// Prints a line on standard error.
pub fn note(text: impl Display) {
    let _ = writeln!(stderr(), "{text}");
}

/// `wrote PATH`, unless the output is JSON.
pub fn wrote(path: &Path, json: bool) {
    if !json {
        line(format!("wrote {}", path.display()));
    }
}

/// A JSON object as one line on standard output.
pub fn json(value: &serde_json::Value) {
    line(value);
}

/// Messages of other libraries may have several lines; a message of this program has one.
fn one_line(text: impl Display) -> String {
    text.to_string()
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}
