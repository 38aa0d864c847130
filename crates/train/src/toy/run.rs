//! Runs from beginning to end, one or one per seed.

use super::lab::Losses;
use super::{Coverage, Frame, Lab, Settings};
use crate::TrainError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use tensor::{Device, read_async};

/// What a run tells while it goes.
#[derive(Clone, Debug)]
pub enum Event {
    /// Steps were finished; cheap, for progress bars.
    Stepped {
        /// How many since the last such event.
        steps: u64,
    },
    /// A measurement was made.
    Measured(Measured),
}

/// A measurement.
#[derive(Clone, PartialEq, Debug)]
pub struct Measured {
    /// The run's seed.
    pub seed: u64,
    /// Finished steps.
    pub step: u64,
    /// D's loss in the last step.
    pub d_loss: f32,
    /// G's loss in the last step.
    pub g_loss: f32,
    /// What the samples show.
    pub coverage: Coverage,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The last measurement.
    pub last: Measured,
    /// Where a loss or gradient was NaN or infinite: the step (at the latest) at which the run stopped. What is measured is the
    /// last finite state.
    pub diverged: Option<u64>,
    /// The frames that were asked for, the start and the end among them.
    pub frames: Vec<Frame>,
}

/// Steps between two looks at whether the run has diverged.
const LOOK: u64 = 100;

/// Trains; measures `measurements` times, the last time at the end, and takes `frames` frames, in even strides.
///
/// # Errors
/// As [`Settings::validate`], or the device.
pub fn run(
    settings: &Settings,
    device: &Device,
    measurements: u64,
    frames: u64,
    on: &mut dyn FnMut(Event),
) -> Result<Outcome, TrainError> {
    let mut lab = Lab::new(settings, device)?;
    let steps = settings.steps;
    let (mut taken, mut told) = (Vec::new(), 0);
    if frames > 1 {
        taken.push(lab.frame());
    }
    loop {
        let losses = lab.step();
        let step = lab.steps_done();
        let look = step % LOOK == 0 || step == steps;
        let diverged = look && lab.diverged();
        let last = diverged || step == steps;
        if look {
            device.check()?;
            on(Event::Stepped { steps: step - told });
            told = step;
        }
        // The first frame is that of step 0.
        if (last && frames > 0) || due(step, steps, frames.saturating_sub(1)) {
            taken.push(lab.frame());
        }
        if last || due(step, steps, measurements) {
            let measured = measure(&mut lab, settings.seed, &losses);
            on(Event::Measured(measured.clone()));
            if last {
                device.check()?;
                return Ok(Outcome {
                    last: measured,
                    diverged: diverged.then_some(step),
                    frames: taken,
                });
            }
        }
    }
}

/// Whether one of `count` even strides of `steps` ends at `step`.
fn due(step: u64, steps: u64, count: u64) -> bool {
    let done = |step: u64| u128::from(step) * u128::from(count) / u128::from(steps);
    done(step) > done(step - 1)
}

fn measure(lab: &mut Lab, seed: u64, losses: &Losses) -> Measured {
    let read = read_async(&[&losses.d, &losses.g]).wait();
    let loss = |i: usize| read.get(i).copied().unwrap_or(f32::NAN);
    Measured {
        seed,
        step: lab.steps_done(),
        d_loss: loss(0),
        g_loss: loss(1),
        coverage: lab.coverage(),
    }
}

/// [`run`]s with the seeds `settings.seed`, + 1, … (`runs` of them), in that order in the result. On the CPU each has a thread to
/// itself, which is more than the kernels make of several on networks this small; the results do not depend on it. A GPU has one
/// run at a time.
///
/// # Errors
/// As [`run`].
pub fn sweep(
    settings: &Settings,
    runs: usize,
    device: &Device,
    on: &(dyn Fn(Event) + Sync),
) -> Result<Vec<Outcome>, TrainError> {
    let one = |i: usize| {
        let settings = Settings { seed: settings.seed.wrapping_add(i as u64), ..settings.clone() };
        run(&settings, device, 1, 0, &mut |event| on(event))
    };
    if let Device::Gpu(_) = device {
        return (0..runs).map(one).collect();
    }
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    let work = || {
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= runs {
                return;
            }
            let result = one(i);
            results.lock().unwrap_or_else(PoisonError::into_inner).push((i, result));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..rayon::current_num_threads().min(runs) {
            scope.spawn(|| match rayon::ThreadPoolBuilder::new().num_threads(1).build() {
                Ok(pool) => pool.install(work),
                // A system that grants no thread: the shared ones do it.
                Err(_) => work(),
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(i, _)| *i);
    results.into_iter().map(|(_, result)| result).collect()
}
