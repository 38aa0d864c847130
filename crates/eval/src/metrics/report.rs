//! All metrics of two sets at once.

use super::frechet::{Frechet, Statistics};
use super::manifold::{self, share};
use super::rows::{Rows, comparable};
use crate::{EvalError, Progress};
use tensor::Device;

/// A family of figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// The Fréchet distance.
    Fid,
    /// Improved precision and recall.
    Pr,
    /// Density and coverage.
    Dc,
}

/// What is measured, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which figures.
    pub metrics: Vec<Metric>,
    /// Neighbours of precision, recall, density and coverage.
    pub neighbours: usize,
}

/// The features of a set, and the probabilities of classes where the network tells them.
pub struct Measured {
    /// `[N, features]`.
    pub features: Rows,
    /// `[N, classes]`.
    pub classes: Option<Rows>,
}

/// One number.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// A short name for programs, such as `frechet`.
    pub key: &'static str,
    /// What it is called.
    pub name: &'static str,
    /// Itself.
    pub value: f64,
    /// What is better.
    pub better: Better,
}

/// Which way a figure gets better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// The lower.
    Lower,
    /// The higher.
    Higher,
}

/// Figures, and what to know of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// In the order they were asked for.
    pub figures: Vec<Figure>,
    /// One line each.
    pub warnings: Vec<String>,
}

impl Report {
    fn add(&mut self, key: &'static str, name: &'static str, value: f64, better: Better) {
        self.figures.push(Figure { key, name, value, better });
    }
}

/// Compares a generated set with a real one.
///
/// # Errors
/// Features of different widths, too few pictures, the device, or [`EvalError::Stopped`].
pub fn compare(
    real: &Measured,
    fake: &Measured,
    options: &Options,
    device: &Device,
    progress: Progress<'_>,
) -> Result<Report, EvalError> {
    comparable(&real.features, &fake.features, 2, "a comparison")?;
    let mut report = Report::default();
    let wants = |metric| options.metrics.contains(&metric);
    if wants(Metric::Fid) {
        frechet(&real.features, &fake.features, &mut report)?;
    }
    if wants(Metric::Pr) || wants(Metric::Dc) {
        let found = manifold::manifold(&real.features, &fake.features, options.neighbours, device, progress)?;
        if wants(Metric::Pr) {
            report.add("precision", "Precision", share(&found.precise), Better::Higher);
            report.add("recall", "Recall", share(&found.recalled), Better::Higher);
        }
        if wants(Metric::Dc) {
            let density = found.density.iter().sum::<f64>() / found.density.len().max(1) as f64;
            report.add("density", "Density", density, Better::Higher);
            report.add("coverage", "Coverage", share(&found.covered), Better::Higher);
        }
    }
    Ok(report)
}

fn frechet(real: &Rows, fake: &Rows, report: &mut Report) -> Result<(), EvalError> {
    let (of_real, of_fake) = (Statistics::of(real)?, Statistics::of(fake)?);
    for (whose, statistics, rows) in [("real", &of_real, real), ("generated", &of_fake, fake)] {
        if statistics.is_singular() {
            report.warnings.push(format!(
                "{} {whose} pictures for features of {} numbers: their covariance has no full rank, and the Fréchet distance says more of \
                 the number of pictures than of the pictures",
                rows.len(),
                rows.width()
            ));
        }
    }
    let value = Frechet::to(of_real).distance(&of_fake)?;
    report.add("frechet", "Fréchet distance", value, Better::Lower);
    Ok(())
}
