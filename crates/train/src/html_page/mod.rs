//! A generator as one HTML file that draws with it: no server, no network, in any browser.
//!
//! The file has its parts in this order: the style (`theme.css`, `page.css`), the markup
//! (`page.html`), the network as JSON ([`PageNetwork`]), its weights, the recorded GPU work, and
//! the scripts: `random.js` (latents as [`latents`](crate::latents) draws them), `engine.js` (one
//! function for each operation of [`nn::InferenceLayer`]), `webgpu.js` (replay of the recorded
//! work) and `page.js`. Weights are rounded to half precision unless asked otherwise, stored byte
//! by byte (all first bytes, then all second ones, …, which compresses better), compressed with
//! gzip and written in base64.

mod recording;

use crate::TrainError;
use crate::rng_streams::SAMPLING;
use crate::sampler::{BatchNormMode, generator_condition, load_generator};
use base64::{Engine, prelude::BASE64_STANDARD};
use flate2::Compression;
use flate2::write::GzEncoder;
use half::f16;
use nn::recipe::{ConditionKind, LatentDistribution};
use runs::Checkpoint;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::io::Write;
use tensor::Device;

/// The style sheet of colors, fonts and controls, which the studio's page has, too.
pub const THEME_CSS: &str = include_str!("theme.css");

/// How a page stores the weights.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WeightPrecision {
    /// Half precision: images differ by at most about a gray level of 255.
    F16,
    /// Single precision.
    F32,
}

/// What the page says about the network, and how to run it.
#[derive(Serialize)]
struct PageNetwork<'a> {
    name: &'a str,
    /// The command-line flag that names the network, if any does.
    model: Option<&'a str>,
    recipe: &'a str,
    step: u64,
    dataset: &'a str,
    identity: String,
    version: &'static str,
    /// The text in the PNG files that the page saves.
    signature: String,
    batch_norm: BatchNormMode,
    latent: usize,
    distribution: LatentDistribution,
    /// The stream of the seed that latents are drawn from.
    stream: u64,
    /// Height, width, channels.
    image: [usize; 3],
    /// Images are factor · output + offset.
    output: [f32; 2],
    condition: Option<PageCondition<'a>>,
    precision: WeightPrecision,
    layers: Vec<Value>,
}

#[derive(Serialize)]
struct PageCondition<'a> {
    kind: ConditionKind,
    size: usize,
    names: &'a [String],
}

/// The page of a checkpoint's generator: its EMA where the checkpoint holds one, with the
/// statistics of batch norm that [`Sampler::new`](crate::Sampler::new) chooses folded into the
/// weights. `model` is the name of a built-in model.
///
/// ```
/// use train::{WeightPrecision, html_page};
///
/// let fashion = &runs::builtin_models::MODELS[0];
/// let page = html_page(&fashion.checkpoint()?, Some("fashion"), WeightPrecision::F16)?;
/// assert!(page.starts_with("<!doctype html>") && page.len() < 1_500_000);
/// # Ok::<(), train::TrainError>(())
/// ```
///
/// # Errors
/// Returns the errors of [`Sampler::new`](crate::Sampler::new),
/// [`NnError::NoInferenceLayer`](nn::NnError::NoInferenceLayer) for a generator with a layer that
/// is no operation on each image alone, and [`TrainError::HalfPrecision`] for a weight beyond half
/// precision.
pub fn html_page(
    checkpoint: &Checkpoint,
    model: Option<&str>,
    precision: WeightPrecision,
) -> Result<String, TrainError> {
    let (recipe, generator, batch_norm) = load_generator(checkpoint, None, &Device::Cpu)?;
    let generator = generator.folded();
    let mut weights = Weights::default();
    let mut layers = Vec::new();
    for (name, layer) in generator.inference_layers()? {
        if layer.op == "identity" {
            continue;
        }
        let mut object = Map::from_iter([("op".to_owned(), layer.op.into())]);
        if let Value::Object(settings) = layer.settings {
            object.extend(settings);
        }
        for (part, tensor) in layer.tensors {
            let values = tensor.to_vec();
            if precision == WeightPrecision::F16
                && let Some(&value) =
                    values.iter().find(|value| !f16::from_f32(**value).is_finite())
            {
                return Err(TrainError::HalfPrecision { tensor: format!("{name}.{part}"), value });
            }
            let at = weights.push(&values);
            object.insert(part.to_owned(), json!({ "at": at, "shape": tensor.shape().to_vec() }));
        }
        layers.push(Value::Object(object));
    }
    let meta = &checkpoint.meta;
    let [height, width] = recipe.image.size;
    let network = PageNetwork {
        name: model.unwrap_or(if meta.dataset.name.is_empty() {
            &meta.recipe_name
        } else {
            &meta.dataset.name
        }),
        model,
        recipe: &meta.recipe_name,
        step: meta.step,
        dataset: &meta.dataset.name,
        identity: checkpoint.identity(),
        version: env!("CARGO_PKG_VERSION"),
        signature: imaging::signature(env!("CARGO_PKG_VERSION")),
        batch_norm,
        latent: recipe.generator.latent,
        distribution: recipe.generator.distribution,
        stream: SAMPLING,
        image: [height, width, recipe.image.channels],
        output: match recipe.image.range {
            nn::recipe::Range::Signed => [1.0, 0.0],
            nn::recipe::Range::Unit => [2.0, -1.0],
        },
        condition: generator_condition(&recipe).map(|condition| PageCondition {
            kind: condition.kind,
            size: condition.size,
            names: &condition.names,
        }),
        precision,
        layers,
    };
    let tapes = recording::tapes(&generator, &recipe, &weights)?;
    let title = escaped(&format!("{} · dcgan", network.name));
    let network = script_json(&network);
    let bytes = weights.planes(precision);
    let parts = [
        ("{title}", title.as_str()),
        ("{theme}", THEME_CSS),
        ("{style}", include_str!("page.css")),
        ("{network}", &network),
        ("{weights}", &BASE64_STANDARD.encode(gzip(&bytes))),
        ("{tapes}", &BASE64_STANDARD.encode(gzip(tapes.to_string().as_bytes()))),
        ("{random}", include_str!("random.js")),
        ("{engine}", include_str!("engine.js")),
        ("{webgpu}", include_str!("webgpu.js")),
        ("{worker}", include_str!("worker.js")),
        ("{page}", include_str!("page.js")),
    ];
    Ok(filled(include_str!("page.html"), &parts))
}

/// The values of all layers, one tensor after the other.
#[derive(Default)]
struct Weights {
    values: Vec<f32>,
    /// First value and count of each tensor.
    tensors: Vec<[usize; 2]>,
}

impl Weights {
    /// Appends a tensor and returns the index of its first value.
    fn push(&mut self, values: &[f32]) -> usize {
        let at = self.values.len();
        self.values.extend_from_slice(values);
        self.tensors.push([at, values.len()]);
        at
    }

    /// The first value of the tensor with these bits.
    fn find(&self, words: &[u32]) -> Option<usize> {
        let same = |[at, len]: &&[usize; 2]| {
            *len == words.len()
                && self.values[*at..][..*len].iter().zip(words).all(|(a, b)| a.to_bits() == *b)
        };
        self.tensors.iter().find(same).map(|[at, _]| *at)
    }

    /// The first bytes of all values, then the second ones, and so on, little-endian.
    fn planes(&self, precision: WeightPrecision) -> Vec<u8> {
        fn planes<const N: usize>(values: &[f32], bytes: impl Fn(f32) -> [u8; N]) -> Vec<u8> {
            (0..N)
                .flat_map(|plane| values.iter().map(move |v| (plane, *v)))
                .map(|(plane, value)| bytes(value)[plane])
                .collect()
        }
        match precision {
            WeightPrecision::F16 => planes(&self.values, |v| f16::from_f32(v).to_le_bytes()),
            WeightPrecision::F32 => planes(&self.values, f32::to_le_bytes),
        }
    }
}

/// The template with each `{name}` replaced by its part; parts may contain such names themselves.
fn filled(template: &str, parts: &[(&str, &str)]) -> String {
    let mut page = String::new();
    let mut rest = template;
    while let Some((at, (name, part))) =
        parts.iter().filter_map(|part| Some((rest.find(part.0)?, part))).min_by_key(|(at, _)| *at)
    {
        page.push_str(&rest[..at]);
        page.push_str(part);
        rest = &rest[at + name.len()..];
    }
    page + rest
}

/// Text in HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// JSON that does not end the script element that it is in.
fn script_json(value: &impl Serialize) -> String {
    let text = serde_json::to_string(value);
    let text = text.unwrap_or_else(|error| unreachable!("strings, numbers, lists: {error}"));
    text.replace('<', "\\u003c")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let finished = encoder.write_all(bytes).and_then(|()| encoder.finish());
    finished.unwrap_or_else(|error| unreachable!("writing to memory: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_filled_in_once() {
        assert_eq!(filled("<{a}{b}{a}>", &[("{a}", "{b}"), ("{b}", "2")]), "<{b}2{b}>");
    }

    #[test]
    fn names_cannot_end_the_script() {
        assert!(!script_json(&["</script><script>alert(1)"]).contains('<'));
    }

    #[test]
    fn bytes_are_stored_in_planes() {
        let mut weights = Weights::default();
        assert_eq!((weights.push(&[1.0, -2.0]), weights.push(&[0.5])), (0, 2));
        assert_eq!(weights.planes(WeightPrecision::F16), [0, 0, 0, 0x3c, 0xc0, 0x38]);
        assert_eq!(weights.planes(WeightPrecision::F32).len(), 12);
        assert_eq!(weights.find(&[0.5f32.to_bits()]), Some(2));
        assert_eq!(weights.find(&[1.0f32.to_bits()]), None);
    }
}
