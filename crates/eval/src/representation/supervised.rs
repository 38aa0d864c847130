//! Supervised baseline (Radford et al. 2016, section 5.2): the discriminator's architecture trained
//! on the labels alone, with random search over its hyperparameters.

use super::linear_probe::{SplitIndices, labels};
use crate::images::load_images;
use crate::{EvalError, Progress};
use data::Dataset;
use nn::loss::{ClassTargets, Labels, auxiliary_classifier};
use nn::recipe::{ConditionConfig, ConditionKind, ConditioningMethod, ObjectiveConfig};
use nn::{ForwardCtx, Mode, Network, NoiseRng, Optimizer, OptimizerKind, OptimizerOptions, Recipe};
use serde::Serialize;
use tensor::rng::Philox;
use tensor::{Device, FiniteCheck, Tensor};

/// Philox stream of the hyperparameters; the first of the streams, two for each trial, of weights
/// and of the order of images; and the first of those, one for each trial, of dropout.
const SEARCH: u64 = 0x7375_7065;
const WEIGHTS: u64 = 0x7375_0000_0000;
const NOISE: u64 = 0x7375_8000_0000;
/// How often a trial is validated, its last epoch included: early stopping is part of the search.
const VALIDATIONS: usize = 4;
/// Images in a forward pass of validation and test.
const BATCH: usize = 256;

/// The hyperparameters of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct TrialSettings {
    /// Adam's learning rate, 1e-4 to 1e-2, log-uniform.
    pub lr: f64,
    /// L2 penalty, 1e-6 to 1e-2, log-uniform.
    pub weight_decay: f64,
    /// Dropout probability after hidden activations: 0, 0.25 or 0.5.
    pub dropout: f64,
    /// Images in a step: 32, 64 or 128.
    pub batch: usize,
    /// Passes over the labeled images until the best validation.
    pub epochs: usize,
}

/// The best trial by validation accuracy.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SupervisedResult {
    /// The hyperparameters of the trial.
    #[serde(flatten)]
    pub trial: TrialSettings,
    /// The accuracy on the held-out images, by which the trial was chosen.
    pub validation: f64,
    /// The accuracy on the test set.
    pub accuracy: f64,
    /// The best validation accuracy of each trial.
    pub trials: Vec<f64>,
}

/// Trains `trials` networks with the architecture of the discriminator of `recipe` and a head of
/// one output for each class, for up to `epochs` passes over the labeled images of the first draw,
/// and tests the best.
///
/// # Errors
/// Returns an error if there are no draws, trials or epochs, the discriminator lists its layers
/// (its head has one output), an image cannot be decoded, or the device fails;
/// [`EvalError::Stopped`] if `progress` cancels.
pub fn supervised(
    recipe: &Recipe,
    (train, test): (&Dataset, &Dataset),
    split: &SplitIndices,
    [trials, epochs]: [usize; 2],
    seed: u64,
    device: &Device,
    progress: Progress<'_>,
) -> Result<SupervisedResult, EvalError> {
    let Some(draw) = split.draws.first().filter(|_| trials > 0 && epochs > 0) else {
        let draws = split.draws.len();
        return Err(EvalError::SupervisedTraining { draws, trials, epochs });
    };
    let data = TrainData {
        recipe,
        classes: train.class_names().len(),
        images: load_images(train, draw)?.to_vec(),
        labels: labels(train, draw, train.class_names().len())?,
        shape: train.shape(),
        device,
    };
    let all: Vec<usize> = (0..test.len()).collect();
    let mut search = Philox::new(seed, SEARCH);
    let mut best: Option<SupervisedResult> = None;
    let mut scores = Vec::with_capacity(trials);
    for number in 0..trials {
        progress.report("supervised trials", number, trials)?;
        let mut trial = TrialSettings::sample(&mut search);
        let (network, mut optimizer) = data.network(trial, [seed, number as u64])?;
        let noise = NoiseRng::new(Philox::new(seed, NOISE + number as u64), 1.0);
        let mut rng = Philox::new(seed, WEIGHTS + ((number as u64) << 1) + 1);
        let mut own = 0.0f64;
        let mut done = 0;
        for k in 1..=VALIDATIONS.min(epochs) {
            let until = epochs * k / VALIDATIONS.min(epochs);
            for _ in done..until {
                data.epoch(&network, &mut optimizer, trial.batch, &noise, &mut rng)?;
                progress.report("supervised trials", number, trials)?;
            }
            done = until;
            let score = data.accuracy(&network, train, &split.validation)?;
            own = own.max(score);
            if best.as_ref().is_none_or(|best| score > best.validation) {
                trial.epochs = until;
                let accuracy = data.accuracy(&network, test, &all)?;
                let trials = Vec::new();
                best = Some(SupervisedResult { trial, validation: score, accuracy, trials });
            }
        }
        scores.push(own);
    }
    progress.report("supervised trials", trials, trials)?;
    // NaN accuracies do not occur, so the first validation is better than none.
    let best = best.ok_or(EvalError::SupervisedTraining { draws: 1, trials, epochs })?;
    Ok(SupervisedResult { trials: scores, ..best })
}

impl TrialSettings {
    fn sample(rng: &mut Philox) -> Self {
        let mut exponent = |low: f64, high: f64| {
            low + (high - low) * f64::from(rng.next_u32()) / f64::from(u32::MAX)
        };
        let (lr, weight_decay) =
            (10f64.powf(exponent(-4.0, -2.0)), 10f64.powf(exponent(-6.0, -2.0)));
        let (dropout, batch) =
            ([0.0, 0.25, 0.5][rng.below(3) as usize], [32, 64, 128][rng.below(3) as usize]);
        Self { lr, weight_decay, dropout, batch, epochs: 0 }
    }
}

/// The labeled images and everything that all trials share.
struct TrainData<'a> {
    recipe: &'a Recipe,
    classes: usize,
    /// `[N, H, W, C]` in [−1, 1].
    images: Vec<f32>,
    labels: Vec<u32>,
    /// `[H, W, C]`.
    shape: [usize; 3],
    device: &'a Device,
}

impl TrainData<'_> {
    fn network(
        &self,
        trial: TrialSettings,
        [seed, number]: [u64; 2],
    ) -> Result<(Network, Optimizer), EvalError> {
        let mut own = self.recipe.clone();
        // A head of K outputs is that of a semi-supervised discriminator, whose loss excludes the
        // recipe's other options.
        own.objective = ObjectiveConfig { semi_supervised: true, ..ObjectiveConfig::default() };
        own.labels = Labels::default();
        own.condition = Some(ConditionConfig {
            kind: ConditionKind::Class,
            size: self.classes,
            names: Vec::new(),
            generator: ConditioningMethod::None,
            discriminator: ConditioningMethod::None,
            embedding: 0,
            auxiliary_weight: 1.0,
        });
        own.discriminator.dropout = trial.dropout;
        own.discriminator.minibatch_stddev = 0;
        own.discriminator.minibatch_discrimination = None;
        let (_, network) = own.build(&mut Philox::new(seed, WEIGHTS + (number << 1)))?;
        network.to_device(self.device);
        let rule = OptimizerKind::Adam { beta1: 0.9, beta2: 0.999, eps: 1e-8, decoupled: false };
        let options = OptimizerOptions { rule, lr: trial.lr, weight_decay: trial.weight_decay };
        let optimizer = Optimizer::new(&network, options);
        Ok((network, optimizer))
    }

    fn epoch(
        &self,
        network: &Network,
        optimizer: &mut Optimizer,
        batch: usize,
        noise: &NoiseRng,
        rng: &mut Philox,
    ) -> Result<(), EvalError> {
        let [h, w, c] = self.shape;
        let size = h * w * c;
        let mut order: Vec<usize> = (0..self.labels.len()).collect();
        rng.shuffle(&mut order);
        let guard = FiniteCheck::new(self.device);
        // Batch statistics of a single left-over image would be undefined.
        for part in order.chunks(batch).filter(|part| part.len() > 1) {
            let pixels: Vec<f32> = part
                .iter()
                .flat_map(|&i| &self.images[i * size..(i + 1) * size])
                .copied()
                .collect();
            let mut targets = vec![0.0; part.len() * self.classes];
            part.iter()
                .enumerate()
                .for_each(|(at, &i)| targets[at * self.classes + self.labels[i] as usize] = 1.0);
            let on = |values: &[f32], shape: &[usize]| {
                Tensor::from_slice(values, shape).to_device(self.device)
            };
            let x = self.recipe.image.range.to_network_range(&on(&pixels, &[part.len(), h, w, c]));
            let targets = on(&targets, &[part.len(), self.classes]);
            let logits = network.forward(&x, ForwardCtx::from(Mode::TRAIN).with_rng(noise));
            let loss = auxiliary_classifier(&logits, &targets, ClassTargets::OneHot);
            // A trial that diverges is not an error: it has a low accuracy.
            optimizer.step(network, &loss.backward(), &guard);
        }
        Ok(self.device.check()?)
    }

    fn accuracy(
        &self,
        network: &Network,
        dataset: &Dataset,
        indices: &[usize],
    ) -> Result<f64, EvalError> {
        let mut correct = 0;
        for part in indices.chunks(BATCH) {
            let images = load_images(dataset, part)?.to_device(self.device);
            let x = self.recipe.image.range.to_network_range(&images);
            let logits = network.forward(&x, Mode::SAMPLE).to_device(&Device::Cpu);
            self.device.check()?;
            let wanted = labels(dataset, part, self.classes)?;
            let predicted = logits.argmax_last();
            correct += predicted.iter().zip(&wanted).filter(|(a, b)| **a == **b as usize).count();
        }
        Ok(correct as f64 / indices.len() as f64)
    }
}
