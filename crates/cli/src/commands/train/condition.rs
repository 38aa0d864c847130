//! The flags of `train` for conditioning on classes, attributes or vectors.

use crate::error::CliError;
use crate::parse::count;
use ::train::condition::condition_schema;
use data::Dataset;
use nn::Recipe;
use nn::recipe::{ConditionConfig, ConditionKind, ConditioningMethod};
use std::path::{Path, PathBuf};

/// Flags of conditioning.
#[derive(clap::Args)]
#[command(next_help_heading = "Conditioning")]
pub struct ConditioningArgs {
    /// Condition: class, attributes, a file, or none [default: none].
    ///
    /// class: the label. attributes: those that are shared by several images, or
    /// attributes:NAME,NAME. A file: a safetensors file of one tensor [images, K] with one vector
    /// per image, such as text embeddings. none: no condition, under a recipe that has one.
    #[arg(long, value_name = "KIND|FILE.safetensors")]
    pub condition: Option<String>,
    /// How the generator is conditioned: none, input or every-layer [default: input].
    #[arg(
        long,
        value_name = "METHOD",
        value_enum,
        requires = "condition",
        hide_possible_values = true
    )]
    pub condition_g: Option<ConditioningMethod>,
    /// How the discriminator is conditioned [default: input].
    #[arg(long, value_name = "METHOD", value_enum, requires = "condition")]
    pub condition_d: Option<ConditioningMethod>,
    /// Length of a learned embedding of the condition, up to 65536; 0 appends the condition itself
    /// [default: 0].
    #[arg(long, value_name = "N", requires = "condition", value_parser = count(0..=65536))]
    pub embedding: Option<u32>,
}

impl ConditioningArgs {
    /// Sets the recipe's condition from the flags; its size is set later by [`set_size`], which
    /// needs the dataset.
    pub fn apply(&self, recipe: &mut Recipe) {
        let kind = match self.condition.as_deref() {
            None => return,
            Some("none") => {
                recipe.condition = None;
                return;
            }
            Some("class") => ConditionKind::Class,
            Some(text) if attributes(text).is_some() => ConditionKind::Attributes,
            Some(_) => ConditionKind::Vector,
        };
        let same = recipe.condition.take().filter(|own| own.kind == kind);
        let mut condition = same.unwrap_or(ConditionConfig {
            kind,
            size: 1,
            names: Vec::new(),
            generator: ConditioningMethod::Input,
            discriminator: ConditioningMethod::Input,
            embedding: 0,
            auxiliary_weight: 1.0,
        });
        condition.generator = self.condition_g.unwrap_or(condition.generator);
        condition.discriminator = self.condition_d.unwrap_or(condition.discriminator);
        if let Some(names) =
            self.condition.as_deref().and_then(attributes).filter(|names| !names.is_empty())
        {
            (condition.size, condition.names) = (names.len(), names);
        }
        condition.embedding = self.embedding.map_or(condition.embedding, |n| n as usize);
        recipe.condition = Some(condition);
    }

    /// The absolute path of the file of vectors, if the condition is one: a resumed run may start
    /// in another folder.
    pub fn file(&self, recipe: &Recipe) -> Result<Option<PathBuf>, CliError> {
        let vectors = recipe.condition.as_ref().is_some_and(|c| c.kind == ConditionKind::Vector);
        match self.condition.as_deref().filter(|_| vectors) {
            Some(text) if !Path::new(text).is_file() => Err(usage!(
                "--condition {text:?}: choose class, attributes (or attributes:NAME,NAME) or \
                 none, or name an existing file"
            )),
            Some(text) => {
                let file =
                    std::path::absolute(text).map_err(|e| failure!("--condition {text:?}: {e}"))?;
                Ok(Some(file))
            }
            None => Ok(None),
        }
    }
}

/// The names in `attributes:NAME,NAME` (none in `attributes`), or `None` for any other text.
fn attributes(text: &str) -> Option<Vec<String>> {
    let names = text.strip_prefix("attributes")?;
    let names = if names.is_empty() { names } else { names.strip_prefix(':')? };
    Some(
        names
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect(),
    )
}

/// Sets the size and the names of the recipe's condition from the dataset.
pub fn set_size(
    recipe: &mut Recipe,
    dataset: &Dataset,
    file: Option<&Path>,
) -> Result<(), CliError> {
    if let Some(condition) = &mut recipe.condition {
        (condition.size, condition.names) = condition_schema(condition, dataset, file)?;
    }
    Ok(())
}
