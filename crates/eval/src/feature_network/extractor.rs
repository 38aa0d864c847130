//! Feature extractors: what turns an image into a feature vector for metrics.

use super::{BATCH, FeatureNetwork, Predictions, weights_file};
use crate::checkpoint_discriminator::CheckpointDiscriminator;
use crate::features::Features;
use crate::images::require_batch;
use crate::inception::Inception;
use crate::{EvalError, Progress};
use data::Dataset;
use runs::Checkpoint;
use tensor::{Device, Tensor};

/// A feature extractor.
pub enum FeatureExtractor {
    /// A feature network trained on labels.
    Network(Box<FeatureNetwork>),
    /// A discriminator's last hidden activations.
    Discriminator(Box<DiscriminatorExtractor>),
    /// The Inception network of FID.
    Inception(Box<InceptionExtractor>),
    /// The pixels of images `[H, W, C]`.
    Pixels([usize; 3]),
}

/// The Inception network for images `[H, W, C]` of one size, which it resizes itself.
pub struct InceptionExtractor {
    /// The network.
    pub network: Inception,
    /// `[H, W, C]`.
    pub image: [usize; 3],
}

/// The last hidden activations of a checkpoint's discriminator, averaged over all positions.
pub struct DiscriminatorExtractor {
    discriminator: CheckpointDiscriminator,
    layer: String,
    id: String,
}

impl DiscriminatorExtractor {
    /// The discriminator of a checkpoint. If its batch norm has no running statistics, they are
    /// computed from up to 2048 images of `dataset`.
    ///
    /// # Errors
    /// Returns an error if the checkpoint has no discriminator, or one that is conditional or has
    /// no hidden activations; if statistics are needed and the dataset has images of another
    /// shape; [`EvalError::Stopped`] if `progress` cancels.
    pub fn new(
        checkpoint: &Checkpoint,
        dataset: &Dataset,
        device: &Device,
        progress: Progress<'_>,
    ) -> Result<Self, EvalError> {
        let discriminator = CheckpointDiscriminator::require(checkpoint, device)?;
        if discriminator.is_conditional() {
            return Err(EvalError::ConditionalDiscriminator);
        }
        if !discriminator.has_running_stats() {
            discriminator.recalibrate(dataset, |_| None, progress)?;
        }
        let Some(layer) = discriminator.recipe().feature_layers().into_iter().next() else {
            return Err(EvalError::NoHiddenActivations);
        };
        let hash = weights_file::hash(discriminator.network());
        let id = format!("{}-discriminator {hash}", checkpoint.meta.recipe_name);
        Ok(Self { discriminator, layer, id })
    }

    fn features(&self, images: &Tensor) -> Tensor {
        let mut found = self.discriminator.features(images, None, &[&self.layer]);
        let found = found.swap_remove(0);
        if found.shape().rank() == 4 { found.mean(&[1, 2], false) } else { found }
    }
}

impl FeatureExtractor {
    /// The extractor's name and the hash of its weights, to be reported with every metric.
    pub fn id(&self) -> String {
        match self {
            Self::Network(network) => network.id(),
            Self::Discriminator(own) => own.id.clone(),
            Self::Inception(own) => own.network.id(),
            Self::Pixels([h, w, c]) => format!("pixels {h}x{w}x{c}"),
        }
    }

    /// Whether it also predicts mutually exclusive classes, as the inception score needs.
    pub fn is_classifier(&self) -> bool {
        match self {
            Self::Network(network) => network.is_classifier(),
            Self::Inception(_) => true,
            Self::Discriminator(_) | Self::Pixels(_) => false,
        }
    }

    /// Whether the features are those of the published Inception weights, so that the Fréchet
    /// distance is FID and the kernel distance KID.
    pub fn is_published_inception(&self) -> bool {
        matches!(self, Self::Inception(own) if own.network.is_published())
    }

    /// `[H, W, C]` of the images it takes.
    pub fn image(&self) -> [usize; 3] {
        match self {
            Self::Network(network) => network.image(),
            Self::Discriminator(own) => own.discriminator.image_shape(),
            Self::Inception(own) => own.image,
            Self::Pixels(shape) => *shape,
        }
    }

    /// Where it computes.
    pub fn device(&self) -> &Device {
        match self {
            Self::Network(network) => network.device(),
            Self::Discriminator(own) => own.discriminator.device(),
            Self::Inception(own) => own.network.device(),
            Self::Pixels(_) => &Device::Cpu,
        }
    }

    /// The features of images `[N, H, W, C]` in [−1, 1], with class probabilities `[N, K]` if it
    /// is a [classifier](Self::is_classifier).
    ///
    /// # Errors
    /// Returns an error if the images have another size or the device fails.
    pub fn extract(&self, images: &Tensor) -> Result<(Features, Option<Features>), EvalError> {
        require_batch(images, self.image())?;
        let count = images.shape()[0];
        match self {
            Self::Network(network) => {
                let Predictions { features, scores } = network.predict(images)?;
                let classes = network.is_classifier().then(|| matrix(&scores));
                Ok((matrix(&features), classes))
            }
            Self::Discriminator(own) => {
                let mut values = Vec::new();
                for start in (0..count).step_by(BATCH) {
                    let part = images.narrow(0, start, BATCH.min(count - start));
                    values.extend(own.features(&part).to_vec());
                    own.discriminator.device().check()?;
                }
                Ok((Features::new((values.len() / count.max(1)).max(1), values), None))
            }
            Self::Inception(own) => {
                let (features, classes) = own.network.extract(images)?;
                Ok((features, Some(classes)))
            }
            Self::Pixels(_) => {
                Ok((Features::new(self.image().iter().product(), images.to_vec()), None))
            }
        }
    }
}

fn matrix(tensor: &Tensor) -> Features {
    Features::new(tensor.shape()[1], tensor.to_vec())
}
