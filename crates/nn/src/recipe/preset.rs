//! The recipes that come with the crate.

use super::{Recipe, parse};
use crate::error::NnError;

/// The default preset, for small images.
pub const DEFAULT: &str = "small";

pub(super) const PRESETS: [(&str, &str); 13] = [
    ("small", include_str!("../../recipes/small.toml")),
    ("torch", include_str!("../../recipes/torch.toml")),
    ("modern", include_str!("../../recipes/modern.toml")),
    ("paper", include_str!("../../recipes/paper.toml")),
    ("newmu-mnist", include_str!("../../recipes/newmu-mnist.toml")),
    ("newmu-svhn", include_str!("../../recipes/newmu-svhn.toml")),
    ("newmu-imagenet32", include_str!("../../recipes/newmu-imagenet32.toml")),
    ("tf", include_str!("../../recipes/tf.toml")),
    ("improved", include_str!("../../recipes/improved.toml")),
    ("keras-mnist", include_str!("../../recipes/keras-mnist.toml")),
    ("gans-in-action", include_str!("../../recipes/gans-in-action.toml")),
    ("gans-in-action-dense", include_str!("../../recipes/gans-in-action-dense.toml")),
    ("gan2014", include_str!("../../recipes/gan2014.toml")),
];

pub(super) fn preset(name: &str) -> Result<Recipe, NnError> {
    match PRESETS.iter().find(|(known, _)| *known == name) {
        Some((_, text)) => parse::parse(text),
        None => Err(NnError::UnknownRecipe { name: name.into() }),
    }
}
