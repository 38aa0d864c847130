//! Parsing of recipes from TOML, with errors that name the key.
//!
//! A text becomes a table, keys of earlier versions are [migrated](super::migrate), unknown keys
//! are refused, the table is merged into that of the base preset, and the result is deserialized.
//! Ranges and combinations are checked afterwards, on the recipe.

use super::field_names::field_names;
use super::migrate::migrate;
use super::*;
use crate::error::ValueProblem;
use serde::Deserialize;
use serde_path_to_error::{Segment, Track};
use toml::{Table, Value};

/// The key that names the preset which supplies missing keys.
const BASE: &str = "base";
/// A recipe has exactly one of these two lengths; one that is given replaces either.
const LENGTHS: [&str; 2] = ["epochs", "steps"];
/// The key of a network's list of layers.
const LAYERS: &str = "layers";
/// The keys of a network that have an effect together with a list of layers.
const WITH_LIST: [&str; 5] = [LAYERS, "latent", "distribution", "parametrization", "reference"];
/// The keys that a network without a list of layers needs.
const WITHOUT_LIST: [(&str, &[&str]); 2] = [
    ("generator", &["width", "stem", "kernel", "activation"]),
    ("discriminator", &["width", "kernel", "slope", "head"]),
];

/// The sections of a recipe with their keys; a key at the top has none.
fn schema() -> Vec<(&'static str, &'static [&'static str])> {
    // This is the derived function: the `Deserialize` trait of `Recipe` reads other keys, too.
    macro_rules! keys {
        ($section:ident) => {
            field_names(|collector| $section::deserialize(collector))
        };
    }
    let keys = |section: &str| match section {
        "image" => keys!(ImageConfig),
        "generator" => keys!(GeneratorConfig),
        "discriminator" => keys!(DiscriminatorConfig),
        "batch_norm" => keys!(BatchNormConfig),
        "init" => keys!(InitConfig),
        "objective" => keys!(ObjectiveConfig),
        "labels" => keys!(Labels),
        "noise" => keys!(NoiseConfig),
        "augment" => keys!(AugmentConfig),
        "condition" => keys!(ConditionConfig),
        "optimizer" => keys!(OptimizerConfig),
        "train" => keys!(TrainConfig),
        _ => &[],
    };
    keys!(Recipe).iter().map(|&section| (section, keys(section))).collect()
}

pub(super) fn parse(text: &str) -> Result<Recipe, NnError> {
    let mut given: Table = text.parse().map_err(|error| syntax(text, &error))?;
    let base = given.remove(BASE);
    // Renames come first: the check would refuse an old key as unknown.
    migrate(&mut given);
    check_keys(&given)?;
    let base = match base {
        None => Table::new(),
        Some(Value::String(name)) => to_table(&preset::preset(&name)?),
        Some(other) => {
            let problem = "must be the name of a preset, in quotes".into();
            return Err(bad_value(BASE, &other, ValueProblem::Invalid(problem)));
        }
    };
    complete(base, given)
}

/// The recipe with other values for some keys, given as `section.key` and the value's TOML (or
/// plain text, if that is not TOML).
pub(super) fn with(recipe: &Recipe, changes: &[(String, String)]) -> Result<Recipe, NnError> {
    let mut given = Table::new();
    for (path, text) in changes {
        let value = value(text);
        match path.split_once('.') {
            Some((section, key)) => {
                let own = given.entry(section).or_insert_with(|| Value::Table(Table::new()));
                if let Value::Table(own) = own {
                    own.insert(key.into(), value);
                }
            }
            None => {
                given.insert(path.clone(), value);
            }
        }
    }
    check_keys(&given)?;
    complete(to_table(recipe), given)
}

/// The value of a text: parsed as TOML if possible, else the text itself, so that names need no
/// quotes.
fn value(text: &str) -> Value {
    let line: Result<Table, _> = format!("value = {text}").parse();
    line.ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(text.into()))
}

fn complete(base: Table, given: Table) -> Result<Recipe, NnError> {
    check_idle(&base, &given)?;
    let table = merge(base, given);
    // These keys are optional for serde, since a list of layers replaces them. Without a list, the
    // default of a missing key would be a network that the recipe does not describe.
    for (section, keys) in WITHOUT_LIST {
        if let Some(Value::Table(network)) = table.get(section)
            && !has_list(network)
            && let Some(key) = keys.iter().find(|key| !network.contains_key(**key))
        {
            return Err(NnError::MissingKey { key: format!("{section}.{key}") });
        }
    }
    // The table is merged from two texts, so an error of toml has no line to point to: the path to
    // the value is tracked, and the value looked up.
    let mut track = Track::new();
    let deserializer = serde_path_to_error::Deserializer::new(table.clone(), &mut track);
    Recipe::deserialize(deserializer).map_err(|error: toml::de::Error| {
        let (mut key, mut value) = (String::new(), None);
        for segment in &track.path() {
            let here = value.unwrap_or(&Value::Boolean(false));
            (key, value) = match segment {
                Segment::Map { key: name } if key.is_empty() => (name.clone(), table.get(name)),
                Segment::Map { key: name } => (format!("{key}.{name}"), here.get(name)),
                Segment::Seq { index } => (format!("{key}[{index}]"), here.get(*index)),
                Segment::Enum { .. } | Segment::Unknown => (key, value),
            };
        }
        let message = error.message();
        match message.strip_prefix("missing field `").and_then(|rest| rest.split_once('`')) {
            Some((field, _)) if key.is_empty() => NnError::MissingKey { key: field.into() },
            Some((field, _)) => NnError::MissingKey { key: format!("{key}.{field}") },
            None => {
                let problem = ValueProblem::Invalid(one_line(message));
                bad_value(&key, value.unwrap_or(&Value::Table(Table::new())), problem)
            }
        }
    })
}

/// Refuses keys that have no effect with a list of layers, whether they are given with it or were
/// set before.
fn check_idle(base: &Table, given: &Table) -> Result<(), NnError> {
    for (section, _) in WITHOUT_LIST {
        let Some(Value::Table(own)) = given.get(section) else { continue };
        let before = base.get(section).and_then(Value::as_table).unwrap_or(own);
        if has_list(if own.contains_key(LAYERS) { own } else { before })
            && let Some((key, value)) = own.iter().find(|(key, _)| !WITH_LIST.contains(&&key[..]))
        {
            let problem = ValueProblem::Combination {
                other: format!("{section}.{LAYERS}"),
                reason: "has no effect with a list of layers; put it into the layers".into(),
            };
            return Err(bad_value(&format!("{section}.{key}"), value, problem));
        }
    }
    Ok(())
}

/// Whether a network's layers are listed.
fn has_list(network: &Table) -> bool {
    matches!(network.get(LAYERS), Some(Value::Array(layers)) if !layers.is_empty())
}

fn syntax(text: &str, error: &toml::de::Error) -> NnError {
    let start = error.span().map_or(0, |span| span.start).min(text.len());
    let line = text.bytes().take(start).filter(|&b| b == b'\n').count() + 1;
    NnError::Syntax { line, message: one_line(error.message()) }
}

/// The recipe's keys, without those that have no effect with a list of layers.
pub(super) fn to_table(recipe: &Recipe) -> Table {
    let mut table = Table::try_from(recipe)
        .unwrap_or_else(|error| panic!("to_toml: not a valid recipe: {error}"));
    remove_idle(&mut table);
    table
}

fn remove_idle(recipe: &mut Table) {
    for (section, _) in WITHOUT_LIST {
        if let Some(Value::Table(network)) = recipe.get_mut(section)
            && has_list(network)
        {
            network.retain(|key, _| WITH_LIST.contains(&key));
        }
    }
}

/// Refuses sections and keys that do not exist.
fn check_keys(given: &Table) -> Result<(), NnError> {
    let schema = schema();
    for (section, value) in given {
        match schema.iter().find(|(known, _)| known == section) {
            None => return Err(unknown(section, &schema)),
            Some((_, [])) => {}
            Some((_, keys)) => {
                let Value::Table(own) = value else {
                    let problem = ValueProblem::Invalid(format!("must be a section, [{section}]"));
                    return Err(bad_value(section, value, problem));
                };
                if let Some((key, _)) = own.iter().find(|(key, _)| !keys.contains(&&key[..])) {
                    return Err(unknown(&format!("{section}.{key}"), &schema));
                }
            }
        }
    }
    Ok(())
}

/// `problem` with a value on one line.
fn bad_value(key: &str, value: &Value, problem: ValueProblem) -> NnError {
    NnError::BadValue { key: key.into(), value: one_line(&value.to_string()), problem }
}

fn one_line(text: &str) -> String {
    text.lines().collect::<Vec<_>>().join(" ")
}

fn unknown(key: &str, schema: &[(&str, &[&str])]) -> NnError {
    let sections = schema.iter().flat_map(|(section, keys)| {
        let keys = keys.iter().map(move |key| format!("{section}.{key}"));
        std::iter::once(section.to_string()).chain(keys)
    });
    let known = std::iter::once(BASE.to_string()).chain(sections).collect();
    NnError::UnknownKey { key: key.into(), known }
}

/// `base`, with its values replaced by those of `given`.
fn merge(mut base: Table, given: Table) -> Table {
    for (section, value) in given {
        match (base.get_mut(&section), value) {
            (Some(Value::Table(own)), Value::Table(given)) => {
                // A length in steps replaces the base's length in epochs: both would be refused.
                if LENGTHS.iter().any(|key| given.contains_key(*key)) {
                    LENGTHS.iter().for_each(|key| drop(own.remove(*key)));
                }
                own.extend(given);
            }
            (_, value) => {
                base.insert(section, value);
            }
        }
    }
    // With a list given now, the base's own keys have no effect.
    remove_idle(&mut base);
    base
}
