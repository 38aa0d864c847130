//! Learning rate schedules: constant, linear, step and cosine decay with warm-up.

use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// A learning rate schedule: the factor on the learning rate at each step. Each kind can begin with
/// `warmup` steps, over which the factor also rises linearly from 1 / warmup to 1 (Goyal et al.
/// 2017).
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Schedule {
    /// A constant factor of 1.
    Constant {
        /// The number of warm-up steps.
        #[serde(default)]
        warmup: u64,
    },
    /// Linear decay: 1 until `from`, then linearly down to 0 at the end of the run, as in the
    /// original code (Radford et al. 2016) for MNIST.
    Linear {
        /// The start of the decay: below 1 a fraction of the run, from 1 on a number of steps.
        from: f64,
        /// The number of warm-up steps.
        #[serde(default)]
        warmup: u64,
    },
    /// Step decay: the rate is multiplied by `factor` after every `every` steps.
    Step {
        /// The number of steps between two drops, at least 1.
        every: u64,
        /// The factor at each drop, in (0, 1].
        factor: f64,
        /// The number of warm-up steps.
        #[serde(default)]
        warmup: u64,
    },
    /// Cosine decay from 1 after the warm-up to 0 at the end of the run (Loshchilov & Hutter 2017,
    /// without restarts).
    Cosine {
        /// The number of warm-up steps.
        #[serde(default)]
        warmup: u64,
    },
}

impl Default for Schedule {
    fn default() -> Self {
        Self::Constant { warmup: 0 }
    }
}

impl Schedule {
    /// Returns the factor, in [0, 1], of the step that follows `step` finished ones in a run of
    /// `steps`. Beyond the end it is that of the end.
    pub fn factor(&self, step: u64, steps: u64) -> f64 {
        let (warmup, decay) = match *self {
            Self::Constant { warmup } => (warmup, 1.0),
            Self::Linear { from, warmup } => {
                let start = if from < 1.0 { from * steps as f64 } else { from };
                (warmup, 1.0 - progress_fraction(step as f64 - start, steps as f64 - start))
            }
            Self::Step { every, factor, warmup } => {
                (warmup, factor.powi(i32::try_from(step / every.max(1)).unwrap_or(i32::MAX)))
            }
            Self::Cosine { warmup } => {
                let done =
                    progress_fraction(step as f64 - warmup as f64, steps as f64 - warmup as f64);
                (warmup, 0.5 * (1.0 + (PI * done).cos()))
            }
        };
        let warm = if step < warmup { (step + 1) as f64 / warmup as f64 } else { 1.0 };
        warm * decay
    }

    /// Describes what is wrong with the constants, as the end of a sentence that names the
    /// schedule.
    pub fn problem(&self) -> Option<String> {
        match *self {
            Self::Linear { from, .. } if !(from >= 0.0 && from.is_finite()) => {
                Some(format!("from = {from} must be at least 0"))
            }
            Self::Step { every: 0, .. } => Some("every = 0 must be at least 1".into()),
            Self::Step { factor, .. } if !(factor > 0.0 && factor <= 1.0) => {
                Some(format!("factor = {factor} must be greater than 0 and at most 1"))
            }
            _ => None,
        }
    }
}

/// The finished fraction of `whole`, in [0, 1]. If `whole` is empty, it is 1, or 0 before the
/// start.
fn progress_fraction(done: f64, whole: f64) -> f64 {
    if done <= 0.0 {
        0.0
    } else if done >= whole {
        1.0
    } else {
        done / whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors() {
        let close = |schedule: Schedule, steps: u64, expected: &[(u64, f64)]| {
            for &(step, factor) in expected {
                let found = schedule.factor(step, steps);
                assert!(
                    (found - factor).abs() < 1e-12,
                    "{schedule:?} at {step} of {steps}: {found}, not {factor}"
                );
            }
        };
        close(Schedule::default(), 10, &[(0, 1.0), (9, 1.0), (99, 1.0)]);
        close(Schedule::Constant { warmup: 4 }, 10, &[(0, 0.25), (2, 0.75), (3, 1.0), (4, 1.0)]);
        close(
            Schedule::Linear { from: 0.5, warmup: 0 },
            100,
            &[(0, 1.0), (50, 1.0), (75, 0.5), (99, 0.02), (100, 0.0), (200, 0.0)],
        );
        close(
            Schedule::Linear { from: 20.0, warmup: 10 },
            40,
            &[(4, 0.5), (20, 1.0), (30, 0.5), (40, 0.0)],
        );
        close(Schedule::Linear { from: 500.0, warmup: 0 }, 100, &[(0, 1.0), (100, 1.0)]);
        close(
            Schedule::Step { every: 10, factor: 0.5, warmup: 2 },
            100,
            &[(0, 0.5), (9, 1.0), (10, 0.5), (35, 0.125)],
        );
        close(Schedule::Cosine { warmup: 0 }, 100, &[(0, 1.0), (50, 0.5), (100, 0.0), (101, 0.0)]);
        let third = 0.5 * (1.0 + (PI / 3.0).cos());
        close(
            Schedule::Cosine { warmup: 10 },
            100,
            &[(0, 0.1), (9, 1.0), (10, 1.0), (40, third), (100, 0.0)],
        );
        close(Schedule::Cosine { warmup: 10 }, 5, &[(0, 0.1), (4, 0.5)]);
        close(Schedule::Step { every: 0, factor: 0.5, warmup: 0 }, 1, &[(0, 1.0)]);
    }

    #[test]
    fn problems_are_named() {
        let bad = [
            (Schedule::Linear { from: -1.0, warmup: 0 }, "from = -1"),
            (Schedule::Linear { from: f64::NAN, warmup: 0 }, "from = NaN"),
            (Schedule::Step { every: 0, factor: 0.5, warmup: 0 }, "every = 0"),
            (Schedule::Step { every: 1, factor: 1.5, warmup: 0 }, "factor = 1.5"),
        ];
        for (schedule, start) in bad {
            let problem = schedule.problem().unwrap_or_default();
            assert!(problem.starts_with(start), "{schedule:?}: {problem}");
        }
        assert_eq!(Schedule::Cosine { warmup: 3 }.problem(), None);
    }

    #[test]
    fn as_written_in_a_recipe() {
        #[derive(Serialize, Deserialize, PartialEq, Debug)]
        struct Section {
            schedule: Schedule,
        }
        for (text, schedule) in [
            (
                "schedule = { kind = \"linear\", from = 0.5 }",
                Schedule::Linear { from: 0.5, warmup: 0 },
            ),
            (
                "schedule = { kind = \"step\", every = 10, factor = 0.5, warmup = 3 }",
                Schedule::Step { every: 10, factor: 0.5, warmup: 3 },
            ),
            ("schedule = { kind = \"cosine\" }", Schedule::Cosine { warmup: 0 }),
        ] {
            let section: Section = toml::from_str(text).expect("valid");
            assert_eq!(section.schedule, schedule);
            let again: Section =
                toml::from_str(&toml::to_string(&section).expect("writes")).expect("reads");
            assert_eq!(again, section);
        }
        assert!(toml::from_str::<Section>("schedule = { kind = \"cosine\", from = 3 }").is_err());
    }
}
