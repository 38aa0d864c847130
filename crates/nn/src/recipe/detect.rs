//! The recipe of a state dict of another program, by the names and shapes of its tensors.

use super::{NetworkRole, Recipe, Stem, UpsampleMethod};
use crate::error::NnError;
use crate::state::first_difference;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use tensor::fake_tensor_mode;
use tensor::rng::Philox;

/// The shapes of a state dict's tensors, in PyTorch's layouts, by name.
pub type TensorShapes = BTreeMap<String, Vec<usize>>;

/// The presets with the layers of PyTorch's DCGAN example. Others make the same generator, but are
/// rarely the source of a file.
const USUAL: [&str; 2] = ["torch", "small"];

impl Recipe {
    /// Checks that a state dict of these shapes has the tensors of a network of this recipe. A
    /// prefix that all names share and missing `num_batches_tracked` are accepted, as by
    /// [`Network::import_state_dict`](crate::Network::import_state_dict).
    ///
    /// # Errors
    /// Returns an error for the first tensor that is missing, has another shape or does not belong
    /// to the network, and the errors of [`validate`](Self::validate).
    pub fn check_shapes(&self, role: NetworkRole, shapes: &TensorShapes) -> Result<(), NnError> {
        self.compare(role, shapes).1
    }

    /// The preset, with other sizes where needed, whose networks have these tensors: the image's
    /// size and channels, the widths and the latent's length follow from the shapes. The presets of
    /// PyTorch's DCGAN example are preferred, then those that need fewer changes.
    ///
    /// # Errors
    /// Returns [`NnError::NoRecipe`] with the nearest preset, at the sizes that fit best, and the
    /// first tensor that differs.
    pub fn of_state_dicts(
        generator: &TensorShapes,
        discriminator: Option<&TensorShapes>,
    ) -> Result<Self, NnError> {
        let mut nearest: Option<(usize, Self, NnError)> = None;
        let mut fitting: Vec<Self> = Vec::new();
        for recipe in candidates(generator, discriminator) {
            let (matching, result) = recipe.compare(NetworkRole::Generator, generator);
            let result = result.and_then(|()| match discriminator {
                Some(shapes) => recipe.check_shapes(NetworkRole::Discriminator, shapes),
                None => Ok(()),
            });
            match result {
                Ok(()) => fitting.push(recipe),
                Err(error) => {
                    let is_usual = recipe.name == USUAL[0];
                    let nearer = |most: usize| matching > most || matching == most && is_usual;
                    if nearest.as_ref().is_none_or(|(most, ..)| nearer(*most)) {
                        nearest = Some((matching, recipe, error));
                    }
                }
            }
        }
        let changes = |recipe: &Self| {
            let own = Self::preset(&recipe.name).ok();
            let sizes = |r: &Self| {
                [
                    r.image.size[0],
                    r.image.size[1],
                    r.image.channels,
                    r.generator.width,
                    r.discriminator.width,
                    r.generator.latent,
                ]
            };
            own.map_or(0, |own| {
                sizes(&own).iter().zip(sizes(recipe)).filter(|(a, b)| **a != *b).count()
            })
        };
        let rank = |recipe: &Self| (Reverse(USUAL.contains(&&*recipe.name)), changes(recipe));
        if let Some(best) = fitting.into_iter().min_by_key(rank) {
            return Ok(best);
        }
        Err(match nearest {
            Some((_, recipe, difference)) => {
                NnError::NoRecipe { nearest: recipe.sizes_text(), difference: Box::new(difference) }
            }
            None => NnError::NoRecipe {
                nearest: USUAL[0].to_owned(),
                difference: Box::new(NnError::MissingTensor {
                    name: "main.0.weight".to_owned(),
                    shape: Vec::new(),
                }),
            },
        })
    }

    /// The name with the sizes of image and networks: `torch for 64x64x3, latent 100, width 64`.
    pub fn sizes_text(&self) -> String {
        let ([h, w], channels, latent) =
            (self.image.size, self.image.channels, self.generator.latent);
        let width = match self.generator.layers.is_empty() {
            true => format!(", width {}", self.generator.width),
            false => String::new(),
        };
        format!("{} for {h}x{w}x{channels}, latent {latent}{width}", self.name)
    }

    /// The number of tensors before the first that differs, and that difference.
    fn compare(&self, role: NetworkRole, shapes: &TensorShapes) -> (usize, Result<(), NnError>) {
        // Names and shapes alone: no memory is written.
        let specs = self.validate().and_then(|()| {
            fake_tensor_mode(|| Ok(self.network(role, &mut Philox::new(0, 0))?.tensor_specs()))
        });
        match specs {
            Ok(specs) => first_difference(&specs, shapes),
            Err(error) => (0, Err(error)),
        }
    }
}

/// Every preset, as it is and at the sizes of the shapes.
fn candidates(generator: &TensorShapes, discriminator: Option<&TensorShapes>) -> Vec<Recipe> {
    let weights = weights(generator);
    let d_width = discriminator.and_then(|shapes| {
        let kernels = self::weights(shapes);
        kernels.iter().find(|shape| shape.len() == 4).map(|shape| shape[0])
    });
    let mut all = Vec::new();
    for preset in Recipe::names().filter_map(|name| Recipe::preset(name).ok()) {
        all.extend(resized(&preset, &weights, d_width));
        all.push(preset);
    }
    all.retain(|recipe| recipe.validate().is_ok());
    all
}

/// A preset at the sizes that the weights of a generator have, in their order.
fn resized(preset: &Recipe, weights: &[&[usize]], d_width: Option<usize>) -> Vec<Recipe> {
    let (Some(first), Some(last)) = (weights.first(), weights.last()) else { return Vec::new() };
    let mut recipe = preset.clone();
    recipe.generator.latent = if first.len() == 4 { first[0] } else { first[1] };
    if !recipe.generator.layers.is_empty() {
        // The images of a listed network have its size; of its last layer's two channel numbers
        // one is that of the image.
        let with = |&channels: &usize| {
            let mut recipe = recipe.clone();
            recipe.image.channels = channels;
            recipe
        };
        return [&recipe.image.channels, &last[0], &last[1]].map(with).into();
    }
    let [width, channels] = match recipe.generator.upsample {
        UpsampleMethod::Transposed => [last[0], last[1]],
        UpsampleMethod::Nearest => [last[1], last[0]],
    };
    let levels = weights.len() - 1;
    let base = match recipe.generator.stem {
        Stem::Conv if first.len() == 4 => Some([first[2], first[3]]),
        Stem::Linear if first.len() == 2 => {
            let pixels =
                width.checked_shl(levels as u32).filter(|w| *w > 1).map(|w| first[0] / (w / 2));
            pixels.map(|pixels| [pixels.isqrt(); 2])
        }
        _ => None,
    };
    let size = base.map(|sides| sides.map(|side| side.checked_shl(levels as u32).unwrap_or(0)));
    let Some(size) = size else { return Vec::new() };
    (recipe.image.size, recipe.image.channels) = (size, channels);
    recipe.generator.width = width;
    if recipe.discriminator.layers.is_empty() {
        recipe.discriminator.width = d_width.unwrap_or(width);
    }
    vec![recipe]
}

/// The shapes of kernels and matrices, in the order of the layers: `main.10` is after `main.9`.
fn weights(shapes: &TensorShapes) -> Vec<&[usize]> {
    let order = |name: &str| -> Vec<(u64, String)> {
        let part = |part: &str| (part.parse().unwrap_or(u64::MAX), part.to_owned());
        name.split('.').map(part).collect()
    };
    let mut found: Vec<_> = shapes
        .iter()
        // The magnitudes of weight normalization have as many axes as the weights.
        .filter(|(name, shape)| [2, 4].contains(&shape.len()) && !name.ends_with("weight_g"))
        .map(|(name, shape)| (order(name), &**shape))
        .collect();
    found.sort();
    found.into_iter().map(|(_, shape)| shape).collect()
}
