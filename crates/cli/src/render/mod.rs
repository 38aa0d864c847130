//! How things look: tables, sizes, bars, and the events of a run for people (`human`) and programs (`json`).

mod json;
mod text;

use crate::output;
use data::Dataset;
use eval::Progress;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use nn::{ModelSummary, Recipe};
use std::path::Path;
use std::sync::LazyLock;
use tensor::Device;
use text::TextRenderer;
pub use text::quoted;
use train::{Event, RunOutcome};

/// A training run as it is shown.
pub enum Renderer {
    /// To people.
    Text(TextRenderer),
    /// To programs: JSON lines on standard output and nothing else there.
    Json,
}

impl Renderer {
    /// For programs if `json`.
    pub fn new(json: bool) -> Self {
        if json { Self::Json } else { Self::Text(TextRenderer::new()) }
    }

    /// The layers that will be trained.
    pub fn plan(&self, recipe: &Recipe, plan: &ModelSummary) {
        match self {
            Self::Text(_) => {
                output::line(format!("Recipe {}: {}\n\n{plan}", recipe.name, recipe.description))
            }
            Self::Json => json::plan(recipe, plan),
        }
    }

    /// A bar for opening `total` images, invisible where it would disturb.
    pub fn opening(&self) -> ProgressBar {
        match self {
            Self::Text(_) => counter(0, "reading images"),
            Self::Json => ProgressBar::hidden(),
        }
    }

    /// What will be learned from.
    pub fn data(&self, dataset: &Dataset) {
        match self {
            Self::Text(text) => text.data(dataset),
            Self::Json => json::data(dataset),
        }
    }

    /// What computes.
    pub fn device(&self, device: &Device) {
        match self {
            Self::Text(_) => output::line(format!("Device: {device}")),
            Self::Json => json::device(device),
        }
    }

    /// Where the run is kept.
    pub fn directory(&self, path: &Path) {
        match self {
            Self::Text(_) => output::line(format!("Run directory: {}\n", path.display())),
            Self::Json => json::directory(path),
        }
    }

    /// That nothing was done.
    pub fn dry_run(&self, steps: u64) {
        match self {
            Self::Text(_) => {
                output::line(format!("Dry run: would train {steps} steps; nothing was written"))
            }
            Self::Json => json::dry_run(steps),
        }
    }

    /// That the run was finished before.
    pub fn complete(&self, dir: &Path, step: u64) {
        match self {
            Self::Text(_) => text::complete(dir, step),
            Self::Json => json::complete(dir, step),
        }
    }

    /// What to expect, and what to try.
    pub fn advice(&self, text: &str) {
        match self {
            Self::Text(_) => output::line(text),
            Self::Json => json::advice(text),
        }
    }

    /// Something to know.
    pub fn warning(&self, text: &str) {
        match self {
            Self::Text(renderer) => renderer.warning(text),
            Self::Json => json::warning(text),
        }
    }

    /// The loop begins, with batches of this size.
    pub fn starts(&mut self, batch: usize) {
        if let Self::Text(text) = self {
            text.starts(batch);
        }
    }

    /// Something happened in the loop.
    pub fn event(&mut self, event: &Event) {
        match self {
            Self::Text(text) => text.event(event),
            Self::Json => json::event(event),
        }
    }

    /// The loop failed; its error is printed elsewhere.
    pub fn failed(&mut self) {
        if let Self::Text(text) = self {
            text.stops();
        }
    }

    /// The loop ended.
    pub fn ended(&mut self, dir: &Path, outcome: &RunOutcome) {
        match self {
            Self::Text(text) => text.ended(dir, outcome),
            Self::Json => json::ended(outcome),
        }
    }
}

/// Rows of cells, the first row being the heads; columns of numbers are set to the right.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let cell = |row: &'_ Vec<String>, i: usize| row.get(i).cloned().unwrap_or_default();
    let width = |i: usize| rows.iter().map(|row| cell(row, i).chars().count()).max().unwrap_or(0);
    let number =
        |text: &str| text == "-" || text.starts_with(|c: char| c.is_ascii_digit() || c == '-');
    let right = |i: usize| i > 0 && rows.iter().skip(1).all(|row| number(&cell(row, i)));
    let line = |row: &Vec<String>| {
        let cells = (0..columns).map(|i| {
            let (text, width) = (cell(row, i), width(i));
            if right(i) { format!("{text:>width$}") } else { format!("{text:<width$}") }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Bytes as people read them: `3.4 MiB`.
pub fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut units = ["bytes", "KiB", "MiB", "GiB", "TiB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    for next in units {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    if unit == "bytes" { format!("{bytes} bytes") } else { format!("{value:.1} {unit}") }
}

/// Seconds as `m:ss` or `h:mm:ss`.
pub fn clock(seconds: f64) -> String {
    // The cast saturates, and takes NaN to 0.
    let seconds = seconds.round() as u64;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

/// A bar that counts things; invisible where standard error is no terminal.
pub fn counter(total: u64, what: &'static str) -> ProgressBar {
    bar(total, "{msg} {wide_bar} {pos}/{len}").with_message(what)
}

/// Does work that tells its progress, under a bar that shows it (none with `--json`, or where standard error is no terminal).
pub fn with_progress<T>(json: bool, work: impl FnOnce(Progress<'_>) -> T) -> T {
    let bar = if json { ProgressBar::hidden() } else { bar(0, "{msg} {wide_bar} {pos}/{len}") };
    let result = work(Progress(&|what, done, total| {
        if bar.message() != what {
            bar.set_message(what.to_owned());
        }
        bar.set_length(total);
        bar.set_position(done);
        true
    }));
    bar.finish_and_clear();
    result
}

/// A bar that counts bytes.
pub fn byte_counter(total: u64) -> ProgressBar {
    bar(total, "{wide_bar} {bytes}/{total_bytes}  {bytes_per_sec}  ETA {eta}")
}

/// All bars, so that one that comes while another is there (a run is measured) stands below it.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

fn bar(total: u64, template: &str) -> ProgressBar {
    let bar = BARS.add(ProgressBar::new(total));
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_readable_unit() {
        assert_eq!(
            [0, 1023, 1024, 3_565_158].map(size),
            ["0 bytes", "1023 bytes", "1.0 KiB", "3.4 MiB"]
        );
        assert_eq!(size(u64::MAX), "16777216.0 TiB");
    }

    #[test]
    fn times_have_hours_only_when_needed() {
        assert_eq!([0.4, 65.0, 3600.0, f64::NAN].map(clock), ["0:00", "1:05", "1:00:00", "0:00"]);
    }

    #[test]
    fn tables_set_numbers_to_the_right() {
        let rows = [["run", "step", "state"], ["a", "7", "-"], ["longer", "1500", "running"]];
        let rows: Vec<Vec<String>> =
            rows.iter().map(|row| row.map(String::from).to_vec()).collect();
        assert_eq!(table(&rows), "run     step  state\na          7  -\nlonger  1500  running");
    }
}
