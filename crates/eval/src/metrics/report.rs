//! All metrics of two sets at once.

use super::features::{Features, comparable};
use super::frechet::{Frechet, GaussianStats, project_to_row_space};
use super::inception_score;
use super::kid::{self, Subsets};
use super::manifold::{self, TrainNeighborIndex};
use super::mean_std::{MeanStd, interval_of_frechet, interval_of_mean};
use crate::{EvalError, Progress};
use data::permutation;
use tensor::Device;

/// Parts of the inception score, as its authors had them.
const SPLITS: usize = 10;
/// Features wider than this are resampled seldom: the time goes with the third power.
const WIDE: usize = 256;
const SELDOM: usize = 20;

/// A family of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// The Fréchet distance.
    Fid,
    /// The kernel distance.
    Kid,
    /// Improved precision and recall.
    Pr,
    /// Density and coverage.
    Dc,
    /// The inception score.
    Is,
    /// The memorisation score.
    Nn,
}

impl Metric {
    /// The [key](MetricValue::key) of its figure, or of the first of two.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Fid => "frechet",
            Self::Kid => "kernel",
            Self::Pr => "precision",
            Self::Dc => "density",
            Self::Is => "inception_score",
            Self::Nn => "memorised",
        }
    }
}

/// What is measured, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which values.
    pub metrics: Vec<Metric>,
    /// Neighbours of precision, recall, density and coverage.
    pub neighbors: usize,
    /// Subsets of the kernel distance.
    pub subsets: Subsets,
    /// Resamples for intervals; 0 for none.
    pub bootstrap: usize,
    /// Of subsets and resamples.
    pub seed: u64,
}

/// The features of a set, and the probabilities of classes where the network tells them.
#[derive(Clone, Debug)]
pub struct FeatureSet {
    /// `[N, features]`.
    pub features: Features,
    /// `[N, classes]`.
    pub classes: Option<Features>,
}

/// One number.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricValue {
    /// A short name for programs, such as `frechet`.
    pub key: &'static str,
    /// What it is called.
    pub name: &'static str,
    /// Itself.
    pub value: f64,
    /// The 95 % interval, where there is one.
    pub interval: Option<[f64; 2]>,
    /// The standard deviation over subsets or splits, where it is the mean over some.
    pub deviation: Option<f64>,
    /// The same of the real pictures, where that says what to expect.
    pub expected: Option<f64>,
    /// What is better.
    pub better: Direction,
}

impl MetricValue {
    /// A number that tells which of several values of this figure is best: the lower, the better.
    #[must_use]
    pub fn score(&self) -> f64 {
        match (self.better, self.expected) {
            (Direction::Higher, _) => -self.value,
            (Direction::Expected, Some(expected)) => (self.value - expected).abs(),
            (Direction::Lower | Direction::Expected, _) => self.value,
        }
    }
}

/// Which way a figure gets better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The lower.
    Lower,
    /// The higher.
    Higher,
    /// The nearer to what is expected.
    Expected,
}

/// Figures, and what to know of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// In a fixed order.
    pub values: Vec<MetricValue>,
    /// One line each.
    pub warnings: Vec<String>,
}

impl Report {
    /// The figure with this key, where it was asked for.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&MetricValue> {
        self.values.iter().find(|figure| figure.key == key)
    }

    fn add(
        &mut self,
        key: &'static str,
        name: &'static str,
        value: f64,
        better: Direction,
    ) -> &mut MetricValue {
        let at = self.values.len();
        self.values.push(MetricValue {
            key,
            name,
            value,
            interval: None,
            deviation: None,
            expected: None,
            better,
        });
        &mut self.values[at]
    }
}

/// Compares a generated set with a real one; `training` are all pictures that could have been learned by heart, with what each one's nearest ones are, for
/// [`Metric::Nn`].
///
/// # Errors
/// Features of different widths, too few pictures, no probabilities for [`Metric::Is`], no `training` for [`Metric::Nn`], the device, or
/// [`EvalError::Stopped`].
pub fn compare(
    real: &FeatureSet,
    fake: &FeatureSet,
    training: Option<&TrainNeighborIndex<'_>>,
    options: &Options,
    device: &Device,
    progress: Progress<'_>,
) -> Result<Report, EvalError> {
    comparable(&real.features, &fake.features, 2, "a comparison")?;
    let mut report = Report::default();
    let wants = |metric| options.metrics.contains(&metric);
    let sets = [&real.features, &fake.features];
    if wants(Metric::Fid) {
        frechet(sets, options, &mut report, progress)?;
    }
    if wants(Metric::Kid) {
        kernel(sets, options, device, &mut report, progress)?;
    }
    if wants(Metric::Pr) || wants(Metric::Dc) {
        neighbourhood(sets, options, device, &mut report, progress)?;
    }
    if wants(Metric::Is) {
        let missing = || {
            EvalError::Mismatch(
                "the inception score takes features of a network that was trained on classes: leave `is` out of --metrics".into(),
            )
        };
        // A set may lie class by class: parts of it must be drawn by chance.
        let scores = |measured: &FeatureSet| {
            let order = permutation(
                options.seed,
                u64::MAX - 4,
                u32::try_from(measured.features.len()).unwrap_or(u32::MAX),
            );
            let order: Vec<usize> = order.into_iter().map(|index| index as usize).collect();
            let mixed =
                measured.classes.as_ref().map(|rows| rows.select(&order)).ok_or_else(missing)?;
            Ok::<_, EvalError>(MeanStd::of(&inception_score::scores(&mixed, SPLITS)?))
        };
        let found = scores(fake)?;
        // In as many parts: a score of fewer pictures is lower.
        let expected = scores(real)?.mean;
        let figure =
            report.add("inception_score", "Inception score", found.mean, Direction::Higher);
        figure.deviation = Some(found.deviation);
        figure.interval =
            (options.bootstrap > 0).then(|| found.interval(1.0 / (SPLITS as f64).sqrt()));
        figure.expected = Some(expected);
    }
    if wants(Metric::Nn) {
        let training = training.ok_or_else(|| {
            EvalError::Mismatch("the memorisation score takes the training pictures".into())
        })?;
        let found = training.memorization(&fake.features, device, progress)?;
        let figure = report.add(
            "memorised",
            "Memorization",
            manifold::fraction(&found.memorized),
            Direction::Expected,
        );
        figure.interval =
            interval_of_mean(&flags(&found.memorized), options.bootstrap, options.seed);
        figure.expected = Some(manifold::fraction(&found.expected));
    }
    Ok(report)
}

fn flags(flags: &[bool]) -> Vec<f64> {
    flags.iter().map(|&flag| f64::from(u8::from(flag))).collect()
}

fn frechet(
    sets: [&Features; 2],
    options: &Options,
    report: &mut Report,
    progress: Progress<'_>,
) -> Result<(), EvalError> {
    let [real, fake] = sets;
    for (whose, rows) in [("real", real), ("generated", fake)] {
        if rows.len() <= rows.width() {
            report.warnings.push(format!(
                "{} {whose} pictures for features of {} numbers: their covariance has no full rank, and the Fréchet distance says more of \
                 the number of pictures than of the pictures",
                rows.len(),
                rows.width()
            ));
        }
    }
    let [real, fake] = project_to_row_space(real, fake)?;
    let value = Frechet::to(GaussianStats::of(&real)?).distance(&GaussianStats::of(&fake)?)?;
    let replicates =
        if real.width() > WIDE { options.bootstrap.min(SELDOM) } else { options.bootstrap };
    report.add("frechet", "Fréchet distance", value, Direction::Lower).interval =
        interval_of_frechet(value, [&real, &fake], replicates, options.seed, progress)?;
    Ok(())
}

fn kernel(
    [real, fake]: [&Features; 2],
    options: &Options,
    device: &Device,
    report: &mut Report,
    progress: Progress<'_>,
) -> Result<(), EvalError> {
    let found =
        MeanStd::of(&kid::distances(real, fake, options.subsets, options.seed, device, progress)?);
    let size = options.subsets.size.min(real.len()).min(fake.len());
    if size < options.subsets.size {
        report.warnings.push(format!(
            "the kernel distance is over subsets of {size} pictures, not {}: there are no more",
            options.subsets.size
        ));
    }
    let figure = report.add("kernel", "Kernel distance", found.mean, Direction::Lower);
    figure.deviation = Some(found.deviation);
    // A subset of n spreads as 1/√n (the kernel's statistic is asymptotically normal), and all pictures were seen.
    let shrunk = (size as f64 / real.len().min(fake.len()) as f64).sqrt();
    figure.interval = (options.bootstrap > 0).then(|| found.interval(shrunk));
    Ok(())
}

fn neighbourhood(
    [real, fake]: [&Features; 2],
    options: &Options,
    device: &Device,
    report: &mut Report,
    progress: Progress<'_>,
) -> Result<(), EvalError> {
    let found = manifold::manifold(real, fake, options.neighbors, device, progress)?;
    let mut add = |key, name, values: &[f64]| {
        let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
        report.add(key, name, mean, Direction::Higher).interval =
            interval_of_mean(values, options.bootstrap, options.seed);
    };
    if options.metrics.contains(&Metric::Pr) {
        add("precision", "Precision", &flags(&found.precise));
        add("recall", "Recall", &flags(&found.recalled));
    }
    if options.metrics.contains(&Metric::Dc) {
        add("density", "Density", &found.density);
        add("coverage", "Coverage", &flags(&found.covered));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_value_has_the_lowest_score() {
        let figure = |value, better, expected| MetricValue {
            key: "x",
            name: "x",
            value,
            interval: None,
            deviation: None,
            expected,
            better,
        };
        // A kernel distance may be below 0 by chance.
        assert_eq!(figure(-0.25, Direction::Lower, None).score(), -0.25);
        assert_eq!(figure(0.5, Direction::Higher, None).score(), -0.5);
        let memorization = |value| figure(value, Direction::Expected, Some(0.5)).score();
        assert_eq!(memorization(0.25), memorization(0.75));
        assert!(memorization(0.5) < memorization(0.25) && memorization(0.25) < memorization(1.0));
    }
}
