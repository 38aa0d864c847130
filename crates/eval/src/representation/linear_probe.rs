//! How representations are compared: labels drawn from a training set, C by validation, accuracy on a test set.

use super::Representation;
use super::cost_search::{C_GRID, select_cost};
use super::extract;
use super::svm::{Options, SvmRows};
use crate::{EvalError, Progress};
use data::Dataset;
use tensor::Tensor;
use tensor::rng::Philox;

/// Philox stream of what is held out, and of the draws of labels.
const DRAWS: u64 = 0x6472_6177;
/// z of a 95 % interval.
const Z: f64 = 1.96;

/// A comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearProbeConfig {
    /// Labelled pictures of a draw, as many of each class; all but the held-out ones where it is `None`.
    pub labels: Option<usize>,
    /// Pictures of the training set that are held out to select_cost C by.
    pub validation: usize,
    /// How often labels are drawn.
    pub draws: usize,
    /// C to select_cost from, ascending.
    pub costs: Vec<f64>,
    /// Whether each feature is brought to mean 0 and variance 1 over the labelled pictures first.
    pub standardize: bool,
    /// Of what is held out and drawn, and of the solver.
    pub seed: u64,
}

/// Which pictures of a training set are for what.
pub struct SplitIndices {
    /// Held out, in order.
    pub validation: Vec<usize>,
    /// The labelled ones of each draw, in order.
    pub draws: Vec<Vec<usize>>,
}

/// How a representation did.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeResult {
    /// Share of the test set that is classified right, for each draw.
    pub accuracy: Vec<f64>,
    /// Share of the held-out pictures.
    pub validation: Vec<f64>,
    /// The C that was chosen.
    pub costs: Vec<f64>,
    /// In how many draws it lay outside the costs of the protocol.
    pub widened: usize,
    /// In how many draws the solver ran out of sweeps at that C.
    pub unconverged: usize,
    /// Pictures of the test set.
    pub tested: usize,
}

impl LinearProbeConfig {
    /// `labels` drawn `draws` times (all, once, for `None`), `validation` held out, the costs of the original code, no standardisation, seed 0.
    pub fn new(labels: Option<usize>, validation: usize, draws: usize) -> Self {
        Self { labels, validation, draws, costs: C_GRID.to_vec(), standardize: false, seed: 0 }
    }

    /// Holds pictures out and draws labels from the others.
    ///
    /// # Errors
    /// A set without labels, with too few pictures, or labels that are not as many for each class.
    pub fn split(&self, dataset: &Dataset) -> Result<SplitIndices, EvalError> {
        let (name, classes) = (dataset.name(), dataset.class_names().len());
        if classes < 2 {
            return Err(EvalError::Mismatch(format!(
                "{name} has {classes} classes: a classifier needs labels of two or more"
            )));
        }
        if self.validation == 0 || self.validation >= dataset.len() {
            return Err(EvalError::Setting(format!(
                "--validation {}: of the {} training pictures of {name} at least 1 must be held out, and 1 left",
                self.validation,
                dataset.len()
            )));
        }
        let mut rng = Philox::new(self.seed, DRAWS);
        let mut order: Vec<usize> = (0..dataset.len()).collect();
        shuffle(&mut order, &mut rng);
        let mut validation = order[..self.validation].to_vec();
        validation.sort_unstable();
        let mut rest = order[self.validation..].to_vec();
        rest.sort_unstable();
        let Some(labels) = self.labels else {
            return Ok(SplitIndices { validation, draws: vec![rest; self.draws] });
        };
        if labels == 0 || labels % classes != 0 {
            let wanted = (labels / classes).max(1) * classes;
            return Err(EvalError::Setting(format!(
                "--labels {labels}: {name} has {classes} classes, and draws have as many of each: say {wanted}"
            )));
        }
        let mut by_class = vec![Vec::new(); classes];
        for &index in &rest {
            if let Some(own) =
                dataset.label(index).and_then(|label| by_class.get_mut(label as usize))
            {
                own.push(index);
            }
        }
        let each = labels / classes;
        if let Some((class, own)) = by_class.iter().enumerate().find(|(_, own)| own.len() < each) {
            let class = &dataset.class_names()[class];
            return Err(EvalError::Setting(format!(
                "--labels {labels}: beside what is held out, {name} has {} pictures of class {class:?}, and a draw takes {each}",
                own.len()
            )));
        }
        let mut draws = Vec::with_capacity(self.draws);
        for _ in 0..self.draws {
            let mut draw = Vec::with_capacity(labels);
            for own in &mut by_class {
                // The first of a shuffled class; what is behind them need not be.
                for i in 0..each {
                    let other = i + rng.below((own.len() - i) as u32) as usize;
                    own.swap(i, other);
                }
                draw.extend_from_slice(&own[..each]);
            }
            draw.sort_unstable();
            draws.push(draw);
        }
        Ok(SplitIndices { validation, draws })
    }

    /// Trains svms on `representation` for each draw and tests them.
    ///
    /// # Errors
    /// A picture that cannot be decoded, a test set with other classes, not enough memory, the device, or the user stops it.
    pub fn run(
        &self,
        representation: &dyn Representation,
        (train, test): (&Dataset, &Dataset),
        part: &SplitIndices,
        name: &str,
        progress: Progress<'_>,
    ) -> Result<ProbeResult, EvalError> {
        let classes = train.class_names().len();
        let all: Vec<usize> = (0..test.len()).collect();
        let test_labels = labels(test, &all, classes)?;
        let held_labels = labels(train, &part.validation, classes)?;
        let held_out = extract(
            representation,
            train,
            &part.validation,
            &format!("{name}: held-out pictures"),
            progress,
        )?;
        let tests =
            extract(representation, test, &all, &format!("{name}: test pictures"), progress)?;
        let mut judged = ProbeResult {
            accuracy: vec![],
            validation: vec![],
            costs: vec![],
            widened: 0,
            unconverged: 0,
            tested: all.len(),
        };
        let what = format!("{name}: draws");
        for (k, draw) in part.draws.iter().enumerate() {
            let width = representation.width();
            // One long draw tells how far its features are; of many short ones, their number says it.
            let inner = if part.draws.len() == 1 { progress } else { Progress::SILENT };
            let mut values =
                extract(representation, train, draw, &format!("{name}: labelled pictures"), inner)?;
            let scaling = self.standardize.then(|| standardize(&mut values, width));
            progress.report(&what, k, part.draws.len())?;
            let held: Vec<f32>;
            let held_rows = match &scaling {
                Some((mean, scale)) => {
                    held = scaled(&held_out, mean, scale);
                    &held
                }
                None => &held_out,
            };
            let options = Options { seed: self.seed, ..Options::default() };
            let rows = SvmRows::new(&values, width);
            let chosen = select_cost(
                &rows,
                &labels(train, draw, classes)?,
                classes,
                &self.costs,
                (held_rows, &held_labels),
                options,
            );
            let svms = match &scaling {
                Some((mean, scale)) => chosen.svms.unscaled(mean, scale),
                None => chosen.svms,
            };
            let right = svms.correct(&tests, &test_labels)[0];
            judged.accuracy.push(right as f64 / all.len() as f64);
            judged.validation.push(chosen.correct as f64 / held_labels.len() as f64);
            judged.costs.push(chosen.cost);
            judged.widened += usize::from(chosen.widened);
            judged.unconverged += usize::from(!svms.converged[0]);
            progress.report(&what, k + 1, part.draws.len())?;
        }
        Ok(judged)
    }
}

impl ProbeResult {
    /// Mean accuracy on the test set, and half the width of its interval: 1.96 standard deviations over the draws, as in the original code; or,
    /// of a single draw, the 95 % interval of a share of so many pictures.
    pub fn summary(&self) -> [f64; 2] {
        interval(&self.accuracy, self.tested)
    }
}

/// Half of the 95 % interval of a share of `count` things.
#[must_use]
pub fn share(of: f64, count: usize) -> f64 {
    Z * (of * (1.0 - of) / count as f64).sqrt()
}

/// Mean, and half of an interval, of shares of `count` things.
fn interval(shares: &[f64], count: usize) -> [f64; 2] {
    let n = shares.len() as f64;
    let mean = shares.iter().sum::<f64>() / n;
    let half = match shares.len() {
        1 => share(mean, count),
        _ => {
            Z * (shares.iter().map(|share| (share - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt()
        }
    };
    [mean, half]
}

/// The labels of these pictures, below `classes`.
pub(crate) fn labels(
    dataset: &Dataset,
    indices: &[usize],
    classes: usize,
) -> Result<Vec<u32>, EvalError> {
    let label = |&index: &usize| dataset.label(index).filter(|&label| (label as usize) < classes);
    indices.iter().map(label).collect::<Option<_>>().ok_or_else(|| {
        EvalError::Mismatch(format!(
            "{}: not all pictures have a label of the {classes} classes trained on",
            dataset.name()
        ))
    })
}

/// Brings each of `width` features to mean 0 and variance 1 and returns what did it; those that never change are only moved.
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
    let deviation = |sum: &[f64; 2]| (sum[1] / count).sqrt() as f32;
    let scale: Vec<f32> =
        sums.iter().map(deviation).map(|s| if s > 1e-6 { s } else { 1.0 }).collect();
    let moved = scaled(values, &mean, &scale);
    values.copy_from_slice(&moved);
    (mean, scale)
}

fn scaled(values: &[f32], mean: &[f32], scale: &[f32]) -> Vec<f32> {
    let row = |row: &[f32]| {
        row.iter().zip(mean.iter().zip(scale)).map(|(x, (m, s))| (x - m) / s).collect::<Vec<_>>()
    };
    values.chunks_exact(mean.len()).flat_map(row).collect()
}

pub(crate) fn shuffle<T>(values: &mut [T], rng: &mut Philox) {
    for i in (1..values.len()).rev() {
        values.swap(i, rng.below(i as u32 + 1) as usize);
    }
}

/// PixelFeatures as they are, in [−1, 1].
pub struct PixelFeatures {
    shape: [usize; 3],
}

impl PixelFeatures {
    /// Of pictures `[H, W, C]`.
    pub fn new(shape: [usize; 3]) -> Self {
        Self { shape }
    }
}

impl Representation for PixelFeatures {
    fn width(&self) -> usize {
        self.shape.iter().product()
    }

    fn rows(&self, images: &Tensor) -> Tensor {
        images.reshape([images.shape()[0], self.width()])
    }
}
