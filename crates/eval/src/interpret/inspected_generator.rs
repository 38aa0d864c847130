//! A generator whose feature maps can be read and dropped.

use crate::{EvalError, Progress};
use nn::layers::{Maxout, Reshape};
use nn::{Activation, ForwardCtx, Layer, Mode, Network, Recipe};
use runs::Checkpoint;
use tensor::{Device, Tensor};

/// Images in a forward pass.
const BATCH: usize = 64;

/// A generator and one of its layers of feature maps.
pub struct InspectedGenerator {
    recipe: Recipe,
    network: Network,
    mode: Mode,
    layers: Vec<MapLayer>,
    chosen: usize,
    device: Device,
}

/// A hidden layer whose outputs are feature maps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MapLayer {
    /// The layer's name in the network.
    pub name: String,
    /// Height, width and number of the maps.
    pub shape: [usize; 3],
}

impl InspectedGenerator {
    /// The generator of a checkpoint, as [`train::Sampler`] uses it, and the layer with this name;
    /// without a name, the second highest of the [layers](Self::layers), as in the paper (section
    /// 6.3.1), or the only one.
    ///
    /// # Errors
    /// Returns an error if the weights do not fit the recipe, the generator has no feature maps, or
    /// no layer with maps has this name.
    pub fn new(
        checkpoint: &Checkpoint,
        layer: Option<&str>,
        device: &Device,
    ) -> Result<Self, EvalError> {
        let (recipe, network, statistics) = train::load_generator(checkpoint, None, device)?;
        let mode = statistics.mode();
        let layers = map_layers(&recipe, &network, mode, device);
        if layers.is_empty() {
            return Err(EvalError::NoFeatureMaps { recipe: recipe.name });
        }
        let chosen = match layer {
            Some(name) => layers.iter().position(|layer| layer.name == name).ok_or_else(|| {
                let known = layers.iter().map(MapLayer::to_string).collect();
                EvalError::UnknownLayer { name: name.to_owned(), known }
            })?,
            None => layers.len().saturating_sub(2),
        };
        Ok(Self { recipe, network, mode, layers, chosen, device: device.clone() })
    }

    /// The recipe of the networks.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// The hidden layers with maps, from the latent to the image: behind each layer with weights,
    /// the last activation or reshape whose maps have more than one pixel.
    pub fn layers(&self) -> &[MapLayer] {
        &self.layers
    }

    /// The layer whose maps are read and dropped.
    pub fn layer(&self) -> &MapLayer {
        &self.layers[self.chosen]
    }

    /// `[H, W, C]` of an image.
    pub fn shape(&self) -> [usize; 3] {
        let [h, w] = self.recipe.image.size;
        [h, w, self.recipe.image.channels]
    }

    /// The maps of the layer, `[N, h, w, K]`, for latents `[N, latent]` and their conditions, all
    /// on the CPU.
    ///
    /// # Errors
    /// Returns an error if the device fails; [`EvalError::Stopped`] if `progress` cancels.
    pub fn maps(
        &self,
        latents: &Tensor,
        condition: Option<&Tensor>,
        progress: Progress<'_>,
    ) -> Result<Tensor, EvalError> {
        let name = self.layer().name.as_str();
        self.in_batches(latents, condition, ("reading feature maps", progress), |z, pass| {
            self.network.features(z, pass, &[name]).1.swap_remove(0)
        })
    }

    /// The images, `[N, H, W, C]` in [−1, 1], with the `dropped` maps of the layer set to zero at
    /// all positions, all on the CPU. Progress is reported as `task`.
    ///
    /// # Errors
    /// Returns an error if the device fails; [`EvalError::Stopped`] if `progress` cancels.
    ///
    /// # Panics
    /// Panics if there is no such map.
    #[track_caller]
    pub fn generate(
        &self,
        latents: &Tensor,
        condition: Option<&Tensor>,
        dropped: &[usize],
        (task, progress): (&str, Progress<'_>),
    ) -> Result<Tensor, EvalError> {
        let MapLayer { name, shape: [.., maps] } = self.layer();
        let mut mask = vec![1.0; *maps];
        dropped.iter().for_each(|&map| mask[map] = 0.0);
        let mask = Tensor::from_slice(&mask, [*maps]).to_device(&self.device);
        let images = self.in_batches(latents, condition, (task, progress), |z, pass| {
            self.network.forward_with_hook(z, pass, name, |maps| maps.mul(&mask))
        })?;
        Ok(self.recipe.image.range.from_network_range(&images))
    }

    fn in_batches(
        &self,
        latents: &Tensor,
        condition: Option<&Tensor>,
        (task, progress): (&str, Progress<'_>),
        f: impl Fn(&Tensor, ForwardCtx<'_>) -> Tensor,
    ) -> Result<Tensor, EvalError> {
        let count = latents.shape()[0];
        let mut parts = Vec::with_capacity(count.div_ceil(BATCH));
        for start in (0..count).step_by(BATCH) {
            let part = |rows: &Tensor| {
                rows.narrow(0, start, BATCH.min(count - start)).to_device(&self.device)
            };
            let condition = condition.map(part);
            let pass = ForwardCtx::from(self.mode).with_condition(condition.as_ref());
            parts.push(tensor::batch_invariant(|| f(&part(latents), pass)).to_device(&Device::Cpu));
            self.device.check()?;
            progress.report(task, (start + BATCH).min(count), count)?;
        }
        Ok(tensor::concat(&parts.iter().collect::<Vec<_>>(), 0))
    }
}

impl std::fmt::Display for MapLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [h, w, maps] = self.shape;
        write!(f, "{} ({maps} maps of {h}x{w})", self.name)
    }
}

fn map_layers(recipe: &Recipe, network: &Network, mode: Mode, device: &Device) -> Vec<MapLayer> {
    let all = network.layers();
    let first = all.iter().position(|(_, layer)| layer.is_affine_map()).unwrap_or(0);
    let last = all.iter().rposition(|(_, layer)| layer.is_affine_map()).unwrap_or(0);
    let hidden = all.get(first..last).unwrap_or_default();
    let shaping =
        |layer: &Layer| layer.is::<Activation>() || layer.is::<Maxout>() || layer.is::<Reshape>();
    let names: Vec<&str> =
        hidden.iter().filter(|(_, layer)| shaping(layer)).map(|(name, _)| name.as_str()).collect();
    // The shapes of the maps, from one image.
    let latent = Tensor::full_on(device, [1, recipe.generator.latent], 0.0);
    let condition = train::generator_condition(recipe)
        .map(|condition| Tensor::full_on(device, [1, condition.size], 0.0));
    let pass = ForwardCtx::from(mode).with_condition(condition.as_ref());
    let (_, found) = network.features(&latent, pass, &names);
    let shape = |name: &str| names.iter().position(|own| *own == name).map(|at| *found[at].shape());
    let mut layers = Vec::new();
    let mut open: Option<MapLayer> = None;
    for (name, layer) in hidden {
        if layer.is_affine_map() {
            layers.extend(open.take());
        }
        if let Some([1, h, w, maps]) = shape(name).as_deref()
            && h * w > 1
        {
            open = Some(MapLayer { name: name.clone(), shape: [*h, *w, *maps] });
        }
    }
    layers.extend(open);
    layers
}
