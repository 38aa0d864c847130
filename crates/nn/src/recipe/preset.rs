//! The recipes that come with the crate.

use super::{Recipe, parse};
use crate::error::{NnError, did_you_mean};

/// The preset for small images, with which a newcomer starts.
pub const DEFAULT: &str = "small";

pub(super) const PRESETS: [(&str, &str); 4] = [
    ("small", include_str!("../../recipes/small.toml")),
    ("torch", include_str!("../../recipes/torch.toml")),
    ("paper", include_str!("../../recipes/paper.toml")),
    ("newmu-svhn", include_str!("../../recipes/newmu-svhn.toml")),
];

pub(super) fn preset(name: &str) -> Result<Recipe, NnError> {
    match PRESETS.iter().find(|(known, _)| *known == name) {
        Some((_, text)) => parse::parse(text),
        None => Err(NnError::UnknownRecipe {
            name: name.into(),
            hint: did_you_mean(name, Recipe::names()),
            known: Recipe::names().collect::<Vec<_>>().join(", "),
        }),
    }
}
