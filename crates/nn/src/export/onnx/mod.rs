//! ONNX: a network as a graph of standard operators with its weights, for other runtimes.
//!
//! The files have IR version 8 and opset 17, which old runtimes read, too. The batch is dynamic,
//! images are `[batch, C, H, W]`, and a class is an index. Names of weights are those of the state
//! dict, but for batch norm that was folded.
//!
//! ```
//! use nn::Recipe;
//! use nn::export::onnx::{self, OnnxOptions};
//! use tensor::rng::Philox;
//!
//! let recipe = Recipe::preset("small")?;
//! let (generator, _) = recipe.build(&mut Philox::new(0, 0))?;
//! let file = onnx::generator(&recipe, &generator, &OnnxOptions::default())?;
//! assert!(file.windows(13).any(|part| part == b"ConvTranspose"));
//! # Ok::<(), nn::NnError>(())
//! ```

mod graph;
mod proto;
#[cfg(test)]
mod tests;

pub(crate) use graph::{Attribute, Graph, Value};

use crate::error::NnError;
use crate::export::Form;
use crate::network::Network;
use crate::recipe::{ConditionKind, Range, Recipe};
use prost::Message;
use proto::{
    FLOAT, GraphProto, INT64, ModelProto, OperatorSetIdProto, StringStringEntryProto, UINT8,
};

const IR_VERSION: i64 = 8;
const OPSET: i64 = 17;

/// The choices in an ONNX file.
#[derive(Clone, Debug)]
pub struct OnnxOptions {
    /// Whether batch norm is folded into the weights before it, or is a node.
    pub fold: bool,
    /// Whether weights are stored in half precision. The graph computes in single precision.
    pub half: bool,
    /// Whether a generator's images are bytes, `[batch, H, W, C]`, or `[batch, C, H, W]` in
    /// [−1, 1].
    pub bytes: bool,
    /// Keys and values that describe the file.
    pub metadata: Vec<(String, String)>,
}

impl Default for OnnxOptions {
    fn default() -> Self {
        Self { fold: true, half: false, bytes: false, metadata: Vec::new() }
    }
}

/// The file of a generator of `recipe`: `latents` `[batch, latent]`, and the condition, to `images`
/// `[batch, C, H, W]` in [−1, 1] or [bytes](OnnxOptions::bytes).
///
/// The condition is `class` `[batch]`, an index (I64), or `condition` `[batch, K]`. It computes
/// what the network does under [`Mode::SAMPLE`](crate::Mode::SAMPLE).
///
/// # Errors
/// Returns an error if a layer has no translation, or if a weight is too large for half precision.
///
/// # Panics
/// Panics if virtual batch norm has no reference batch.
#[track_caller]
pub fn generator(
    recipe: &Recipe,
    network: &Network,
    options: &OnnxOptions,
) -> Result<Vec<u8>, NnError> {
    let mut graph = Graph::new("generator", options.half);
    let latent = recipe.generator.latent;
    graph.input("latents", FLOAT, &[latent]);
    condition(&mut graph, recipe, recipe.g_conditional());
    let latents = Value::new("latents", Form::new(&[latent]));
    let images = network.frozen(options.fold).add_to(&mut graph, latents)?.name;
    graph.layer = "images".into();
    let images = match recipe.image.range {
        Range::Signed => images,
        Range::Unit => {
            let doubled = graph.with_number("Mul", &images, 2.0);
            graph.with_number("Add", &doubled, -1.0)
        }
    };
    let ([h, w], c) = (recipe.image.size, recipe.image.channels);
    let output = if options.bytes {
        // Half a byte is rounded up, as in a PNG; ONNX's Round goes to the even one.
        let positive = graph.with_number("Add", &images, 1.0);
        let scaled = graph.with_number("Mul", &positive, 127.5);
        let half_up = graph.with_number("Add", &scaled, 0.5);
        let whole = graph.unary("Floor", &half_up);
        let bounds = [0.0f32, 255.0].map(|bound| {
            let name = format!("images/{bound}");
            graph.store(&name, FLOAT, &[], bound.to_le_bytes().into());
            name
        });
        let clipped = graph.node("Clip", &[&whole, &bounds[0], &bounds[1]], &[]);
        let bytes = graph.node("Cast", &[&clipped], &[("to", Attribute::Int(UINT8.into()))]);
        let order = [("perm", Attribute::Ints(&[0, 2, 3, 1]))];
        graph.named_node("Transpose", &[&bytes], &order, "images");
        graph.finish(&[("images", UINT8, &[h, w, c])])
    } else {
        graph.named_node("Identity", &[&images], &[], "images");
        graph.finish(&[("images", FLOAT, &[c, h, w])])
    };
    Ok(encode(output, options))
}

/// The file of a discriminator of `recipe`: `images` `[batch, C, H, W]` in [−1, 1], whatever the
/// range inside the networks, and the condition as in [`generator`], to `logits` `[batch]` and, of
/// a classifier, `class_logits` `[batch, K]`.
///
/// # Errors
/// Returns the errors of [`generator`].
pub fn discriminator(
    recipe: &Recipe,
    network: &Network,
    options: &OnnxOptions,
) -> Result<Vec<u8>, NnError> {
    let mut graph = Graph::new("discriminator", options.half);
    let ([h, w], c) = (recipe.image.size, recipe.image.channels);
    graph.input("images", FLOAT, &[c, h, w]);
    condition(&mut graph, recipe, recipe.d_conditional());
    graph.layer = "range".into();
    let images = match recipe.image.range {
        Range::Signed => "images".into(),
        Range::Unit => {
            let halved = graph.with_number("Mul", "images", 0.5);
            graph.with_number("Add", &halved, 0.5)
        }
    };
    let images = Value::new(images, Form::new(&[h, w, c]));
    let output = network.frozen(options.fold).add_to(&mut graph, images)?.name;
    graph.layer = "output".into();
    let outputs = recipe.num_d_outputs();
    let classes = if recipe.objective.semi_supervised {
        let axes = [("axes", Attribute::Ints(&[1])), ("keepdims", Attribute::Int(0))];
        graph.named_node("ReduceLogSumExp", &[&output], &axes, "logits");
        graph.named_node("Identity", &[&output], &[], "class_logits");
        outputs
    } else if outputs == 1 {
        graph.named_node("Identity", &[&output], &[], "logits");
        0
    } else {
        let first = {
            let index = "output/0";
            graph.store(index, INT64, &[], 0i64.to_le_bytes().into());
            index
        };
        graph.named_node("Gather", &[&output, first], &[("axis", Attribute::Int(1))], "logits");
        let [from, to, axis] = [1, outputs as i64, 1].map(|value| graph.ints(&[value]));
        graph.named_node("Slice", &[&output, &from, &to, &axis], &[], "class_logits");
        outputs - 1
    };
    let logits: (&str, i32, &[usize]) = ("logits", FLOAT, &[]);
    let graph = match classes {
        0 => graph.finish(&[logits]),
        k => graph.finish(&[logits, ("class_logits", FLOAT, &[k])]),
    };
    Ok(encode(graph, options))
}

/// Adds the input of a condition, if the network takes one.
fn condition(graph: &mut Graph, recipe: &Recipe, conditional: bool) {
    let Some(condition) = recipe.condition.as_ref().filter(|_| conditional) else { return };
    graph.layer = "condition".into();
    let name = if condition.kind == ConditionKind::Class {
        graph.input("class", INT64, &[]);
        let (depth, values) = ("condition/depth", "condition/values");
        graph.store(depth, INT64, &[], (condition.size as i64).to_le_bytes().into());
        graph.store(values, FLOAT, &[2], [0f32, 1.0].map(f32::to_le_bytes).concat());
        graph.node("OneHot", &["class", depth, values], &[("axis", Attribute::Int(-1))])
    } else {
        graph.input("condition", FLOAT, &[condition.size]);
        "condition".into()
    };
    graph.condition = Some((name, condition.size));
}

fn encode(graph: GraphProto, options: &OnnxOptions) -> Vec<u8> {
    let entry = |(key, value): &(String, String)| StringStringEntryProto {
        key: key.clone(),
        value: value.clone(),
    };
    let model = ModelProto {
        ir_version: IR_VERSION,
        producer_name: "dcgan".into(),
        graph: Some(graph),
        opset_import: vec![OperatorSetIdProto { version: OPSET }],
        metadata_props: options.metadata.iter().map(entry).collect(),
    };
    model.encode_to_vec()
}

impl Network {
    /// Adds the layers to a graph; the result is in the order of this crate.
    fn add_to(&self, graph: &mut Graph, mut x: Value) -> Result<Value, NnError> {
        for (name, layer) in self.layers() {
            graph.layer.clone_from(name);
            x = layer.module().to_onnx(x, graph)?;
        }
        Ok(graph.order_units(x, None))
    }
}
