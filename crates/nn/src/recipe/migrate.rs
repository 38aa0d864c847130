//! Migration of recipes of earlier versions: their keys are renamed before anything else reads
//! them.
//!
//! Files that users wrote and checkpoints of earlier versions hold recipes with the keys below.
//! There is one list of all renames since the first version; new ones are added at its end.

use toml::{Table, Value};

/// Section, old key, current key.
const RENAMED: [(&str, &str, &str); 9] = [
    ("generator", "weights", "parametrization"),
    ("discriminator", "weights", "parametrization"),
    ("objective", "clip", "weight_clip"),
    ("objective", "labelled", "num_labels"),
    ("augment", "forbidden", "allow"),
    ("optimizer", "rule", "type"),
    ("train", "first", "update_order"),
    ("train", "fresh_latents", "resample_z"),
    ("train", "alternate", "separate_batches"),
];

/// Replaces the keys of earlier versions, and values that changed with them. An old key that is
/// given together with its successor stays, and is refused as unknown.
pub(super) fn migrate(recipe: &mut Table) {
    for (section, old, new) in RENAMED {
        if let Some(Value::Table(keys)) = recipe.get_mut(section)
            && !keys.contains_key(new)
            && let Some(value) = keys.remove(old)
        {
            keys.insert(new.into(), migrate_value(old, value));
        }
    }
    // Earlier versions had no other output.
    if let Some(Value::Table(generator)) = recipe.get_mut("generator")
        && generator.get("output").and_then(Value::as_str) == Some("tanh")
    {
        generator.remove("output");
    }
}

fn migrate_value(old: &str, value: Value) -> Value {
    match (old, &value) {
        ("forbidden", Value::Boolean(forbidden)) => Value::Boolean(!forbidden),
        ("first", Value::String(network)) => match network.as_str() {
            "discriminator" => "d-first".into(),
            "generator" => "g-first".into(),
            _ => value,
        },
        _ => value,
    }
}
