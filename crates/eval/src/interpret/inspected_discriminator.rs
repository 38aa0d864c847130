//! A discriminator whose last convolution's features are looked at.

use super::guided_backprop::guided_gradient;
use crate::checkpoint_discriminator::{convolutions, recalibrate, trained};
use crate::images::{load_images, require_shape};
use crate::{EvalError, Progress};
use data::{Batch, Cursor, Dataset};
use nn::{ForwardCtx, Mode, Network, Recipe};
use runs::Checkpoint;
use std::sync::Arc;
use tensor::rng::Philox;
use tensor::{Device, Tensor};
use train::condition::Conditions;

/// Philox stream of the weights of a discriminator that is not trained.
const WEIGHTS: u64 = 0x696e_7364;

/// A discriminator, the set whose pictures it looks at, and the activation of its last convolution.
pub struct InspectedDiscriminator {
    recipe: Recipe,
    network: Network,
    layer: String,
    dataset: Arc<Dataset>,
    conditions: Option<Conditions>,
    device: Device,
}

impl InspectedDiscriminator {
    /// The discriminator of a checkpoint. Batch norm takes its statistics from pictures of the set, as it did in training, where the real
    /// pictures of a step were normalised among themselves; running statistics would mix in those of generated ones.
    ///
    /// # Errors
    /// A checkpoint of a generator alone; a set of other pictures, or without the labels that the networks are told; the device; or the user
    /// stops it.
    pub fn trained(
        checkpoint: &Checkpoint,
        dataset: &Arc<Dataset>,
        device: &Device,
        progress: Progress<'_>,
    ) -> Result<Self, EvalError> {
        let (recipe, network, _) = trained(checkpoint, device)?;
        Self::of(recipe, network, dataset, device, progress)
    }

    /// A discriminator of the same architecture with the weights it would start training with.
    ///
    /// # Errors
    /// As [`trained`](Self::trained).
    pub fn untrained(
        recipe: &Recipe,
        seed: u64,
        dataset: &Arc<Dataset>,
        device: &Device,
        progress: Progress<'_>,
    ) -> Result<Self, EvalError> {
        let (_, network) = recipe.build(&mut Philox::new(seed, WEIGHTS))?;
        Self::of(recipe.clone(), network, dataset, device, progress)
    }

    fn of(
        recipe: Recipe,
        network: Network,
        dataset: &Arc<Dataset>,
        device: &Device,
        progress: Progress<'_>,
    ) -> Result<Self, EvalError> {
        let [h, w] = recipe.image.size;
        require_shape(dataset, [h, w, recipe.image.channels])?;
        let Some(layer) = convolutions(&network).pop() else {
            return Err(EvalError::Mismatch(format!(
                "the discriminator of recipe {} has no convolution with an activation behind it",
                recipe.name
            )));
        };
        let conditions = recipe
            .condition
            .as_ref()
            .map(|condition| Conditions::new(condition, dataset, None))
            .transpose()?;
        network.to_device(device);
        let made = Self {
            recipe,
            network,
            layer,
            dataset: Arc::clone(dataset),
            conditions,
            device: device.clone(),
        };
        let input = |part: &[usize]| Ok((made.input(part)?, made.condition(part)));
        recalibrate(&made.network, dataset, input, progress)?;
        device.check()?;
        Ok(made)
    }

    /// The recipe of the networks.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// The activation whose numbers are the features.
    pub fn layer(&self) -> &str {
        &self.layer
    }

    /// The set.
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// These pictures of the set as the network has them, `[N, H, W, C]`.
    fn input(&self, pictures: &[usize]) -> Result<Tensor, EvalError> {
        let images = load_images(&self.dataset, pictures)?.to_device(&self.device);
        Ok(self.recipe.image.range.to_network_range(&images))
    }

    /// What the network is told of these pictures.
    fn condition(&self, pictures: &[usize]) -> Option<Tensor> {
        let conditions = self.conditions.as_ref()?;
        let size = self.recipe.condition_size();
        let batch = Batch {
            images: Vec::new(),
            labels: None,
            indices: pictures.to_vec(),
            cursor: Cursor::new(0),
            epoch_end: false,
        };
        Some(
            Tensor::from_slice(&conditions.of(&batch), [pictures.len(), size])
                .to_device(&self.device),
        )
    }

    /// The features of these pictures of the set, `[N, h, w, K]` on the device.
    ///
    /// # Errors
    /// A picture that cannot be decoded any more.
    pub fn features(&self, pictures: &[usize]) -> Result<Tensor, EvalError> {
        let (input, condition) = (self.input(pictures)?, self.condition(pictures));
        let pass = ForwardCtx::from(Mode::SAMPLE).with_condition(condition.as_ref());
        let (_, mut found) =
            tensor::batch_invariant(|| self.network.features(&input, pass, &[&self.layer]));
        Ok(found.swap_remove(0))
    }

    /// The guided gradient of one unit `[y, x, feature]` for each picture, `[N, H, W, C]` on the CPU: what goes back from a 1 at the unit through
    /// rectifiers only where it is positive and their input was.
    ///
    /// # Errors
    /// A picture that cannot be decoded any more, or the device.
    ///
    /// # Panics
    /// When there is not one unit for each picture, or a unit that does not exist.
    #[track_caller]
    pub fn guided(&self, pictures: &[usize], units: &[[usize; 3]]) -> Result<Tensor, EvalError> {
        assert_eq!(pictures.len(), units.len(), "guided: one unit for each picture");
        let (input, condition) = (self.input(pictures)?, self.condition(pictures));
        let gradient =
            guided_gradient(&self.network, &input, condition.as_ref(), &self.layer, units);
        self.device.check()?;
        Ok(gradient.to_device(&Device::Cpu))
    }
}
