//! How a feature network learns.

use super::targets::Targets;
use super::{BATCH, Description, FeatureNetwork, architecture};
use crate::images::load_images;
use crate::{EvalError, Progress};
use data::{Dataset, permutation};
use nn::loss::auxiliary_classifier;
use nn::{ForwardCtx, Mode, Network, NoiseRng, Optimizer, OptimizerKind, OptimizerOptions};
use std::sync::Arc;
use tensor::rng::Philox;
use tensor::{Device, FiniteCheck, Tensor};

/// Philox streams under the seed.
const WEIGHTS: u64 = 40;
const DROPOUT: u64 = 41;
/// The epoch number whose order decides what is held out of a set without a test split: no epoch of training is.
const HELD_OUT: u64 = u64::MAX;
/// One picture in so many is then held out.
const HELD_OUT_OF: usize = 10;

const LEARNING_RATE: f64 = 2e-3;
/// The share of all steps over which the rate rises to its height, before it falls to 0 along a cosine.
const RISING: f64 = 0.1;
/// Pictures that a set without --epochs is learned from, counting each as often as it is seen; and the bounds on epochs.
const SEEN: usize = 360_000;
const EPOCHS: [usize; 2] = [2, 40];
/// Sides below this cannot be halved as the network does.
const LEAST_SIDE: usize = 8;

/// How a feature network is trained.
#[derive(Clone, Debug)]
pub struct Options {
    /// Passes over the training pictures; without, about 360,000 pictures are seen, in 2 to 40 passes.
    pub epochs: Option<usize>,
    /// Pictures per step.
    pub batch: usize,
    /// Seed of weights, order and dropout.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { epochs: None, batch: 128, seed: 0 }
    }
}

/// Pictures to learn from and to be tested on.
pub struct Splits {
    train: Arc<Dataset>,
    test: Option<Arc<Dataset>>,
}

impl Splits {
    /// A set's training pictures, and its test split where it has one; else every tenth picture is held out.
    ///
    /// # Errors
    /// Splits of different pictures, classes or attributes, or fewer than 20 pictures.
    pub fn new(train: Arc<Dataset>, test: Option<Arc<Dataset>>) -> Result<Self, EvalError> {
        if let Some(test) = &test {
            let same = train.shape() == test.shape()
                && train.class_names() == test.class_names()
                && train.attribute_columns() == test.attribute_columns();
            if !same {
                return Err(EvalError::Mismatch(format!(
                    "the splits of {:?} have different sizes, classes or attributes: a network trained on one cannot be tested on the other",
                    train.name()
                )));
            }
        }
        if train.len() < 2 * HELD_OUT_OF {
            let (name, len) = (train.name(), train.len());
            return Err(EvalError::Mismatch(format!(
                "{name:?} has {len} pictures: a feature network takes at least 20"
            )));
        }
        Ok(Self { train, test })
    }

    /// Numbers of the pictures to learn from, the set to be tested on and the numbers there, for a network of this seed.
    #[must_use]
    pub fn holdout_split(&self, seed: u64) -> (Vec<usize>, &Dataset, Vec<usize>) {
        match &self.test {
            Some(test) => ((0..self.train.len()).collect(), test, (0..test.len()).collect()),
            None => {
                let order: Vec<usize> = shuffled(seed, HELD_OUT, self.train.len());
                let (held, kept) = order.split_at(order.len() / HELD_OUT_OF);
                (kept.to_vec(), &self.train, held.to_vec())
            }
        }
    }
}

fn shuffled(seed: u64, epoch: u64, len: usize) -> Vec<usize> {
    permutation(seed, epoch, u32::try_from(len).unwrap_or(u32::MAX))
        .into_iter()
        .map(|index| index as usize)
        .collect()
}

pub(super) fn train(
    splits: &Splits,
    targets: Targets,
    options: &Options,
    device: &Device,
    progress: Progress<'_>,
) -> Result<FeatureNetwork, EvalError> {
    let [height, width, _] = splits.train.shape();
    if height.min(width) < LEAST_SIDE {
        return Err(EvalError::Mismatch(format!(
            "pictures of {height}x{width}: a feature network takes sides of at least {LEAST_SIDE} pixels"
        )));
    }
    let (kept, test, held) = splits.holdout_split(options.seed);
    let batch = options.batch.min(kept.len());
    if batch < 2 || options.epochs == Some(0) {
        return Err(EvalError::Setting(format!(
            "{batch} pictures per step: at least 2, and at least 1 epoch"
        )));
    }
    let epochs = options.epochs.unwrap_or_else(|| (SEEN / kept.len()).clamp(EPOCHS[0], EPOCHS[1]));
    let network = architecture::build(
        splits.train.shape(),
        targets.outputs(),
        &mut Philox::new(options.seed, WEIGHTS),
    );
    network.to_device(device);
    let rule = OptimizerKind::Adam { beta1: 0.9, beta2: 0.999, eps: 1e-8, decoupled: true };
    let mut optimizer =
        Optimizer::new(&network, OptimizerOptions { rule, lr: LEARNING_RATE, weight_decay: 1e-3 });
    let noise = NoiseRng::new(Philox::new(options.seed, DROPOUT), 1.0);
    let mut guard = FiniteCheck::new(device);
    let per_epoch = kept.len() / batch;
    let total = per_epoch * epochs;
    for epoch in 0..epochs {
        let order = shuffled(options.seed, epoch as u64, kept.len());
        for (at, places) in order.chunks_exact(batch).enumerate() {
            let step = epoch * per_epoch + at;
            progress.report("training the feature network", step, total)?;
            let indices: Vec<usize> =
                places.iter().filter_map(|&place| kept.get(place).copied()).collect();
            let images = load_images(&splits.train, &indices)?.to_device(device);
            let wanted = targets.rows(&splits.train, &indices).to_device(device);
            let logits = network.forward(&images, ForwardCtx::from(Mode::TRAIN).with_rng(&noise));
            let gradients = auxiliary_classifier(&logits, &wanted, targets.kind).backward();
            guard.check_all(&gradients, 1.0);
            optimizer.set_lr(LEARNING_RATE * rate(step as f64 / total as f64));
            optimizer.step(&network, &gradients, &guard);
            device.flush();
        }
        device.check()?;
        if guard.value().to_vec() != [0.0] {
            return Err(EvalError::Mismatch(format!(
                "training the feature network diverged in epoch {}: try another seed",
                epoch + 1
            )));
        }
    }
    let right = right(&network, &targets, test, &held, device, progress)?;
    let description = Description {
        dataset: splits.train.name().to_owned(),
        fingerprint: splits.train.fingerprint().to_owned(),
        preprocess: splits.train.preprocess().clone(),
        targets,
        epochs,
        seed: options.seed,
        accuracy: right.iter().map(|&right| right as f64 / held.len() as f64).collect(),
        tested: (held.len(), splits.test.is_some()),
    };
    Ok(FeatureNetwork::new(description, network, device))
}

/// The learning rate as a share of its height, after this share of the steps.
fn rate(done: f64) -> f64 {
    if done < RISING {
        return (done / RISING).max(0.01);
    }
    0.5 * (1.0 + (std::f64::consts::PI * (done - RISING) / (1.0 - RISING)).cos())
}

/// How many pictures each head is answered right for.
fn right(
    network: &Network,
    targets: &Targets,
    test: &Dataset,
    indices: &[usize],
    device: &Device,
    progress: Progress<'_>,
) -> Result<Vec<usize>, EvalError> {
    let mut right = vec![0; targets.heads.len()];
    for (at, part) in indices.chunks(BATCH).enumerate() {
        progress.report("testing the feature network", at * BATCH, indices.len())?;
        let images = load_images(test, part)?.to_device(device);
        let logits: Tensor = network.forward(&images, Mode::SAMPLE);
        let found = targets.right(test, part, &logits);
        right.iter_mut().zip(found).for_each(|(sum, found)| *sum += found);
    }
    device.check()?;
    Ok(right)
}
