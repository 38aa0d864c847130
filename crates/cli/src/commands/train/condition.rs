//! The flags of `train` that say what the networks are told beside pictures.

use crate::error::CliError;
use ::train::condition::condition_schema;
use clap::ValueEnum;
use data::Dataset;
use nn::Recipe;
use nn::recipe::{Condition, ConditionKind, Conditioned};
use std::path::{Path, PathBuf};

const HEADING: &str = "Conditioning";

/// Flags of conditions.
#[derive(clap::Args)]
pub struct ConditionArgs {
    /// class; attributes (those that do not tell every picture from all others, or attributes:NAME,NAME); none; or a file with a vector for each
    /// picture: a safetensors file of one tensor [pictures, K], such as embeddings of texts [default: the recipe's].
    #[arg(long, value_name = "KIND|FILE.safetensors", help_heading = HEADING)]
    pub condition: Option<String>,
    /// Where the generator sees it [default: input].
    #[arg(long, value_enum, requires = "condition", help_heading = HEADING)]
    pub condition_g: Option<InGenerator>,
    /// How the discriminator sees it [default: input].
    #[arg(long, value_enum, requires = "condition", help_heading = HEADING)]
    pub condition_d: Option<InDiscriminator>,
    /// Length of a learned embedding that stands for it where it is appended; 0 appends it as it is [default: 0].
    #[arg(long, value_name = "N", requires = "condition", value_parser = clap::value_parser!(u32).range(0..=65536), help_heading = HEADING)]
    pub embedding: Option<u32>,
}

/// Where the generator sees a condition.
#[derive(Clone, Copy, ValueEnum)]
pub enum InGenerator {
    /// Not at all, for semi-supervised learning.
    None,
    /// Beside the latent vector.
    Input,
    /// Beside the input of every layer.
    EveryLayer,
}

/// How the discriminator sees a condition.
#[derive(Clone, Copy, ValueEnum)]
pub enum InDiscriminator {
    /// Not at all, for semi-supervised learning.
    None,
    /// As channels of the picture.
    Input,
    /// As channels of every layer's input.
    EveryLayer,
    /// As its product with the features, in the logit.
    Projection,
    /// As what it has to tell of a picture (an auxiliary classifier).
    Auxiliary,
}

impl ConditionArgs {
    /// The recipe with the condition that the flags ask for, or without; its length is not known before the data are.
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
        let mut condition = same.unwrap_or(Condition {
            kind,
            size: 1,
            names: Vec::new(),
            generator: Conditioned::Input,
            discriminator: Conditioned::Input,
            embedding: 0,
            auxiliary_weight: 1.0,
        });
        if let Some(place) = self.condition_g {
            condition.generator = match place {
                InGenerator::None => Conditioned::None,
                InGenerator::Input => Conditioned::Input,
                InGenerator::EveryLayer => Conditioned::EveryLayer,
            };
        }
        if let Some(place) = self.condition_d {
            condition.discriminator = match place {
                InDiscriminator::None => Conditioned::None,
                InDiscriminator::Input => Conditioned::Input,
                InDiscriminator::EveryLayer => Conditioned::EveryLayer,
                InDiscriminator::Projection => Conditioned::Projection,
                InDiscriminator::Auxiliary => Conditioned::Auxiliary,
            };
        }
        if let Some(names) =
            self.condition.as_deref().and_then(attributes).filter(|names| !names.is_empty())
        {
            (condition.size, condition.names) = (names.len(), names);
        }
        condition.embedding = self.embedding.map_or(condition.embedding, |n| n as usize);
        recipe.condition = Some(condition);
    }

    /// The file of vectors, as it still means the same from another folder.
    pub fn file(&self, recipe: &Recipe) -> Result<Option<PathBuf>, CliError> {
        let vectors = recipe.condition.as_ref().is_some_and(|c| c.kind == ConditionKind::Vector);
        match self.condition.as_deref().filter(|_| vectors) {
            Some(text) if !Path::new(text).is_file() => Err(CliError::Usage(format!(
                "--condition {text:?}: say class, attributes (or attributes:NAME,NAME) or none, or name a file that is there"
            ))),
            Some(text) => {
                let file = std::path::absolute(text)
                    .map_err(|e| CliError::Failed(format!("--condition {text:?}: {e}")))?;
                Ok(Some(file))
            }
            None => Ok(None),
        }
    }
}

/// The attributes that `attributes:NAME,NAME` names, none where it is `attributes` alone; nothing for other texts.
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

/// Gives the recipe's condition the length and the names that the data have.
///
/// # Errors
/// Data that do not offer it.
pub fn measure(
    recipe: &mut Recipe,
    dataset: &Dataset,
    file: Option<&Path>,
) -> Result<(), CliError> {
    if let Some(condition) = &mut recipe.condition {
        (condition.size, condition.names) = condition_schema(condition, dataset, file)?;
    }
    Ok(())
}
