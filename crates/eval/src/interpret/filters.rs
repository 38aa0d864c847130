//! Filters at the pixels: those of a discriminator's first layer and of a generator's last.
//!
//! ```
//! use eval::interpret::filters::Filters;
//! use nn::recipe::NetworkRole;
//!
//! let checkpoint = runs::builtin_models::MODELS[0].checkpoint().unwrap();
//! let filters = Filters::of(&checkpoint, NetworkRole::Generator, &tensor::Device::Cpu).unwrap();
//! assert_eq!(filters.weights.shape()[3], 1, "gray images");
//! assert_eq!(filters.norms.len(), filters.weights.shape()[0]);
//! ```

use super::{max_abs, signed_image};
use crate::EvalError;
use crate::image_sheet::ImageSheet;
use nn::layers::{Conv2d, ConvTranspose2d, Linear};
use nn::recipe::NetworkRole;
use nn::{Layer, Network, Recipe};
use runs::Checkpoint;
use tensor::rng::Philox;
use tensor::{Device, Tensor};

/// The filters of one layer.
#[derive(Clone, Debug)]
pub struct Filters {
    /// The layer's name in the network.
    pub layer: String,
    /// `[N, h, w, C]`: one filter for each output feature (discriminator) or input feature
    /// (generator), in the orientation of images.
    pub weights: Tensor,
    /// The L2 norm √Σw² of each filter.
    pub norms: Vec<f32>,
}

impl Filters {
    /// The filters of the discriminator's first layer with weights or of the generator's last (of
    /// its EMA weights, if the checkpoint has some). Filters for the condition channels are
    /// omitted; reparametrized weights are shown as they are stored.
    ///
    /// # Errors
    /// Returns an error if the checkpoint lacks that network, the layer's weights are not images,
    /// or the device fails.
    pub fn of(
        checkpoint: &Checkpoint,
        role: NetworkRole,
        device: &Device,
    ) -> Result<Self, EvalError> {
        let recipe = Recipe::from_toml(&checkpoint.meta.recipe)?;
        let network = network(&recipe, checkpoint, role)?;
        let mut layers = network.layers().iter().filter(|(_, layer)| layer.is_affine_map());
        let found =
            if role == NetworkRole::Discriminator { layers.next() } else { layers.next_back() };
        let Some((name, layer)) = found else {
            return Err(EvalError::NoWeightedLayer { recipe: recipe.name });
        };
        let [h, w] = recipe.image.size;
        let Some(weights) = filter_images(layer, role, [h, w, recipe.image.channels]) else {
            return Err(EvalError::WeightsNotImages { layer: name.clone() });
        };
        let squares = weights.to_device(device).square().sum(&[1, 2, 3], false).to_vec();
        let norms = squares.into_iter().map(f32::sqrt).collect();
        device.check()?;
        Ok(Self { layer: name.clone(), weights, norms })
    }

    /// A sheet of the filters; 0 is middle gray. They share a scale, in which the largest weight is
    /// black or white, or each has its own.
    pub fn sheet(&self, columns: usize, own_scale: bool) -> ImageSheet {
        let shape = self.weights.shape();
        let cell = [shape[1], shape[2], shape[3]];
        let values = self.weights.to_vec();
        let largest = (!own_scale).then(|| max_abs(&values));
        let shown: Vec<Vec<f32>> = values
            .chunks_exact(cell.iter().product())
            .map(|filter| signed_image(filter, largest))
            .collect();
        let mut sheet = ImageSheet::new(cell, columns.min(shown.len()));
        shown.chunks(columns).for_each(|row| sheet.row(row.iter().map(|filter| Some(&filter[..]))));
        sheet
    }
}

fn network(
    recipe: &Recipe,
    checkpoint: &Checkpoint,
    role: NetworkRole,
) -> Result<Network, EvalError> {
    let (generator, discriminator) = recipe.build(&mut Philox::new(0, 0))?;
    let (network, prefixes) = match role {
        NetworkRole::Discriminator => (discriminator, &["d."][..]),
        NetworkRole::Generator => (generator, &["ema.", "g."][..]),
    };
    let state =
        prefixes.iter().map(|prefix| checkpoint.section(prefix)).find(|state| !state.is_empty());
    network.load_state_dict(&state.ok_or(EvalError::MissingNetwork { role })?)?;
    Ok(network)
}

/// The weights as images `[N, h, w, C]`; `None` if they are not.
fn filter_images(layer: &Layer, role: NetworkRole, image: [usize; 3]) -> Option<Tensor> {
    let [h, w, c] = image;
    let axes = |weight: &Tensor| weight.shape().to_vec();
    let first = |kernels: Tensor| (kernels.shape()[3] >= c).then(|| kernels.narrow(3, 0, c));
    let generator = role == NetworkRole::Generator;
    if let Some(conv) = layer.downcast_ref::<Conv2d>() {
        let weight = conv.weight().value();
        // The image of a feature is its kernel: rotated by 180° for a convolution, which gathers,
        // and as it is for a transposed one, which scatters.
        return first(if generator {
            rotated(&weight.permute(&[2, 0, 1, 3]))
        } else {
            weight.permute(&[3, 0, 1, 2])
        });
    }
    if let Some(conv) = layer.downcast_ref::<ConvTranspose2d>() {
        return generator.then(|| first(conv.weight().value().permute(&[3, 0, 1, 2])))?;
    }
    let weight = layer.downcast_ref::<Linear>()?.weight().value();
    let [inputs, outputs] = axes(&weight)[..] else { return None };
    if generator {
        (outputs == h * w * c).then(|| weight.reshape([inputs, h, w, c]))
    } else {
        (inputs == h * w * c).then(|| weight.transpose().reshape([outputs, h, w, c]))
    }
}

/// `[N, h, w, C]` with both spatial axes reversed.
fn rotated(kernels: &Tensor) -> Tensor {
    let shape = *kernels.shape();
    let [n, h, w, c] = shape[..] else { return kernels.clone() };
    let order: Vec<usize> =
        (0..n).flat_map(|i| (0..h * w).rev().map(move |p| i * h * w + p)).collect();
    kernels.reshape([n * h * w, c]).index_select(&order).reshape(shape)
}
