//! Feature network: a small classifier trained on a labeled dataset, whose last hidden layer gives
//! the features for metrics (in place of Inception), and whose outputs predict classes or
//! attributes.
//!
//! ```
//! use data::{Dataset, Preprocess, Split};
//! use eval::Progress;
//! use eval::feature_network::{Options, Splits, Targets, train};
//! use eval::images::load_images;
//! use std::sync::Arc;
//! use tensor::Device;
//!
//! let size = Preprocess::new([8, 8], 1);
//! let dataset = Arc::new(Dataset::open("fashion-mnist", Split::Test, &size, &|_| ())?);
//! let targets = Targets::classes(&dataset)?;
//! let splits = Splits::new(Arc::clone(&dataset), None)?;
//! let options = Options { epochs: Some(1), ..Options::default() };
//! let network = train(&splits, targets, &options, &Device::Cpu, Progress::SILENT)?;
//! let predictions = network.predict(&load_images(&dataset, &[0, 1])?)?;
//! assert_eq!(predictions.features.shape()[..], [2, 128]);
//! assert_eq!(predictions.scores.shape()[..], [2, 10]);
//! # Ok::<(), eval::EvalError>(())
//! ```

mod architecture;
mod extractor;
mod targets;
mod training;
mod weights_file;

pub use extractor::{DiscriminatorExtractor, FeatureExtractor, InceptionExtractor};
pub use targets::{TargetHead, Targets};
pub use training::{Options, Splits, train};

use crate::EvalError;
use crate::images::require_batch;
use data::Preprocess;
use nn::loss::ClassTargets;
use nn::{Mode, Network};
use serde::{Deserialize, Serialize};
use tensor::{Device, Tensor};

/// Images in a forward pass. The kernels are batch-invariant, so it changes no result.
pub(crate) const BATCH: usize = 256;

/// Everything about a feature network but its weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// The dataset it was trained on.
    pub dataset: String,
    /// The fingerprint of that dataset's training images.
    pub fingerprint: String,
    /// How images are resized to its input.
    pub preprocess: Preprocess,
    /// The meaning of its outputs.
    pub targets: Targets,
    /// Passes over the training images.
    pub epochs: usize,
    /// Seed of weights, order and dropout.
    pub seed: u64,
    /// The accuracy of each head on held-out images, in [0, 1].
    pub accuracy: Vec<f64>,
    /// The number of held-out images, and whether they are the dataset's own test split.
    pub tested: (usize, bool),
}

/// A trained feature network.
pub struct FeatureNetwork {
    description: Description,
    hash: String,
    /// The network as trained, for gradients.
    network: Network,
    /// The same with batch norm folded into the weights, for inference.
    folded: Network,
    device: Device,
}

/// Features and output probabilities of images.
pub struct Predictions {
    /// `[N, 128]`, at least 0.
    pub features: Tensor,
    /// `[N, outputs]` probabilities.
    pub scores: Tensor,
}

impl FeatureNetwork {
    fn new(description: Description, network: Network, device: &Device) -> Self {
        network.to_device(device);
        let folded = network.folded();
        folded.to_device(device);
        let hash = weights_file::hash(&network);
        Self { hash, description, network, folded, device: device.clone() }
    }

    /// Everything about it but its weights.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// The network's name: the dataset it was trained on and the first 32 bits of its weights'
    /// SHA-256, such as `fashion-mnist-cnn 1a2b3c4d`.
    pub fn id(&self) -> String {
        let kind = if self.is_classifier() { "cnn" } else { "attributes" };
        format!("{}-{kind} {}", self.description.dataset, self.hash)
    }

    /// `[H, W, C]` of the images it takes.
    pub fn image(&self) -> [usize; 3] {
        self.description.preprocess.shape()
    }

    /// The name of each output: a class, or `column=word`.
    pub fn outputs(&self) -> Vec<String> {
        self.description.targets.names()
    }

    /// Whether its outputs are mutually exclusive classes.
    pub fn is_classifier(&self) -> bool {
        self.description.targets.kind == ClassTargets::OneHot
    }

    /// The number of values in a feature vector.
    pub fn width(&self) -> usize {
        architecture::FEATURES
    }

    /// Features and output probabilities of images `[N, H, W, C]` in [−1, 1], on the CPU.
    /// Probabilities of classes sum to 1, those of attributes are independent.
    ///
    /// # Errors
    /// Returns an error if the images have another size or the device fails.
    pub fn predict(&self, images: &Tensor) -> Result<Predictions, EvalError> {
        require_batch(images, self.image())?;
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

    /// The logits `[N, outputs]` of images `[N, H, W, C]` on this network's device, in the graph:
    /// for images that are optimized until the network recognizes something in them. Its own
    /// weights stay out of the graph.
    ///
    /// # Errors
    /// Returns an error if the images have another size.
    pub fn logits(&self, images: &Tensor) -> Result<Tensor, EvalError> {
        require_batch(images, self.image())?;
        Ok(self.network.forward(images, Mode::SAMPLE))
    }

    /// Where it computes.
    pub fn device(&self) -> &Device {
        &self.device
    }

    fn probabilities(&self, logits: &Tensor) -> Tensor {
        match self.description.targets.kind {
            ClassTargets::OneHot => logits.softmax(1),
            ClassTargets::Attributes => logits.sigmoid(),
        }
    }
}
