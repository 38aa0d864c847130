//! Output of a toy run: a table for people, JSON lines for programs.

use crate::output;
use crate::render::counter;
use crate::report::ReportPath;
use ::train::toy::{Coverage, ToyDataset, ToyEvent, ToyMeasurement, ToyOutcome, ToySettings};
use indicatif::ProgressBar;
use nn::recipe::NetworkRole;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use tensor::Device;

pub enum Render {
    Human { bar: ProgressBar, modes: usize },
    Json { modes: usize },
}

impl Render {
    pub fn new(json: bool, settings: &ToySettings, runs: u64) -> Self {
        let modes = settings.dataset.mixture().centers.len();
        if json {
            Self::Json { modes }
        } else {
            Self::Human { bar: counter(settings.steps() * runs, "steps"), modes }
        }
    }

    /// Prints the settings.
    pub fn started(&self, settings: &ToySettings, device: &Device) {
        let ToySettings { latent, width, pack, recipe, .. } = settings;
        let (batch, steps) = (recipe.train.batch * pack, settings.steps());
        let lr = recipe.optimizer(NetworkRole::Generator).lr;
        let lr_d = recipe.optimizer(NetworkRole::Discriminator).lr;
        let mixture = settings.dataset.mixture();
        match self {
            Self::Human { modes, .. } => {
                let what = match settings.dataset {
                    ToyDataset::Ring => "on a circle of radius 2",
                    ToyDataset::Grid => "on a grid of spacing 2",
                };
                output::line(format!(
                    "{modes} Gaussians of std {} {what}; device: {device}",
                    mixture.std
                ));
                output::line(format!(
                    "G {latent}-{width}-{width}-2, D {}-{width}-{width}-1; {steps} steps of batch \
                     {batch}, learning rates {lr} and {lr_d}\n",
                    2 * pack
                ));
                output::line(
                    "   seed    step  D loss  G loss   modes  fair  high quality  reverse KL",
                );
            }
            Self::Json { modes } => output::json(&json!({
                "event": "started",
                "modes": modes,
                "std": mixture.std,
                "steps": steps,
                "batch": batch,
                "latent": latent,
                "width": width,
                "device": device.to_string(),
            })),
        }
    }

    /// Prints an event; a sweep prints only the last measurement of each run.
    pub fn event(&self, event: &ToyEvent, sweep: bool) {
        match (event, self) {
            (ToyEvent::Stepped { steps }, Self::Human { bar, .. }) => bar.inc(*steps),
            (ToyEvent::Stepped { .. }, Self::Json { .. }) => {}
            (ToyEvent::Measured(measured), Self::Human { bar, modes }) => {
                bar.suspend(|| output::line(row(measured, *modes)))
            }
            (ToyEvent::Measured(measured), Self::Json { .. }) if !sweep => {
                output::json(&object("measured", measured))
            }
            (ToyEvent::Measured(_), Self::Json { .. }) => {}
        }
    }

    /// Prints the result of a single run and the files written.
    pub fn ended(&self, outcome: &ToyOutcome, written: &[&Path], took: Duration) {
        self.finish();
        self.diverged(outcome);
        match self {
            Self::Human { modes, .. } => {
                let Coverage { modes: found, fair_modes, high_quality, reverse_kl, .. } =
                    &outcome.last.coverage;
                output::line(format!(
                    "\n{found} of {modes} modes have a sample within 3 std, {fair_modes} a \
                     quarter of their fair share; {:.1} % of all samples are within 3 std; \
                     reverse KL {reverse_kl:.3} nats; {:.1} s",
                    100.0 * high_quality,
                    took.as_secs_f64()
                ));
                written.iter().for_each(|path| output::wrote(path, false));
            }
            Self::Json { .. } => {
                let mut object = object("finished", &outcome.last);
                object["diverged"] = json!(outcome.diverged);
                object["histogram"] = json!(outcome.last.coverage.histogram);
                let files: Vec<ReportPath> = written.iter().map(|&path| path.into()).collect();
                object["files"] = json!(files);
                object["seconds"] = json!(took.as_secs_f64());
                output::json(&object);
            }
        }
    }

    /// Several runs ended.
    pub fn swept(&self, outcomes: &[ToyOutcome], took: Duration) {
        self.finish();
        outcomes.iter().for_each(|outcome| self.diverged(outcome));
        let of = |value: fn(&Coverage) -> f64| {
            mean_and_std(
                &outcomes.iter().map(|outcome| value(&outcome.last.coverage)).collect::<Vec<_>>(),
            )
        };
        let found = of(|c| c.modes as f64);
        let fair = of(|c| c.fair_modes as f64);
        let quality = of(|c| c.high_quality);
        let kl = of(|c| c.reverse_kl);
        match self {
            Self::Human { modes, .. } => {
                output::line(format!(
                    "\n{} runs, mean ± standard deviation: {:.1} ± {:.1} of {modes} modes, \
                     {:.1} ± {:.1} with a quarter of their fair share, \
                     high quality {:.1} ± {:.1} %, reverse KL {:.2} ± {:.2} nats; {:.1} s",
                    outcomes.len(),
                    found[0],
                    found[1],
                    fair[0],
                    fair[1],
                    100.0 * quality[0],
                    100.0 * quality[1],
                    kl[0],
                    kl[1],
                    took.as_secs_f64()
                ));
            }
            Self::Json { modes } => {
                for outcome in outcomes {
                    let mut object = object("run", &outcome.last);
                    object["diverged"] = json!(outcome.diverged);
                    output::json(&object);
                }
                output::json(&json!({
                    "event": "finished",
                    "runs": outcomes.len(),
                    "of_modes": modes,
                    "modes": found,
                    "fair_modes": fair,
                    "high_quality": quality,
                    "reverse_kl": kl,
                    "seconds": took.as_secs_f64(),
                }));
            }
        }
    }

    fn finish(&self) {
        if let Self::Human { bar, .. } = self {
            bar.finish_and_clear();
        }
    }

    fn diverged(&self, outcome: &ToyOutcome) {
        if let Some(step) = outcome.diverged {
            output::warning(format!(
                "seed {}: a loss or gradient was NaN or infinite by step {step}; the run stopped, \
                 and its last finite state is shown: lower --lr",
                outcome.last.seed
            ));
        }
    }
}

fn row(measured: &ToyMeasurement, of: usize) -> String {
    let ToyMeasurement { seed, step, d_loss, g_loss, coverage } = measured;
    format!(
        "{seed:>7} {step:>7}  {d_loss:>6.3}  {g_loss:>6.3}  {:>6}  {:>4}  {:>10.1} %  {:>10.3}",
        format!("{}/{of}", coverage.modes),
        coverage.fair_modes,
        100.0 * coverage.high_quality,
        coverage.reverse_kl
    )
}

fn object(event: &str, measured: &ToyMeasurement) -> Value {
    let mut object = json!(measured);
    object["event"] = event.into();
    object
}

/// Mean, and standard deviation of a sample (n − 1).
fn mean_and_std(values: &[f64]) -> [f64; 2] {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    [mean, (squares / (n - 1.0).max(1.0)).sqrt()]
}
