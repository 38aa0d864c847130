//! Complete toy runs: one, or one per seed.

use super::{Coverage, Frame, ToySettings, ToyTrainer};
use crate::TrainError;
use serde::Serialize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::Builder;
use tensor::Device;

/// An event during a run.
#[derive(Clone, Debug)]
pub enum ToyEvent {
    /// Steps were finished; cheap, for progress bars.
    Stepped {
        /// Number of steps since the last such event.
        steps: u64,
    },
    /// The samples were measured.
    Measured(ToyMeasurement),
}

/// Metrics of a run at one step.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ToyMeasurement {
    /// The run's seed.
    pub seed: u64,
    /// Finished steps.
    pub step: u64,
    /// D's loss in the last step; NaN after the run has diverged.
    pub d_loss: f32,
    /// G's loss in the last step; NaN after the run has diverged.
    pub g_loss: f32,
    /// The coverage of the samples.
    #[serde(flatten)]
    pub coverage: Coverage,
}

/// The result of a run.
#[derive(Clone, Debug)]
pub struct ToyOutcome {
    /// The last measurement.
    pub last: ToyMeasurement,
    /// The step (at the latest) at which a loss or gradient was NaN or infinite and the run
    /// stopped. The measurement is of the last finite weights.
    pub diverged: Option<u64>,
    /// The requested frames, with the first and last step among them.
    pub frames: Vec<Frame>,
}

/// Steps between two checks for divergence.
const CHECK_EVERY: u64 = 100;

/// Trains; measures `measurements` times, the last time at the end, and takes `frames` frames, in
/// even strides.
///
/// # Errors
/// Returns an error if the device fails.
pub fn run(
    settings: &ToySettings,
    device: &Device,
    measurements: u64,
    frames: u64,
    on: &mut dyn FnMut(ToyEvent),
) -> Result<ToyOutcome, TrainError> {
    let mut trainer = ToyTrainer::new(settings, device)?;
    let steps = settings.steps();
    let (mut taken, mut reported) = (Vec::new(), 0);
    if frames > 1 {
        taken.push(trainer.frame());
    }
    loop {
        let metrics = trainer.train_step();
        let step = trainer.steps_done();
        let checks = step % CHECK_EVERY == 0 || step == steps;
        let measures = is_due(step, steps, measurements);
        // Only these steps wait for the device.
        let mut losses = [f32::NAN; 2];
        let mut diverged = false;
        if checks || measures {
            match metrics.wait() {
                Ok(metrics) => losses = [metrics.d_loss, metrics.g_loss],
                Err(TrainError::NonFinite { .. }) => diverged = checks,
                Err(error) => return Err(error),
            }
        }
        let last = diverged || step == steps;
        if checks {
            on(ToyEvent::Stepped { steps: step - reported });
            reported = step;
        }
        // The first frame is that of step 0.
        if (last && frames > 0) || is_due(step, steps, frames.saturating_sub(1)) {
            taken.push(trainer.frame());
        }
        if last || measures {
            let [d_loss, g_loss] = losses;
            let coverage = trainer.coverage();
            let measured = ToyMeasurement { seed: settings.seed, step, d_loss, g_loss, coverage };
            on(ToyEvent::Measured(measured.clone()));
            if last {
                device.check()?;
                let diverged = diverged.then_some(step);
                return Ok(ToyOutcome { last: measured, diverged, frames: taken });
            }
        }
    }
}

/// Whether one of `count` even strides of `steps` ends at `step`.
fn is_due(step: u64, steps: u64, count: u64) -> bool {
    let done = |step: u64| u128::from(step) * u128::from(count) / u128::from(steps);
    done(step) > done(step - 1)
}

/// Runs [`run`] with the seeds `settings.seed`, + 1, … (`runs` of them); the results are in that
/// order.
///
/// On the CPU each run has a thread of its own, which is faster than several threads for the
/// kernels of networks this small; the results do not depend on it. A GPU has one run at a time.
///
/// # Errors
/// Returns the errors of [`run`].
pub fn sweep(
    settings: &ToySettings,
    runs: usize,
    device: &Device,
    on: &(dyn Fn(ToyEvent) + Sync),
) -> Result<Vec<ToyOutcome>, TrainError> {
    let one = |i: usize| {
        let settings =
            ToySettings { seed: settings.seed.wrapping_add(i as u64), ..settings.clone() };
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
        let alone = || match rayon::ThreadPoolBuilder::new().num_threads(1).build() {
            Ok(pool) => pool.install(work),
            // If the system grants no more threads, the shared ones are used.
            Err(_) => work(),
        };
        let workers = rayon::current_num_threads().min(runs);
        let started =
            (0..workers).take_while(|_| Builder::new().spawn_scoped(scope, alone).is_ok());
        if started.count() == 0 {
            work();
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(i, _)| *i);
    results.into_iter().map(|(_, result)| result).collect()
}
