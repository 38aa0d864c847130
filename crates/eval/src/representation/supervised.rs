//! The contrast of section 5.2: the discriminator's architecture, trained on the labels alone, with random search over what it is trained with.

use super::linear_probe::{SplitIndices, labels, shuffle};
use crate::images::load_images;
use crate::{EvalError, Progress};
use data::Dataset;
use nn::loss::{ClassTargets, Labels, auxiliary_classifier};
use nn::recipe::{ConditionConfig, ConditionKind, ConditioningMethod, ObjectiveConfig};
use nn::{ForwardCtx, Mode, Network, NoiseRng, Optimizer, OptimizerKind, OptimizerOptions, Recipe};
use tensor::rng::Philox;
use tensor::{Device, FiniteCheck, Tensor};

/// Philox stream of the settings of trials, and, a trial apart, of weights and the order of pictures, and of dropout.
const SEARCH: u64 = 0x7375_7065;
const WEIGHTS: u64 = 0x7375_0000_0000;
const NOISE: u64 = 0x7375_8000_0000;
/// How often a trial is judged by the held-out pictures, its last epoch included: stopping early is a choice, too.
const JUDGED: usize = 4;
/// Pictures judged together.
const BATCH: usize = 256;

/// What a trial is trained with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrialSettings {
    /// Adam's rate, 1e-4 to 1e-2, log-uniform.
    pub lr: f64,
    /// L2 penalty, 1e-6 to 1e-2, log-uniform.
    pub weight_decay: f64,
    /// Of numbers after hidden activations: 0, 0.25 or 0.5.
    pub dropout: f64,
    /// Pictures of a step: 32, 64 or 128.
    pub batch: usize,
    /// Passes over the labelled pictures until the best verdict.
    pub epochs: usize,
}

/// The best of all trials by the held-out pictures.
#[derive(Clone, Debug, PartialEq)]
pub struct SupervisedResult {
    /// What it was trained with.
    pub trial: TrialSettings,
    /// Its accuracy on the held-out pictures, by which it was chosen.
    pub validation: f64,
    /// Its accuracy on the test set.
    pub accuracy: f64,
    /// The best accuracy of each trial on the held-out pictures.
    pub trials: Vec<f64>,
}

/// Trains `trials` networks of the discriminator of `recipe`, with a class each for a head, for up to `epochs` passes over the labelled pictures of the
/// first draw, and tests the best.
///
/// # Errors
/// No trials or epochs, a discriminator that lists its layers (its head has one number), data, the device, or the user stops it.
pub fn supervised(
    recipe: &Recipe,
    (train, test): (&Dataset, &Dataset),
    part: &SplitIndices,
    [trials, epochs]: [usize; 2],
    seed: u64,
    device: &Device,
    progress: Progress<'_>,
) -> Result<SupervisedResult, EvalError> {
    let Some(draw) = part.draws.first().filter(|_| trials > 0 && epochs > 0) else {
        return Err(EvalError::Setting(
            "the supervised contrast needs labels, at least one trial and one epoch".into(),
        ));
    };
    let ground = TrainData {
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
        let mut trial = TrialSettings::draw(&mut search);
        let (network, mut optimizer) = ground.network(recipe, trial, [seed, number as u64])?;
        let noise = NoiseRng::new(Philox::new(seed, NOISE + number as u64), 1.0);
        let mut rng = Philox::new(seed, WEIGHTS + ((number as u64) << 1) + 1);
        let mut own = 0.0f64;
        let mut done = 0;
        for k in 1..=JUDGED.min(epochs) {
            let until = epochs * k / JUDGED.min(epochs);
            for _ in done..until {
                ground.epoch(recipe, &network, &mut optimizer, trial.batch, &noise, &mut rng)?;
                progress.report("supervised trials", number, trials)?;
            }
            done = until;
            let score = ground.accuracy(recipe, &network, train, &part.validation)?;
            own = own.max(score);
            if best.as_ref().is_none_or(|best| score > best.validation) {
                trial.epochs = until;
                let accuracy = ground.accuracy(recipe, &network, test, &all)?;
                best = Some(SupervisedResult {
                    trial,
                    validation: score,
                    accuracy,
                    trials: Vec::new(),
                });
            }
        }
        scores.push(own);
    }
    progress.report("supervised trials", trials, trials)?;
    match best {
        Some(best) => Ok(SupervisedResult { trials: scores, ..best }),
        None => Err(EvalError::Setting("no supervised trial was judged".into())),
    }
}

impl TrialSettings {
    fn draw(rng: &mut Philox) -> Self {
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

/// What all trials learn from.
struct TrainData<'a> {
    classes: usize,
    images: Vec<f32>,
    labels: Vec<u32>,
    shape: [usize; 3],
    device: &'a Device,
}

impl TrainData<'_> {
    fn network(
        &self,
        recipe: &Recipe,
        trial: TrialSettings,
        [seed, number]: [u64; 2],
    ) -> Result<(Network, Optimizer), EvalError> {
        let mut own = recipe.clone();
        // The head of K classes that a semi-supervised discriminator has, for whose loss there is a place only without these.
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
        recipe: &Recipe,
        network: &Network,
        optimizer: &mut Optimizer,
        batch: usize,
        noise: &NoiseRng,
        rng: &mut Philox,
    ) -> Result<(), EvalError> {
        let size: usize = self.shape.iter().product();
        let mut order: Vec<usize> = (0..self.labels.len()).collect();
        shuffle(&mut order, rng);
        let guard = FiniteCheck::new(self.device);
        // A single picture left over would have no batch statistics.
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
            let [h, w, c] = self.shape;
            let x = recipe.image.range.to_network_range(
                &Tensor::from_slice(&pixels, [part.len(), h, w, c]).to_device(self.device),
            );
            let targets =
                Tensor::from_slice(&targets, [part.len(), self.classes]).to_device(self.device);
            let logits = network.forward(&x, ForwardCtx::from(Mode::TRAIN).with_rng(noise));
            let loss = auxiliary_classifier(&logits, &targets, ClassTargets::OneHot);
            // A trial whose numbers overflow is not stopped: it loses.
            optimizer.step(network, &loss.backward(), &guard);
        }
        Ok(self.device.check()?)
    }

    fn accuracy(
        &self,
        recipe: &Recipe,
        network: &Network,
        dataset: &Dataset,
        indices: &[usize],
    ) -> Result<f64, EvalError> {
        let mut right = 0;
        for part in indices.chunks(BATCH) {
            let x = recipe
                .image
                .range
                .to_network_range(&load_images(dataset, part)?.to_device(self.device));
            let said = network.forward(&x, Mode::SAMPLE).to_device(&Device::Cpu).argmax_last();
            self.device.check()?;
            let wanted = labels(dataset, part, self.classes)?;
            right += said
                .iter()
                .zip(&wanted)
                .filter(|(said, wanted)| **said == **wanted as usize)
                .count();
        }
        Ok(right as f64 / indices.len() as f64)
    }
}
