//! TOML to recipe, with errors that name the key.

use super::{Recipe, preset};
use crate::error::{NnError, did_you_mean};
use serde::Deserialize;
use toml::{Table, Value};

/// One recipe with every key that must be there; only its keys matter.
const REQUIRED: &str = r#"
name = ""
description = ""
[image]
size = [8, 8]
channels = 1
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

/// The keys that need not be there.
const OPTIONAL: &str = r#"
[image]
crop = 64
fit = "crop"
min_side = 64
filter = "lanczos3"
background = "black"
flip = false
range = "signed"
[generator]
upsample = "transposed"
norm = "batch"
norm_everywhere = false
weights = "plain"
bias = false
dropout = 0.0
attention = 0
reference = 64
layers = []
[discriminator]
downsample = "strided"
norm = "batch"
norm_everywhere = false
weights = "plain"
bias = false
dropout = 0.0
noise = 0.0
attention = 0
minibatch_stddev = 0
minibatch_discrimination = { kernels = 1, dims = 1 }
layers = []
[init]
scheme = "normal"
[objective]
loss = "non-saturating"
relativistic = false
gradient_penalty = 0.0
r1 = 0.0
r1_every = 1
clip = 0.0
feature_matching = 0.0
feature_layers = []
feature_norm = "l2"
historical_averaging = 0.0
semi_supervised = false
labelled = 0
[labels]
real = [1.0, 1.0]
fake = [0.0, 0.0]
flip = 0.0
swap = false
[noise]
input = 0.0
decay_steps = 0
[augment]
policy = []
forbidden = false
[condition]
kind = "class"
size = 1
names = []
generator = "input"
discriminator = "input"
embedding = 0
auxiliary_weight = 1.0
[optimizer]
rule = "adam"
lr_discriminator = 0.0002
momentum = 0.0
momentum_end = 0.0
nesterov = false
clip_gradient = 0.0
schedule = { kind = "constant" }
[train]
d_steps = 1
g_steps = 1
first = "discriminator"
fresh_latents = false
alternate = false
"#;

/// The key that names the preset which fills in what is missing.
const BASE: &str = "base";
/// The two of which one is enough.
const LENGTHS: [&str; 2] = ["epochs", "steps"];
/// The list of a network's layers, and the keys for which it stands.
const LAYERS: &str = "layers";
const DERIVED: [(&str, &[&str]); 2] = [
    (
        "generator",
        &[
            "width",
            "stem",
            "kernel",
            "activation",
            "output",
            "upsample",
            "norm",
            "norm_everywhere",
            "bias",
            "dropout",
            "attention",
        ],
    ),
    (
        "discriminator",
        &[
            "width",
            "kernel",
            "slope",
            "head",
            "downsample",
            "norm",
            "norm_everywhere",
            "bias",
            "dropout",
            "noise",
            "attention",
            "minibatch_stddev",
            "minibatch_discrimination",
        ],
    ),
];

fn table(text: &str) -> Table {
    text.parse().unwrap_or_else(|error| unreachable!("the schema is valid: {error}"))
}

/// Every key there is.
fn schema() -> Table {
    merge(table(REQUIRED), table(OPTIONAL))
}

pub(super) fn parse(text: &str) -> Result<Recipe, NnError> {
    let given: Table = text.parse().map_err(|error: toml::de::Error| syntax(text, &error))?;
    complete(given)
}

/// The recipe with other values for some keys, `section.key` and the value's TOML (or plain text, where that is no TOML).
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
    let base = to_table(recipe);
    check_idle(&base, &given)?;
    finish(merge(base, given))
}

/// The value that a text stands for: what TOML reads, else the text itself, so that names need no quotes.
fn value(text: &str) -> Value {
    let line: Result<Table, _> = format!("value = {text}").parse();
    line.ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(text.into()))
}

fn complete(mut given: Table) -> Result<Recipe, NnError> {
    let base = given.remove(BASE);
    check_keys(&given)?;
    let base = match base {
        None => Table::new(),
        Some(Value::String(name)) => to_table(&preset::preset(&name)?),
        Some(other) => {
            return Err(bad_value(BASE, &other, "must be the name of a preset, in quotes"));
        }
    };
    check_idle(&base, &given)?;
    finish(merge(base, given))
}

fn finish(complete: Table) -> Result<Recipe, NnError> {
    missing(&complete)?;
    Recipe::deserialize(complete.clone())
        .map_err(|error| bad_value("recipe", &Value::Table(complete), error.message()))
}

fn check_keys(given: &Table) -> Result<(), NnError> {
    let schema = schema();
    for (section, value) in given {
        check_key(&schema, section, value)?;
    }
    Ok(())
}

/// Refuses keys that a list of layers makes idle, whether it is given with them or was there before.
fn check_idle(base: &Table, given: &Table) -> Result<(), NnError> {
    for (section, derived) in DERIVED {
        if let Some(Value::Table(own)) = given.get(section)
            && lists(if own.contains_key(LAYERS) {
                own
            } else {
                base.get(section).and_then(Value::as_table).unwrap_or(own)
            })
            && let Some(key) = derived.iter().find(|key| own.contains_key(**key))
        {
            let value = own.get(*key).map_or_else(String::new, Value::to_string);
            let problem =
                "has no effect beside a list of layers; put it into the layers".to_owned();
            return Err(NnError::BadValue { key: format!("{section}.{key}"), value, problem });
        }
    }
    Ok(())
}

/// Whether a network's layers are listed.
fn lists(network: &Table) -> bool {
    matches!(network.get(LAYERS), Some(Value::Array(layers)) if !layers.is_empty())
}

fn syntax(text: &str, error: &toml::de::Error) -> NnError {
    let start = error.span().map_or(0, |span| span.start).min(text.len());
    let line = text.bytes().take(start).filter(|&b| b == b'\n').count() + 1;
    NnError::Syntax { line, message: error.message().lines().collect::<Vec<_>>().join(" ") }
}

/// The recipe's keys, without those that a list of layers makes idle.
pub(super) fn to_table(recipe: &Recipe) -> Table {
    let mut table = Table::try_from(recipe)
        .unwrap_or_else(|error| panic!("to_toml: not a valid recipe: {error}"));
    table.iter_mut().for_each(|(section, value)| without_idle(section, value));
    table
}

fn without_idle(section: &str, value: &mut Value) {
    if let (Some((_, derived)), Value::Table(own)) =
        (DERIVED.iter().find(|(name, _)| *name == section), value)
        && lists(own)
    {
        own.retain(|key, _| !derived.contains(&key));
    }
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

fn check_value(
    schema: &Table,
    section: &str,
    key: Option<&str>,
    value: &Value,
) -> Result<(), NnError> {
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
    // A list given now makes the base's own keys idle.
    base.iter_mut().for_each(|(section, value)| without_idle(section, value));
    base
}

fn missing(given: &Table) -> Result<(), NnError> {
    for (section, value) in &table(REQUIRED) {
        let Some(own) = given.get(section) else {
            return Err(NnError::MissingKey { key: section.clone() });
        };
        let idle = |key: &str, own: &Table| {
            lists(own)
                && DERIVED.iter().any(|(name, derived)| name == section && derived.contains(&key))
        };
        if let (Value::Table(known), Value::Table(own)) = (value, own)
            && let Some(key) = known.keys().find(|key| {
                !LENGTHS.contains(&key.as_str()) && !own.contains_key(*key) && !idle(key, own)
            })
        {
            return Err(NnError::MissingKey { key: format!("{section}.{key}") });
        }
    }
    Ok(())
}
