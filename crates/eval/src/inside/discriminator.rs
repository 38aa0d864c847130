//! A discriminator whose last convolution's features are looked at.

use super::guided::gradient;
use super::section;
use crate::{EvalError, Progress};
use data::{Batch, Cursor, Dataset};
use nn::{Layer, Mode, Network, Pass, Recipe};
use std::sync::Arc;
use tensor::rng::Philox;
use tensor::{Device, Tensor};
use train::artefacts::Checkpoint;
use train::condition::Conditions;

/// Philox stream of the weights of a discriminator that is not trained.
const WEIGHTS: u64 = 0x696e_7364;
/// Statistics of batch norm are the mean over this many batches of this many pictures.
const CALIBRATION: [usize; 2] = [16, 128];

/// A discriminator, the set whose pictures it looks at, and the activation of its last convolution.
pub struct Discriminator {
    recipe: Recipe,
    network: Network,
    layer: String,
    dataset: Arc<Dataset>,
    conditions: Option<Conditions>,
    device: Device,
}

impl Discriminator {
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
        let recipe = Recipe::from_toml(&checkpoint.meta.recipe)?;
        let (_, network) = recipe.build(&mut Philox::new(0, 0))?;
        let state = section(checkpoint, "d.");
        if state.is_empty() {
            let text = "the checkpoint holds a generator alone: give one of training, which has a discriminator";
            return Err(EvalError::Mismatch(text.into()));
        }
        network.load_state_dict(&state)?;
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
        let wanted = [h, w, recipe.image.channels];
        if dataset.shape() != wanted {
            let text =
                format!("the pictures of {:?} are {:?}: the discriminator looks at {wanted:?}", dataset.name(), dataset.shape());
            return Err(EvalError::Mismatch(text));
        }
        let Some(layer) = last_convolution(&network) else {
            return Err(EvalError::Mismatch(format!(
                "the discriminator of recipe {} has no convolution with an activation behind it",
                recipe.name
            )));
        };
        let conditions = recipe.condition.as_ref().map(|condition| Conditions::new(condition, dataset, None)).transpose()?;
        network.to_device(device);
        let made = Self { recipe, network, layer, dataset: Arc::clone(dataset), conditions, device: device.clone() };
        made.recalibrate(progress)?;
        Ok(made)
    }

    fn recalibrate(&self, progress: Progress<'_>) -> Result<(), EvalError> {
        if !self.network.layers().iter().any(|(_, layer)| matches!(layer, Layer::BatchNorm(_))) {
            return Ok(());
        }
        let [batches, size] = CALIBRATION;
        let chosen = spread(self.dataset.len(), batches * size);
        let count = chosen.len().div_ceil(size);
        if chosen.len() < 2 {
            return Err(EvalError::Mismatch(format!("{:?} has a single picture: batch norm needs more", self.dataset.name())));
        }
        let mut inputs = Vec::with_capacity(count);
        for k in 0..count {
            // Parts of nearly equal length, each with pictures of the whole set.
            let part: Vec<usize> = chosen.iter().copied().skip(k).step_by(count).collect();
            inputs.push((self.input(&part)?, self.condition(&part)));
            progress.tell("normalising", k + 1, count)?;
        }
        self.network.recalibrate_under(inputs);
        Ok(self.device.check()?)
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
        let [h, w, c] = self.dataset.shape();
        let mut values = vec![0.0; pictures.len() * h * w * c];
        for (out, &index) in values.chunks_exact_mut(h * w * c).zip(pictures) {
            self.dataset.write(index, out)?;
        }
        let images = Tensor::from_slice(&values, [pictures.len(), h, w, c]).to_device(&self.device);
        Ok(self.recipe.image.range.enter(&images))
    }

    /// What the network is told of these pictures.
    fn condition(&self, pictures: &[usize]) -> Option<Tensor> {
        let conditions = self.conditions.as_ref()?;
        let size = self.recipe.condition_size();
        let batch =
            Batch { images: Vec::new(), labels: None, indices: pictures.to_vec(), cursor: Cursor::new(0), epoch_end: false };
        Some(Tensor::from_slice(&conditions.of(&batch), [pictures.len(), size]).to_device(&self.device))
    }

    /// The features of these pictures of the set, `[N, h, w, K]` on the device.
    ///
    /// # Errors
    /// A picture that cannot be decoded any more.
    pub fn features(&self, pictures: &[usize]) -> Result<Tensor, EvalError> {
        let (input, condition) = (self.input(pictures)?, self.condition(pictures));
        let pass = Pass::from(Mode::SAMPLE).with_condition(condition.as_ref());
        let (_, mut found) = tensor::per_image(|| self.network.features(&input, pass, &[&self.layer]));
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
        let gradient = gradient(&self.network, &input, condition.as_ref(), &self.layer, units);
        self.device.check()?;
        Ok(gradient.to_device(&Device::Cpu))
    }
}

/// The activation behind the last convolution that has one, before anything that is no map.
fn last_convolution(network: &Network) -> Option<String> {
    let (mut last, mut open) = (None, false);
    for (name, layer) in network.layers() {
        match layer {
            Layer::Conv2d(_) => open = true,
            Layer::Activation(_) | Layer::Maxout(_) if open => (last, open) = (Some(name.clone()), false),
            Layer::Linear(_) | Layer::Reshape(_) | Layer::GlobalPool(_) => open = false,
            _ => {}
        }
    }
    last
}

/// At most `count` numbers below `len`, evenly spread.
pub(super) fn spread(len: usize, count: usize) -> Vec<usize> {
    let count = count.min(len);
    (0..count).map(|i| (i as u64 * len as u64 / count as u64) as usize).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_convolution_with_an_activation_is_found() {
        for (recipe, layer) in
            [("small", Some("main.4")), ("torch", Some("main.10")), ("newmu-svhn", Some("main.7")), ("gan2014", None)]
        {
            let (_, d) = Recipe::preset(recipe).unwrap().build(&mut Philox::new(0, 0)).unwrap();
            assert_eq!(last_convolution(&d).as_deref(), layer, "{recipe}");
        }
    }

    #[test]
    fn pictures_are_spread_evenly() {
        assert_eq!(spread(10, 4), [0, 2, 5, 7]);
        assert_eq!(spread(3, 9), [0, 1, 2]);
        assert!(spread(0, 9).is_empty());
    }
}
