//! A training run as text: a progress bar on a terminal, else a line per logged step.

use super::progress::bar;
use super::{clock, warn_skipped};
use crate::output;
use data::Dataset;
use indicatif::ProgressBar;
use runs::{MetricsRow, checkpoint_retention};
use std::io::{IsTerminal, stderr};
use std::path::Path;
use train::{Event, RunOutcome};

/// The state of the text output.
pub struct TextRenderer {
    /// The progress bar, while the run trains.
    bar: Option<ProgressBar>,
    batch: usize,
    steps: u64,
    first_grid_shown: bool,
}

impl TextRenderer {
    pub fn new() -> Self {
        Self { bar: None, batch: 1, steps: 0, first_grid_shown: false }
    }

    pub fn data(&self, dataset: &Dataset) {
        let [height, width, channels] = dataset.shape();
        let classes = match (dataset.report(), dataset.class_names()) {
            (Some(report), _) => format!(", {}", output::name(&report.description)),
            (None, []) => String::new(),
            (None, names) if names.len() <= 12 => {
                format!(", {} classes ({})", names.len(), output::name(names.join(", ")))
            }
            (None, names) => format!(", {} classes", names.len()),
        };
        output::line(format!(
            "\nData: {}, {} images at {height}x{width}x{channels}{classes}",
            output::name(dataset.name()),
            dataset.len()
        ));
        warn_skipped(dataset.skipped());
    }

    pub fn starts(&mut self, batch: usize) {
        self.batch = batch;
    }

    pub fn warning(&self, text: &str) {
        self.above_bar(|| output::warning(text));
    }

    pub fn event(&mut self, event: &Event) {
        match event {
            Event::Started { step, steps, .. } => {
                self.steps = *steps;
                let bar = bar(*steps, "training", "{wide_bar} {pos}/{len}  {msg}  ETA {eta}")
                    .with_position(*step);
                // Steps of earlier sessions must not count in this session's speed.
                bar.reset_eta();
                self.bar = Some(bar);
            }
            Event::Stepped { step } => {
                if let Some(bar) = &self.bar {
                    bar.set_position(*step);
                }
            }
            Event::Logged(row) => match &self.bar {
                Some(bar) if stderr().is_terminal() => bar.set_message(short(row)),
                _ => output::line(self.log_line(row)),
            },
            Event::Sampled { step, path } if !self.first_grid_shown => {
                self.first_grid_shown = true;
                self.above_bar(|| {
                    output::line(format!(
                        "first images, after step {step}: {}",
                        output::name(path.display())
                    ))
                });
            }
            Event::Sampled { .. } | Event::Saved { .. } | Event::Epoch { .. } => {}
            Event::Evaluated { step, result, best } => {
                let figures =
                    result.metrics.iter().map(|(name, value)| format!("{name} {value:.4}"));
                let figures = figures.collect::<Vec<_>>().join("  ");
                let best = if *best { "  (best so far)" } else { "" };
                self.above_bar(|| {
                    output::line(format!("step {step}  {figures}  by {}{best}", result.features))
                });
            }
            Event::Alert(alert) => self.warning(&alert.to_string()),
            Event::Warning(text) => self.warning(text),
        }
    }

    /// Removes the progress bar, also after an error.
    pub fn stops(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    pub fn ended(&mut self, dir: &Path, outcome: &RunOutcome) {
        self.stops();
        let shown = quoted(dir);
        if !outcome.finished {
            let why = outcome
                .stopped_by
                .as_ref()
                .map_or(String::new(), |alert| format!(", since {}", alert.message));
            output::line(format!(
                "stopped after step {}{why}; saved {}",
                outcome.step,
                output::name(outcome.checkpoint.display())
            ));
            output::line(format!("resume with: dcgan train --resume {shown}"));
            return;
        }
        output::line(format!("finished {} steps", outcome.step));
        for alert in &outcome.alerts {
            output::line(format!("  at step {:<14}  {}", alert.step, alert.message));
        }
        output::line(format!(
            "  grids of fixed latents  {}",
            output::name(dir.join("samples").display())
        ));
        for path in &outcome.images {
            let what = if path.extension().is_some_and(|extension| extension == "gif") {
                "time-lapse"
            } else {
                "loss curves"
            };
            output::line(format!("  {what:<22}  {}", output::name(path.display())));
        }
        output::line(format!(
            "  {:<22}  {}",
            "checkpoint",
            output::name(outcome.checkpoint.display())
        ));
        if let Some(best) = &outcome.best {
            let path =
                outcome.checkpoint.with_file_name(checkpoint_retention::file_name(best.step));
            output::line(format!("  {:<22}  {}", "best checkpoint", output::name(path.display())));
            let last = outcome
                .last
                .as_ref()
                .map_or_else(String::new, |last| format!(", {:.4} at the end", last.shown()));
            output::line(format!("  {}: {:.4} at step {}{last}", best.by, best.shown(), best.step));
        }
        output::line(format!(
            "generate images with: dcgan sample --checkpoint {shown} --grid samples.png"
        ));
    }

    fn log_line(&self, row: &MetricsRow) -> String {
        let digits = self.steps.to_string().len();
        let left =
            self.steps.saturating_sub(row.step) as f64 * self.batch as f64 / row.images_per_second;
        format!("step {:>digits$}/{}  {}  ETA {}", row.step, self.steps, short(row), clock(left))
    }

    fn above_bar(&self, print: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }
}

/// Losses, mean D outputs and speed.
fn short(row: &MetricsRow) -> String {
    format!(
        "D loss {:.3}  G loss {:.3}  D(x) {:.2}  D(G(z)) {:.2}  {:.0} images/s",
        row.d_loss, row.g_loss, row.d_real, row.d_fake, row.images_per_second
    )
}

/// A path quoted for a shell.
pub fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+:@\\".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text
    } else if text.contains(file_io::is_unprintable) {
        format!("$'{}'", output::escaped(&text.replace('\\', r"\\").replace('\'', r"\'")))
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_survive_a_shell() {
        assert_eq!(quoted(Path::new("runs/0001-a")), "runs/0001-a");
        assert_eq!(quoted(Path::new("my runs/it's")), r"'my runs/it'\''s'");
        assert_eq!(quoted(Path::new("it's\n\u{1b}")), r"$'it\'s\n\u001b'");
    }
}
