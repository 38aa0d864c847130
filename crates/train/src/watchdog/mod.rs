//! What goes wrong in the training of a GAN, noticed and told: a discriminator that has won, a generator without gradient, pictures that
//! become one picture or one pattern, numbers that are none.
//!
//! A pure state machine: it is fed what steps measure and what grids look like, in order, and answers with findings. It is part of a
//! checkpoint, so that a resumed run is told the same. A loss that is merely flat is no finding: in a game neither player's loss says how good
//! the pictures are.

mod grid;
mod measure;
mod spectrum;

pub use grid::GridHealth;
pub use measure::{accuracy, gradient_norm};

use crate::Losses;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// A step counts as won by D when it is right about more than this share of the pictures …
pub const WON_ACCURACY: f32 = 0.99;
/// … or when its loss is below this (both halves together; a coin's is 1.39 with cross-entropy).
pub const WON_LOSS: f32 = 0.02;
/// Steps won, less five for each that was not: so many are told. At 5 of 6 steps won the count stands still; in sound runs it
/// goes up and down near 0.
pub const WON_STEPS: u32 = 300;
const LOST: u32 = 5;
/// G's gradient has vanished when its norm is below this share of the largest so far …
pub const VANISHED: f32 = 1e-3;
/// … so many logged steps in a row.
pub const VANISHED_ROWS: u32 = 5;
/// The pictures of a grid are too alike when the mean distance between two is below this share of the best so far, and of real pictures'.
pub const FALLEN: f32 = 0.5;
/// The same, of real pictures' alone, from [`LATE`] on: every generator begins with pictures that are nearly alike.
pub const LOW: f32 = 0.2;
/// Steps after which a generator should have begun to tell latents apart.
pub const LATE: u64 = 1000;
/// Share of pictures that have a near duplicate in the grid (and so many more than real pictures have) that is told …
pub const DUPLICATES: f32 = 0.5;
/// Share of what is finer than 6 pixels that lies in one wave, and twice what real pictures have. Measured on Fashion-MNIST: 0.19 of real pictures, 0.19 to
/// 0.24 of a sound generator's, once 0.36 of a young one's; 0.47 to 0.70 of real ones with a wave of amplitude 0.5 over them.
pub const OSCILLATING: f32 = 0.45;
/// How strong that wave must be: its root mean square, where pixels are in [−1, 1].
pub const AMPLITUDE: f32 = 0.05;
/// What is seen in a grid is told when the next one shows it too.
pub const GRIDS: u32 = 2;
/// Returns to a checkpoint in a run, at most.
pub const ROLLBACKS: usize = 3;
/// Findings remembered for the summary.
const REMEMBERED: usize = 50;

/// What a run does about findings: settings that no recipe decides and that change no number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct Watch {
    /// When a loss, gradient or weight is not finite.
    #[serde(default)]
    pub on_nan: OnNan,
    /// When the pictures become one, or one pattern.
    #[serde(default)]
    pub on_collapse: OnFinding,
    /// When D has won, or G's gradient has vanished.
    #[serde(default)]
    pub on_d_win: OnFinding,
}

/// What to do when a number is not finite.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnNan {
    /// Back to the newest good checkpoint with half the learning rate, at most [`ROLLBACKS`] times.
    #[default]
    Rollback,
    /// End with an error.
    Stop,
}

/// What to do about any other finding.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFinding {
    /// Tell, and go on.
    #[default]
    Warn,
    /// Tell, save and stop.
    Stop,
}

/// What can be found.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// D is hardly ever wrong any more.
    DWins,
    /// G is no longer told where to go.
    GradientVanishes,
    /// Different latents give pictures more and more alike.
    DiversityCollapses,
    /// Different latents give the same pictures.
    Duplicates,
    /// One wave lies over the pictures.
    Oscillates,
    /// A number was not finite, and the run went back.
    RolledBack,
}

/// Something that was found, told once until it has gone away.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Finding {
    /// What.
    pub kind: Kind,
    /// Finished steps when it was found.
    pub step: u64,
    /// The numbers that say so.
    pub saw: String,
    /// What may help.
    pub advice: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "step {}: {}; {}", self.step, self.saw, self.advice)
    }
}

/// The state of the watch.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Watchdog {
    /// Steps won by D, less those that were not.
    won: u32,
    /// The largest norm of G's gradient.
    strongest: f32,
    /// Logged steps in a row with hardly any gradient.
    vanished: u32,
    /// Real pictures, measured as grids are.
    real: Option<GridHealth>,
    /// The largest mean distance of a grid.
    best: f32,
    /// Grids in a row that are too alike, full of duplicates, and full of one wave.
    alike: u32,
    duplicates: u32,
    oscillating: u32,
    /// The latest grid, until a row has told it.
    grid: Option<GridHealth>,
    active: BTreeSet<Kind>,
    findings: Vec<Finding>,
}

impl Watchdog {
    /// Takes in what a step measured; `judges` says whether D's loss and accuracy mean that it can win (a Wasserstein critic cannot).
    pub fn step(&mut self, step: u64, losses: &Losses, judges: bool) -> Vec<Finding> {
        let won = judges && (losses.d_accuracy > WON_ACCURACY || losses.d_loss < WON_LOSS);
        self.won = if won { (self.won + 1).min(WON_STEPS) } else { self.won.saturating_sub(LOST) };
        let d_wins = self.tell(Kind::DWins, step, self.won >= WON_STEPS, self.won == 0, || {
            (
                format!(
                    "the discriminator has won: for {WON_STEPS} steps it was right about more than 99 % of the pictures (or its loss below \
                     {WON_LOSS}); now its loss is {:.4}, and it is right about {:.0} %",
                    losses.d_loss,
                    100.0 * losses.d_accuracy
                ),
                "the generator learns little from it: try stabilisers (spectral norm and hinge loss, smoothed labels, noise or augmentation \
                 of what D sees), a smaller discriminator, or more pictures"
                    .into(),
            )
        });
        let vanishes = losses.g_gradient.and_then(|norm| self.gradient(step, norm));
        d_wins.into_iter().chain(vanishes).collect()
    }

    fn gradient(&mut self, step: u64, norm: f32) -> Option<Finding> {
        self.strongest = self.strongest.max(norm);
        let strongest = self.strongest;
        self.vanished =
            if norm < VANISHED * strongest { self.vanished.saturating_add(1) } else { 0 };
        self.tell(Kind::GradientVanishes, step, self.vanished >= VANISHED_ROWS, self.vanished == 0, || {
            (
                format!("the generator's gradient has vanished: its norm is {norm:.2e}, and was {strongest:.2e} at its largest"),
                "it no longer learns: try the non-saturating, least-squares or Wasserstein objective, or a discriminator that learns more \
                 slowly"
                    .into(),
            )
        })
    }

    /// What grids are compared with: real pictures, measured in the same way.
    pub fn compare_with(&mut self, real: GridHealth) {
        self.real = Some(real);
    }

    /// Whether [`compare_with`](Self::compare_with) is still to be called.
    pub fn wants_real(&self) -> bool {
        self.real.is_none()
    }

    /// Takes in what a grid looks like.
    pub fn grid(&mut self, step: u64, health: GridHealth) -> Vec<Finding> {
        self.grid = Some(health);
        let found =
            [self.diversity(step, &health), self.twins(step, &health), self.wave(step, &health)];
        found.into_iter().flatten().collect()
    }

    fn diversity(&mut self, step: u64, health: &GridHealth) -> Option<Finding> {
        self.best = self.best.max(health.diversity);
        let (best, real) = (self.best, self.real.map_or(self.best, |real| real.diversity));
        let fallen = health.diversity < FALLEN * best && health.diversity < FALLEN * real;
        let low = step >= LATE && health.diversity < LOW * real;
        self.alike = if fallen || low { self.alike.saturating_add(1) } else { 0 };
        self.tell(Kind::DiversityCollapses, step, self.alike >= GRIDS, self.alike == 0, || {
            (
                format!(
                    "the pictures become alike: two of a grid differ by {:.3} on average, after {best:.3} at best, and real ones by {real:.3}",
                    health.diversity
                ),
                "different latents give one picture (mode collapse): go back to an earlier checkpoint with a lower --lr, or try minibatch \
                 discrimination, feature matching, or more pictures in a batch"
                    .into(),
            )
        })
    }

    fn twins(&mut self, step: u64, health: &GridHealth) -> Option<Finding> {
        let usual = self.real.map_or(0.0, |real| real.duplicates);
        // A generator that has not begun to tell latents apart is no collapse.
        let begun =
            step >= LATE || self.best > FALLEN * self.real.map_or(self.best, |real| real.diversity);
        let many = begun && health.duplicates > usual + DUPLICATES;
        self.duplicates = if many { self.duplicates.saturating_add(1) } else { 0 };
        self.tell(Kind::Duplicates, step, self.duplicates >= GRIDS, self.duplicates == 0, || {
            (
                format!("{:.0} % of the pictures of a grid have a near duplicate in it", 100.0 * health.duplicates),
                "different latents give the same pictures (mode collapse): what helps against collapse is minibatch discrimination, a lower --lr, \
                 and larger batches"
                    .into(),
            )
        })
    }

    fn wave(&mut self, step: u64, health: &GridHealth) -> Option<Finding> {
        let usual = self.real.map_or(0.0, |real| real.oscillation);
        let clear =
            health.oscillation > OSCILLATING.max(2.0 * usual) && health.amplitude > AMPLITUDE;
        self.oscillating = if clear { self.oscillating.saturating_add(1) } else { 0 };
        self.tell(Kind::Oscillates, step, self.oscillating >= GRIDS, self.oscillating == 0, || {
            (
                format!(
                    "one wave of {:.1} pixels lies over the pictures: {:.0} % of all that is finer than 6 pixels",
                    health.period,
                    100.0 * health.oscillation
                ),
                "filters of the generator have collapsed into one oscillating mode, as the DCGAN paper saw in models trained for long: take \
                 an earlier checkpoint, or go on with a lower --lr"
                    .into(),
            )
        })
    }

    /// Notes that the run went back to an earlier step.
    pub fn rolled_back(&mut self, finding: Finding) {
        self.remember(finding);
    }

    /// A finding that begins; what goes away may be told again.
    fn tell(
        &mut self,
        kind: Kind,
        step: u64,
        is: bool,
        gone: bool,
        what: impl FnOnce() -> (String, String),
    ) -> Option<Finding> {
        if gone {
            self.active.remove(&kind);
        }
        if !is || !self.active.insert(kind) {
            return None;
        }
        let (saw, advice) = what();
        let finding = Finding { kind, step, saw, advice };
        self.remember(finding.clone());
        Some(finding)
    }

    fn remember(&mut self, finding: Finding) {
        if self.findings.len() < REMEMBERED {
            self.findings.push(finding);
        }
    }

    /// All that was found, the earliest first.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// What a row of metrics tells beside the losses: `d_accuracy`, `g_gradient`, of a grid drawn since the row before `diversity`, `duplicates`
    /// and `oscillation`, and `findings`, the kinds that have not gone away.
    pub fn row(&mut self, losses: &Losses) -> Map<String, Value> {
        let mut row = Map::new();
        let mut put = |name: &str, value: f32| row.insert(name.into(), f64::from(value).into());
        put("d_accuracy", losses.d_accuracy);
        if let Some(norm) = losses.g_gradient {
            put("g_gradient", norm);
        }
        if let Some(grid) = self.grid.take() {
            put("diversity", grid.diversity);
            put("duplicates", grid.duplicates);
            put("oscillation", grid.oscillation);
        }
        if !self.active.is_empty() {
            let kinds = self
                .active
                .iter()
                .map(|kind| serde_json::to_value(kind).unwrap_or_default())
                .collect();
            row.insert("findings".into(), Value::Array(kinds));
        }
        row
    }
}

impl Watch {
    /// What differs in another: the setting's name, this value and the other's, as flags have them.
    pub(crate) fn differences(&self, other: &Self) -> Vec<(&'static str, String, String)> {
        let name = |value: Value| value.as_str().unwrap_or_default().to_owned();
        let nan = |watch: &Self| name(serde_json::to_value(watch.on_nan).unwrap_or_default());
        let finding = |policy: OnFinding| name(serde_json::to_value(policy).unwrap_or_default());
        let all = [
            ("on-nan", nan(self), nan(other)),
            ("on-collapse", finding(self.on_collapse), finding(other.on_collapse)),
            ("on-d-win", finding(self.on_d_win), finding(other.on_d_win)),
        ];
        all.into_iter().filter(|(_, from, to)| from != to).collect()
    }

    /// Whether a finding of this kind ends the run.
    pub fn stops(&self, kind: Kind) -> bool {
        let policy = match kind {
            Kind::DWins | Kind::GradientVanishes => self.on_d_win,
            Kind::DiversityCollapses | Kind::Duplicates | Kind::Oscillates => self.on_collapse,
            // It has been dealt with.
            Kind::RolledBack => OnFinding::Warn,
        };
        policy == OnFinding::Stop
    }
}
