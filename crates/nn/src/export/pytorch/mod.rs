//! PyTorch: the Python source of a module that has a network's layers and loads its state dict.
//!
//! ```
//! use nn::Recipe;
//! use nn::export::pytorch;
//! use tensor::rng::Philox;
//!
//! let recipe = Recipe::preset("torch")?;
//! let (generator, _) = recipe.build(&mut Philox::new(0, 0))?;
//! let source = pytorch::generator(&recipe, &generator)?;
//! assert!(source.contains("nn.ConvTranspose2d(100, 512, 4, bias=False)"));
//! # Ok::<(), nn::NnError>(())
//! ```

mod code;

pub(crate) use code::{Code, pair};

use crate::error::NnError;
use crate::export::Form;
use crate::network::Network;
use crate::recipe::{ConditionKind, LatentDistribution, Range, Recipe};

/// The module of a generator of `recipe`: `Generator()(latents)`, or `(latents, y)`, makes images
/// `[N, C, H, W]` in [−1, 1]; `load()` gives it the weights of the state dict beside the file, of
/// the same name.
///
/// # Errors
/// Returns an error if a layer has no counterpart.
pub fn generator(recipe: &Recipe, network: &Network) -> Result<String, NnError> {
    let mut code = Code::default();
    let condition = condition(&mut code, recipe, recipe.g_conditional());
    code.add(network, Form::new(&[recipe.generator.latent]))?;
    let latents = match recipe.generator.distribution {
        LatentDistribution::Normal => "N(0, 1)",
        LatentDistribution::Uniform => "U(-1, 1)",
    };
    let ([h, w], c) = (recipe.image.size, recipe.image.channels);
    let about = format!(
        "Generator of recipe \"{}\" in PyTorch.\n\n\
         x: latents [N, {}], from {latents}.\n{condition}\
         Returns images [N, {c}, {h}, {w}] in [-1, 1].\n",
        plain(&recipe.name),
        recipe.generator.latent
    );
    let result = match recipe.image.range {
        Range::Signed => "x",
        Range::Unit => "2 * x - 1",
    };
    Ok(code.file(network, "Generator", &about, result))
}

/// The module of a discriminator of `recipe`: `Discriminator()(images)`, or `(images, y)`, with
/// images `[N, C, H, W]` in [−1, 1], makes logits `[N]`, or logits and class logits `[N, K]`.
///
/// # Errors
/// Returns an error if a layer has no counterpart.
pub fn discriminator(recipe: &Recipe, network: &Network) -> Result<String, NnError> {
    let mut code = Code::default();
    let condition = condition(&mut code, recipe, recipe.d_conditional());
    if recipe.image.range == Range::Unit {
        code.line("x = (x + 1) / 2");
    }
    let ([h, w], c) = (recipe.image.size, recipe.image.channels);
    code.add(network, Form::new(&[h, w, c]))?;
    let outputs = recipe.num_d_outputs();
    let (returns, result) = if recipe.objective.semi_supervised {
        (format!("logits [N] and class logits [N, {outputs}]"), "x.logsumexp(1), x")
    } else if outputs == 1 {
        ("logits [N]".into(), "x")
    } else {
        (format!("logits [N] and class logits [N, {}]", outputs - 1), "x[:, 0], x[:, 1:]")
    };
    let about = format!(
        "Discriminator of recipe \"{}\" in PyTorch.\n\n\
         x: images [N, {c}, {h}, {w}] in [-1, 1].\n{condition}\
         Returns {returns}.\n",
        plain(&recipe.name)
    );
    Ok(code.file(network, "Discriminator", &about, result))
}

/// A name without what could end a docstring: it may come from a stranger's checkpoint.
fn plain(name: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_. ".contains(c);
    name.chars().map(|c| if is_plain(c) { c } else { '-' }).collect()
}

/// Adds the argument of a condition, if the network takes one, where classes become one-hot
/// vectors; its line of the docstring.
fn condition(code: &mut Code, recipe: &Recipe, conditional: bool) -> String {
    let Some(condition) = recipe.condition.as_ref().filter(|_| conditional) else {
        return String::new();
    };
    let size = condition.size;
    code.condition = Some(size);
    if condition.kind == ConditionKind::Class {
        code.line(format!("y = F.one_hot(y, {size}).float()"));
        format!("y: classes [N], integers from 0 to {}.\n", size.saturating_sub(1))
    } else {
        format!("y: conditions [N, {size}].\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::{Layer, MinibatchDiscrimination, MinibatchForm, Reshape};
    use tensor::rng::Philox;

    #[test]
    fn a_name_cannot_end_the_docstring() {
        let name = "small\"\"\"\nimport os\n\\";
        let recipe = Recipe { name: name.into(), ..Recipe::preset("small").unwrap() };
        let (g, d) = recipe.build(&mut Philox::new(0, 0)).unwrap();
        for source in [generator(&recipe, &g).unwrap(), discriminator(&recipe, &d).unwrap()] {
            let first = source.lines().next().unwrap();
            assert!(first.ends_with("of recipe \"small----import os--\" in PyTorch."), "{first}");
        }
    }

    #[test]
    fn each_class_is_defined_once() {
        let discrimination =
            |inputs, form| Layer::from(MinibatchDiscrimination::new(inputs, 2, 3, form));
        let layers = [
            Layer::from(Reshape(vec![784])),
            discrimination(784, MinibatchForm::Code),
            discrimination(786, MinibatchForm::Paper),
            discrimination(788, MinibatchForm::Code),
            discrimination(790, MinibatchForm::Mean),
        ];
        let names = (0..layers.len()).map(|i| format!("main.{i}"));
        let network = Network::new(names.zip(layers).collect());
        let source = discriminator(&Recipe::preset("small").unwrap(), &network).unwrap();
        let classes = source.lines().filter_map(|line| line.strip_prefix("class "));
        let expected = ["MinibatchDiscriminationCode", "MinibatchDiscrimination", "Discriminator"];
        assert!(classes.eq(expected.map(|name| format!("{name}(nn.Module):"))), "{source}");
        for line in [
            "\"1\": MinibatchDiscriminationCode(784, 2, 3),",
            "\"2\": MinibatchDiscrimination(786, 2, 3, mean=False),",
            "\"3\": MinibatchDiscriminationCode(788, 2, 3),",
            "\"4\": MinibatchDiscrimination(790, 2, 3, mean=True),",
        ] {
            assert!(source.contains(line), "{line}\n{source}");
        }
    }
}
