//! The filters that touch pixels: those of the discriminator's first layer and of the generator's last.

use super::image_sheet::{ImageSheet, signed};
use super::section;
use crate::EvalError;
use nn::recipe::NetworkRole;
use nn::{Layer, Network, Recipe};
use runs::Checkpoint;
use tensor::rng::Philox;
use tensor::{Device, Tensor};

/// A network's filters.
#[derive(Clone, Debug)]
pub struct Filters {
    /// The layer's name in the network.
    pub layer: String,
    /// `[N, h, w, C]`: one filter for each feature that the layer makes (the discriminator's) or takes (the generator's), in the orientation of
    /// pictures.
    pub weights: Tensor,
    /// √Σw² of each.
    pub norms: Vec<f32>,
}

impl Filters {
    /// The filters of the discriminator's first layer with weights or of the generator's last (its average's, where the checkpoint has one). Of
    /// planes that tell a condition, appended to a picture, nothing is shown; reparametrised weights are shown as they are stored.
    ///
    /// # Errors
    /// A checkpoint without that network, a layer whose weights are no pictures, or the device, which measures them.
    pub fn of(
        checkpoint: &Checkpoint,
        player: NetworkRole,
        device: &Device,
    ) -> Result<Self, EvalError> {
        let recipe = Recipe::from_toml(&checkpoint.meta.recipe)?;
        let network = network(&recipe, checkpoint, player)?;
        let weighted = |layer: &Layer| {
            matches!(layer, Layer::Linear(_) | Layer::Conv2d(_) | Layer::ConvTranspose2d(_))
        };
        let mut layers = network.layers().iter().filter(|(_, layer)| weighted(layer));
        let found =
            if player == NetworkRole::Discriminator { layers.next() } else { layers.next_back() };
        let Some((name, layer)) = found else {
            return Err(EvalError::Mismatch(format!(
                "the network of recipe {} has no layer with weights",
                recipe.name
            )));
        };
        let [h, w] = recipe.image.size;
        let Some(weights) = pictures(layer, player, [h, w, recipe.image.channels]) else {
            return Err(EvalError::Mismatch(format!(
                "the weights of layer {name} are no pictures: it does not touch pixels"
            )));
        };
        let squares = weights.to_device(device).square().sum(&[1, 2, 3], false).to_vec();
        let norms = squares.into_iter().map(f32::sqrt).collect();
        device.check()?;
        Ok(Self { layer: name.clone(), weights, norms })
    }

    /// The filters in so many columns; 0 is middle grey. One scale serves all, the largest weight being black or white, or each has its own.
    pub fn sheet(&self, columns: usize, each: bool) -> ImageSheet {
        let shape = self.weights.shape();
        let cell = [shape[1], shape[2], shape[3]];
        let values = self.weights.to_vec();
        let largest =
            (!each).then(|| values.iter().fold(0.0, |most: f32, value| most.max(value.abs())));
        let shown: Vec<Vec<f32>> = values
            .chunks_exact(cell.iter().product())
            .map(|filter| signed(filter, largest))
            .collect();
        let mut sheet = ImageSheet::new(cell, columns.min(shown.len()));
        shown.chunks(columns).for_each(|row| sheet.row(row.iter().map(|filter| Some(&filter[..]))));
        sheet
    }
}

fn network(
    recipe: &Recipe,
    checkpoint: &Checkpoint,
    player: NetworkRole,
) -> Result<Network, EvalError> {
    let (generator, discriminator) = recipe.build(&mut Philox::new(0, 0))?;
    let (network, prefixes, name) = match player {
        NetworkRole::Discriminator => (discriminator, &["d."][..], "discriminator"),
        NetworkRole::Generator => (generator, &["ema.", "g."][..], "generator"),
    };
    let state =
        prefixes.iter().map(|prefix| section(checkpoint, prefix)).find(|state| !state.is_empty());
    let state = state.ok_or_else(|| {
        EvalError::Mismatch(format!("the checkpoint holds no {name}: choose the other network"))
    })?;
    network.load_state_dict(&state)?;
    Ok(network)
}

/// The weights as `[N, h, w, C]`.
fn pictures(layer: &Layer, player: NetworkRole, image: [usize; 3]) -> Option<Tensor> {
    let [h, w, c] = image;
    let axes = |weight: &Tensor| weight.shape().to_vec();
    let first = |kernels: Tensor| (kernels.shape()[3] >= c).then(|| kernels.narrow(3, 0, c));
    match (layer, player) {
        (Layer::Conv2d(l), NetworkRole::Discriminator) => {
            first(l.weight().value().permute(&[3, 0, 1, 2]))
        }
        // What a feature paints is its kernel: turned half around where a convolution gathers, as it is where a transposed one scatters.
        (Layer::Conv2d(l), NetworkRole::Generator) => {
            first(turned(&l.weight().value().permute(&[2, 0, 1, 3])))
        }
        (Layer::ConvTranspose2d(l), NetworkRole::Generator) => {
            first(l.weight().value().permute(&[3, 0, 1, 2]))
        }
        (Layer::Linear(l), NetworkRole::Discriminator) => {
            let weight = l.weight().value();
            let [inputs, outputs] = axes(&weight)[..] else { return None };
            (inputs == h * w * c).then(|| weight.transpose().reshape([outputs, h, w, c]))
        }
        (Layer::Linear(l), NetworkRole::Generator) => {
            let weight = l.weight().value();
            let [inputs, outputs] = axes(&weight)[..] else { return None };
            (outputs == h * w * c).then(|| weight.reshape([inputs, h, w, c]))
        }
        _ => None,
    }
}

/// `[N, h, w, C]` with both spatial axes backwards.
fn turned(kernels: &Tensor) -> Tensor {
    let shape = *kernels.shape();
    let [n, h, w, c] = shape[..] else { return kernels.clone() };
    let order: Vec<usize> =
        (0..n).flat_map(|i| (0..h * w).rev().map(move |p| i * h * w + p)).collect();
    kernels.reshape([n * h * w, c]).index_select(&order).reshape(shape)
}
