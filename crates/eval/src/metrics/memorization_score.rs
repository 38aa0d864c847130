//! Memorization score: the fraction of generated images that are nearer to a training image than
//! any other training image is.
//!
//! ```
//! use eval::metrics::{Needs, find};
//!
//! assert_eq!(find("nn").unwrap().needs, Needs::TrainSet);
//! ```

use super::metric::{Direction, Metric, MetricInputs, MetricReport, MetricValue, Needs};
use crate::EvalError;
use crate::stats::{bootstrap_mean, fraction, indicators};

/// The memorization score.
pub const METRIC: Metric = Metric {
    name: "nn",
    help: "Memorization: the fraction nearer to a training image than any other training image is; \
           uses the whole training split",
    key: "memorized",
    needs: Needs::TrainSet,
    default: false,
    compute,
};

fn compute(inputs: &MetricInputs<'_>) -> Result<MetricReport, EvalError> {
    let (options, fake) = (inputs.options, &inputs.fake.features);
    let train = inputs.train.ok_or(EvalError::NeedsTrainSet { metric: METRIC.name })?;
    let found = train.memorization(fake, inputs.device, inputs.progress)?;
    let copied = fraction(&found.memorized);
    let value = MetricValue::new("memorized", "Memorized", copied, Direction::Expected);
    let interval = bootstrap_mean(&indicators(&found.memorized), options.bootstrap, options.seed);
    Ok(MetricValue { interval, expected: Some(fraction(&found.expected)), ..value }.into())
}
