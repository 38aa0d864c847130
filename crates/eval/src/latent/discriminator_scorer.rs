//! A checkpoint's discriminator, as judge of pictures that are still being changed.

use crate::EvalError;
use nn::recipe::ConditioningMethod;
use nn::{ForwardCtx, Layer, Mode, Network, Recipe};
use runs::Checkpoint;
use tensor::{Tensor, batch_invariant};
use train::Sampler;

/// Batches of generated pictures, and pictures of each, for statistics where the weights came without.
const CALIBRATION: [usize; 2] = [8, 64];

/// The discriminator of a checkpoint, with statistics that do not depend on what is judged together.
pub struct DiscriminatorScorer {
    recipe: Recipe,
    network: Network,
    features: Vec<String>,
}

impl DiscriminatorScorer {
    /// The discriminator beside `sampler`'s generator, on its device; none where the checkpoint holds none. Where it has no running statistics, they are those of
    /// 512 generated pictures.
    ///
    /// # Errors
    /// Weights that are not its recipe's; a discriminator that compares pictures with each other, which says nothing of one alone.
    pub fn new(checkpoint: &Checkpoint, sampler: &Sampler) -> Result<Option<Self>, EvalError> {
        let Some((recipe, network, sound)) =
            train::load_discriminator(checkpoint, sampler.device())?
        else {
            return Ok(None);
        };
        let compares = |layer: &Layer| {
            matches!(layer, Layer::MinibatchDiscrimination(_) | Layer::MinibatchStdDev(_))
        };
        if network.layers().iter().any(|(_, layer)| compares(layer)) {
            return Err(EvalError::Mismatch(
                "this discriminator compares the pictures of a batch, and says nothing of one alone: leave its losses out (weight 0)".into(),
            ));
        }
        let critic = Self { features: recipe.feature_layers(), recipe, network };
        if !sound {
            critic.calibrate(sampler)?;
        }
        Ok(Some(critic))
    }

    fn calibrate(&self, sampler: &Sampler) -> Result<(), EvalError> {
        let [batches, size] = CALIBRATION;
        let latents = train::latents(&self.recipe, 0, batches * size);
        let conditions =
            self.recipe.condition.is_some().then(|| self.recipe.example_conditions(batches * size));
        let told = train::generator_condition(&self.recipe).and(conditions.as_ref());
        let images = sampler.sample(&latents, told, size, |_| ())?;
        let device = sampler.device();
        let batch = |i: usize| {
            let images = self
                .recipe
                .image
                .range
                .to_network_range(&images.narrow(0, i * size, size))
                .to_device(device);
            (
                images,
                self.seen(conditions.as_ref())
                    .map(|rows| rows.narrow(0, i * size, size).to_device(device)),
            )
        };
        self.network.recalibrate_bn_with_condition((0..batches).map(batch));
        Ok(())
    }

    /// The condition, where this discriminator is told it.
    fn seen<'a>(&self, condition: Option<&'a Tensor>) -> Option<&'a Tensor> {
        let told = |c: &nn::recipe::ConditionConfig| {
            !matches!(c.discriminator, ConditioningMethod::None | ConditioningMethod::Auxiliary)
        };
        condition.filter(|_| self.recipe.condition.as_ref().is_some_and(told))
    }

    /// The logit of each picture being real, `[N]`, and its features, of pictures `[N, H, W, C]` in [−1, 1] under conditions `[N, K]`. Gradients flow to the pictures.
    pub fn score(&self, images: &Tensor, condition: Option<&Tensor>) -> (Tensor, Vec<Tensor>) {
        let names: Vec<&str> = self.features.iter().map(String::as_str).collect();
        let pass = ForwardCtx::from(Mode::SAMPLE).with_condition(self.seen(condition));
        let images = self.recipe.image.range.to_network_range(images);
        let (said, features) = batch_invariant(|| self.network.features(&images, pass, &names));
        let count = images.shape()[0];
        let said = said.reshape([count, self.recipe.num_d_outputs()]);
        let logits = match self.recipe.objective.semi_supervised {
            true => said.log_sum_exp(1, false),
            false => said.narrow(1, 0, 1).reshape([count]),
        };
        (logits, features)
    }
}
