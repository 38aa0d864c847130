//! What goes wrong in the training of a GAN, noticed and told: a discriminator that has won, a generator without gradient, pictures that
//! become one picture or one pattern, numbers that are none.
//!
//! A pure state machine: it is fed what steps measure and what grids look like, in order, and answers with alerts. It is part of a
//! checkpoint, so that a resumed run is told the same. A loss that is merely flat is no alert: in a game neither player's loss says how good
//! the pictures are.

mod sample_stats;
mod spectral_peak;

pub use sample_stats::SampleStats;

use crate::step::StepMetrics;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// A step counts as won by D when it is right about more than this share of the pictures …
pub const DOMINANCE_ACCURACY: f32 = 0.99;
/// … or when its loss is below this (both halves together; a coin's is 1.39 with cross-entropy).
pub const DOMINANCE_LOSS: f32 = 0.02;
/// Steps won, less five for each that was not: so many are told. At 5 of 6 steps won the count stands still; in sound runs it
/// goes up and down near 0.
pub const DOMINANCE_COUNT: u32 = 300;
const DOMINANCE_DECAY: u32 = 5;
/// G's gradient has vanished when its norm is below this share of the largest so far …
pub const VANISHING_GRADIENT_RATIO: f32 = 1e-3;
/// … so many logged steps in a row.
pub const VANISHING_ROWS: u32 = 5;
/// The pictures of a grid are too alike when the mean distance between two is below this share of the best so far, and of real pictures'.
pub const MIN_DIVERSITY_RATIO_VS_BEST: f32 = 0.5;
/// The same, of real pictures' alone, from [`WARM_UP_STEPS`] on: every generator begins with pictures that are nearly alike.
pub const MIN_DIVERSITY_RATIO_VS_REAL: f32 = 0.2;
/// Steps after which a generator should have begun to tell latents apart.
pub const WARM_UP_STEPS: u64 = 1000;
/// Share of pictures that have a near duplicate in the grid (and so many more than real pictures have) that is told …
pub const MAX_DUPLICATE_SHARE: f32 = 0.5;
/// Share of what is finer than 6 pixels that lies in one wave, and twice what real pictures have. Measured on Fashion-MNIST: 0.19 of real pictures, 0.19 to
/// 0.24 of a sound generator's, once 0.36 of a young one's; 0.47 to 0.70 of real ones with a wave of amplitude 0.5 over them.
pub const MAX_SPECTRAL_PEAK: f32 = 0.45;
/// How strong that wave must be: its root mean square, where pixels are in [−1, 1].
pub const MIN_PEAK_AMPLITUDE: f32 = 0.05;
/// What is seen in a grid is told when the next one shows it too.
pub const CONFIRMING_GRIDS: u32 = 2;
/// Returns to a checkpoint in a run, at most.
pub const MAX_ROLLBACKS: usize = 3;
/// Findings remembered for the summary.
const MAX_STORED_ALERTS: usize = 50;

/// What a run does about alerts: settings that no recipe decides and that change no number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct MonitorConfig {
    /// When a loss, gradient or weight is not finite.
    #[serde(default)]
    pub on_nan: NanAction,
    /// When the pictures become one, or one pattern.
    #[serde(default)]
    pub on_collapse: AlertAction,
    /// When D has won, or G's gradient has vanished.
    #[serde(default, alias = "on_d_win")]
    pub on_d_dominance: AlertAction,
}

/// What to do when a number is not finite.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum NanAction {
    /// Back to the newest good checkpoint with half the learning rate, at most [`MAX_ROLLBACKS`] times.
    #[default]
    Rollback,
    /// End with an error.
    Stop,
}

/// What to do about any other alert.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum AlertAction {
    /// Tell, and go on.
    #[default]
    Warn,
    /// Tell, save and stop.
    Stop,
}

/// What can be found.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AlertKind {
    /// D is hardly ever wrong any more.
    #[serde(alias = "d-wins")]
    DDominance,
    /// G is no longer told where to go.
    #[serde(alias = "gradient-vanishes")]
    VanishingGradient,
    /// Different latents give pictures more and more alike.
    #[serde(alias = "diversity-collapses")]
    ModeCollapse,
    /// Different latents give the same pictures.
    #[serde(alias = "duplicates")]
    NearDuplicates,
    /// One wave lies over the pictures.
    #[serde(alias = "oscillates")]
    PeriodicArtifact,
    /// A number was not finite, and the run went back.
    RolledBack,
}

/// Something that was found, told once until it has gone away.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Alert {
    /// What.
    pub kind: AlertKind,
    /// Finished steps when it was found.
    pub step: u64,
    /// The numbers that say so.
    #[serde(alias = "saw")]
    pub message: String,
    /// What may help.
    #[serde(alias = "advice")]
    pub hint: String,
}

impl std::fmt::Display for Alert {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "step {}: {}; {}", self.step, self.message, self.hint)
    }
}

/// The state of the watch.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct TrainingMonitor {
    /// Steps won by D, less those that were not.
    won: u32,
    /// The largest norm of G's gradient.
    strongest: f32,
    /// Logged steps in a row with hardly any gradient.
    vanished: u32,
    /// Real pictures, measured as grids are.
    #[serde(alias = "real")]
    reference: Option<SampleStats>,
    /// The largest mean distance of a grid.
    best: f32,
    /// Grids in a row that are too alike, full of duplicates, and full of one wave.
    alike: u32,
    duplicates: u32,
    oscillating: u32,
    /// The latest grid, until a row has told it.
    grid: Option<SampleStats>,
    active: BTreeSet<AlertKind>,
    #[serde(alias = "findings")]
    alerts: Vec<Alert>,
}

impl TrainingMonitor {
    /// Takes in what a step measured; `d_can_win` says whether D's loss and accuracy mean that it can win (a Wasserstein critic cannot).
    pub fn observe_step(&mut self, step: u64, losses: &StepMetrics, d_can_win: bool) -> Vec<Alert> {
        let won =
            d_can_win && (losses.d_accuracy > DOMINANCE_ACCURACY || losses.d_loss < DOMINANCE_LOSS);
        self.won = if won {
            (self.won + 1).min(DOMINANCE_COUNT)
        } else {
            self.won.saturating_sub(DOMINANCE_DECAY)
        };
        let d_wins = self.raise(AlertKind::DDominance, step, self.won >= DOMINANCE_COUNT, self.won == 0, || {
            (
                format!(
                    "the discriminator has won: for {DOMINANCE_COUNT} steps it was right about more than 99 % of the pictures (or its loss below \
                     {DOMINANCE_LOSS}); now its loss is {:.4}, and it is right about {:.0} %",
                    losses.d_loss,
                    100.0 * losses.d_accuracy
                ),
                "the generator learns little from it: try stabilisers (spectral norm and hinge loss, smoothed labels, noise or augmentation \
                 of what D sees), a smaller discriminator, or more pictures"
                    .into(),
            )
        });
        let vanishes = losses.g_grad_norm.and_then(|norm| self.check_gradient(step, norm));
        d_wins.into_iter().chain(vanishes).collect()
    }

    fn check_gradient(&mut self, step: u64, norm: f32) -> Option<Alert> {
        self.strongest = self.strongest.max(norm);
        let strongest = self.strongest;
        self.vanished = if norm < VANISHING_GRADIENT_RATIO * strongest {
            self.vanished.saturating_add(1)
        } else {
            0
        };
        self.raise(AlertKind::VanishingGradient, step, self.vanished >= VANISHING_ROWS, self.vanished == 0, || {
            (
                format!("the generator's gradient has vanished: its norm is {norm:.2e}, and was {strongest:.2e} at its largest"),
                "it no longer learns: try the non-saturating, least-squares or Wasserstein objective, or a discriminator that learns more \
                 slowly"
                    .into(),
            )
        })
    }

    /// What grids are compared with: real pictures, measured in the same way.
    pub fn set_reference(&mut self, real: SampleStats) {
        self.reference = Some(real);
    }

    /// Whether [`set_reference`](Self::set_reference) is still to be called.
    pub fn needs_reference(&self) -> bool {
        self.reference.is_none()
    }

    /// Takes in what a grid looks like.
    pub fn observe_grid(&mut self, step: u64, stats: SampleStats) -> Vec<Alert> {
        self.grid = Some(stats);
        let found = [
            self.check_diversity(step, &stats),
            self.check_duplicates(step, &stats),
            self.check_periodic_artifact(step, &stats),
        ];
        found.into_iter().flatten().collect()
    }

    fn check_diversity(&mut self, step: u64, stats: &SampleStats) -> Option<Alert> {
        self.best = self.best.max(stats.diversity);
        let (best, real) = (self.best, self.reference.map_or(self.best, |real| real.diversity));
        let fallen = stats.diversity < MIN_DIVERSITY_RATIO_VS_BEST * best
            && stats.diversity < MIN_DIVERSITY_RATIO_VS_BEST * real;
        let low = step >= WARM_UP_STEPS && stats.diversity < MIN_DIVERSITY_RATIO_VS_REAL * real;
        self.alike = if fallen || low { self.alike.saturating_add(1) } else { 0 };
        self.raise(AlertKind::ModeCollapse, step, self.alike >= CONFIRMING_GRIDS, self.alike == 0, || {
            (
                format!(
                    "the pictures become alike: two of a grid differ by {:.3} on average, after {best:.3} at best, and real ones by {real:.3}",
                    stats.diversity
                ),
                "different latents give one picture (mode collapse): go back to an earlier checkpoint with a lower --lr, or try minibatch \
                 discrimination, feature matching, or more pictures in a batch"
                    .into(),
            )
        })
    }

    fn check_duplicates(&mut self, step: u64, stats: &SampleStats) -> Option<Alert> {
        let usual = self.reference.map_or(0.0, |real| real.duplicates);
        // A generator that has not begun to tell latents apart is no collapse.
        let begun = step >= WARM_UP_STEPS
            || self.best
                > MIN_DIVERSITY_RATIO_VS_BEST
                    * self.reference.map_or(self.best, |real| real.diversity);
        let many = begun && stats.duplicates > usual + MAX_DUPLICATE_SHARE;
        self.duplicates = if many { self.duplicates.saturating_add(1) } else { 0 };
        self.raise(AlertKind::NearDuplicates, step, self.duplicates >= CONFIRMING_GRIDS, self.duplicates == 0, || {
            (
                format!("{:.0} % of the pictures of a grid have a near duplicate in it", 100.0 * stats.duplicates),
                "different latents give the same pictures (mode collapse): what helps against collapse is minibatch discrimination, a lower --lr, \
                 and larger batches"
                    .into(),
            )
        })
    }

    fn check_periodic_artifact(&mut self, step: u64, stats: &SampleStats) -> Option<Alert> {
        let usual = self.reference.map_or(0.0, |real| real.spectral_peak);
        let clear = stats.spectral_peak > MAX_SPECTRAL_PEAK.max(2.0 * usual)
            && stats.amplitude > MIN_PEAK_AMPLITUDE;
        self.oscillating = if clear { self.oscillating.saturating_add(1) } else { 0 };
        self.raise(AlertKind::PeriodicArtifact, step, self.oscillating >= CONFIRMING_GRIDS, self.oscillating == 0, || {
            (
                format!(
                    "one wave of {:.1} pixels lies over the pictures: {:.0} % of all that is finer than 6 pixels",
                    stats.period,
                    100.0 * stats.spectral_peak
                ),
                "filters of the generator have collapsed into one oscillating mode, as the DCGAN paper saw in models trained for long: take \
                 an earlier checkpoint, or go on with a lower --lr"
                    .into(),
            )
        })
    }

    /// Notes that the run went back to an earlier step.
    pub fn record_rollback(&mut self, alert: Alert) {
        self.store(alert);
    }

    /// An alert that begins; what goes away may be told again.
    fn raise(
        &mut self,
        kind: AlertKind,
        step: u64,
        is: bool,
        gone: bool,
        what: impl FnOnce() -> (String, String),
    ) -> Option<Alert> {
        if gone {
            self.active.remove(&kind);
        }
        if !is || !self.active.insert(kind) {
            return None;
        }
        let (message, hint) = what();
        let alert = Alert { kind, step, message, hint };
        self.store(alert.clone());
        Some(alert)
    }

    fn store(&mut self, alert: Alert) {
        if self.alerts.len() < MAX_STORED_ALERTS {
            self.alerts.push(alert);
        }
    }

    /// All that was found, the earliest first.
    pub fn alerts(&self) -> &[Alert] {
        &self.alerts
    }

    /// What a row of metrics tells beside the losses: `d_accuracy`, `g_grad_norm`, of a grid drawn since the row before `diversity`, `duplicates`
    /// and `oscillation`, and `alerts`, the kinds that have not gone away.
    pub fn metrics(&mut self, losses: &StepMetrics) -> Map<String, Value> {
        let mut row = Map::new();
        let mut put = |name: &str, value: f32| row.insert(name.into(), f64::from(value).into());
        put("d_accuracy", losses.d_accuracy);
        if let Some(norm) = losses.g_grad_norm {
            put("g_grad_norm", norm);
        }
        if let Some(grid) = self.grid.take() {
            put("diversity", grid.diversity);
            put("duplicates", grid.duplicates);
            put("spectral_peak", grid.spectral_peak);
        }
        if !self.active.is_empty() {
            let kinds = self
                .active
                .iter()
                .map(|kind| serde_json::to_value(kind).unwrap_or_default())
                .collect();
            row.insert("alerts".into(), Value::Array(kinds));
        }
        row
    }
}

impl MonitorConfig {
    /// What differs in another: the setting's name, this value and the other's, as flags have them.
    pub(crate) fn differences(&self, other: &Self) -> Vec<(&'static str, String, String)> {
        let name = |value: Value| value.as_str().unwrap_or_default().to_owned();
        let nan = |watch: &Self| name(serde_json::to_value(watch.on_nan).unwrap_or_default());
        let alert = |policy: AlertAction| name(serde_json::to_value(policy).unwrap_or_default());
        let all = [
            ("on-nan", nan(self), nan(other)),
            ("on-collapse", alert(self.on_collapse), alert(other.on_collapse)),
            ("on-d-dominance", alert(self.on_d_dominance), alert(other.on_d_dominance)),
        ];
        all.into_iter().filter(|(_, from, to)| from != to).collect()
    }

    /// Whether an alert of this kind ends the run.
    pub fn stops(&self, kind: AlertKind) -> bool {
        let policy = match kind {
            AlertKind::DDominance | AlertKind::VanishingGradient => self.on_d_dominance,
            AlertKind::ModeCollapse | AlertKind::NearDuplicates | AlertKind::PeriodicArtifact => {
                self.on_collapse
            }
            // It has been dealt with.
            AlertKind::RolledBack => AlertAction::Warn,
        };
        policy == AlertAction::Stop
    }
}
