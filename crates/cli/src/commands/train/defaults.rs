//! Default values of recipe keys for the help, read from the recipes themselves.

use super::recipe_flags::default_of;
use ::train::toy::ToySettings;
use nn::Recipe;
use std::sync::LazyLock;
use toml::{Table, Value};

/// The recipe for most datasets: its values are shown as the defaults.
const DEFAULT_RECIPE: &str = "torch";
/// Recipes that are named where their value differs: the others that `train` chooses, and the
/// paper's.
const NAMED_RECIPES: [&str; 3] = ["small", "modern", "paper"];

static RECIPES: LazyLock<Vec<(&str, Recipe)>> = LazyLock::new(|| {
    let preset = |name| Some((name, Recipe::preset(name).ok()?));
    std::iter::once(DEFAULT_RECIPE).chain(NAMED_RECIPES).filter_map(preset).collect()
});

/// The help of a flag that sets `key`, with its default: `help [default: 64; small 128]`.
pub fn with_default(help: &str, key: &str) -> String {
    let mut values = RECIPES.iter().map(|(name, recipe)| (*name, text(value(recipe, key))));
    let Some((_, usual)) = values.next() else { return help.to_owned() };
    let others: Vec<String> = values
        .filter(|(_, value)| *value != usual)
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    let separator = if others.is_empty() { "" } else { "; " };
    format!("{help} [default: {usual}{separator}{}]", others.join(", "))
}

/// The help of a toy's flag that sets `key`, with the default of the toy's recipe.
pub fn toy_default(help: &str, key: &str) -> String {
    static PLAIN: LazyLock<Option<Recipe>> = LazyLock::new(|| ToySettings::plain_recipe().ok());
    let Some(recipe) = &*PLAIN else { return help.to_owned() };
    format!("{help} [default: {}]", text(value(recipe, key)))
}

/// The value of a key: from the recipe's fields if a flag sets it, since a recipe's text omits
/// optional keys; else from the text.
fn value(recipe: &Recipe, key: &str) -> Option<Value> {
    default_of(recipe, key).or_else(|| {
        let (section, name) = key.split_once('.')?;
        Table::try_from(recipe).ok()?.get(section)?.get(name).cloned()
    })
}

/// A value as the flag takes it.
fn text(value: Option<Value>) -> String {
    match value {
        None => "none".into(),
        Some(Value::String(text)) => text,
        Some(Value::Float(value)) => value.to_string(),
        Some(Value::Array(values)) => {
            let mut texts: Vec<String> =
                values.into_iter().map(|value| text(Some(value))).collect();
            texts.dedup();
            if texts.is_empty() { "none".into() } else { texts.join(",") }
        }
        Some(Value::Table(table)) => text(table.get("kind").cloned()),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::with_default;

    #[test]
    fn differing_recipes_are_named() {
        let batch = with_default("Images", "train.batch");
        assert_eq!(batch, "Images [default: 64; small 128, modern 32, paper 128]");
        assert_eq!(with_default("Rate", "optimizer.momentum"), "Rate [default: 0]");
        assert_eq!(with_default("Target", "labels.real"), "Target [default: 1]");
        let policy = with_default("Operations", "augment.policy");
        assert_eq!(policy, "Operations [default: none; modern color,translation]");
    }
}
