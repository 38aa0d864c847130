//! From a recipe to lists of layers, from which plan and networks are both made.

mod derive;
mod spec;
mod walk;

pub(crate) use spec::Spec;

use crate::error::NnError;
use crate::recipe::Recipe;
use walk::Walk;

/// The layers of one network.
pub(crate) struct Architecture {
    /// The layers with their names.
    pub layers: Vec<(String, Spec)>,
    /// The shape of one sample before each layer, and after the last.
    shapes: Vec<Vec<usize>>,
}

impl Architecture {
    /// The layers, each with the shape of one sample before and after it.
    pub(crate) fn shapes(&self) -> impl Iterator<Item = (&str, &Spec, &[usize], &[usize])> {
        let after = self.shapes.iter().skip(1);
        self.layers
            .iter()
            .zip(&self.shapes)
            .zip(after)
            .map(|(((name, spec), input), output)| (name.as_str(), spec, &input[..], &output[..]))
    }
}

/// The layers of the generator, `[latent]` to `[H, W, C]`.
///
/// # Errors
/// For listed layers that do not fit one another or the image.
pub(crate) fn generator(recipe: &Recipe) -> Result<Architecture, NnError> {
    let listed = &recipe.generator.layers;
    let derived;
    let layers = if listed.is_empty() {
        derived = derive::generator(recipe);
        &derived
    } else {
        listed
    };
    let [h, w] = recipe.image.size;
    let walk = Walk::new(recipe, "generator", vec![recipe.generator.latent]);
    walk.through(layers, &[h, w, recipe.image.channels])
}

/// The layers of the discriminator, `[H, W, C]` to its [verdicts](Recipe::num_d_outputs).
///
/// # Errors
/// As [`generator`].
pub(crate) fn discriminator(recipe: &Recipe) -> Result<Architecture, NnError> {
    let listed = &recipe.discriminator.layers;
    let derived;
    let layers = if listed.is_empty() {
        derived = derive::discriminator(recipe, recipe.num_d_outputs());
        &derived
    } else {
        listed
    };
    let [h, w] = recipe.image.size;
    let walk = Walk::new(recipe, "discriminator", vec![h, w, recipe.image.channels]);
    let verdicts: &[usize] = match recipe.num_d_outputs() {
        1 => &[],
        n => &[n],
    };
    walk.through(layers, verdicts)
}
