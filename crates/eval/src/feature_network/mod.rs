//! A feature network: a small classifier trained here on a labelled set, whose last hidden layer stands for a picture in metrics, and whose
//! outputs tell classes or attributes.

mod architecture;
mod extractor;
mod targets;
mod training;
mod weights_file;

pub use extractor::{DiscriminatorExtractor, FeatureExtractor};
pub use targets::{TargetHead, Targets};
pub use training::{Options, Splits};

use crate::{EvalError, Progress};
use data::Preprocess;
use nn::loss::ClassTargets;
use nn::{Mode, Network};
use serde::{Deserialize, Serialize};
use tensor::{Device, Tensor};

/// Pictures that go through a network together. A picture's numbers do not depend on its company.
pub(crate) const BATCH: usize = 256;

/// What a feature network is and how it was made: all of it but the weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// The set it learned from.
    pub dataset: String,
    /// The fingerprint of that set's training pictures.
    pub fingerprint: String,
    /// How pictures become its input.
    pub preprocess: Preprocess,
    /// What its outputs mean.
    pub targets: Targets,
    /// Passes over the training pictures.
    pub epochs: usize,
    /// Seed of weights, order and dropout.
    pub seed: u64,
    /// The share of held-out pictures that each head is answered right for.
    pub accuracy: Vec<f64>,
    /// How many pictures were held out, and whether they are the set's own test split.
    pub tested: (usize, bool),
}

/// A trained feature network.
pub struct FeatureNetwork {
    description: Description,
    hash: String,
    /// As it was trained, to be differentiated through.
    network: Network,
    /// The same with batch norm folded into the weights, to be computed with.
    folded: Network,
    device: Device,
}

/// What a feature network says of pictures.
pub struct Predictions {
    /// `[N, features]`, of at least 0.
    pub features: Tensor,
    /// `[N, outputs]` probabilities.
    pub scores: Tensor,
}

impl FeatureNetwork {
    fn new(description: Description, network: Network, device: &Device) -> Self {
        network.to_device(device);
        let folded = network.folded();
        folded.to_device(device);
        Self {
            hash: weights_file::hash(&network),
            description,
            network,
            folded,
            device: device.clone(),
        }
    }

    /// What it is and how it was made.
    #[must_use]
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// What names it: the set it learned from, and the first 32 bits of its weights' SHA-256, as `fashion-mnist-cnn 1a2b3c4d`.
    #[must_use]
    pub fn id(&self) -> String {
        let about = if self.is_classifier() { "cnn" } else { "attributes" };
        format!("{}-{about} {}", self.description.dataset, self.hash)
    }

    /// `[H, W, C]` of the pictures it takes.
    #[must_use]
    pub fn image(&self) -> [usize; 3] {
        self.description.preprocess.shape()
    }

    /// What each output is called: classes, or `column=word`.
    #[must_use]
    pub fn outputs(&self) -> Vec<String> {
        self.description.targets.names()
    }

    /// Whether its outputs are classes that exclude each other.
    #[must_use]
    pub fn is_classifier(&self) -> bool {
        self.description.targets.kind == ClassTargets::OneHot
    }

    /// How many numbers stand for a picture.
    #[must_use]
    pub fn width(&self) -> usize {
        architecture::FEATURES
    }

    /// The features of pictures `[N, H, W, C]` in [−1, 1], `[N, 128]` on the CPU.
    ///
    /// # Errors
    /// Pictures of another size, or the device.
    pub fn features(&self, images: &Tensor) -> Result<Tensor, EvalError> {
        Ok(self.predict(images)?.features)
    }

    /// The probability of each output, `[N, outputs]` on the CPU: of classes they sum to 1, of attributes each is its own.
    ///
    /// # Errors
    /// Pictures of another size, or the device.
    pub fn scores(&self, images: &Tensor) -> Result<Tensor, EvalError> {
        Ok(self.predict(images)?.scores)
    }

    /// Both at once.
    ///
    /// # Errors
    /// Pictures of another size, or the device.
    pub fn predict(&self, images: &Tensor) -> Result<Predictions, EvalError> {
        self.check(images)?;
        let (mut features, mut scores) = (Vec::new(), Vec::new());
        let count = images.shape()[0];
        for start in (0..count).step_by(BATCH) {
            let part = images.narrow(0, start, BATCH.min(count - start)).to_device(&self.device);
            let (logits, hidden) = tensor::batch_invariant(|| {
                self.folded.features(&part, Mode::SAMPLE, &[architecture::FEATURE_LAYER])
            });
            features.extend(hidden.iter().flat_map(Tensor::to_vec));
            scores.extend(self.probabilities(&logits).to_vec());
            self.device.check()?;
        }
        let outputs = self.description.targets.outputs();
        Ok(Predictions {
            features: Tensor::from_slice(&features, [count, architecture::FEATURES]),
            scores: Tensor::from_slice(&scores, [count, outputs]),
        })
    }

    /// The logits of pictures on this network's device, `[N, outputs]`, in the graph: for pictures that are to be changed until the network
    /// sees something in them. Its own weights stay out of the graph.
    ///
    /// # Errors
    /// Pictures of another size.
    pub fn logits(&self, images: &Tensor) -> Result<Tensor, EvalError> {
        self.check(images)?;
        Ok(self.network.forward(images, Mode::SAMPLE))
    }

    /// Where it computes.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    fn probabilities(&self, logits: &Tensor) -> Tensor {
        match self.description.targets.kind {
            ClassTargets::OneHot => logits.softmax(1),
            ClassTargets::Attributes => logits.sigmoid(),
        }
    }

    fn check(&self, images: &Tensor) -> Result<(), EvalError> {
        let (shape, own) = (images.shape(), self.image());
        if shape.rank() == 4 && shape[1..] == own {
            return Ok(());
        }
        Err(EvalError::Mismatch(format!(
            "pictures of shape {:?} for the feature network {}, which takes {own:?}: bring them to that size with --image and --channels, or \
             train a network for theirs with dcgan eval train-features",
            shape.get(1..).unwrap_or_default(),
            self.id()
        )))
    }
}

/// Trains a feature network on `splits`, deterministic by the options' seed.
///
/// # Errors
/// Pictures that are too small or too few, cannot be decoded, a loss that is no number, or a device that fails.
/// [`EvalError::Stopped`] when `progress` says so.
pub fn train(
    splits: &Splits,
    targets: Targets,
    options: &Options,
    device: &Device,
    progress: Progress<'_>,
) -> Result<FeatureNetwork, EvalError> {
    training::train(splits, targets, options, device, progress)
}
