//! The discriminator of a checkpoint, for everything that evaluates it: features, scores, guided
//! gradients.
//!
//! ```
//! use eval::checkpoint_discriminator::CheckpointDiscriminator;
//! use nn::Recipe;
//! use tensor::{Device, rng::Philox};
//!
//! let recipe = Recipe::preset("small")?;
//! let d = CheckpointDiscriminator::untrained(&recipe, &mut Philox::new(0, 0), &Device::Cpu)?;
//! let images = Philox::new(1, 0).uniform([2, 28, 28, 1], -1.0, 1.0);
//! let (logits, features) = d.score(&images, None, &[]);
//! assert_eq!((logits.shape()[..].to_vec(), features.len()), (vec![2], 0));
//! assert_eq!(d.conv_activations(), ["main.1", "main.4"]);
//! # Ok::<(), eval::EvalError>(())
//! ```

use crate::images::{evenly_spaced, load_images, require_shape};
use crate::{EvalError, Progress};
use data::Dataset;
use nn::layers::{
    BatchNorm, Conv2d, GlobalPool, Linear, Maxout, MinibatchDiscrimination, MinibatchStdDev,
    Reshape,
};
use nn::{Activation, DiscriminatorOutput, ForwardCtx, Layer, Mode, Network, Recipe};
use runs::Checkpoint;
use tensor::rng::Philox;
use tensor::{Device, Tensor, batch_invariant};
use train::Sampler;

/// Batch norm statistics of a dataset are the mean over this many batches of this many images.
const DATASET_BATCHES: [usize; 2] = [16, 128];
/// Batch norm statistics of a generator are the mean over this many batches of this many images.
const GENERATOR_BATCHES: [usize; 2] = [8, 64];

/// A discriminator in inference mode: its output for an image does not depend on the other images
/// of a batch (batch norm uses fixed statistics and the kernels are batch-invariant).
pub struct CheckpointDiscriminator {
    recipe: Recipe,
    network: Network,
    /// Whether batch norm has running statistics from training (or there is no batch norm).
    has_running_stats: bool,
    device: Device,
}

impl CheckpointDiscriminator {
    /// The discriminator of a training checkpoint; `None` if the checkpoint holds a generator
    /// alone.
    ///
    /// # Errors
    /// Returns an error if the recipe is unknown or the weights do not fit it.
    pub fn load(checkpoint: &Checkpoint, device: &Device) -> Result<Option<Self>, EvalError> {
        let found = train::load_discriminator(checkpoint, device)?;
        Ok(found.map(|(recipe, network, has_running_stats)| Self {
            recipe,
            network,
            has_running_stats,
            device: device.clone(),
        }))
    }

    /// [`load`](Self::load) for work that is impossible without a discriminator.
    ///
    /// # Errors
    /// Returns [`EvalError::NoDiscriminator`] if the checkpoint holds a generator alone, and the
    /// errors of [`load`](Self::load).
    pub fn require(checkpoint: &Checkpoint, device: &Device) -> Result<Self, EvalError> {
        Self::load(checkpoint, device)?.ok_or(EvalError::NoDiscriminator)
    }

    /// The discriminator of `sampler`'s checkpoint, on its device, for losses of images that are
    /// optimized; `None` if the checkpoint holds a generator alone. If its batch norm has no
    /// running statistics, they are computed from 512 generated images.
    ///
    /// # Errors
    /// Returns an error if the weights do not fit the recipe, the generator fails, or the
    /// discriminator compares the images of a batch: then it has no output for a single image.
    pub fn for_sampler(
        checkpoint: &Checkpoint,
        sampler: &Sampler,
    ) -> Result<Option<Self>, EvalError> {
        let Some(own) = Self::load(checkpoint, sampler.device())? else { return Ok(None) };
        if own.compares_images() {
            return Err(EvalError::BatchDependentDiscriminator);
        }
        if !own.has_running_stats {
            own.recalibrate_on_samples(sampler)?;
        }
        Ok(Some(own))
    }

    /// A discriminator with the weights with which training would start.
    ///
    /// # Errors
    /// Returns an error if the recipe is invalid.
    pub fn untrained(
        recipe: &Recipe,
        rng: &mut Philox,
        device: &Device,
    ) -> Result<Self, EvalError> {
        let (_, network) = recipe.build(rng)?;
        network.to_device(device);
        let recipe = recipe.clone();
        Ok(Self { recipe, network, has_running_stats: false, device: device.clone() })
    }

    /// The recipe of the networks.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// The discriminator's network.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Where it computes.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// `[H, W, C]` of its images.
    pub fn image_shape(&self) -> [usize; 3] {
        let [h, w] = self.recipe.image.size;
        [h, w, self.recipe.image.channels]
    }

    /// Whether batch norm, if there is any, has running statistics from training.
    pub fn has_running_stats(&self) -> bool {
        self.has_running_stats
    }

    /// Whether its output depends on a condition.
    pub fn is_conditional(&self) -> bool {
        self.recipe.d_conditional()
    }

    /// Whether its output for an image depends on the other images of the batch.
    fn compares_images(&self) -> bool {
        let compares =
            |layer: &Layer| layer.is::<MinibatchDiscrimination>() || layer.is::<MinibatchStdDev>();
        self.network.layers().iter().any(|(_, layer)| compares(layer))
    }

    /// The names of the activations behind convolutions, from the image on. A convolution without
    /// an activation, such as a head, is left out.
    pub fn conv_activations(&self) -> Vec<String> {
        let (mut names, mut open) = (Vec::new(), false);
        for (name, layer) in self.network.layers() {
            if layer.is::<Conv2d>() {
                open = true;
            } else if open && (layer.is::<Activation>() || layer.is::<Maxout>()) {
                names.push(name.clone());
                open = false;
            } else if layer.is::<Linear>() || layer.is::<Reshape>() || layer.is::<GlobalPool>() {
                open = false;
            }
        }
        names
    }

    /// Images `[N, H, W, C]` in [−1, 1] as the network's input: on its device and in its range.
    pub fn input(&self, images: &Tensor) -> Tensor {
        self.recipe.image.range.to_network_range(&images.to_device(&self.device))
    }

    /// An all-zero condition `[N, K]`, which stands for "unknown"; `None` if D is unconditional.
    pub fn zero_condition(&self, count: usize) -> Option<Tensor> {
        let size = self.recipe.condition_size();
        self.is_conditional().then(|| Tensor::full_on(&self.device, [count, size], 0.0))
    }

    /// The outputs of the named layers for images `[N, H, W, C]` in [−1, 1] under conditions
    /// `[N, K]`, on the device; later layers are not computed.
    ///
    /// # Panics
    /// Panics if there is no such layer, or the shapes do not fit.
    #[track_caller]
    pub fn features(
        &self,
        images: &Tensor,
        condition: Option<&Tensor>,
        names: &[&str],
    ) -> Vec<Tensor> {
        let pass = ForwardCtx::from(Mode::SAMPLE).with_condition(self.own_condition(condition));
        batch_invariant(|| self.network.forward_features(&self.input(images), pass, names))
    }

    /// The logits `[N]` (real against generated) and the outputs of the named layers for images
    /// `[N, H, W, C]` in [−1, 1] on the device, under conditions `[N, K]`. Gradients flow to the
    /// images.
    ///
    /// # Panics
    /// Panics if there is no such layer, or the shapes do not fit.
    #[track_caller]
    pub fn score(
        &self,
        images: &Tensor,
        condition: Option<&Tensor>,
        names: &[&str],
    ) -> (Tensor, Vec<Tensor>) {
        let pass = ForwardCtx::from(Mode::SAMPLE).with_condition(self.own_condition(condition));
        let images = self.recipe.image.range.to_network_range(images);
        let (output, features) = batch_invariant(|| self.network.features(&images, pass, names));
        let output = DiscriminatorOutput::split(&self.recipe, output, features);
        (output.logits, output.features)
    }

    /// The condition if D takes one: generators may be conditional where discriminators are not.
    fn own_condition<'a>(&self, condition: Option<&'a Tensor>) -> Option<&'a Tensor> {
        condition.filter(|_| self.is_conditional())
    }

    /// Recomputes batch norm's statistics from up to 2048 images that are evenly spaced in a
    /// dataset. `condition` gives the condition `[N, K]` of images by index. Networks without batch
    /// norm stay as they are.
    ///
    /// # Errors
    /// Returns an error if the images have another shape or cannot be decoded, there are fewer than
    /// two, or the device fails; [`EvalError::Stopped`] if `progress` cancels.
    pub fn recalibrate(
        &self,
        dataset: &Dataset,
        condition: impl Fn(&[usize]) -> Option<Tensor>,
        progress: Progress<'_>,
    ) -> Result<(), EvalError> {
        require_shape(dataset, self.image_shape())?;
        if !self.network.layers().iter().any(|(_, layer)| layer.is::<BatchNorm>()) {
            return Ok(());
        }
        let [batches, size] = DATASET_BATCHES;
        let chosen = evenly_spaced(dataset.len(), batches * size);
        if chosen.len() < 2 {
            return Err(EvalError::TooFewImages {
                purpose: "batch norm".into(),
                set: dataset.name().to_owned(),
                needed: 2,
                found: dataset.len(),
            });
        }
        let count = chosen.len().div_ceil(size);
        let mut inputs = Vec::with_capacity(count);
        for k in 0..count {
            // Batches of nearly equal size, each from all over the dataset: a dataset may be
            // sorted by class.
            let part: Vec<usize> = chosen.iter().skip(k).step_by(count).copied().collect();
            inputs.push((self.input(&load_images(dataset, &part)?), condition(&part)));
            progress.report("normalizing", k + 1, count)?;
        }
        self.network.recalibrate_bn_with_condition(inputs);
        Ok(self.device.check()?)
    }

    /// Recomputes batch norm's statistics from 512 generated images.
    fn recalibrate_on_samples(&self, sampler: &Sampler) -> Result<(), EvalError> {
        let [batches, size] = GENERATOR_BATCHES;
        let latents = train::latents(&self.recipe, 0, batches * size);
        let conditions =
            self.recipe.condition.is_some().then(|| self.recipe.example_conditions(batches * size));
        let condition = train::generator_condition(&self.recipe).and(conditions.as_ref());
        let images = sampler.sample(&latents, condition, size, |_| ())?;
        let batch = |i: usize| {
            let part = |rows: &Tensor| rows.narrow(0, i * size, size);
            let condition = self.own_condition(conditions.as_ref());
            let condition = condition.map(|rows| part(rows).to_device(&self.device));
            (
                self.recipe.image.range.to_network_range(&part(&images)).to_device(&self.device),
                condition,
            )
        };
        self.network.recalibrate_bn_with_condition((0..batches).map(batch));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn convolutions_with_an_activation_are_found() {
        for (recipe, count, last) in [
            ("small", 2, Some("main.4")),
            ("torch", 4, Some("main.10")),
            ("newmu-svhn", 3, Some("main.7")),
            ("gan2014", 0, None),
        ] {
            let recipe = Recipe::preset(recipe).unwrap();
            let mut rng = Philox::new(0, 0);
            let d = CheckpointDiscriminator::untrained(&recipe, &mut rng, &Device::Cpu).unwrap();
            let found = d.conv_activations();
            let name = &recipe.name;
            assert_eq!((found.len(), found.last().map(String::as_str)), (count, last), "{name}");
        }
    }
}
