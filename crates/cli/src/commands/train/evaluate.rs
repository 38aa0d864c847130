//! The flags of `train` for evaluating a run while it trains.

use crate::commands::eval::{INCEPTION, metric_parser};
use crate::parse::{count, steps};
use eval::metrics::{Metric, frechet, precision_recall};
use std::path::Path;
use train::EvalConfig;

/// Default of `--eval-count`: enough to rank checkpoints, and a few seconds of work.
const DEFAULT_EVAL_COUNT: u32 = 5000;

/// Flags of the evaluation.
#[derive(clap::Args)]
#[command(next_help_heading = "Evaluation")]
pub struct EvaluateArgs {
    /// Compute metrics every N steps, and keep the best checkpoint.
    ///
    /// They are also computed at the end of the run.
    #[arg(long, value_name = "N", value_parser = steps())]
    pub eval_every: Option<u64>,
    /// Metrics, as in `dcgan eval`, separated by commas; the first one ranks the checkpoints
    /// [default: fid,pr].
    #[arg(long, value_name = "METRIC,…", value_parser = metric_parser(), value_delimiter = ',')]
    pub eval_metrics: Vec<&'static Metric>,
    /// Number of real and of generated images, from 10 [default: 5000].
    #[arg(long, value_name = "N", value_parser = count(10..=1_000_000))]
    pub eval_count: Option<u32>,
    /// Features to compare, as --features of `dcgan eval` [default: network].
    #[arg(long, value_name = "network|FILE|d:CHECKPOINT|pixels")]
    pub eval_features: Option<String>,
}

impl EvaluateArgs {
    /// A flag that has no effect because `--eval-every` is missing.
    pub fn unused_flag(&self) -> Option<&'static str> {
        let flags = [
            ("--eval-metrics", !self.eval_metrics.is_empty()),
            ("--eval-count", self.eval_count.is_some()),
            ("--eval-features", self.eval_features.is_some()),
        ];
        flags
            .into_iter()
            .find(|(_, given)| *given && self.eval_every.is_none())
            .map(|(flag, _)| flag)
    }

    /// The settings of a new run; `None` without `--eval-every`.
    pub fn settings(&self) -> Option<EvalConfig> {
        let default = [&frechet::METRIC, &precision_recall::METRIC];
        let metrics = if self.eval_metrics.is_empty() { &default[..] } else { &self.eval_metrics };
        Some(EvalConfig {
            every: self.eval_every?,
            metrics: metrics.iter().map(|metric| metric.name.to_owned()).collect(),
            count: self.eval_count.unwrap_or(DEFAULT_EVAL_COUNT) as usize,
            features: self
                .eval_features
                .as_deref()
                .map_or_else(|| "network".to_owned(), absolute_features),
        })
    }
}

/// The features' source with an absolute path: a resumed run may start in another folder.
fn absolute_features(features: &str) -> String {
    let prefix = ["d:", INCEPTION].into_iter().find(|prefix| features.starts_with(prefix));
    let (prefix, path) = features.split_at(prefix.map_or(0, str::len));
    let known = prefix.is_empty() && ["network", "pixels"].contains(&path);
    let absolute = std::path::absolute(Path::new(path)).ok().filter(|_| !known);
    match absolute.as_deref().and_then(Path::to_str) {
        Some(absolute) => format!("{prefix}{absolute}"),
        None => features.to_owned(),
    }
}
