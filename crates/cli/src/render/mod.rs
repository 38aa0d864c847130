//! Output of a training run as text (`text`) or JSON lines (`json`), progress bars and tables.

mod json;
mod progress;
mod text;

use crate::distributed::Ranks;
use crate::output;
use crate::report::ReportPath;
use data::{Dataset, LayoutReport, SkippedImage};
use indicatif::{FormattedDuration, HumanBytes};
use nn::{ModelSummary, Recipe};
pub use progress::{byte_counter, count_images, counter, watch_silence, with_progress};
use serde_json::{Value, json};
use std::fmt::Display;
use std::path::Path;
use std::time::Duration;
use tensor::Device;
use text::TextRenderer;
pub use text::quoted;
use train::{Event, RunOutcome};

/// Shows a training run.
pub enum Renderer {
    /// Text for people.
    Text(TextRenderer),
    /// JSON lines on standard output, and nothing else there.
    Json,
}

impl Renderer {
    /// A renderer of JSON lines if `json`, else of text.
    pub fn new(json: bool) -> Self {
        if json { Self::Json } else { Self::Text(TextRenderer::new()) }
    }

    /// Shows the layers of both networks, and the memory that a run takes, in bytes.
    pub fn plan(&self, recipe: &Recipe, plan: &ModelSummary, memory: u64) {
        match self {
            Self::Text(_) => {
                let [name, about] = [&recipe.name, &recipe.description].map(output::name);
                let memory = HumanBytes(memory);
                output::line(format!(
                    "Recipe {name}: {about}\n\n{plan}; the run takes about {memory} of memory"
                ));
            }
            Self::Json => json::plan(recipe, plan, memory),
        }
    }

    /// Shows the dataset.
    pub fn data(&self, dataset: &Dataset) {
        match self {
            Self::Text(text) => text.data(dataset),
            Self::Json => json::data(dataset),
        }
    }

    /// Shows a line of text, or a JSON object.
    fn show(&self, text: impl Display, object: Value) {
        match self {
            Self::Text(_) => output::line(text),
            Self::Json => output::json(&object),
        }
    }

    /// Shows the device.
    pub fn device(&self, device: &Device) {
        let object = json!({ "event": "device", "device": device.to_string() });
        self.show(format!("Device: {device}"), object);
    }

    /// Shows the ranks and their threads, if there are several, and what slows them down.
    pub fn ranks(&self, ranks: &Ranks) {
        if ranks.is_single() {
            return;
        }
        let (count, nodes) = (ranks.group().world_size(), ranks.distinct_nodes());
        let threads = rayon::current_num_threads();
        let object =
            json!({ "event": "ranks", "ranks": count, "nodes": nodes, "threads": threads });
        let on = match nodes.len() {
            1 => format!("node {}", output::name(nodes[0])),
            several => format!("{several} nodes"),
        };
        let each = if threads == 1 { "thread" } else { "threads" };
        self.show(format!("Ranks: {count} on {on}, {threads} {each} on rank 0"), object);
        ranks.warning().into_iter().for_each(|text| self.warning(text));
    }

    /// Shows the run directory.
    pub fn directory(&self, path: &Path) {
        let object = json!({ "event": "directory", "path": ReportPath::from(path) });
        self.show(format!("Run directory: {}\n", output::name(path.display())), object);
    }

    /// Shows the address of the page that shows the run.
    pub fn studio(&self, url: &str) {
        self.show(format!("Studio: {url}"), json!({ "event": "studio", "url": url }));
    }

    /// Reports the end of a dry run.
    pub fn dry_run(&self, steps: u64) {
        let object = json!({ "event": "dry_run", "steps": steps });
        self.show(format!("Dry run: would train {steps} steps; nothing was written"), object);
    }

    /// Reports that the run was already finished.
    pub fn complete(&self, dir: &Path, step: u64) {
        let text = format!(
            "{} has finished all of its {step} steps\nmake it longer with: dcgan train --resume {} \
             --steps {}",
            output::name(dir.display()),
            quoted(dir),
            step.saturating_mul(2)
        );
        let path = ReportPath::from(dir);
        self.show(text, json!({ "event": "complete", "path": path, "step": step }));
    }

    /// Shows what to expect and what to try.
    pub fn hint(&self, text: &str) {
        self.show(text, json!({ "event": "hint", "message": text }));
    }

    /// Shows a warning.
    pub fn warning(&self, text: &str) {
        match self {
            Self::Text(renderer) => renderer.warning(text),
            Self::Json => json::warning(text),
        }
    }

    /// Prepares for the training loop with batches of this size.
    pub fn starts(&mut self, batch: usize) {
        if let Self::Text(text) = self {
            text.starts(batch);
        }
    }

    /// Shows an event of the training loop.
    pub fn event(&mut self, event: &Event) {
        match self {
            Self::Text(text) => text.event(event),
            Self::Json => json::event(event),
        }
    }

    /// Removes the progress bar after an error, which is printed elsewhere.
    pub fn failed(&mut self) {
        if let Self::Text(text) = self {
            text.stops();
        }
    }

    /// Shows how the run ended.
    pub fn ended(&mut self, dir: &Path, outcome: &RunOutcome) {
        match self {
            Self::Text(text) => text.ended(dir, outcome),
            Self::Json => json::ended(outcome),
        }
    }
}

/// Seconds as `hh:mm:ss`; 0 for NaN, infinity and negative ones.
pub fn clock(seconds: f64) -> FormattedDuration {
    FormattedDuration(Duration::try_from_secs_f64(seconds.round()).unwrap_or_default())
}

/// Warns about images that cannot be decoded: the first few by name, then the number of the others.
pub fn warn_skipped(skipped: &[SkippedImage]) {
    const NAMED: usize = 5;
    skipped.iter().take(NAMED).for_each(output::warning);
    if skipped.len() > NAMED {
        let more = skipped.len() - NAMED;
        output::warning(format!("{more} more images cannot be decoded (skipped)"));
    }
}

/// Warns about files that are left out of a dataset.
pub fn warn_left_out(report: Option<&LayoutReport>) {
    report.into_iter().flat_map(|report| &report.notes).for_each(output::warning);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_never_panic() {
        let shown = [0.4, 65.0, 3600.0, f64::NAN, -1.0].map(|seconds| clock(seconds).to_string());
        assert_eq!(shown, ["00:00:00", "00:01:05", "01:00:00", "00:00:00", "00:00:00"]);
    }
}
