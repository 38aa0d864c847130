//! A run of the laboratory for people and for programs.

use crate::output;
use crate::render::counter;
use ::train::toy::{Coverage, Event, Measured, Outcome, Settings, Target};
use indicatif::ProgressBar;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use tensor::Device;

pub enum Render {
    Human { bar: ProgressBar, modes: usize },
    Json { modes: usize },
}

impl Render {
    pub fn new(json: bool, settings: &Settings, runs: u64) -> Self {
        let modes = settings.target.mixture().centres.len();
        if json {
            Self::Json { modes }
        } else {
            Self::Human { bar: counter(settings.steps * runs, "steps"), modes }
        }
    }

    /// What will be trained.
    pub fn started(&self, settings: &Settings, device: &Device) {
        let Settings { latent, width, pack, batch, steps, lr, lr_d, .. } = settings;
        let mixture = settings.target.mixture();
        match self {
            Self::Human { modes, .. } => {
                let what = match settings.target {
                    Target::Ring => "on a circle of radius 2",
                    Target::Grid => "on a grid of spacing 2",
                };
                output::line(format!(
                    "{modes} Gaussians of std {} {what}; device: {device}",
                    mixture.std
                ));
                output::line(format!(
                    "G {latent}-{width}-{width}-2, D {}-{width}-{width}-1; {steps} steps of batch {batch}, \
                     rates {lr} and {lr_d}\n",
                    2 * pack
                ));
                output::line(
                    "   seed    step  D loss  G loss   modes  fair  high quality  reverse KL",
                );
            }
            Self::Json { modes } => output::json(&json!({
                "event": "started", "modes": modes, "std": mixture.std, "steps": steps, "batch": batch, "latent": latent,
                "width": width, "device": device.to_string(),
            })),
        }
    }

    /// Something happened; in a sweep only its ends are told.
    pub fn event(&self, event: &Event, sweep: bool) {
        match (event, self) {
            (Event::Stepped { steps }, Self::Human { bar, .. }) => bar.inc(*steps),
            (Event::Stepped { .. }, Self::Json { .. }) => {}
            (Event::Measured(measured), Self::Human { bar, modes }) => {
                bar.suspend(|| output::line(row(measured, *modes)))
            }
            (Event::Measured(measured), Self::Json { .. }) if !sweep => {
                output::json(&object("measured", measured))
            }
            (Event::Measured(_), Self::Json { .. }) => {}
        }
    }

    /// A single run ended, and these files were written.
    pub fn ended(&self, outcome: &Outcome, written: &[&Path], took: Duration) {
        self.finish();
        self.diverged(outcome);
        match self {
            Self::Human { modes, .. } => {
                let Coverage { modes: found, fair_modes, high_quality, reverse_kl, .. } =
                    &outcome.last.coverage;
                output::line(format!(
                    "\n{found} of {modes} modes have a sample within 3 std, {fair_modes} a quarter of their fair share; \
                     {:.1} % of all samples are that near; reverse KL {reverse_kl:.3} nats; {:.1} s",
                    100.0 * high_quality,
                    took.as_secs_f64()
                ));
                written.iter().for_each(|path| output::line(format!("wrote {}", path.display())));
            }
            Self::Json { .. } => {
                let mut object = object("finished", &outcome.last);
                object["diverged"] = json!(outcome.diverged);
                object["histogram"] = json!(outcome.last.coverage.histogram);
                object["files"] = json!(written);
                object["seconds"] = json!(took.as_secs_f64());
                output::json(&object);
            }
        }
    }

    /// Several runs ended.
    pub fn swept(&self, outcomes: &[Outcome], took: Duration) {
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
                    "event": "finished", "runs": outcomes.len(), "of_modes": modes, "modes": found, "fair_modes": fair,
                    "high_quality": quality, "reverse_kl": kl, "seconds": took.as_secs_f64(),
                }));
            }
        }
    }

    fn finish(&self) {
        if let Self::Human { bar, .. } = self {
            bar.finish_and_clear();
        }
    }

    fn diverged(&self, outcome: &Outcome) {
        if let Some(step) = outcome.diverged {
            output::warning(format!(
                "seed {}: a loss or gradient was not finite by step {step}; the run stopped there, what is shown is its last \
                 finite state: lower --lr",
                outcome.last.seed
            ));
        }
    }
}

fn row(measured: &Measured, of: usize) -> String {
    let Measured { seed, step, d_loss, g_loss, coverage } = measured;
    format!(
        "{seed:>7} {step:>7}  {d_loss:>6.3}  {g_loss:>6.3}  {:>6}  {:>4}  {:>10.1} %  {:>10.3}",
        format!("{}/{of}", coverage.modes),
        coverage.fair_modes,
        100.0 * coverage.high_quality,
        coverage.reverse_kl
    )
}

fn object(event: &str, measured: &Measured) -> Value {
    let Measured { seed, step, d_loss, g_loss, coverage } = measured;
    json!({
        "event": event, "seed": seed, "step": step, "d_loss": d_loss, "g_loss": g_loss, "modes": coverage.modes,
        "fair_modes": coverage.fair_modes, "high_quality": coverage.high_quality, "reverse_kl": coverage.reverse_kl,
    })
}

/// Mean, and standard deviation of a sample (n − 1).
fn mean_and_std(values: &[f64]) -> [f64; 2] {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    [mean, (squares / (n - 1.0).max(1.0)).sqrt()]
}
