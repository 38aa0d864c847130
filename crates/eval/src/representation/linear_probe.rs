//! Linear probe: compares representations by the accuracy of linear SVMs on a test set, with labels
//! drawn from a training set and C chosen by validation.

use super::cost_search::{C_GRID, select_cost};
use super::svm::{Options, SvmRows};
use super::{Representation, extract};
use crate::stats::repeated_proportion;
use crate::{EvalError, Progress};
use data::Dataset;
use serde::Serialize;
use tensor::distributed::ProcessGroup;
use tensor::rng::Philox;

/// Philox stream of the held-out images and of the draws of labels.
const DRAWS: u64 = 0x6472_6177;

/// Options of a linear probe.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearProbeConfig {
    /// Labeled images of a draw, equally many of each class; `None` for all but the held-out ones.
    pub labels: Option<usize>,
    /// Images of the training set that are held out to choose C.
    pub validation: usize,
    /// The number of draws.
    pub draws: usize,
    /// Values of C to choose from, ascending.
    pub costs: Vec<f64>,
    /// Whether each feature is standardized (mean 0, variance 1 over the labeled images).
    pub standardize: bool,
    /// Seed of the held-out images, the draws and the solver.
    pub seed: u64,
}

/// Indices of a training set's images, by their use.
pub struct SplitIndices {
    /// The held-out images, ascending.
    pub validation: Vec<usize>,
    /// The labeled images of each draw, ascending.
    pub draws: Vec<Vec<usize>>,
}

/// The results of a linear probe.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProbeResult {
    /// Accuracy on the test set, for each draw.
    #[serde(rename = "draws")]
    pub accuracy: Vec<f64>,
    /// Accuracy on the held-out images.
    pub validation: Vec<f64>,
    /// The chosen C.
    pub costs: Vec<f64>,
    /// The number of draws whose C is outside the given grid.
    pub widened: usize,
    /// The number of draws whose solver did not converge at the chosen C.
    pub unconverged: usize,
    /// Images of the test set.
    pub tested: usize,
}

impl LinearProbeConfig {
    /// `labels` drawn `draws` times (all of them, once, for `None`), `validation` images held out,
    /// the authors' grid of C, no standardization, seed 0.
    pub fn new(labels: Option<usize>, validation: usize, draws: usize) -> Self {
        Self { labels, validation, draws, costs: C_GRID.to_vec(), standardize: false, seed: 0 }
    }

    /// Holds images out and draws labels from the others.
    ///
    /// # Errors
    /// Returns an error if the dataset has no labels or too few images, or the labels are not
    /// equally many for each class.
    pub fn split(&self, dataset: &Dataset) -> Result<SplitIndices, EvalError> {
        let (name, classes) = (|| dataset.name().to_owned(), dataset.class_names().len());
        if classes < 2 {
            return Err(EvalError::TooFewClasses { dataset: name(), classes });
        }
        if self.validation == 0 || self.validation >= dataset.len() {
            return Err(EvalError::ValidationCount {
                dataset: name(),
                validation: self.validation,
                images: dataset.len(),
            });
        }
        let mut rng = Philox::new(self.seed, DRAWS);
        let mut order: Vec<usize> = (0..dataset.len()).collect();
        rng.shuffle(&mut order);
        let mut validation = order[..self.validation].to_vec();
        validation.sort_unstable();
        let mut rest = order[self.validation..].to_vec();
        rest.sort_unstable();
        let Some(labels) = self.labels else {
            return Ok(SplitIndices { validation, draws: vec![rest; self.draws] });
        };
        if labels == 0 || labels % classes != 0 {
            return Err(EvalError::LabelCount { dataset: name(), labels, classes });
        }
        let mut by_class = vec![Vec::new(); classes];
        for &index in &rest {
            let label = dataset.label(index);
            if let Some(own) = label.and_then(|label| by_class.get_mut(label as usize)) {
                own.push(index);
            }
        }
        let each = labels / classes;
        if let Some((class, own)) = by_class.iter().enumerate().find(|(_, own)| own.len() < each) {
            return Err(EvalError::SmallClass {
                dataset: name(),
                class: dataset.class_names()[class].clone(),
                images: own.len(),
                needed: each,
            });
        }
        let mut draws = Vec::with_capacity(self.draws);
        for _ in 0..self.draws {
            let mut draw = Vec::with_capacity(labels);
            for own in &mut by_class {
                // Each draw shuffles the order of the last one, which is as uniform.
                rng.partial_shuffle(own, each);
                draw.extend_from_slice(&own[..each]);
            }
            draw.sort_unstable();
            draws.push(draw);
        }
        Ok(SplitIndices { validation, draws })
    }

    /// Trains SVMs on `representation` for each draw and tests them.
    ///
    /// # Errors
    /// Returns an error if an image cannot be decoded, the test set has other classes, the memory
    /// does not suffice, or the device fails; [`EvalError::Stopped`] if `progress` cancels.
    pub fn run(
        &self,
        representation: &dyn Representation,
        (train, test): (&Dataset, &Dataset),
        split: &SplitIndices,
        name: &str,
        progress: Progress<'_>,
    ) -> Result<ProbeResult, EvalError> {
        let classes = train.class_names().len();
        let all: Vec<usize> = (0..test.len()).collect();
        let test_labels = labels(test, &all, classes)?;
        let validation_labels = labels(train, &split.validation, classes)?;
        let rows = |dataset, indices: &[usize], what, progress| {
            let (task, alone) = (format!("{name}: {what} images"), ProcessGroup::default());
            extract(representation, dataset, indices, &task, progress, &alone)
        };
        let validation = rows(train, &split.validation, "held-out", progress)?;
        let tests = rows(test, &all, "test", progress)?;
        let mut result = ProbeResult {
            accuracy: vec![],
            validation: vec![],
            costs: vec![],
            widened: 0,
            unconverged: 0,
            tested: all.len(),
        };
        let task = format!("{name}: draws");
        for (k, draw) in split.draws.iter().enumerate() {
            let width = representation.width();
            // A single draw is long and reports its features; many short ones report their number.
            let inner = if split.draws.len() == 1 { progress } else { Progress::SILENT };
            let mut values = rows(train, draw, "labeled", inner)?;
            let scaling = self.standardize.then(|| standardize(&mut values, width));
            progress.report(&task, k, split.draws.len())?;
            let scaled_validation =
                scaling.as_ref().map(|(mean, scale)| scaled(&validation, mean, scale));
            let options = Options { seed: self.seed, ..Options::default() };
            let selected = select_cost(
                &SvmRows::new(&values, width),
                &labels(train, draw, classes)?,
                classes,
                &self.costs,
                (scaled_validation.as_ref().unwrap_or(&validation), &validation_labels),
                options,
            );
            // The test rows are many: the SVMs are adapted to them, not the rows to the SVMs.
            let svms = match &scaling {
                Some((mean, scale)) => selected.svms.unscaled(mean, scale),
                None => selected.svms,
            };
            let correct = svms.correct(&tests, &test_labels)[0];
            result.accuracy.push(correct as f64 / all.len() as f64);
            result.validation.push(selected.correct as f64 / validation_labels.len() as f64);
            result.costs.push(selected.cost);
            result.widened += usize::from(selected.widened);
            result.unconverged += usize::from(!svms.converged[0]);
            progress.report(&task, k + 1, split.draws.len())?;
        }
        Ok(result)
    }
}

impl ProbeResult {
    /// Mean accuracy on the test set, and half the width of its 95 % interval: 1.96 standard
    /// deviations over the draws, as in the authors' code; for a single draw the interval of a
    /// proportion of the test images.
    pub fn summary(&self) -> [f64; 2] {
        repeated_proportion(&self.accuracy, self.tested)
    }
}

/// The labels of these images, below `classes`.
pub(super) fn labels(
    dataset: &Dataset,
    indices: &[usize],
    classes: usize,
) -> Result<Vec<u32>, EvalError> {
    let label = |&index: &usize| dataset.label(index).filter(|&label| (label as usize) < classes);
    let unlabeled = || EvalError::UnlabeledImages { dataset: dataset.name().to_owned(), classes };
    indices.iter().map(label).collect::<Option<_>>().ok_or_else(unlabeled)
}

/// Standardizes each of `width` features to mean 0 and variance 1 and returns the means and
/// standard deviations. Constant features are only shifted.
fn standardize(values: &mut [f32], width: usize) -> (Vec<f32>, Vec<f32>) {
    let count = (values.len() / width.max(1)) as f64;
    let mut sums = vec![[0.0f64; 2]; width];
    for row in values.chunks_exact(width) {
        sums.iter_mut().zip(row).for_each(|(sum, &x)| sum[0] += f64::from(x));
    }
    for row in values.chunks_exact(width) {
        sums.iter_mut()
            .zip(row)
            .for_each(|(sum, &x)| sum[1] += (f64::from(x) - sum[0] / count).powi(2));
    }
    let mean: Vec<f32> = sums.iter().map(|sum| (sum[0] / count) as f32).collect();
    let std = |sum: &[f64; 2]| (sum[1] / count).sqrt() as f32;
    let scale: Vec<f32> = sums.iter().map(std).map(|s| if s > 1e-6 { s } else { 1.0 }).collect();
    let standardized = scaled(values, &mean, &scale);
    values.copy_from_slice(&standardized);
    (mean, scale)
}

fn scaled(values: &[f32], mean: &[f32], scale: &[f32]) -> Vec<f32> {
    let row = |row: &[f32]| {
        row.iter().zip(mean.iter().zip(scale)).map(|(x, (m, s))| (x - m) / s).collect::<Vec<_>>()
    };
    values.chunks_exact(mean.len()).flat_map(row).collect()
}
