//! Compares the stabilizing layers of the GAN literature with PyTorch in float64
//! (xtask/golden/layers.py): values, gradients, gradients of gradients, the buffers that a forward
//! pass updates, and data-dependent initialization. One table serves every device.

use crate::common::{Golden, arrays, assert_close, cases, floats};
use nn::layers::{
    ConcatCondition, Conv2d, ConvTranspose2d, Embed, InstanceNorm, LayerConfig, LayerNorm, Linear,
    Maxout, ProjectionHead, Reshape, SelfAttention, VirtualBatchNorm, Window,
};
use nn::{Activation, ForwardCtx, Layer, Mode, Network, StateDict};
use serde_json::Value;
use std::collections::BTreeMap;
use tensor::autograd::grad;
use tensor::{Device, HostTensor, Tensor};

const TOLERANCE: f64 = 1e-5;
const SECOND: f64 = 4e-5;

type Arrays = BTreeMap<String, Golden>;

fn numbers(attrs: &Value, key: &str) -> Vec<usize> {
    serde_json::from_value(attrs[key].clone()).expect("numbers")
}

fn number(attrs: &Value, key: &str) -> usize {
    attrs[key].as_u64().expect("a number") as usize
}

fn eps(attrs: &Value) -> f32 {
    attrs["eps"].as_f64().expect("a number") as f32
}

fn window(attrs: &Value) -> Window {
    let pair = |key| numbers(attrs, key).try_into().expect("two numbers");
    let [top, left] = pair("padding");
    Window { kernel: pair("kernel"), stride: pair("stride"), pad: [[top; 2], [left; 2]] }
}

fn image(attrs: &Value) -> [usize; 3] {
    numbers(attrs, "image").try_into().expect("three numbers")
}

/// The only layer of a case, which is named `l`.
fn layer(kind: &str, attrs: &Value, size: impl Fn(&str) -> Vec<usize>, sample: &[usize]) -> Layer {
    let spectral = attrs["norm"] == "spectral";
    let weight = || if spectral { size("l.weight_orig") } else { size("l.weight_v") };
    match kind {
        "linear" => {
            let plain = Linear::new(weight()[1], weight()[0], true);
            Layer::from(if spectral {
                plain.with_spectral_norm()
            } else {
                plain.with_weight_norm()
            })
        }
        "conv2d" => {
            let plain = Conv2d::new(weight()[1], weight()[0], window(attrs), true);
            Layer::from(if spectral {
                plain.with_spectral_norm()
            } else {
                plain.with_weight_norm()
            })
        }
        "conv_transpose2d" => {
            let padding = numbers(attrs, "output_padding").try_into().expect("two numbers");
            let plain =
                ConvTranspose2d::new(weight()[0], weight()[1], window(attrs), padding, true);
            Layer::from(if spectral {
                plain.with_spectral_norm()
            } else {
                plain.with_weight_norm()
            })
        }
        "instance_norm" => Layer::from(InstanceNorm::new(sample[sample.len() - 1], eps(attrs))),
        "layer_norm" => Layer::from(LayerNorm::new(numbers(attrs, "shape"), eps(attrs))),
        // Recipes refuse it with less than 8 channels.
        "self_attention" => Layer::from(SelfAttention::new(number(attrs, "channels"))),
        "concat" => Layer::from(ConcatCondition),
        "embed" => Layer::from(Embed::new(number(attrs, "inputs"), number(attrs, "features"))),
        "projection" => {
            Layer::from(ProjectionHead::new(number(attrs, "features"), number(attrs, "inputs")))
        }
        // Any other layer has its name and keys in recipes.
        name => {
            let mut keys = attrs.clone();
            keys["layer"] = name.into();
            let config: LayerConfig = serde_json::from_value(keys).expect("a layer's keys");
            config.build(sample).expect("a layer for this input")
        }
    }
}

/// The network of a case.
fn network(kind: &str, attrs: &Value, size: impl Fn(&str) -> Vec<usize>, x: &[usize]) -> Network {
    let channels = x[x.len() - 1];
    let virtual_norm = |channels| Layer::from(VirtualBatchNorm::new(channels, eps(attrs)));
    let square = |k: usize| Window { kernel: [k; 2], stride: [1; 2], pad: [[k / 2; 2]; 2] };
    let named = |layers: Vec<(&str, Layer)>| {
        Network::new(layers.into_iter().map(|(name, l)| (name.into(), l)).collect())
    };
    match kind {
        "vbn_dense" => named(vec![
            ("a", virtual_norm(4)),
            ("slope", Layer::from(Activation::LeakyRelu(0.2))),
            ("l", Layer::from(Linear::new(4, 3, false))),
            ("b", virtual_norm(3)),
        ]),
        "vbn_image" => named(vec![
            ("condition", Layer::from(ConcatCondition)),
            ("l", Layer::from(Conv2d::new(4, 5, square(3), false))),
            ("a", virtual_norm(5)),
            ("tanh", Layer::from(Activation::Tanh)),
            ("b", virtual_norm(5)),
        ]),
        "maxout" => named(vec![
            (
                "l",
                match x.len() {
                    2 => Layer::from(Linear::new(channels, channels, false)),
                    _ => Layer::from(Conv2d::new(channels, channels, square(1), false)),
                },
            ),
            ("tanh", Layer::from(Activation::Tanh)),
            ("m", Layer::from(Maxout::new(number(attrs, "pieces")))),
        ]),
        "to_image" => named(vec![
            ("l", Layer::from(Linear::to_image(3, image(attrs)).with_bias().with_spectral_norm())),
            ("shape", Layer::from(Reshape(numbers(attrs, "image")))),
        ]),
        "from_image" => named(vec![
            ("flat", Layer::from(Reshape(vec![image(attrs).iter().product()]))),
            (
                "l",
                Layer::from(Linear::from_image(image(attrs), 2).with_bias().with_spectral_norm()),
            ),
        ]),
        _ => named(vec![("l", layer(kind, attrs, size, &x[1..]))]),
    }
}

fn f32s(golden: &Golden) -> HostTensor {
    HostTensor::f32(golden.shape.clone(), golden.data.iter().map(|&x| x as f32).collect())
}

/// Parameters by name with their values replaced by `gradients`, in the layouts of a state dict.
fn in_outer_layout(net: &Network, gradients: &[Option<Tensor>]) -> StateDict {
    let before = net.state_dict();
    for ((_, param), gradient) in net.params().iter().zip(gradients) {
        let zeros = || Tensor::zeros(*param.value().shape());
        param.set(gradient.clone().unwrap_or_else(zeros));
    }
    let gradients = net.state_dict();
    net.load_state_dict(&before).expect("its own");
    gradients
}

struct Case<'a> {
    name: &'a str,
    all: &'a Arrays,
    device: &'a Device,
}

impl Case<'_> {
    fn golden(&self, key: &str) -> Option<&Golden> {
        self.all.get(&format!("{}/{key}", self.name))
    }

    fn tensor(&self, key: &str) -> Option<Tensor> {
        self.golden(key).map(|golden| golden.tensor().to_device(self.device))
    }

    fn assert(&self, key: &str, found: &[f32], tolerance: f64) {
        let golden =
            self.golden(key).unwrap_or_else(|| panic!("{}/{key}: no reference", self.name));
        assert_close(&format!("{}/{key}", self.name), found, golden, tolerance);
    }

    fn run(&self, kind: &str, attrs: &Value) {
        let x = self.tensor("x").expect("an input").leaf();
        let size =
            |key: &str| self.golden(&format!("state/{key}")).expect("a parameter").shape.clone();
        let mut net = network(kind, attrs, size, x.shape());
        net.to_device(self.device);
        if let Some(reference) = self.tensor("reference") {
            net.set_reference(reference, self.tensor("reference_condition"));
        }
        let mut state = net.state_dict();
        let prefix = format!("{}/state/", self.name);
        for (key, golden) in
            self.all.iter().filter_map(|(key, golden)| Some((key.strip_prefix(&prefix)?, golden)))
        {
            assert!(
                state.insert(key.into(), f32s(golden)).is_some(),
                "{}: no tensor {key} here",
                self.name
            );
        }
        net.load_state_dict(&state).expect("PyTorch's names and shapes");
        assert_eq!(net.state_dict(), state, "{}", self.name);
        self.gradients(&net, &x);
        if self.all.keys().any(|key| key.starts_with(&format!("{}/start/", self.name))) {
            net.data_dependent_init(&x.detach(), Mode::TRAIN);
            self.each("start", &net.state_dict(), TOLERANCE);
        }
    }

    /// Compares every array whose name has this prefix with the entry of the state dict.
    fn each(&self, what: &str, state: &StateDict, tolerance: f64) {
        let prefix = format!("{}/{what}/", self.name);
        for key in
            self.all.keys().filter_map(|key| key.strip_prefix(&prefix)).filter(|key| *key != "x")
        {
            self.assert(&format!("{what}/{key}"), floats(state, key), tolerance);
        }
    }

    fn gradients(&self, net: &Network, x: &Tensor) {
        let condition = self.tensor("condition");
        let out = net.forward(x, ForwardCtx::from(Mode::TRAIN).with_condition(condition.as_ref()));
        assert_eq!(
            out.shape()[..],
            self.golden("out").expect("an output").shape[..],
            "{}",
            self.name
        );
        self.assert("out", &out.to_vec(), TOLERANCE);
        self.each("after", &net.state_dict(), TOLERANCE);
        let mut wanted = vec![x.id().expect("a leaf")];
        wanted.extend(net.param_ids());
        let first = grad(&[(&out, &self.tensor("gout").expect("a gradient"))], &wanted, true);
        let dx = first[0].as_ref().expect("a gradient");
        self.assert("dx", &dx.to_vec(), TOLERANCE);
        self.each("d", &in_outer_layout(net, &first[1..]), TOLERANCE);
        let penalty = dx.square().sum_all();
        if penalty.is_tracked() {
            let one = Tensor::full_on(self.device, *penalty.shape(), 1.0);
            let second = grad(&[(&penalty, &one)], &wanted, false);
            if self.golden("second/x").is_some() {
                self.assert("second/x", &second[0].as_ref().expect("a gradient").to_vec(), SECOND);
            }
            self.each("second", &in_outer_layout(net, &second[1..]), SECOND);
        } else {
            let prefix = format!("{}/second/", self.name);
            assert!(
                !self.all.keys().any(|key| key.starts_with(&prefix)),
                "{}: the first order is not tracked",
                self.name
            );
        }
    }
}

/// Runs every case on `device`.
pub fn layers_match_pytorch(device: &Device) {
    let all = arrays("stabilizers.safetensors");
    let table = cases("stabilizers.json");
    assert!(table.len() >= 28, "only {} cases", table.len());
    for case in &table {
        let (name, kind) =
            (case["case"].as_str().expect("a name"), case["layer"].as_str().expect("a kind"));
        Case { name, all: &all, device }.run(kind, &case["attrs"]);
    }
}
