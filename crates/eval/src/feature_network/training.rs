//! Training of a feature network.

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

/// Philox streams of initial weights and of dropout.
const WEIGHTS: u64 = 40;
const DROPOUT: u64 = 41;
/// The epoch number whose permutation chooses the held-out images of a dataset without a test
/// split. No epoch of training has it.
const HELD_OUT: u64 = u64::MAX;
/// One image in this many is held out.
const HELD_OUT_OF: usize = 10;
/// The highest learning rate.
const LEARNING_RATE: f64 = 2e-3;
/// The fraction of all steps over which the learning rate rises, before it falls to 0 along a
/// cosine.
const WARM_UP: f64 = 0.1;
/// Training images, with repetitions, if the number of epochs is not given; and its bounds.
const DEFAULT_IMAGES: usize = 360_000;
const DEFAULT_EPOCHS: [usize; 2] = [2, 40];
/// Smaller sides cannot be halved as the network does.
const MIN_SIDE: usize = 8;

/// How a feature network is trained.
#[derive(Clone, Debug)]
pub struct Options {
    /// Passes over the training images; `None` for about 360,000 images in 2 to 40 passes.
    pub epochs: Option<usize>,
    /// Images in a step.
    pub batch: usize,
    /// Seed of weights, order and dropout.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { epochs: None, batch: 128, seed: 0 }
    }
}

/// The images to train and to test on.
pub struct Splits {
    train: Arc<Dataset>,
    test: Option<Arc<Dataset>>,
}

impl Splits {
    /// A dataset's training split with its test split; without one, every tenth image is held out.
    ///
    /// # Errors
    /// Returns an error if the splits have different image sizes, classes or attributes, or there
    /// are fewer than 20 training images.
    pub fn new(train: Arc<Dataset>, test: Option<Arc<Dataset>>) -> Result<Self, EvalError> {
        let name = || train.name().to_owned();
        if let Some(test) = &test {
            let same = train.shape() == test.shape()
                && train.class_names() == test.class_names()
                && train.attribute_columns() == test.attribute_columns();
            if !same {
                return Err(EvalError::DifferentSplits { dataset: name() });
            }
        }
        if train.len() < 2 * HELD_OUT_OF {
            return Err(EvalError::TooFewImages {
                purpose: "a feature network".into(),
                set: name(),
                needed: 2 * HELD_OUT_OF,
                found: train.len(),
            });
        }
        Ok(Self { train, test })
    }

    /// Indices of the training images, the dataset to test on and the indices there, under a
    /// network's seed.
    pub fn holdout_split(&self, seed: u64) -> (Vec<usize>, &Dataset, Vec<usize>) {
        match &self.test {
            Some(test) => ((0..self.train.len()).collect(), test, (0..test.len()).collect()),
            None => {
                let order: Vec<usize> = shuffled(seed, HELD_OUT, self.train.len());
                let (held_out, kept) = order.split_at(order.len() / HELD_OUT_OF);
                (kept.to_vec(), &self.train, held_out.to_vec())
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

/// Trains a feature network on `splits`. The same seed gives the same bits on the same device,
/// whatever the number of threads.
///
/// # Errors
/// Returns an error if the images are too small or too few or cannot be decoded, a loss becomes
/// NaN or infinite, or the device fails; [`EvalError::Stopped`] if `progress` cancels.
pub fn train(
    splits: &Splits,
    targets: Targets,
    options: &Options,
    device: &Device,
    progress: Progress<'_>,
) -> Result<FeatureNetwork, EvalError> {
    let [height, width, _] = splits.train.shape();
    if height.min(width) < MIN_SIDE {
        return Err(EvalError::SmallImages { height, width, least: MIN_SIDE });
    }
    let (kept, test, held_out) = splits.holdout_split(options.seed);
    let batch = options.batch.min(kept.len());
    if batch < 2 || options.epochs == Some(0) {
        return Err(EvalError::FeatureTraining { batch, epochs: options.epochs });
    }
    let epochs = options.epochs.unwrap_or_else(|| {
        (DEFAULT_IMAGES / kept.len()).clamp(DEFAULT_EPOCHS[0], DEFAULT_EPOCHS[1])
    });
    let mut rng = Philox::new(options.seed, WEIGHTS);
    let network = architecture::build(splits.train.shape(), targets.outputs(), &mut rng);
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
        for (at, part) in order.chunks_exact(batch).enumerate() {
            let step = epoch * per_epoch + at;
            progress.report("training the feature network", step, total)?;
            let indices: Vec<usize> = part.iter().filter_map(|&i| kept.get(i).copied()).collect();
            let images = load_images(&splits.train, &indices)?.to_device(device);
            let wanted = targets.rows(&splits.train, &indices).to_device(device);
            let logits = network.forward(&images, ForwardCtx::from(Mode::TRAIN).with_rng(&noise));
            let gradients = auxiliary_classifier(&logits, &wanted, targets.kind).backward();
            guard.check_all(&gradients, 1.0);
            optimizer.set_lr(LEARNING_RATE * lr_factor(step as f64 / total as f64));
            optimizer.step(&network, &gradients, &guard);
            device.flush();
        }
        device.check()?;
        // Read once an epoch: the check itself stays on the device, where it skips the updates.
        if guard.value().to_vec() != [0.0] {
            return Err(EvalError::Diverged { model: "feature network", epoch: epoch + 1 });
        }
    }
    let correct = count_correct(&network, &targets, test, &held_out, device, progress)?;
    let description = Description {
        dataset: splits.train.name().to_owned(),
        fingerprint: splits.train.fingerprint().to_owned(),
        preprocess: splits.train.preprocess().clone(),
        targets,
        epochs,
        seed: options.seed,
        accuracy: correct.iter().map(|&n| n as f64 / held_out.len() as f64).collect(),
        tested: (held_out.len(), splits.test.is_some()),
    };
    Ok(FeatureNetwork::new(description, network, device))
}

/// The learning rate as a fraction of the highest, after this fraction of the steps.
fn lr_factor(done: f64) -> f64 {
    if done < WARM_UP {
        return (done / WARM_UP).max(0.01);
    }
    0.5 * (1.0 + (std::f64::consts::PI * (done - WARM_UP) / (1.0 - WARM_UP)).cos())
}

/// The number of images for which each head's answer is right.
fn count_correct(
    network: &Network,
    targets: &Targets,
    test: &Dataset,
    indices: &[usize],
    device: &Device,
    progress: Progress<'_>,
) -> Result<Vec<usize>, EvalError> {
    let mut correct = vec![0; targets.heads.len()];
    for (at, part) in indices.chunks(BATCH).enumerate() {
        progress.report("testing the feature network", at * BATCH, indices.len())?;
        let images = load_images(test, part)?.to_device(device);
        let logits: Tensor = network.forward(&images, Mode::SAMPLE);
        let found = targets.correct(test, part, &logits);
        correct.iter_mut().zip(found).for_each(|(sum, found)| *sum += found);
    }
    device.check()?;
    Ok(correct)
}
