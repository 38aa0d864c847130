//! Improved precision and recall (Kynkäänniemi et al. 2019, equations 1 and 2): the fraction of
//! generated images on the real manifold, and of real images on the generated one.
//!
//! ```
//! use eval::metrics::{find, precision_recall};
//!
//! assert_eq!(find("pr"), Some(&precision_recall::METRIC));
//! ```

use super::metric::{Direction, Metric, MetricInputs, MetricReport, MetricValue, Needs};
use crate::EvalError;
use crate::stats::{bootstrap_mean, indicators, mean};

/// Improved precision and recall.
pub const METRIC: Metric = Metric {
    name: "pr",
    help: "Improved precision and recall",
    key: "precision",
    needs: Needs::Features,
    default: true,
    compute,
};

fn compute(inputs: &MetricInputs<'_>) -> Result<MetricReport, EvalError> {
    let manifold = inputs.manifold()?;
    let value =
        |key, name, flags: &[bool]| mean_with_interval(inputs, key, name, &indicators(flags));
    Ok(MetricReport {
        values: vec![
            value("precision", "Precision", &manifold.precise),
            value("recall", "Recall", &manifold.recalled),
        ],
        warnings: Vec::new(),
    })
}

/// The mean of one value per image, the higher the better, with its bootstrap interval.
pub(super) fn mean_with_interval(
    inputs: &MetricInputs<'_>,
    key: &'static str,
    name: &'static str,
    values: &[f64],
) -> MetricValue {
    let interval = bootstrap_mean(values, inputs.options.bootstrap, inputs.options.seed);
    MetricValue { interval, ..MetricValue::new(key, name, mean(values), Direction::Higher) }
}
