//! Density and coverage (Naeem et al. 2020, equations 4 and 6): how densely generated images lie
//! among real ones, and the fraction of real images with a generated one nearby.
//!
//! ```
//! use eval::metrics::{density_coverage, find};
//!
//! assert_eq!(find("dc"), Some(&density_coverage::METRIC));
//! ```

use super::metric::{Metric, MetricInputs, MetricReport, Needs};
use super::precision_recall::mean_with_interval;
use crate::EvalError;
use crate::stats::indicators;

/// Density and coverage.
pub const METRIC: Metric = Metric {
    name: "dc",
    help: "Density and coverage",
    key: "density",
    needs: Needs::Features,
    default: true,
    compute,
};

fn compute(inputs: &MetricInputs<'_>) -> Result<MetricReport, EvalError> {
    let manifold = inputs.manifold()?;
    let covered = indicators(&manifold.covered);
    Ok(MetricReport {
        values: vec![
            mean_with_interval(inputs, "density", "Density", &manifold.density),
            mean_with_interval(inputs, "coverage", "Coverage", &covered),
        ],
        warnings: Vec::new(),
    })
}
