//! A discriminator together with the dataset whose images its features are inspected on.

use super::guided_gradient::guided_gradient;
use crate::checkpoint_discriminator::CheckpointDiscriminator;
use crate::images::{load_images, require_shape};
use crate::metrics::conditions_of;
use crate::{EvalError, Progress};
use data::Dataset;
use nn::Recipe;
use runs::Checkpoint;
use std::sync::Arc;
use tensor::rng::Philox;
use tensor::{Device, Tensor};
use train::condition::Conditions;

/// Philox stream of the weights of an untrained discriminator.
const WEIGHTS: u64 = 0x696e_7364;

/// A discriminator, a dataset, and the activation behind the last convolution.
pub struct InspectedDiscriminator {
    discriminator: CheckpointDiscriminator,
    layer: String,
    dataset: Arc<Dataset>,
    conditions: Option<Conditions>,
}

impl InspectedDiscriminator {
    /// The discriminator of a checkpoint. Batch norm uses statistics of the dataset's images, as in
    /// training, where the real images of a step are normalized by their own statistics; running
    /// statistics would include generated images.
    ///
    /// # Errors
    /// Returns an error if the checkpoint has no discriminator, the dataset has images of another
    /// shape or lacks the conditions, or the device fails; [`EvalError::Stopped`] if `progress`
    /// cancels.
    pub fn trained(
        checkpoint: &Checkpoint,
        dataset: &Arc<Dataset>,
        device: &Device,
        progress: Progress<'_>,
    ) -> Result<Self, EvalError> {
        Self::of(CheckpointDiscriminator::require(checkpoint, device)?, dataset, progress)
    }

    /// A discriminator with the same architecture and initial weights.
    ///
    /// # Errors
    /// Returns the errors of [`trained`](Self::trained).
    pub fn untrained(
        recipe: &Recipe,
        seed: u64,
        dataset: &Arc<Dataset>,
        device: &Device,
        progress: Progress<'_>,
    ) -> Result<Self, EvalError> {
        let mut rng = Philox::new(seed, WEIGHTS);
        Self::of(CheckpointDiscriminator::untrained(recipe, &mut rng, device)?, dataset, progress)
    }

    fn of(
        discriminator: CheckpointDiscriminator,
        dataset: &Arc<Dataset>,
        progress: Progress<'_>,
    ) -> Result<Self, EvalError> {
        require_shape(dataset, discriminator.image_shape())?;
        let recipe = discriminator.recipe();
        let Some(layer) = discriminator.conv_activations().pop() else {
            return Err(EvalError::NoConvolution { recipe: recipe.name.clone() });
        };
        let conditions = recipe
            .condition
            .as_ref()
            .map(|condition| Conditions::new(condition, dataset, None))
            .transpose()?;
        let own = Self { discriminator, layer, dataset: Arc::clone(dataset), conditions };
        own.discriminator.recalibrate(dataset, |part| own.condition(part), progress)?;
        Ok(own)
    }

    /// The recipe of the networks.
    pub fn recipe(&self) -> &Recipe {
        self.discriminator.recipe()
    }

    /// The activation whose outputs are the features.
    pub fn layer(&self) -> &str {
        &self.layer
    }

    /// The dataset of D's input images.
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// The conditions of these images, `[N, K]` on the device.
    fn condition(&self, images: &[usize]) -> Option<Tensor> {
        let rows = conditions_of(self.conditions.as_ref()?, self.recipe().condition_size(), images);
        Some(rows.to_device(self.discriminator.device()))
    }

    /// The features of these images of the dataset, `[N, h, w, K]` on the device.
    ///
    /// # Errors
    /// Returns an error if an image cannot be decoded.
    pub fn features(&self, images: &[usize]) -> Result<Tensor, EvalError> {
        let pixels = load_images(&self.dataset, images)?;
        let condition = self.condition(images);
        let mut found = self.discriminator.features(&pixels, condition.as_ref(), &[&self.layer]);
        Ok(found.swap_remove(0))
    }

    /// The [`guided_gradient`] of one unit `[y, x, feature]` for each image, `[N, H, W, C]` on the
    /// CPU.
    ///
    /// # Errors
    /// Returns an error if an image cannot be decoded or the device fails.
    ///
    /// # Panics
    /// Panics if there is not one unit for each image, or a unit does not exist.
    #[track_caller]
    pub fn guided(&self, images: &[usize], units: &[[usize; 3]]) -> Result<Tensor, EvalError> {
        assert_eq!(images.len(), units.len(), "guided: one unit for each image");
        let d = &self.discriminator;
        let input = d.input(&load_images(&self.dataset, images)?);
        let condition = self.condition(images);
        let gradient = guided_gradient(d.network(), &input, condition.as_ref(), &self.layer, units);
        d.device().check()?;
        Ok(gradient.to_device(&Device::Cpu))
    }
}
