//! The messages of ONNX files, compared with a file of `onnx.helper`
//! (xtask/golden/onnx_file.py) and by their parts. What the graphs compute is compared by
//! `cargo xtask check-exports`.

use super::*;
use crate::layers::{Conv2d, Layer, Module, Window};
use crate::mode::ForwardCtx;
use safetensors::{Dtype, SafeTensors};
use std::path::Path;
use tensor::rng::Philox;
use tensor::{Activation, HostTensor, Tensor};

fn golden(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/onnx");
    std::fs::read(folder.join(name)).unwrap()
}

/// The recipe of the golden file, with its generator's weights, and a new discriminator.
fn tiny() -> (Recipe, Network, Network) {
    let recipe = String::from_utf8(golden("recipe.toml")).unwrap();
    let recipe = Recipe::from_toml(&recipe).unwrap();
    let (generator, discriminator) = recipe.build(&mut Philox::new(1, 0)).unwrap();
    let bytes = golden("generator.safetensors");
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let state = tensors.iter().map(|(name, view)| {
        let (shape, data) = (view.shape().to_vec(), view.data());
        let tensor = if view.dtype() == Dtype::I64 {
            let numbers = data.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()));
            HostTensor::i64(shape, numbers.collect())
        } else {
            let numbers = data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
            HostTensor::f32(shape, numbers.collect())
        };
        (name.to_owned(), tensor)
    });
    generator.load_state_dict(&state.collect()).unwrap();
    (recipe, generator, discriminator)
}

fn graph(file: &[u8]) -> GraphProto {
    ModelProto::decode(file).unwrap().graph.unwrap()
}

fn operators(graph: &GraphProto) -> Vec<&str> {
    graph.node.iter().map(|node| &*node.op_type).collect()
}

/// Name, element type and the axes behind a dynamic batch.
fn signature(values: &[proto::ValueInfoProto]) -> Vec<(&str, i32, Vec<i64>)> {
    let of = |value: &'_ proto::ValueInfoProto| {
        let tensor = value.r#type.clone().unwrap().tensor_type.unwrap();
        let dims = tensor.shape.unwrap().dim;
        assert_eq!(dims[0].dim_param.as_deref(), Some("batch"));
        (tensor.elem_type, dims[1..].iter().map(|dim| dim.dim_value.unwrap()).collect())
    };
    values
        .iter()
        .map(|value| {
            let (kind, dims) = of(value);
            (&*value.name, kind, dims)
        })
        .collect()
}

#[test]
fn a_generator_has_the_bytes_of_onnx_helper() {
    let (recipe, network, _) = tiny();
    let metadata = vec![("name".to_owned(), "tiny".to_owned())];
    let options = OnnxOptions { fold: false, metadata, ..OnnxOptions::default() };
    let file = generator(&recipe, &network, &options).unwrap();
    let wanted = golden("generator.onnx");
    assert_eq!(ModelProto::decode(&file[..]).unwrap(), ModelProto::decode(&wanted[..]).unwrap());
    assert!(file == wanted, "the messages are equal, their bytes are not");
}

#[test]
fn options_change_the_graph() {
    let (recipe, network, d) = tiny();
    let plain = OnnxOptions::default();
    let folded = graph(&generator(&recipe, &network, &plain).unwrap());
    assert!(!operators(&folded).contains(&"BatchNormalization"));
    assert!(!folded.initializer.iter().any(|tensor| tensor.name.starts_with("main.2.")));
    assert_eq!(signature(&folded.input), [("latents", FLOAT, vec![2]), ("class", INT64, vec![])]);
    assert_eq!(signature(&folded.output), [("images", FLOAT, vec![3, 5, 4])]);

    let half = OnnxOptions { half: true, ..plain.clone() };
    let halves = graph(&generator(&recipe, &network, &half).unwrap());
    let weight = |graph: &GraphProto| {
        let found = graph.initializer.iter().find(|tensor| tensor.name == "main.5.weight");
        found.unwrap().clone()
    };
    assert_eq!(weight(&folded).data_type, FLOAT);
    assert_eq!(
        (weight(&halves).data_type, weight(&halves).dims),
        (proto::FLOAT16, vec![3, 4, 3, 2])
    );
    assert_eq!(weight(&halves).raw_data.len() * 2, weight(&folded).raw_data.len());
    assert_eq!(operators(&halves).iter().filter(|name| **name == "Cast").count(), 3);

    let bytes = OnnxOptions { bytes: true, ..plain.clone() };
    let images = graph(&generator(&recipe, &network, &bytes).unwrap());
    assert_eq!(signature(&images.output), [("images", UINT8, vec![5, 4, 3])]);

    let judge = graph(&discriminator(&recipe, &d, &plain).unwrap());
    assert_eq!(
        signature(&judge.input),
        [("images", FLOAT, vec![3, 5, 4]), ("class", INT64, vec![])]
    );
    assert_eq!(signature(&judge.output), [("logits", FLOAT, vec![])]);
    // From [-1, 1] to the networks' range, the condition at every pixel, and the order H, W, C of
    // the weights behind it.
    let start = ["OneHot", "Mul", "Add", "Reshape", "Expand", "Concat", "Reshape"];
    assert_eq!(operators(&judge)[..7], start);
}

#[test]
fn pads_are_top_left_bottom_right() {
    let window = Window { kernel: [2, 3], stride: [1, 2], pad: [[1, 2], [3, 4]] };
    let layer = Layer::from(Conv2d::new(1, 1, window, false));
    let mut graph = Graph::new("test", false);
    graph.layer = "conv".into();
    let x = Value::new("x", Form::new(&[6, 5, 1]));
    let y = layer.module().to_onnx(x, &mut graph).unwrap();
    assert_eq!(y.form, Form::new(&[8, 5, 1]));
    let graph = graph.finish(&[]);
    let attribute = |name: &str| {
        let found = graph.node[0].attribute.iter().find(|attribute| attribute.name == name);
        found.unwrap().ints.clone()
    };
    assert_eq!(attribute("pads"), [1, 3, 2, 4]);
    assert_eq!((attribute("kernel_shape"), attribute("strides")), (vec![2, 3], vec![1, 2]));
}

#[test]
fn values_beyond_half_precision_are_refused() {
    let (recipe, network, _) = tiny();
    let mut state = network.state_dict();
    let mut weight = state["main.7.weight"].clone().into_f32().unwrap();
    weight[5] = 7e4;
    state.insert("main.7.weight".into(), HostTensor::f32([3, 4, 3, 3], weight));
    network.load_state_dict(&state).unwrap();
    let half = OnnxOptions { half: true, ..OnnxOptions::default() };
    assert_eq!(
        generator(&recipe, &network, &half).unwrap_err(),
        NnError::BeyondHalf { name: "main.7.weight".into(), value: 7e4, index: 5 }
    );
    assert!(generator(&recipe, &network, &OnnxOptions::default()).is_ok());
}

/// A layer without a translation.
struct Untold;

impl Module for Untold {
    fn forward(&self, x: &Tensor, _: ForwardCtx<'_>, _: Activation) -> Tensor {
        x.clone()
    }

    fn deep_clone(&self) -> Layer {
        Self.into()
    }
}

#[test]
fn a_layer_without_a_translation_is_refused_by_name() {
    let recipe = Recipe::preset("small").unwrap();
    let network = Network::new(vec![("main.0".into(), Untold.into())]);
    let refusal =
        |format| NnError::Untranslatable { layer: "main.0".into(), kind: "Untold", format };
    let onnx = generator(&recipe, &network, &OnnxOptions::default());
    assert_eq!(onnx.unwrap_err(), refusal("ONNX"));
    let python = crate::export::pytorch::generator(&recipe, &network);
    assert_eq!(python.unwrap_err(), refusal("PyTorch"));
}

#[test]
fn every_preset_is_translated() {
    for name in Recipe::names() {
        let recipe = Recipe::preset(name).unwrap();
        let narrow = ["generator.width", "discriminator.width"].map(|key| (key.into(), "4".into()));
        let recipe =
            if recipe.generator.layers.is_empty() { recipe.with(&narrow).unwrap() } else { recipe };
        let (g, d) = recipe.build(&mut Philox::new(0, 0)).unwrap();
        let options = OnnxOptions::default();
        let ([h, w], c) = (recipe.image.size, recipe.image.channels);
        let images = graph(&generator(&recipe, &g, &options).unwrap());
        let shape = [c, h, w].map(|axis| axis as i64).to_vec();
        assert_eq!(signature(&images.output), [("images", FLOAT, shape)], "{name}");
        let judge = graph(&discriminator(&recipe, &d, &options).unwrap());
        let classes = judge.output.len() == 2;
        assert_eq!(classes, recipe.objective.semi_supervised, "{name}");
        for (network, source) in [
            (&g, crate::export::pytorch::generator(&recipe, &g).unwrap()),
            (&d, crate::export::pytorch::discriminator(&recipe, &d).unwrap()),
        ] {
            // Each layer with tensors is a submodule.
            let names: Vec<String> = network.named_tensors().map(|(name, _)| name).collect();
            for (layer, _) in network.layers() {
                let has_tensors = names.iter().any(|name| name.starts_with(&format!("{layer}.")));
                let entry = format!("\n            \"{}\": ", layer.trim_start_matches("main."));
                assert_eq!(source.contains(&entry), has_tensors, "{name}: {layer}\n{source}");
            }
        }
    }
}
