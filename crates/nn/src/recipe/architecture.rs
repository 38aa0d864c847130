//! The planned layers of both networks, computed from a recipe. The summary and the networks are
//! both built from them.

use super::{NetworkRole, Recipe, derive_layers};
use crate::error::{NnError, ValueProblem};
use crate::layers::{LayerConfig, LayerEnv, LayerInput, LayerPlan, Reshape, num_elements};
use std::borrow::Cow;

/// The largest number of elements of one sample after a layer. It is far above what validation
/// accepts and far below overflow.
const MAX_SAMPLE: usize = 1 << 42;

/// The layers of one network.
pub(crate) struct Architecture {
    /// The layers with their names: `main.0`, `main.1`, … as `nn.Sequential` gives them in
    /// pytorch/examples.
    pub layers: Vec<(String, LayerPlan)>,
    /// The shape of one sample before the first layer.
    input: Vec<usize>,
}

/// The layers of a network, as the recipe lists them or as the DCGAN rule derives them.
pub(super) fn layer_configs(recipe: &Recipe, role: NetworkRole) -> Cow<'_, [LayerConfig]> {
    let listed = match role {
        NetworkRole::Generator => &recipe.generator.layers,
        NetworkRole::Discriminator => &recipe.discriminator.layers,
    };
    match (listed.is_empty(), role) {
        (false, _) => Cow::Borrowed(listed),
        (true, NetworkRole::Generator) => Cow::Owned(derive_layers::generator(recipe)),
        (true, NetworkRole::Discriminator) => Cow::Owned(derive_layers::discriminator(recipe)),
    }
}

impl Architecture {
    /// The layers of the generator, `[latent]` to `[H, W, C]`, or of the discriminator, `[H, W, C]`
    /// to its [outputs](Recipe::num_d_outputs).
    ///
    /// # Errors
    /// Returns an error if listed layers do not fit one another or the image.
    pub(crate) fn new(recipe: &Recipe, role: NetworkRole) -> Result<Self, NnError> {
        let configs = layer_configs(recipe, role);
        let [h, w] = recipe.image.size;
        let image = vec![h, w, recipe.image.channels];
        let is_discriminator = role == NetworkRole::Discriminator;
        let (input, output, parametrization) = if is_discriminator {
            let outputs = match recipe.num_d_outputs() {
                1 => vec![],
                n => vec![n],
            };
            (image, outputs, recipe.discriminator.parametrization)
        } else {
            (vec![recipe.generator.latent], image, recipe.generator.parametrization)
        };
        let env = LayerEnv {
            image_channels: recipe.image.channels,
            eps: recipe.batch_norm.eps as f32,
            momentum: recipe.batch_norm.momentum as f32,
            parametrization,
            condition_size: recipe.condition_size(),
            embedding: recipe.condition.as_ref().map_or(0, |c| c.embedding),
            is_discriminator,
        };
        let bad = |index: usize, problem: ValueProblem| {
            let value = configs.get(index).and_then(|layer| toml::Value::try_from(layer).ok());
            let value = value.map_or_else(String::new, |value| value.to_string());
            NnError::BadValue { key: format!("{}.layers[{index}]", role.section()), value, problem }
        };
        let mut architecture = Self { layers: Vec::new(), input };
        let (mut number, mut flattened) = (0, None);
        for (index, layer) in configs.iter().enumerate() {
            let input = LayerInput {
                shape: architecture.output(),
                flattened,
                reshaped: reshaped_to(&configs[index + 1..]),
                env: &env,
            };
            let plan = layer.plan(&input).map_err(|why| bad(index, ValueProblem::Layer(why)))?;
            if num_elements(&plan.output) > MAX_SAMPLE {
                let shape = &plan.output;
                let problem = format!("makes {shape:?} elements of one sample; make it smaller");
                return Err(bad(index, ValueProblem::TooLarge(problem)));
            }
            flattened = plan.flattened;
            // PyTorch's network does this reshape outside its layers, so it takes no index.
            let name = plan.unnumbered.map_or_else(|| format!("main.{number}"), String::from);
            number += usize::from(plan.unnumbered.is_none());
            architecture.layers.push((name, plan));
        }
        let last = architecture.output();
        if num_elements(last) != num_elements(&output) || !is_discriminator && last != output {
            let (network, found) = (role.section(), last.to_vec());
            let problem = ValueProblem::LastLayer { network, found, wanted: output };
            return Err(bad(configs.len().saturating_sub(1), problem));
        }
        if is_discriminator {
            let input = LayerInput { shape: last, flattened, reshaped: None, env: &env };
            let plan = Reshape::plan(output, &input);
            architecture.layers.push(("output".into(), plan));
        }
        Ok(architecture)
    }

    /// The shape of one sample after the last layer.
    fn output(&self) -> &[usize] {
        self.layers.last().map_or(&self.input, |(_, plan)| &plan.output)
    }

    /// The number of trained values; 128 bits, since a recipe that is too large is refused by it.
    pub(crate) fn parameters(&self) -> u128 {
        self.layers.iter().map(|(_, plan)| plan.parameters).sum()
    }
}

/// The image that the current vector is reshaped to, if no layer in between changes its units.
fn reshaped_to(rest: &[LayerConfig]) -> Option<[usize; 3]> {
    rest.iter().find(|layer| !layer.keeps_units())?.reshape_target()
}
