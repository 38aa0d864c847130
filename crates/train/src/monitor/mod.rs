//! The training monitor: detects failures of GAN training and raises alerts. It detects a
//! discriminator that dominates, a vanishing gradient of the generator, mode collapse,
//! near-duplicates and periodic artifacts; the training loop itself detects NaN and infinity.
//!
//! A pure state machine: it observes the metrics of steps and the statistics of sample grids, in
//! order, and returns alerts. It changes no value of a run. Its state is in every checkpoint, so a
//! resumed run raises the same alerts as an uninterrupted one. A loss that is merely flat raises
//! none: neither network's loss measures the quality of the images.
//!
//! ```
//! use train::StepMetrics;
//! use train::monitor::{AlertKind, DOMINANCE_COUNT, TrainingMonitor};
//!
//! let won = StepMetrics {
//!     d_loss: 0.01,
//!     g_loss: 9.0,
//!     d_real: 1.0,
//!     d_fake: 0.0,
//!     d_accuracy: 1.0,
//!     g_grad_norm: None,
//! };
//! let mut monitor = TrainingMonitor::default();
//! let steps = 1..=u64::from(DOMINANCE_COUNT);
//! let alerts: Vec<_> = steps.flat_map(|step| monitor.observe_step(step, &won, true)).collect();
//! assert_eq!(alerts.len(), 1);
//! assert_eq!(alerts[0].kind, AlertKind::DDominance);
//! ```

mod sample_stats;
mod spectral_peak;

pub use sample_stats::SampleStats;

use crate::step::StepMetrics;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// D wins a step when its accuracy is above this …
pub const DOMINANCE_ACCURACY: f32 = 0.99;
/// … or when its loss is below this (both halves together; that of a random D is 1.39 with
/// cross-entropy).
pub const DOMINANCE_LOSS: f32 = 0.02;
/// Alert when this counter is reached. It rises by 1 for a step that D wins and falls by 5
/// otherwise, so it stays where it is at 5 of 6 steps won; in healthy runs it moves near 0.
pub const DOMINANCE_COUNT: u32 = 300;
/// The amount by which a step that D does not win lowers the counter.
const DOMINANCE_DECAY: u32 = 5;
/// G's gradient has vanished when its norm is below this share of the largest so far …
pub const VANISHING_GRADIENT_RATIO: f32 = 1e-3;
/// … in this many logged steps in a row.
pub const VANISHING_ROWS: u32 = 5;
/// Mode collapse: the diversity of a grid is below this share of the best so far, and of the
/// diversity of real images.
pub const MIN_DIVERSITY_RATIO_VS_BEST: f32 = 0.5;
/// Mode collapse after [`WARM_UP_STEPS`]: the diversity is below this share of that of real images.
/// Before, every generator makes nearly the same image of all latents.
pub const MIN_DIVERSITY_RATIO_VS_REAL: f32 = 0.2;
/// Steps after which a generator should distinguish latents.
pub const WARM_UP_STEPS: u64 = 1000;
/// Near-duplicates: the share of images with a near-duplicate in the grid exceeds that of real
/// images by this.
pub const MAX_DUPLICATE_SHARE: f32 = 0.5;
/// Periodic artifact: one spatial frequency holds more than this share of the spectral power at
/// periods below 6 pixels, and twice the share that it has in real images. Measured on
/// Fashion-MNIST: 0.19 for real images, 0.19 to 0.24 for a healthy generator, once 0.36 for a young
/// one; 0.47 to 0.70 for real images with a wave of amplitude 0.5 added.
pub const MAX_SPECTRAL_PEAK: f32 = 0.45;
/// The least amplitude of that frequency: its root mean square, for pixels in [−1, 1].
pub const MIN_PEAK_AMPLITUDE: f32 = 0.05;
/// Grids in a row that must show a failure before it raises an alert.
pub const CONFIRMING_GRIDS: u32 = 2;
/// The most roll-backs of a run.
pub const MAX_ROLLBACKS: usize = 3;
/// Alerts stored for the summary of a run.
const MAX_STORED_ALERTS: usize = 50;

/// What a run does about alerts: settings that no recipe decides and that change no value of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct MonitorConfig {
    /// When a loss, gradient or weight is NaN or infinite.
    #[serde(default)]
    pub on_nan: NanAction,
    /// On mode collapse, near-duplicates or a periodic artifact.
    #[serde(default)]
    pub on_collapse: AlertAction,
    /// When D dominates or G's gradient vanishes.
    #[serde(default, alias = "on_d_win")]
    pub on_d_dominance: AlertAction,
}

/// What to do when a loss, gradient or weight is NaN or infinite.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum NanAction {
    /// Roll back to the newest valid checkpoint with half the learning rate, at most three times.
    #[default]
    Rollback,
    /// Stop with an error.
    Stop,
}

/// What to do about any other alert.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum AlertAction {
    /// Warn and continue.
    #[default]
    Warn,
    /// Warn, save and stop.
    Stop,
}

/// The kind of an alert.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AlertKind {
    /// D classifies nearly all images correctly.
    #[serde(alias = "d-wins")]
    DDominance,
    /// G's gradient has vanished.
    #[serde(alias = "gradient-vanishes")]
    VanishingGradient,
    /// The images of different latents become alike.
    #[serde(alias = "diversity-collapses")]
    ModeCollapse,
    /// Different latents give the same images.
    #[serde(alias = "duplicates")]
    NearDuplicates,
    /// One spatial frequency dominates all images: stripes or a checkerboard.
    #[serde(alias = "oscillates")]
    PeriodicArtifact,
    /// A loss, gradient or weight was NaN or infinite, and the run rolled back.
    RolledBack,
}

/// A failure of training, raised once until it has gone away.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Alert {
    /// The kind of failure.
    pub kind: AlertKind,
    /// Finished steps when it was raised.
    pub step: u64,
    /// The measured values.
    #[serde(alias = "saw")]
    pub message: String,
    /// The settings that may help.
    #[serde(alias = "advice")]
    pub hint: String,
}

impl std::fmt::Display for Alert {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "step {}: {}; {}", self.step, self.message, self.hint)
    }
}

/// The state of the monitor.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct TrainingMonitor {
    /// The dominance counter, see [`DOMINANCE_COUNT`].
    won: u32,
    /// The largest norm of G's gradient.
    #[serde(alias = "strongest")]
    max_grad_norm: f32,
    /// Logged steps in a row with a vanished gradient.
    vanished: u32,
    /// Statistics of real images.
    #[serde(alias = "real")]
    reference: Option<SampleStats>,
    /// The largest diversity of a grid.
    #[serde(alias = "best")]
    best_diversity: f32,
    /// Grids in a row that show mode collapse, near-duplicates, and a periodic artifact.
    #[serde(alias = "alike")]
    collapsed: u32,
    duplicates: u32,
    #[serde(alias = "oscillating")]
    periodic: u32,
    /// The latest grid, until a row of metrics has it.
    grid: Option<SampleStats>,
    /// Alerts that have not gone away.
    active: BTreeSet<AlertKind>,
    #[serde(alias = "findings")]
    alerts: Vec<Alert>,
}

impl TrainingMonitor {
    /// Observes the metrics of a step. `d_can_win` is false for a Wasserstein critic, whose loss
    /// and accuracy do not show dominance.
    pub fn observe_step(
        &mut self,
        step: u64,
        metrics: &StepMetrics,
        d_can_win: bool,
    ) -> Vec<Alert> {
        let &StepMetrics { d_loss, d_accuracy, g_grad_norm, .. } = metrics;
        let won = d_can_win && (d_accuracy > DOMINANCE_ACCURACY || d_loss < DOMINANCE_LOSS);
        self.won = if won {
            (self.won + 1).min(DOMINANCE_COUNT)
        } else {
            self.won.saturating_sub(DOMINANCE_DECAY)
        };
        let (holds, is_over) = (self.won >= DOMINANCE_COUNT, self.won == 0);
        let dominance = self.raise(AlertKind::DDominance, step, holds, is_over, || {
            let message = format!(
                "the discriminator dominates: over {DOMINANCE_COUNT} steps its accuracy was above \
                 99 % (or its loss below {DOMINANCE_LOSS}); now its loss is {d_loss:.4} and its \
                 accuracy {:.0} %",
                100.0 * d_accuracy
            );
            let hint = "the generator learns little from it: try regularizers (spectral \
                        normalization with hinge loss, smoothed labels, noise or augmentation of \
                        D's input), a smaller discriminator, or more images";
            (message, hint.into())
        });
        let vanishing = g_grad_norm.and_then(|norm| self.check_gradient(step, norm));
        dominance.into_iter().chain(vanishing).collect()
    }

    fn check_gradient(&mut self, step: u64, norm: f32) -> Option<Alert> {
        self.max_grad_norm = self.max_grad_norm.max(norm);
        let max = self.max_grad_norm;
        let vanished = norm < VANISHING_GRADIENT_RATIO * max;
        self.vanished = count(self.vanished, vanished);
        let (holds, is_over) = (self.vanished >= VANISHING_ROWS, !vanished);
        self.raise(AlertKind::VanishingGradient, step, holds, is_over, || {
            let message = format!(
                "the generator's gradient has vanished: its norm is {norm:.2e}, and was {max:.2e} \
                 at its largest"
            );
            let hint = "it no longer learns: try the non-saturating, least-squares or Wasserstein \
                        loss, or a discriminator that learns more slowly";
            (message, hint.into())
        })
    }

    /// Sets the statistics of real images, which those of sample grids are compared with.
    pub fn set_reference(&mut self, real: SampleStats) {
        self.reference = Some(real);
    }

    /// Whether [`set_reference`](Self::set_reference) is still to be called.
    pub fn needs_reference(&self) -> bool {
        self.reference.is_none()
    }

    /// Observes the statistics of a sample grid.
    pub fn observe_grid(&mut self, step: u64, stats: SampleStats) -> Vec<Alert> {
        self.grid = Some(stats);
        let alerts = [
            self.check_diversity(step, &stats),
            self.check_duplicates(step, &stats),
            self.check_periodic_artifact(step, &stats),
        ];
        alerts.into_iter().flatten().collect()
    }

    fn check_diversity(&mut self, step: u64, stats: &SampleStats) -> Option<Alert> {
        let diversity = stats.diversity;
        self.best_diversity = self.best_diversity.max(diversity);
        let best = self.best_diversity;
        let real = self.reference.map_or(best, |real| real.diversity);
        let has_fallen = diversity < MIN_DIVERSITY_RATIO_VS_BEST * best
            && diversity < MIN_DIVERSITY_RATIO_VS_BEST * real;
        let is_low = step >= WARM_UP_STEPS && diversity < MIN_DIVERSITY_RATIO_VS_REAL * real;
        self.collapsed = count(self.collapsed, has_fallen || is_low);
        let (holds, is_over) = (self.collapsed >= CONFIRMING_GRIDS, self.collapsed == 0);
        self.raise(AlertKind::ModeCollapse, step, holds, is_over, || {
            let message = format!(
                "the images become alike: two of a grid differ by {diversity:.3} on average, after \
                 {best:.3} at best, and real ones by {real:.3}"
            );
            let hint = "different latents give one image (mode collapse): resume from an earlier \
                        checkpoint with a lower learning rate, or try minibatch discrimination, \
                        feature matching, or a larger batch";
            (message, hint.into())
        })
    }

    fn check_duplicates(&mut self, step: u64, stats: &SampleStats) -> Option<Alert> {
        let usual = self.reference.map_or(0.0, |real| real.duplicates);
        // A young generator that does not distinguish latents yet has not collapsed.
        let real = self.reference.map_or(self.best_diversity, |real| real.diversity);
        let is_trained =
            step >= WARM_UP_STEPS || self.best_diversity > MIN_DIVERSITY_RATIO_VS_BEST * real;
        let has_many = is_trained && stats.duplicates > usual + MAX_DUPLICATE_SHARE;
        self.duplicates = count(self.duplicates, has_many);
        let (holds, is_over) = (self.duplicates >= CONFIRMING_GRIDS, self.duplicates == 0);
        self.raise(AlertKind::NearDuplicates, step, holds, is_over, || {
            let message = format!(
                "{:.0} % of the images of a grid have a near-duplicate in it",
                100.0 * stats.duplicates
            );
            let hint = "different latents give the same images (mode collapse): try minibatch \
                        discrimination, a lower learning rate, or a larger batch";
            (message, hint.into())
        })
    }

    fn check_periodic_artifact(&mut self, step: u64, stats: &SampleStats) -> Option<Alert> {
        let usual = self.reference.map_or(0.0, |real| real.spectral_peak);
        let has_peak = stats.spectral_peak > MAX_SPECTRAL_PEAK.max(2.0 * usual)
            && stats.amplitude > MIN_PEAK_AMPLITUDE;
        self.periodic = count(self.periodic, has_peak);
        let (holds, is_over) = (self.periodic >= CONFIRMING_GRIDS, self.periodic == 0);
        self.raise(AlertKind::PeriodicArtifact, step, holds, is_over, || {
            let message = format!(
                "a periodic artifact of {:.1} pixels covers the images: it holds {:.0} % of the \
                 spectral power at periods below 6 pixels",
                stats.period,
                100.0 * stats.spectral_peak
            );
            let hint = "filters of the generator have collapsed into one oscillating mode, as the \
                        DCGAN paper reports of models trained for long: take an earlier \
                        checkpoint, or resume with a lower learning rate";
            (message, hint.into())
        })
    }

    /// Records that the run rolled back to an earlier step.
    pub fn record_rollback(&mut self, alert: Alert) {
        self.store(alert);
    }

    /// Raises an alert when its condition begins to hold; once it is over, it can be raised again.
    fn raise(
        &mut self,
        kind: AlertKind,
        step: u64,
        holds: bool,
        is_over: bool,
        text: impl FnOnce() -> (String, String),
    ) -> Option<Alert> {
        if is_over {
            self.active.remove(&kind);
        }
        if !holds || !self.active.insert(kind) {
            return None;
        }
        let (message, hint) = text();
        let alert = Alert { kind, step, message, hint };
        self.store(alert.clone());
        Some(alert)
    }

    fn store(&mut self, alert: Alert) {
        if self.alerts.len() < MAX_STORED_ALERTS {
            self.alerts.push(alert);
        }
    }

    /// All alerts, the earliest first.
    pub fn alerts(&self) -> &[Alert] {
        &self.alerts
    }

    /// The monitor's columns of a row of metrics: `d_accuracy`; `g_grad_norm`; `diversity`,
    /// `duplicates` and `spectral_peak` of a grid since the row before; and `alerts`, the kinds
    /// that have not gone away.
    pub fn metrics(&mut self, step: &StepMetrics) -> Map<String, Value> {
        let mut row = Map::new();
        let mut put = |name: &str, value: f32| row.insert(name.into(), f64::from(value).into());
        put("d_accuracy", step.d_accuracy);
        if let Some(norm) = step.g_grad_norm {
            put("g_grad_norm", norm);
        }
        if let Some(grid) = self.grid.take() {
            put("diversity", grid.diversity);
            put("duplicates", grid.duplicates);
            put("spectral_peak", grid.spectral_peak);
        }
        if !self.active.is_empty() {
            let kinds = self.active.iter().map(serde_json::to_value);
            let kinds = kinds.map(Result::unwrap_or_default).collect();
            row.insert("alerts".into(), Value::Array(kinds));
        }
        row
    }
}

/// How often in a row something has been observed.
fn count(before: u32, observed: bool) -> u32 {
    if observed { before.saturating_add(1) } else { 0 }
}

impl MonitorConfig {
    /// The settings that differ in another: the name, this value and the other's.
    pub(crate) fn differences(&self, other: &Self) -> Vec<(&'static str, String, String)> {
        fn name(action: impl Serialize) -> String {
            let value = serde_json::to_value(action).unwrap_or_default();
            value.as_str().unwrap_or_default().to_owned()
        }
        let all = [
            ("on_nan", name(self.on_nan), name(other.on_nan)),
            ("on_collapse", name(self.on_collapse), name(other.on_collapse)),
            ("on_d_dominance", name(self.on_d_dominance), name(other.on_d_dominance)),
        ];
        all.into_iter().filter(|(_, from, to)| from != to).collect()
    }

    /// Whether an alert of this kind ends the run.
    pub fn stops(&self, kind: AlertKind) -> bool {
        let action = match kind {
            AlertKind::DDominance | AlertKind::VanishingGradient => self.on_d_dominance,
            AlertKind::ModeCollapse | AlertKind::NearDuplicates | AlertKind::PeriodicArtifact => {
                self.on_collapse
            }
            // The run has rolled back: nothing is left to do.
            AlertKind::RolledBack => AlertAction::Warn,
        };
        action == AlertAction::Stop
    }
}
