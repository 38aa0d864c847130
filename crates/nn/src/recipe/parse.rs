//! TOML to recipe, with errors that name the key.

use super::{Recipe, preset};
use crate::error::{NnError, did_you_mean};
use serde::Deserialize;
use toml::{Table, Value};

/// One recipe with every key that there is; only its keys matter.
const SCHEMA: &str = r#"
name = ""
description = ""
[image]
size = [8, 8]
channels = 1
flip = false
[generator]
latent = 1
distribution = "normal"
width = 1
stem = "conv"
kernel = 4
activation = "relu"
output = "tanh"
[discriminator]
width = 1
kernel = 4
slope = 0.2
head = "conv"
[batch_norm]
eps = 1e-5
momentum = 0.1
[init]
std = 0.02
gamma_std = 0.02
[optimizer]
lr = 0.0002
beta1 = 0.5
beta2 = 0.999
eps = 1e-8
weight_decay = 0.0
[train]
batch = 2
epochs = 1
steps = 1
ema = 0.0
"#;

/// The key that names the preset which fills in what is missing.
const BASE: &str = "base";
/// The two of which one is enough.
const LENGTHS: [&str; 2] = ["epochs", "steps"];
/// Need not be there: false unless it is.
const FLIP: &str = "flip";

pub(super) fn parse(text: &str) -> Result<Recipe, NnError> {
    let mut given: Table = text.parse().map_err(|error: toml::de::Error| syntax(text, &error))?;
    let schema: Table = SCHEMA.parse().unwrap_or_else(|error| unreachable!("the schema is valid: {error}"));
    let base = given.remove(BASE);
    for (section, value) in &given {
        check_key(&schema, section, value)?;
    }
    let complete = match base {
        None => given,
        Some(Value::String(name)) => merge(to_table(&preset::preset(&name)?), given),
        Some(other) => return Err(bad_value(BASE, &other, "must be the name of a preset, in quotes")),
    };
    missing(&schema, &complete)?;
    Recipe::deserialize(complete.clone()).map_err(|error| bad_value("recipe", &Value::Table(complete), error.message()))
}

fn syntax(text: &str, error: &toml::de::Error) -> NnError {
    let start = error.span().map_or(0, |span| span.start).min(text.len());
    let line = text.bytes().take(start).filter(|&b| b == b'\n').count() + 1;
    NnError::Syntax { line, message: error.message().lines().collect::<Vec<_>>().join(" ") }
}

fn to_table(recipe: &Recipe) -> Table {
    Table::try_from(recipe).unwrap_or_else(|error| unreachable!("a recipe is always expressible in TOML: {error}"))
}

/// Checks one top-level entry of a recipe: that its keys exist, and each value by putting it alone into the schema.
fn check_key(schema: &Table, section: &str, value: &Value) -> Result<(), NnError> {
    let Some(known) = schema.get(section) else {
        return Err(unknown(section, schema));
    };
    let Value::Table(known) = known else {
        return check_value(schema, section, None, value);
    };
    let Value::Table(given) = value else {
        return Err(bad_value(section, value, &format!("must be a section, [{section}]")));
    };
    for (key, value) in given {
        if !known.contains_key(key) {
            return Err(unknown(&format!("{section}.{key}"), schema));
        }
        check_value(schema, section, Some(key), value)?;
    }
    Ok(())
}

fn check_value(schema: &Table, section: &str, key: Option<&str>, value: &Value) -> Result<(), NnError> {
    let mut trial = schema.clone();
    let path = match (key, trial.get_mut(section)) {
        (Some(key), Some(Value::Table(table))) => {
            table.insert(key.into(), value.clone());
            format!("{section}.{key}")
        }
        _ => {
            trial.insert(section.into(), value.clone());
            section.to_string()
        }
    };
    match Recipe::deserialize(trial) {
        Ok(_) => Ok(()),
        Err(error) => Err(bad_value(&path, value, error.message())),
    }
}

fn bad_value(key: &str, value: &Value, problem: &str) -> NnError {
    let problem = problem.lines().collect::<Vec<_>>().join(" ");
    let value = value.to_string().lines().collect::<Vec<_>>().join(" ");
    NnError::BadValue { key: key.into(), value, problem }
}

/// The full names of all keys.
fn paths(schema: &Table) -> Vec<String> {
    let mut paths = vec![BASE.to_string()];
    for (section, value) in schema {
        paths.push(section.clone());
        if let Value::Table(table) = value {
            paths.extend(table.keys().map(|key| format!("{section}.{key}")));
        }
    }
    paths
}

fn unknown(key: &str, schema: &Table) -> NnError {
    let paths = paths(schema);
    // A key in the wrong section is named by its own part, before the whole path is compared.
    let last = key.rsplit('.').next().unwrap_or(key);
    let elsewhere = paths.iter().find(|path| path.rsplit('.').next() == Some(last));
    let hint = match elsewhere {
        Some(path) => format!(", did you mean \"{path}\"?"),
        None => did_you_mean(key, paths.iter().map(String::as_str)),
    };
    NnError::UnknownKey { key: key.into(), hint }
}

/// `base` with the values of `given` in place of its own.
fn merge(mut base: Table, given: Table) -> Table {
    for (section, value) in given {
        match (base.get_mut(&section), value) {
            (Some(Value::Table(own)), Value::Table(given)) => {
                if LENGTHS.iter().any(|key| given.contains_key(*key)) {
                    LENGTHS.iter().for_each(|key| {
                        own.remove(*key);
                    });
                }
                own.extend(given);
            }
            (_, value) => {
                base.insert(section, value);
            }
        }
    }
    base
}

fn missing(schema: &Table, given: &Table) -> Result<(), NnError> {
    for (section, value) in schema {
        let Some(own) = given.get(section) else {
            return Err(NnError::MissingKey { key: section.clone() });
        };
        if let (Value::Table(known), Value::Table(own)) = (value, own)
            && let Some(key) =
                known.keys().find(|key| !LENGTHS.contains(&key.as_str()) && *key != FLIP && !own.contains_key(*key))
        {
            return Err(NnError::MissingKey { key: format!("{section}.{key}") });
        }
    }
    Ok(())
}
