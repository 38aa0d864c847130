//! Default values of recipe keys for the help, read from the recipes themselves.

use ::train::toy::ToySettings;
use nn::Recipe;
use std::sync::LazyLock;
use toml::{Table, Value};

/// The recipe for most datasets: its values are shown as the defaults.
const USUAL: &str = "torch";
/// Recipes that are named where their value differs: the others that `train` chooses, and the
/// paper's.
const OTHERS: [&str; 3] = ["small", "modern", "paper"];

static TABLES: LazyLock<Vec<(&str, Table)>> = LazyLock::new(|| {
    // Not `to_toml`, which omits optional keys at their default.
    let table = |name| Some((name, Table::try_from(Recipe::preset(name).ok()?).ok()?));
    std::iter::once(USUAL).chain(OTHERS).filter_map(table).collect()
});

/// The help of a flag that sets `key`, with its default: `help [default: 64; small 128]`.
pub fn with_default(help: &str, key: &str) -> String {
    let mut values = TABLES.iter().map(|(name, table)| (*name, text(lookup(table, key))));
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
    static PLAIN: LazyLock<Option<Table>> =
        LazyLock::new(|| ToySettings::plain_recipe().ok()?.to_toml().parse().ok());
    let Some(table) = &*PLAIN else { return help.to_owned() };
    format!("{help} [default: {}]", text(lookup(table, key)))
}

fn lookup<'a>(table: &'a Table, key: &str) -> Option<&'a Value> {
    let (section, key) = key.split_once('.')?;
    table.get(section)?.get(key)
}

/// A value as the flag takes it.
fn text(value: Option<&Value>) -> String {
    match value {
        None => "none".into(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Float(value)) => value.to_string(),
        Some(Value::Array(values)) => {
            let mut texts: Vec<String> = values.iter().map(|value| text(Some(value))).collect();
            texts.dedup();
            if texts.is_empty() { "none".into() } else { texts.join(",") }
        }
        Some(Value::Table(table)) => text(table.get("kind")),
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
