//! A graph in the making: nodes, initializers, inputs and outputs.

use super::proto::{
    AttributeProto, DimensionProto, FLOAT, FLOAT16, GraphProto, INT64, KIND_FLOAT, KIND_INT,
    KIND_INTS, KIND_STRING, NodeProto, TensorProto, TensorShapeProto, TensorTypeProto, TypeProto,
    ValueInfoProto,
};
use crate::error::NnError;
use crate::export::{AxesStep, Form};
use half::f16;
use std::collections::BTreeSet;
use tensor::HostTensor;

/// A tensor of the graph between two layers.
#[derive(Clone, Debug)]
pub struct Value {
    /// Its name in the graph.
    pub name: String,
    /// The form of its samples.
    pub form: Form,
}

impl Value {
    pub fn new(name: impl Into<String>, form: Form) -> Self {
        Self { name: name.into(), form }
    }
}

/// A graph to which layers add their nodes.
#[derive(Default)]
pub struct Graph {
    /// The layer that is being added: the prefix of its nodes' and tensors' names.
    pub layer: String,
    /// The condition `[N, K]` and K.
    pub condition: Option<(String, usize)>,
    /// Whether weights are stored in half precision.
    half: bool,
    proto: GraphProto,
    /// The names of the nodes.
    taken: BTreeSet<String>,
}

impl Graph {
    pub fn new(name: &str, half: bool) -> Self {
        Self {
            half,
            proto: GraphProto { name: name.into(), ..GraphProto::default() },
            ..Self::default()
        }
    }

    /// The graph with these outputs: name, element type, axes behind the batch.
    pub fn finish(mut self, outputs: &[(&str, i32, &[usize])]) -> GraphProto {
        self.proto.output =
            outputs.iter().map(|&(name, kind, axes)| info(name, kind, axes)).collect();
        self.proto
    }

    /// An input of the graph of this element type, `[batch, axes…]`.
    pub fn input(&mut self, name: &str, kind: i32, axes: &[usize]) {
        self.proto.input.push(info(name, kind, axes));
    }

    /// The error of a layer that has no translation.
    pub fn refuse(&self, kind: &'static str) -> NnError {
        NnError::Untranslatable { layer: self.layer.clone(), kind, format: "ONNX" }
    }

    /// The condition `[N, K]` and K, for the layer of this type.
    pub fn condition(&self, kind: &'static str) -> Result<(String, usize), NnError> {
        self.condition.clone().ok_or_else(|| self.refuse(kind))
    }

    /// A node with one output, whose name it returns: `LAYER/Operator`, with a number where the
    /// layer has several.
    pub fn node(
        &mut self,
        operator: &str,
        inputs: &[&str],
        attributes: &[(&str, Attribute<'_>)],
    ) -> String {
        let name = (1..)
            .map(|number| match number {
                1 => format!("{}/{operator}", self.layer),
                _ => format!("{}/{operator}.{number}", self.layer),
            })
            .find(|name| !self.taken.contains(name))
            .unwrap_or_default();
        self.taken.insert(name.clone());
        self.named_node(operator, inputs, attributes, &name);
        name
    }

    /// [`node`](Self::node) whose name and output are called `name`.
    pub fn named_node(
        &mut self,
        operator: &str,
        inputs: &[&str],
        attributes: &[(&str, Attribute<'_>)],
        name: &str,
    ) {
        let mut attributes: Vec<_> =
            attributes.iter().map(|(name, value)| value.proto(name)).collect();
        attributes.sort_by(|a, b| a.name.cmp(&b.name));
        self.proto.node.push(NodeProto {
            input: inputs.iter().map(|&input| input.into()).collect(),
            output: vec![name.into()],
            name: name.into(),
            op_type: operator.into(),
            attribute: attributes,
        });
    }

    /// A node with one input.
    pub fn unary(&mut self, operator: &str, x: &str) -> String {
        self.node(operator, &[x], &[])
    }

    /// A node whose second input is a number.
    pub fn with_number(&mut self, operator: &str, x: &str, number: f32) -> String {
        let name = format!("{}/{}", self.layer, number);
        self.store(&name, FLOAT, &[], number.to_le_bytes().into());
        self.node(operator, &[x, &name], &[])
    }

    /// A tensor as numbers.
    pub fn cast_to_float(&mut self, x: &str) -> String {
        self.node("Cast", &[x], &[("to", Attribute::Int(FLOAT.into()))])
    }

    /// The number of samples, `[1]`.
    pub fn batch_len(&mut self, x: &str) -> String {
        self.node("Shape", &[x], &[("start", Attribute::Int(0)), ("end", Attribute::Int(1))])
    }

    /// 0, 1, … below `count`, which is `[1]`.
    pub fn indices(&mut self, count: &str) -> String {
        let [zero, one] = [0i64, 1].map(|value| {
            let name = format!("{}/{value}.int", self.layer);
            self.store(&name, INT64, &[], value.to_le_bytes().into());
            name
        });
        let first = self.ints(&[0]);
        let count = self.node("Squeeze", &[count, &first], &[]);
        self.node("Range", &[&zero, &count, &one], &[])
    }

    /// The mean over these axes, which stay with length 1 if `keep`.
    pub fn mean(&mut self, x: &str, axes: &[i64], keep: bool) -> String {
        let attributes =
            [("axes", Attribute::Ints(axes)), ("keepdims", Attribute::Int(keep.into()))];
        self.node("ReduceMean", &[x], &attributes)
    }

    /// The sum over these axes, which stay with length 1 if `keep`.
    pub fn sum(&mut self, x: &str, axes: &[i64], keep: bool) -> String {
        let axes = self.ints(axes);
        self.node("ReduceSum", &[x, &axes], &[("keepdims", Attribute::Int(keep.into()))])
    }

    /// `x` with the axes behind the batch row-major in another shape.
    pub fn reshape(&mut self, x: &str, axes: &[usize]) -> String {
        let axes: Vec<i64> =
            std::iter::once(-1).chain(axes.iter().map(|&axis| axis as i64)).collect();
        let shape = self.ints(&axes);
        self.node("Reshape", &[x, &shape], &[])
    }

    /// `x` with these steps applied.
    pub fn apply_steps(&mut self, x: &str, steps: Vec<AxesStep>) -> String {
        steps.into_iter().fold(x.to_owned(), |x, step| match step {
            AxesStep::Reshape(axes) => self.reshape(&x, &axes),
            AxesStep::Permute(axes) => {
                let axes: Vec<i64> = axes.into_iter().map(|axis| axis as i64).collect();
                self.node("Transpose", &[&x], &[("perm", Attribute::Ints(&axes))])
            }
        })
    }

    /// `x` with a vector's elements in the order of `image`, or of this crate.
    pub fn order_units(&mut self, mut x: Value, image: Option<[usize; 3]>) -> Value {
        let steps = x.form.order_units(image);
        Value { name: self.apply_steps(&x.name, steps), ..x }
    }

    /// `x` with `y` `[N, K]` appended, at every pixel of an image.
    pub fn append(&mut self, x: Value, y: &str, width: usize) -> Value {
        let x = self.order_units(x, None);
        let y = match x.form.image() {
            Some([h, w, _]) => {
                let rows = self.reshape(y, &[width, 1, 1]);
                let pixels = self.ints(&[1, 1, h as i64, w as i64]);
                self.node("Expand", &[&rows, &pixels], &[])
            }
            None => y.to_owned(),
        };
        let form = x.form.with_channels(x.form.channels() + width);
        Value::new(self.node("Concat", &[&x.name, &y], &[("axis", Attribute::Int(1))]), form)
    }

    /// A trained matrix or kernel under its name in a state dict. Half precision is for these: they
    /// are nearly all of a network, and its normalizations keep their statistics.
    ///
    /// # Errors
    /// Returns an error if half precision cannot hold a value.
    pub fn weight(&mut self, name: &str, value: &HostTensor) -> Result<String, NnError> {
        let name = format!("{}.{name}", self.layer);
        let values = value.as_f32().unwrap_or_default();
        if !self.half {
            self.store(&name, FLOAT, &value.shape, le_bytes(values));
            return Ok(name);
        }
        let rounded: Vec<f16> = values.iter().map(|&value| f16::from_f32(value)).collect();
        if let Some(index) = rounded.iter().position(|value| !value.is_finite()) {
            return Err(NnError::BeyondHalf { name, value: values[index], index });
        }
        let bytes = rounded.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.store(&name, FLOAT16, &value.shape, bytes);
        Ok(self.cast_to_float(&name))
    }

    /// A vector, or another small tensor, under its name in a state dict.
    pub fn vector(&mut self, name: &str, shape: &[usize], values: &[f32]) -> String {
        let name = format!("{}.{name}", self.layer);
        self.store(&name, FLOAT, shape, le_bytes(values));
        name
    }

    /// A vector of integers.
    pub fn ints(&mut self, values: &[i64]) -> String {
        let text: Vec<String> = values.iter().map(ToString::to_string).collect();
        let name = format!("{}/[{}]", self.layer, text.join(","));
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.store(&name, INT64, &[values.len()], bytes);
        name
    }

    /// Adds an initializer; one of the same name, which says the same, is there already.
    pub fn store(&mut self, name: &str, data_type: i32, shape: &[usize], raw_data: Vec<u8>) {
        if self.taken.insert(name.to_owned()) {
            let dims = shape.iter().map(|&axis| axis as i64).collect();
            self.proto.initializer.push(TensorProto {
                dims,
                data_type,
                name: name.into(),
                raw_data,
            });
        }
    }
}

fn le_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// The value of a node's attribute.
pub enum Attribute<'a> {
    Int(i64),
    Float(f32),
    Ints(&'a [i64]),
    Text(&'static str),
}

impl Attribute<'_> {
    fn proto(&self, name: &str) -> AttributeProto {
        let attribute = AttributeProto { name: name.into(), ..AttributeProto::default() };
        match *self {
            Self::Int(i) => AttributeProto { i: Some(i), r#type: KIND_INT, ..attribute },
            Self::Float(f) => AttributeProto { f: Some(f), r#type: KIND_FLOAT, ..attribute },
            Self::Ints(ints) => {
                AttributeProto { ints: ints.into(), r#type: KIND_INTS, ..attribute }
            }
            Self::Text(text) => {
                AttributeProto { s: Some(text.into()), r#type: KIND_STRING, ..attribute }
            }
        }
    }
}

/// Name, element type and shape of an input or output, whose first axis is the batch.
fn info(name: &str, elem_type: i32, axes: &[usize]) -> ValueInfoProto {
    let batch = DimensionProto { dim_param: Some("batch".into()), dim_value: None };
    let fixed = |&axis: &usize| DimensionProto { dim_value: Some(axis as i64), dim_param: None };
    let dim = std::iter::once(batch).chain(axes.iter().map(fixed)).collect();
    let tensor_type = Some(TensorTypeProto { elem_type, shape: Some(TensorShapeProto { dim }) });
    ValueInfoProto { name: name.into(), r#type: Some(TypeProto { tensor_type }) }
}
