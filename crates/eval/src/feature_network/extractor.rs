//! What numbers stand for a picture.

use super::{BATCH, FeatureNetwork, Predictions, weights_file};
use crate::checkpoint_discriminator::recalibrate;
use crate::images::{load_images, require_shape};
use crate::metrics::Features;
use crate::{EvalError, Progress};
use data::Dataset;
use nn::recipe::ConditioningMethod;
use nn::{Mode, Network, Recipe};
use runs::Checkpoint;
use tensor::{Device, Tensor};

/// Where features come from.
pub enum FeatureExtractor {
    /// A network trained on labels.
    Network(Box<FeatureNetwork>),
    /// A discriminator's last hidden activations.
    Discriminator(Box<DiscriminatorExtractor>),
    /// The pictures themselves, `[H, W, C]`.
    Pixels([usize; 3]),
}

/// The discriminator of a checkpoint: the activations of its last hidden layer, averaged over all positions.
pub struct DiscriminatorExtractor {
    recipe: Recipe,
    network: Network,
    layer: String,
    id: String,
    device: Device,
}

impl DiscriminatorExtractor {
    /// That of a checkpoint, on `device`. Where its batch norm came without running statistics, they become those of the pictures of `dataset`, up to 2048 of
    /// them, as for [`DiscriminatorFeatures`](crate::representation::DiscriminatorFeatures).
    ///
    /// # Errors
    /// A checkpoint without a discriminator, or with one that needs a condition, or has no hidden layer; a set of other pictures, where one is needed; or the
    /// user stops it.
    pub fn new(
        checkpoint: &Checkpoint,
        dataset: &Dataset,
        device: &Device,
        progress: Progress<'_>,
    ) -> Result<Self, EvalError> {
        let wrong = |what: &str| {
            Err(EvalError::Mismatch(format!(
                "{what}: use features of a network (dcgan eval train-features) or pixels"
            )))
        };
        let Some((recipe, network, sound)) = train::load_discriminator(checkpoint, device)? else {
            return wrong("the checkpoint holds no discriminator");
        };
        if recipe.condition.as_ref().is_some_and(|c| {
            !matches!(c.discriminator, ConditioningMethod::None | ConditioningMethod::Auxiliary)
        }) {
            return wrong("the checkpoint's discriminator judges pictures under a condition");
        }
        if !sound {
            let [h, w] = recipe.image.size;
            require_shape(dataset, [h, w, recipe.image.channels])?;
            let input = |part: &[usize]| {
                Ok((
                    recipe
                        .image
                        .range
                        .to_network_range(&load_images(dataset, part)?.to_device(device)),
                    None,
                ))
            };
            recalibrate(&network, dataset, input, progress)?;
            device.check()?;
        }
        let Some(layer) = recipe.feature_layers().into_iter().next() else {
            return wrong("the checkpoint's discriminator has no hidden activations");
        };
        let id = format!(
            "{}-discriminator {}",
            checkpoint.meta.recipe_name,
            weights_file::hash(&network)
        );
        Ok(Self { id, recipe, network, layer, device: device.clone() })
    }

    fn features(&self, images: &Tensor) -> Tensor {
        let images = self.recipe.image.range.to_network_range(&images.to_device(&self.device));
        let (_, mut found) = tensor::batch_invariant(|| {
            self.network.features(&images, Mode::SAMPLE, &[&self.layer])
        });
        match found.pop() {
            Some(found) if found.shape().rank() == 4 => found.mean(&[1, 2], false),
            Some(found) => found,
            None => images,
        }
    }
}

impl FeatureExtractor {
    /// What to print beside every figure: the network's name and the hash of its weights.
    #[must_use]
    pub fn id(&self) -> String {
        match self {
            Self::Network(network) => network.id(),
            Self::Discriminator(own) => own.id.clone(),
            Self::Pixels([h, w, c]) => format!("pixels {h}x{w}x{c}"),
        }
    }

    /// Whether it tells classes that exclude each other, as the inception score takes them.
    #[must_use]
    pub fn is_classifier(&self) -> bool {
        matches!(self, Self::Network(network) if network.is_classifier())
    }

    /// `[H, W, C]` of the pictures it takes.
    #[must_use]
    pub fn image(&self) -> [usize; 3] {
        match self {
            Self::Network(network) => network.image(),
            Self::Discriminator(own) => {
                [own.recipe.image.size[0], own.recipe.image.size[1], own.recipe.image.channels]
            }
            Self::Pixels(shape) => *shape,
        }
    }

    /// Where it computes.
    #[must_use]
    pub fn device(&self) -> &Device {
        match self {
            Self::Network(network) => network.device(),
            Self::Discriminator(own) => &own.device,
            Self::Pixels(_) => &Device::Cpu,
        }
    }

    /// Features of pictures `[N, H, W, C]` in [−1, 1], and the probabilities of classes where the network was trained on classes.
    ///
    /// # Errors
    /// Pictures of another size, or the device.
    pub fn extract(&self, images: &Tensor) -> Result<(Features, Option<Features>), EvalError> {
        let shape = images.shape();
        if shape.rank() != 4 || shape[1..] != self.image() {
            return Err(EvalError::Mismatch(format!(
                "pictures of shape {:?}, and features ({}) that take {:?}: bring the pictures to that size with --image and --channels",
                shape.get(1..).unwrap_or_default(),
                self.id(),
                self.image()
            )));
        }
        match self {
            Self::Network(network) => {
                let Predictions { features, scores } = network.predict(images)?;
                let classes = network.is_classifier().then(|| rows(&scores));
                Ok((rows(&features), classes))
            }
            Self::Discriminator(own) => {
                let mut values = Vec::new();
                for start in (0..shape[0]).step_by(BATCH) {
                    values.extend(
                        own.features(&images.narrow(0, start, BATCH.min(shape[0] - start)))
                            .to_vec(),
                    );
                    own.device.check()?;
                }
                Ok((Features::new((values.len() / shape[0].max(1)).max(1), values), None))
            }
            Self::Pixels(_) => {
                Ok((Features::new(self.image().iter().product(), images.to_vec()), None))
            }
        }
    }
}

fn rows(tensor: &Tensor) -> Features {
    Features::new(tensor.shape()[1], tensor.to_vec())
}
